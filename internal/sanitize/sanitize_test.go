package sanitize

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

func TestClean(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"empty", "", ""},
		{"ascii", "systemctl restart nginx ~ ok", "systemctl restart nginx ~ ok"},
		{"letters", "müller 日本語 Привет мир ελληνικά", "müller 日本語 Привет мир ελληνικά"},
		{"escape", "a\x1b[2Jb", "a⟨ESC⟩[2Jb"},
		{"c1", "a\u009b2Jb", "a⟨CSI⟩2Jb"},
		{"raw c1 byte", "a\x9b2J", "a⟨x9B⟩2J"},
		{"newline", "a\r\nb\tc", "a⟨CR⟩⟨LF⟩b⟨TAB⟩c"},
		{"nul and del", "\x00\x7f\x01", "⟨NUL⟩⟨DEL⟩⟨U+0001⟩"},
		{"bidi override", "rm \u202e/ fr- mr", "rm ⟨U+202E⟩/ fr- mr"},
		{"bidi isolate", "\u2066a\u2069", "⟨U+2066⟩a⟨U+2069⟩"},
		{"marks", "\u200e\u200f\u061c", "⟨U+200E⟩⟨U+200F⟩⟨U+061C⟩"},
		{"zero width", "a\u200bb\u2060c\ufeffd", "a⟨U+200B⟩b⟨U+2060⟩c⟨U+FEFF⟩d"},
		{"soft hyphen", "web\u00ad1", "web⟨U+00AD⟩1"},
		{"line separator", "a\u2028b\u2029", "a⟨U+2028⟩b⟨U+2029⟩"},
		{"other spaces", "a\u00a0b\u3000c", "a⟨U+00A0⟩b⟨U+3000⟩c"},
		{"fillers", "a\u3164b\u115f\uffa0\u2800", "a⟨U+3164⟩b⟨U+115F⟩⟨U+FFA0⟩⟨U+2800⟩"},
		{"variation selector", "a\ufe0f\U000e0100", "a⟨U+FE0F⟩⟨U+E0100⟩"},
		{"tags", "a\U000e0041", "a⟨U+E0041⟩"},
		{"private use", "\ue000\U000f0000", "⟨U+E000⟩⟨U+F0000⟩"},
		{"noncharacter", "\uffff", "⟨U+FFFF⟩"},
		{"invalid utf-8", "a\xffb\xc3", "a⟨xFF⟩b⟨xC3⟩"},
		{"surrogate", "\xed\xa0\x80", "⟨xED⟩⟨xA0⟩⟨x80⟩"},
		{"own brackets", "⟨ESC⟩", "⟨U+27E8⟩ESC⟨U+27E9⟩"},
		{"full width", "ｒｍ", "⟨U+FF52⟩⟨U+FF4D⟩"},
		{"styled letters", "𝐫𝗆", "⟨U+1D42B⟩⟨U+1D5C6⟩"},
		{"mixed alphabets", "p\u0430ypal.com", "p\u0430ypal⟨mixed Latin+Cyrillic⟩.com"},
		{"one foreign letter", "web-\u0430", "web-\u0430⟨Cyrillic⟩"},
		{"foreign look-alike word", "run \u0440\u0430\u0443", "run \u0440\u0430\u0443⟨Cyrillic⟩"},
		{"small words in a Russian line", "перезапуск а потом с нуля", "перезапуск а потом с нуля"},
		{"combining", "e\u0301", "e\u0301"},
		{"combining without base", "\u0301e", "⟨U+0301⟩e"},
		{"tower", "e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301⟨U+0301⟩"},
	}
	for _, tt := range tests {
		if got := Clean(tt.raw).String(); got != tt.want {
			t.Errorf("%s: Clean(%+q) = %+q, want %+q", tt.name, tt.raw, got, tt.want)
		}
	}
	if !(Text{}).IsZero() || Clean("x").IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestBlock(t *testing.T) {
	for raw, want := range map[string]string{
		"":           "",
		"a":          "a",
		"a\n":        "a",
		"a\r\nb\x1b": "a|b⟨ESC⟩",
		"\n\n":       "|",
		"a\rb":       "a⟨CR⟩b",
	} {
		var got []string
		for _, line := range Block(raw) {
			got = append(got, line.String())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("Block(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestLiteral(t *testing.T) {
	if got := Literal("● online ⟨x⟩").String(); got != "● online ⟨x⟩" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"a\n", "\x1b", "\u202e", "\xff", "a\u00a0"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Literal(%+q) did not panic", bad)
				}
			}()
			Literal(bad)
		}()
	}
}

