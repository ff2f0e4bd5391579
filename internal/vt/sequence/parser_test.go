package sequence

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A recorder writes down what it gets; runs of text are joined.
type recorder struct{ strings.Builder }

func (r *recorder) PrintASCII(b []byte) { r.Write(b) }
func (r *recorder) Print(c rune)        { r.WriteRune(c) }
func (r *recorder) Control(c byte)      { fmt.Fprintf(r, "<%02x>", c) }
func (r *recorder) Run(s *Sequence) {
	fmt.Fprintf(r, "<%s", [...]string{"ESC", "CSI", "OSC", "DCS"}[s.Kind])
	for _, c := range []byte{s.Prefix, s.Middle} {
		if c != 0 {
			fmt.Fprintf(r, " %c", c)
		}
	}
	for i, a := range s.Args {
		mark := " "
		if s.IsSub(i) {
			mark = ":"
		}
		if r.WriteString(mark); a != Missing {
			fmt.Fprint(r, a)
		}
	}
	if s.Final != 0 {
		fmt.Fprintf(r, " %c", s.Final)
	}
	if len(s.Text) > 0 {
		fmt.Fprintf(r, " %q", s.Text)
	}
	r.WriteString(">")
}

var streams = []struct{ in, want string }{
	{"text\r\n", "text<0d><0a>"},
	{"ż漢🐢", "ż漢🐢"},
	{"\x7f\x00", "<00>"},
	{"\x1bM\x1b(0\x1b#8", "<ESC M><ESC ( 0><ESC # 8>"},
	{"\x1b((0x", "x"},
	{"\x1b[m\x1b[1;2H\x1b[;5H\x1b[3;m", "<CSI m><CSI 1 2 H><CSI  5 H><CSI 3  m>"},
	{"\x1b[38:2::1:2:3;4:3m", "<CSI 38:2::1:2:3 4:3 m>"},
	{"\x1b[?1049h\x1b[>c\x1b[ q\x1b[?7$p", "<CSI ? 1049 h><CSI > c><CSI   q><CSI ? $ 7 p>"},
	{"\x1b[99999999999999999999A", "<CSI 65535 A>"},
	{"\x1b[1?2ma\x1b[1!2pb\x1b[ !1qc", "abc"},
	{"\x1b[3\b1m", "<08><CSI 31 m>"},
	{"\x1b[3\x181m\x1b[3\x1b[1m", "1m<CSI 1 m>"},
	{"\x1b[3ż\x1b(漢", "ż漢"},
	{"\x1b]0;title\x07\x1b]2;\u009cż\x1b\\", `<OSC "0;title"><OSC "2;\u009cż"><ESC \>`},
	{"\x1b]0;lost\x18a\x1b]0;kept\x1b[mb", `a<OSC "0;kept"><CSI m>b`},
	{"\x1bP1;2$qm\x1b\\\x1bP+q544e\x07\x1b\\", `<DCS $ 1 2 q "m"><ESC \><DCS + q "544e"><ESC \>`},
	{"\x1bP1?2q\x1b\\a\x1bP\nq\x1b\\", `<ESC \>a<DCS q><ESC \>`},
	{"\x1bXa\x07b\x1b\\\x1b^c\x1b\\\x1b_d\x1b\\e", `<ESC \><ESC \><ESC \>e`},
	{"a\xffb\xe6\xbcc\xf0\x9f\x90\x1b[m\xed\xa0\x80\xc0\xaf", "a\ufffdb\ufffdc\ufffd<CSI m>\ufffd\ufffd\ufffd\ufffd\ufffd"},
	{"\u009b31m\u0090x\u009d", "\u009b31m\u0090x\u009d"},
}

func TestWrite(t *testing.T) {
	for _, s := range streams {
		var p Parser
		var r recorder
		p.Write(&r, []byte(s.in))
		if got := r.String(); got != s.want {
			t.Errorf("%q is %s, not %s", s.in, got, s.want)
		}
	}
}

func TestBounds(t *testing.T) {
	var p Parser
	var r recorder
	p.Write(&r, []byte("\x1b["+strings.Repeat("1;", 100)+"7m"))
	if got, want := r.String(), "<CSI"+strings.Repeat(" 1", MaxArgs)+" m>"; got != want {
		t.Errorf("many parameters are %s", got)
	}
	for n, want := range map[int]int{MaxText: MaxText + 2 + len("<OSC >"), MaxText + 1: 0} {
		r.Reset()
		p.Write(&r, []byte("\x1b]"+strings.Repeat("x", n)+"\x07"))
		if r.Len() != want {
			t.Errorf("an OSC of %d bytes gives %d bytes", n, r.Len())
		}
	}
}

// FuzzWrite checks that the outcome does not depend on how bytes are cut.
func FuzzWrite(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.in), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var whole, cut, single Parser
		var a, c, d recorder
		whole.Write(&a, b)
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			cut.Write(&c, rest[:n])
			rest = rest[n:]
		}
		for i := range b {
			single.Write(&d, b[i:i+1])
		}
		if a.String() != c.String() || a.String() != d.String() {
			t.Fatalf("whole it is %s, in parts of %d %s, byte by byte %s", &a, step+1, &c, &d)
		}
		if !bytes.ContainsRune(b, 0x1b) && strings.Contains(a.String(), "<CSI") && !bytes.Contains(b, []byte("<CSI")) {
			t.Fatalf("%q began a sequence without an escape", b)
		}
	})
}
