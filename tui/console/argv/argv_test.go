package argv

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string // nil: refused
	}{
		{"uname -a", []string{"uname", "-a"}},
		{"  a   b\tc ", []string{"a", "b", "c"}},
		{`echo 'a  b' "c d" e\ f`, []string{"echo", "a  b", "c d", "e f"}},
		{`a''b "" ''`, []string{"ab", "", ""}},
		{`echo '$HOME | wc'`, []string{"echo", "$HOME | wc"}},
		{`echo "say \"hi\" \$x \\"`, []string{"echo", `say "hi" $x \`}},
		{`echo "a\n"`, []string{"echo", `a\n`}},
		{`echo \| żółw`, []string{"echo", "|", "żółw"}},
		{"", nil},
		{"   ", nil},
		{"''", nil},
		{"a | b", nil},
		{"a > b", nil},
		{"a; b", nil},
		{"a && b", nil},
		{"echo $HOME", nil},
		{`echo "$HOME"`, nil},
		{"echo `id`", nil},
		{"rm *", nil},
		{"ls ~", nil},
		{"echo {a,b}", nil},
		{"echo 'open", nil},
		{`echo "open`, nil},
		{`echo \`, nil},
		{"echo \xff", nil},
	} {
		got, err := Split(tc.line)
		if (err != nil) != (tc.want == nil) || !slices.Equal(got, tc.want) {
			t.Errorf("%q = %q, %v; want %q", tc.line, got, err, tc.want)
		}
	}
}

// FuzzSplit checks that quoting any words gives them back.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a b", "it's", `"`, `\`, "", "a\x00b", "żółw", "$x|y", "\xff"} {
		f.Add("cmd", s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		_, _ = Split(first + " " + second)
		if first == "" || !utf8.ValidString(first) || !utf8.ValidString(second) {
			return
		}
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := Split(quote(first) + " " + quote(second))
		if err != nil || !slices.Equal(got, []string{first, second}) {
			t.Fatalf("%q, %q came back as %q, %v", first, second, got, err)
		}
	})
}
