package prompts

import (
	"strings"
	"testing"
)

func TestWhichPastesAsk(t *testing.T) {
	many := strings.Repeat("line\n", pasteLines)
	for _, tc := range []struct {
		text      string
		bracketed bool
		asks      bool
	}{
		{"", false, false}, {"one line", false, false}, {"one line\r\n", false, false}, {"a\tb\n\n", false, false},
		{"two\nlines", false, true}, {"two\rlines", false, true}, {"two\nlines", true, false},
		{many, true, false}, {many + "more", true, true}, {"a\x1b[201~b", true, true}, {"a\x03", false, true}, {"a\u009b", true, true},
	} {
		if why := WhyPaste(tc.text, tc.bracketed); (why != "") != tc.asks {
			t.Errorf("%q, bracketed %v: %q", tc.text, tc.bracketed, why)
		}
	}
}