func TestArgv(t *testing.T) {
	tests := []struct {
		argv []string
		want string
	}{
		{nil, ""},
		{[]string{""}, "''"},
		{[]string{"systemctl", "restart", "nginx.service"}, "systemctl restart nginx.service"},
		{[]string{"echo", "a b", "$HOME", "*"}, "echo 'a b' '$HOME' '*'"},
		{[]string{"echo", "it's"}, `echo $'it\'s'`},
		{[]string{"echo", "a\nb\\n"}, `echo $'a\nb\\n'`},
		{[]string{"A=b", "A=b"}, "'A=b' A=b"},
		{[]string{"if"}, "'if'"},
		{[]string{"cat", "日本語"}, "cat '日本語'"},
		{[]string{"cat", "é"}, "cat 'é'"},
		{[]string{"cat", "e\u0301"}, `cat $'e\u0301'`},
		{[]string{"\u0440m"}, `$'\u0440m'`},
		{[]string{"rm", "\u202e", "\xff\x1b0", "\U000e0041"}, `rm $'\u202e' $'\xff\x1b0' $'\U000e0041'`},
		{[]string{"ls", "אב"}, `ls $'\u05d0\u05d1'`},
	}
	for _, tt := range tests {
		if got := Argv(tt.argv).String(); got != tt.want {
			t.Errorf("Argv(%+q) = %s, want %s", tt.argv, got, tt.want)
		}
	}
}

func TestName(t *testing.T) {
	for _, good := range []string{"web-1", "alice@example.com", "Müller & Co", "база", "a/b:c", strings.Repeat("x", MaxName)} {
		if err := Name(good); err != nil {
			t.Errorf("Name(%q) = %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"":                             "empty",
		strings.Repeat("x", MaxName+1): "129 bytes",
		"e\u0301":                      "NFC",
		"a\nb":                         "controls",
		"a\u202e":                      "bidi",
		"p\u0430y":                     "look-alike",
		"\xff":                         "UTF-8",
		" a":                           "space",
		"a ":                           "space",
	} {
		err := Name(bad)
		var refused *NameError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), why) {
			t.Errorf("Name(%+q) = %v, want a NameError about %q", bad, err, why)
		}
		checkText(t, Text{err.Error()})
	}
}

// checkText asserts the invariants of the package comment, written another way
// than the code under test.
func checkText(t *testing.T, text Text) {
	t.Helper()
	s := text.String()
	if !utf8.ValidString(s) {
		t.Fatalf("not UTF-8: %+q", s)
	}
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.C, unicode.Zl, unicode.Zp), unicode.Is(unicode.Zs, r) && r != ' ',
			unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r),
			unicode.Is(unicode.Variation_Selector, r), r == 0x2800, r == 0x3164:
			t.Fatalf("rune %U in %+q", r, s)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain", "pl\u0430in")
	f.Add("\x1b]0;x\a", "⟨ESC⟩]0;x⟨BEL⟩")
	f.Add("a\u202eb", "a⟨U+202E⟩b")
	f.Add("\xff", "⟨xFF⟩")
	f.Add("\u0440\u0430", "\u0440\u0430⟨Cyrillic⟩")
	f.Fuzz(func(t *testing.T, a, b string) {
		ca, cb := Clean(a), Clean(b)
		checkText(t, ca)
		if (a == b) != (ca == cb) {
			t.Fatalf("%+q and %+q render as %s and %s", a, b, ca, cb)
		}
		for _, line := range Block(a) {
			checkText(t, line)
		}
		if Name(a) == nil && ca.String() != a {
			t.Fatalf("Name accepts %+q", a)
		}
	})
}

func FuzzArgv(f *testing.F) {
	f.Add("a\x01b c", "a b\x01c")
	f.Add("\x01", "")
	f.Add("it's \\ \xff", "'\u0430'")
	f.Add("A=b\x01if\x01é\x01e\u0301", "time\x01x")
	f.Fuzz(func(t *testing.T, a, b string) {
		// U+0001 separates the words, so that the fuzzer can move borders.
		la, lb := strings.Split(a, "\x01"), strings.Split(b, "\x01")
		ta, tb := Argv(la), Argv(lb)
		checkText(t, ta)
		if (a == b) != (ta == tb) {
			t.Fatalf("%+q and %+q render as %s and %s", la, lb, ta, tb)
		}
		if strings.Contains(a, "\x00") {
			return // no argument can hold it
		}
		if back := shellFields(t, ta.String()); strings.Join(back, "\x01") != a {
			t.Fatalf("a shell reads %s as %+q, not as %+q", ta, back, la)
		}
	})
}

// shellFields is the reading of a line by an independent shell parser.
func shellFields(t *testing.T, line string) []string {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if len(file.Stmts) != 1 {
		t.Fatalf("%s: %d statements", line, len(file.Stmts))
	}
	call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 {
		t.Fatalf("%s is a %T", line, file.Stmts[0].Cmd)
	}
	fields, err := expand.Fields(&expand.Config{}, call.Args...)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func BenchmarkClean(b *testing.B) {
	for name, raw := range map[string]string{
		"ascii":   strings.Repeat("systemctl restart nginx ", 10),
		"hostile": strings.Repeat("s\u0443stem\x1b[2J \u202e", 10),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				Clean(raw)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	if got := Join(Clean("a\x1b"), Literal(": "), Text{}, Clean("b")).String(); got != Clean("a\x1b").String()+": b" {
		t.Errorf("joined %q", got)
	}
}
