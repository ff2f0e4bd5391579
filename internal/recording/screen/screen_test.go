package screen

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func show(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	s := New(&b, 80, 24)
	if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("Write = %d, %v", n, err)
	}
	return b.String()
}

func TestHostile(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"text", "héllo €\r\n\tx\b", "héllo €\r\n\tx\b"},
		{"title", "a\x1b]0;title\x07b", "ab"},
		{"title, ST", "a\x1b]2;title\x1b\\b", "ab"},
		{"clipboard", "a\x1b]52;c;ZXZpbA==\x07b", "ab"},
		{"link", "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"},
		{"query DA", "a\x1b[cb\x1b[>cc\x1b[=c", "abc"},
		{"query cursor", "a\x1b[6nb\x1b[?6n", "ab"},
		{"query window title", "a\x1b[21tb", "ab"},
		{"query mode", "a\x1b[?25$pb", "ab"},
		{"query colour", "a\x1b]11;?\x07b", "ab"},
		{"XTGETTCAP", "a\x1bP+q544e\x1b\\b", "ab"},
		{"DECRQSS", "a\x1bP$q\"p\x1b\\b", "ab"},
		{"sixel", "a\x1bPq#0;2;0;0;0\x1b\\b", "ab"},
		{"APC", "a\x1b_Gi=1;AAAA\x1b\\b", "ab"},
		{"PM and SOS", "a\x1b^x\x1b\\b\x1bXy\x1b\\c", "abc"},
		{"8-bit OSC", "a\u009d0;title\u009cb", "a0;titleb"},
		{"8-bit CSI", "a\u009b6nb", "a6nb"},
		{"bell and shifts", "a\x07\x0e\x0f\x05b", "ab"},
		{"charset", "a\x1b(0b\x1b)0\x1b%@", "ab"},
		{"keypad and modes", "a\x1b=\x1b>\x1b[?1h\x1b[?2004h\x1b[?1000h\x1b[4h\x1b[20hb", "ab"},
		{"alternate screen", "\x1b[?1049ha", "\x1b[0m\x1b[r\x1b[1;1H\x1b[2Ja"},
		{"full reset", "\x1bca", "\x1b[0m\x1b[r\x1b[1;1H\x1b[2Ja"},
		{"soft reset, locator, macro", "a\x1b[!p\x1b[1;2'z\x1b[5*zb", "ab"},
		{"printing", "a\x1b[5ib\x1b[?5i", "ab"},
		{"scroll-back erased", "a\x1b[3Jb", "ab"},
		{"erase", "\x1b[2J\x1b[K\x1b[1K", "\x1b[2J\x1b[0K\x1b[1K"},
		{"movement", "\x1b[H\x1b[5;7H\x1b[3A\x1b[C", "\x1b[1;1H\x1b[5;7H\x1b[3A\x1b[1C"},
		{"outside", "\x1b[999;999H\x1b[99999999999B\x1b[0C", "\x1b[24;80H\x1b[24B\x1b[1C"},
		{"repeat for ever", "x\x1b[99999999b", "x\x1b[80b"},
		{"region", "\x1b[2;10r\x1b[r\x1b[20;5r\x1b[1;99r", "\x1b[2;10r\x1b[r"},
		{"colours", "\x1b[1;31mx\x1b[38;5;8my\x1b[38;2;1;2;3mz\x1b[m", "\x1b[1;31mx\x1b[38;5;8my\x1b[38;2;1;2;3mz\x1b[m"},
		{"colours with colons", "\x1b[38:2::1:2:3m\x1b[48:5:9;1m\x1b[4:3m", "\x1b[38;2;1;2;3m\x1b[48;5;9;1m\x1b[4m"},
		{"colours cut", "\x1b[38m\x1b[38;5m\x1b[38;2;1m\x1b[38;9;1m\x1b[48:2m", "\x1b[1m"},
		{"concealed", "\x1b[8msecret\x1b[1;8mx", "secret\x1b[1mx"},
		{"keys of a terminal", "\x1b[>4;1m\x1b[=1u\x1b[?1u\x1b[>1ux", "x"},
		{"bidi and invisible", "a\u202eb\u200bc\u2066d\ufeff", "abcd"},
		{"private use and spaces", "\ue0b0\u00a0\u3000", "\ufffd  "},
		{"invalid bytes", "a\xff\xfeb", "ab"},
		{"ESC twice", "\x1b\x1b]0;x\x07a", "a"},
		{"cancelled", "\x1b]0;x\x18a\x1b[3\x1ab", "ab"},
	} {
		if got := show(t, tt.in); got != tt.want {
			t.Errorf("%s: %q became %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// A string that never ends hides some kilobytes, not the rest of the session.
func TestEndlessString(t *testing.T) {
	for _, begin := range []string{"\x1b]0;", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1b["} {
		got := show(t, begin+strings.Repeat("1", 2*maxString)+"\nrm -rf /\n")
		if !strings.Contains(got, "rm -rf /") {
			t.Errorf("%q hides what follows", begin)
		}
	}
}

func TestPieces(t *testing.T) {
	const text = "a\x1b]0;title\x07b\x1b[1;3\x1b[31mé\x1b[5;7H"
	want := show(t, text)
	var b bytes.Buffer
	s := New(&b, 80, 24)
	for i := range len(text) {
		s.Write([]byte{text[i]})
	}
	if b.String() != want {
		t.Errorf("byte by byte %q, at once %q", b.String(), want)
	}
	b.Reset()
	s.Resize(10, 5)
	s.Write([]byte("\x1b[99;99H"))
	s.Close()
	if got := b.String(); got != "\x1b[5;10H\x1b[0m\x1b7\x1b[r\x1b8\r\n" {
		t.Errorf("%q", got)
	}
	broken := New(fails{}, 80, 24)
	if _, err := broken.Write([]byte("x")); err == nil {
		t.Error("a broken terminal was not told of")
	}
}

type fails struct{}

func (fails) Write([]byte) (int, error) { return 0, errors.New("broken") }

// harmless is what may reach a terminal, written down apart from the code.
var harmless = regexp.MustCompile(`^(?:\x1b\[[0-9;]*[ABCDEFGHJKLMPSTX@` + "`" + `abdermsu]|\x1b[78DEM]|[\x08\t\n\r]|[^\x00-\x1f\x7f-\x{9f}])*$`)

func check(t *testing.T, in []byte, out string) {
	t.Helper()
	if !utf8.ValidString(out) || !harmless.MatchString(out) {
		t.Fatalf("%q became %q", in, out)
	}
	for _, r := range out {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) {
			t.Fatalf("%q became %q", in, out)
		}
	}
}

func FuzzScreen(f *testing.F) {
	for _, s := range []string{
		"a\x1b]52;c;AA\x07b", "\x1b[38;2;1;2;3m\x1b[48:5:1m", "\x1bP+q\x1b\\", "\x1b[?1049h\x1b[6n", "\u009b6n", "\xe2\x1b[c", "\x1b[1;2;3;4;5;6;7;8;9r",
	} {
		f.Add([]byte(s), 80, 24)
	}
	f.Fuzz(func(t *testing.T, in []byte, cols, rows int) {
		var b bytes.Buffer
		s := New(&b, cols, rows)
		s.Write(in)
		check(t, in, b.String())
		// It settles: what was let through is let through again.
		if again := show(t, show(t, string(in))); again != show(t, string(in)) {
			t.Fatalf("%q became %q, then %q", in, show(t, string(in)), again)
		}
	})
}

func BenchmarkScreen(b *testing.B) {
	text := []byte(strings.Repeat("\x1b[32muser@host\x1b[0m:~$ ls -la /var/log\r\n", 100))
	s := New(bytes.NewBuffer(nil), 80, 24)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.w.(*bytes.Buffer).Reset()
		s.Write(text)
	}
}
