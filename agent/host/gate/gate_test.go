package gate

import (
	"slices"
	"testing"
)

// A shell gets the kernel's gate where there is one, else just what was asked for, and
// nothing that is not known or not there.
func TestLevels(t *testing.T) {
	kernel := slices.Concat(Everywhere, Levels{Enforced})
	for _, tc := range []struct {
		have Levels
		need string
		want Level // "": there is no such shell
	}{
		{kernel, "none", Enforced}, {kernel, "advisory", Enforced}, {kernel, "line", Enforced}, {kernel, "enforced", Enforced},
		{Everywhere, "none", None}, {Everywhere, "advisory", Advisory}, {Everywhere, "line", Line}, {Everywhere, "enforced", ""},
		{kernel, "", ""}, {kernel, "x", ""}, {Everywhere, "", ""}, {nil, "none", ""}, {Levels{Enforced}, "", ""},
	} {
		got, ok := tc.have.For(tc.need)
		if ok != (tc.want != "") || ok && got != tc.want {
			t.Errorf("%q of %q: %q, %v", tc.need, tc.have, got, ok)
		}
	}
}
