package testimony

import (
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("ä", 600), "bad \xff utf8 " + strings.Repeat("x", 2000)} {
		if c := Reason(s); len(c) > 1024 || !strings.HasSuffix(c, "(cut)") && len(s) > 1024 || strings.ContainsRune(c, '\xff') {
			t.Errorf("%q", c)
		}
	}
}
