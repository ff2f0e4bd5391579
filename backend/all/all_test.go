package all

import "testing"

func TestBackends(t *testing.T) {
	for _, d := range Backends().Drivers() {
		if d.Doc == "" {
			t.Errorf("%s: has no line for the list", d.Scheme)
		}
	}
}
