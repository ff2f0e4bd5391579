package pane

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
)

// script is a terminal that prints what the test writes to feed, and keeps
// what the pane sends.
type script struct {
	out  *io.PipeReader
	feed *io.PipeWriter

	mu   sync.Mutex
	some sync.Cond
	sent bytes.Buffer
	size [2]uint16
}

func newScript() *script {
	s := new(script)
	s.out, s.feed = io.Pipe()
	s.some.L = &s.mu
	return s
}

func (s *script) Read(p []byte) (int, error) { return s.out.Read(p) }
func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.some.Broadcast()
	return s.sent.Write(p)
}
func (s *script) Close() error { s.feed.Close(); return s.out.Close() }
func (s *script) Resize(cols, rows uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = [2]uint16{cols, rows}
	return nil
}
func (s *script) Wait() (backend.Exit, error)  { return backend.Exit{Code: 7}, nil }
func (s *script) Assurance() backend.Assurance { return backend.Assurance{} }

// awaitSent waits until n bytes were sent and returns them.
func (s *script) awaitSent(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sent.Len() < n {
		s.some.Wait()
	}
	return s.sent.String()
}

// run prints stream in a pane of 80 by 24 and returns the pane at its end.
func run(t *testing.T, stream string) (*Pane, *script) {
	t.Helper()
	s := newScript()
	p := New(s, 80, 24, func() {})
	t.Cleanup(func() { p.Close() })
	if _, err := io.WriteString(s.feed, stream); err != nil {
		t.Fatal(err)
	}
	s.feed.Close()
	<-p.Done()
	return p, s
}

func screenText(p *Pane) string {
	scr := uv.NewScreenBuffer(80, 24)
	p.Draw(scr, scr.Bounds())
	return scr.String()
}

func TestDraws(t *testing.T) {
	p, _ := run(t, "hello\r\n\x1b[31mwörld\x1b[m 漢字 e\u0301")
	lines := strings.Split(screenText(p), "\n")
	if strings.TrimRight(lines[0], " ") != "hello" || strings.TrimRight(lines[1], " ") != "wörld 漢字 e\u0301" {
		t.Errorf("got %q, %q", lines[0], lines[1])
	}
	if st := p.Status(); !st.Ended || st.Exit.Code != 7 || st.Resets != 0 {
		t.Errorf("Status = %+v", st)
	}
}

func TestSplitUTF8(t *testing.T) {
	const text = "żółw 漢字 🐢 |"
	s := newScript()
	p := New(s, 80, 24, func() {})
	defer p.Close()
	for _, b := range []byte(text) {
		s.feed.Write([]byte{b})
	}
	s.feed.Close()
	<-p.Done()
	if got := strings.Split(screenText(p), "\n")[0]; strings.TrimRight(got, " ") != text {
		t.Errorf("got %q", got)
	}
}

// TestSurvivesPanics panics as the emulator never should.
func TestSurvivesPanics(t *testing.T) {
	p, _ := run(t, "before\x1b[1;60r\x1b[S")
	if st := p.Status(); st.Resets != 0 {
		t.Errorf("the emulator broke: %+v", st)
	}
	p.guard(func(*vt.Terminal) { panic("a bug") })
	if p.Status().Resets != 1 || !p.TakeDirty() {
		t.Error("the panic was not told")
	}
	p.parse([]byte("after"))
	if got := screenText(p); !strings.Contains(got, "after") || strings.Contains(got, "before") {
		t.Errorf("the pane does not go on with an empty screen: %q", got)
	}
}

// TestHostileStreams prints what would reach the outer terminal where a pane
// copied bytes instead of cells.
func TestHostileStreams(t *testing.T) {
	for name, stream := range map[string]string{
		"clipboard":    "\x1b]52;c;ZXZpbA==\x07",
		"title":        "\x1b]0;evil\x07\x1b]2;evil\x1b\\",
		"link":         "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
		"dcs":          "\x1bP+q544e\x1b\\\x1bPq#0;2;0;0;0~\x1b\\",
		"apc":          "\x1b_Gf=100;AAAA\x1b\\",
		"pm and sos":   "\x1b^evil\x1b\\\x1bXevil\x1b\\",
		"c1 csi":       "\u009b31mred\u009d52;c;ZXZpbA==\u009c",
		"raw c1":       "\x9b31mred\x9d0;evil\x9c",
		"bidi":         "abc\u202edcba\u2066x\u2069",
		"zero width":   "a\u200bb\ufeffc\u2060",
		"tag runes":    "a\U000e0041\U000e0042",
		"zalgo":        "a" + strings.Repeat("\u0301", 2000),
		"never ending": "\x1b]0;" + strings.Repeat("x", 100_000),
		"params":       "\x1b[" + strings.Repeat("9;", 5000) + "9m",
		"huge":         "\x1b[99999999@\x1b[99999999L\x1b[99999999b\x1b[99999999;99999999H\x1b[99999999S",
		"margins":      "\x1b[?69h\x1b[70;10s\x1b[20;3r\x1b[5S\x1b[5T",
		"modes":        "\x1b[?1049h\x1b[?1049l\x1b[?9999h\x1b[?25l\x1bc",
		"line drawing": "\x1b(0lqqk\x1b(B\x1b[!p",
		"queries":      strings.Repeat("\x1b[c\x1b[6n\x1b[?6n\x1b[>c\x1b[5n\x1bZ", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := run(t, stream)
			scr := uv.NewScreenBuffer(80, 24)
			p.Draw(scr, scr.Bounds())
			checkScreen(t, scr)
		})
	}
}

// checkScreen fails where a frame holds more than text and SGR.
func checkScreen(t *testing.T, scr uv.ScreenBuffer) {
	t.Helper()
	for y := range scr.Height() {
		for x := range scr.Width() {
			c := scr.CellAt(x, y)
			if c == nil || c.Content == "" {
				continue
			}
			if !harmless(c.Content) || !c.Link.IsZero() {
				t.Fatalf("cell %d,%d holds %q, link %v", x, y, c.Content, c.Link)
			}
		}
	}
	out := scr.Render()
	if strings.Contains(out, "\x1b]") || strings.Contains(out, "\x1bP") || strings.Contains(out, "\u009b") {
		t.Fatalf("the frame carries a sequence that is not SGR: %q", out)
	}
}

// harmless says whether s holds neither a control nor a mark that would move
// what stands beside it. It looks for itself, and does not ask the emulator.
func harmless(s string) bool {
	for _, r := range s {
		joiner := r == '\u200d' || r == '\u200c' // inside a cluster
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) && !joiner {
			return false
		}
	}
	return len(s) <= 40
}

func TestQueriesAreAnsweredAndBounded(t *testing.T) {
	s := newScript()
	p := New(s, 80, 24, func() {})
	defer p.Close()
	go io.WriteString(s.feed, "\x1b[6n")
	if got := s.awaitSent(6); got != "\x1b[1;1R" {
		t.Errorf("CPR = %q", got)
	}
	q := newInputQueue()
	for range 10_000 {
		q.reply([]byte("\x1b[1;1R"))
	}
	if q.size > maxReplies {
		t.Errorf("%d bytes of replies wait", q.size)
	}
}

func TestPaste(t *testing.T) {
	s := newScript()
	p := New(s, 80, 24, func() {})
	defer p.Close()
	p.Paste("a\nb\r\nc")
	if got := s.awaitSent(5); got != "a\rb\rc" {
		t.Errorf("plain paste = %q", got)
	}
	go io.WriteString(s.feed, "\x1b[?2004h\x1b[6n")
	s.awaitSent(5 + 6) // the answer says that the mode was seen
	big := strings.Repeat("0123456789abcdef", 1<<16)
	p.Paste("x\x1b[20\x1b[201~1~rm -rf\n" + big)
	want := "\x1b[200~xrm -rf\r" + big + "\x1b[201~"
	if got := s.awaitSent(11 + len(want)); got[11:] != want {
		t.Errorf("bracketed paste of %d bytes differs; begins %q", len(want), got[11:40])
	}
}

// TestEchoIsGuessed types before the program echoes.
func TestEchoIsGuessed(t *testing.T) {
	s := newScript()
	p := New(s, 80, 24, func() {})
	defer p.Close()
	p.Predict(predict.Always)
	heard := func(text, reply string) { // and wait until it was parsed
		s.mu.Lock()
		n := s.sent.Len()
		s.mu.Unlock()
		io.WriteString(s.feed, text+"\x1b[?6n")
		s.awaitSent(n + len(reply))
	}
	look := func(want string, underlined string, x int) {
		t.Helper()
		scr := uv.NewScreenBuffer(80, 24)
		p.Draw(scr, scr.Bounds())
		marked := ""
		for x := range 80 {
			if c := scr.CellAt(x, 0); c.Style.Underline == uv.UnderlineSingle {
				marked += c.Content
			}
		}
		if got := strings.TrimRight(scr.Line(0).String(), " "); got != want || marked != underlined {
			t.Errorf("drawn %q, underlined %q; want %q, %q", got, marked, want, underlined)
		}
		if at, _, _ := p.Cursor(); at != x {
			t.Errorf("the cursor is at %d, not %d", at, x)
		}
	}
	heard("$ ", "\x1b[?1;3R")
	p.Send([]byte("l"))
	look("$", "", 2)
	heard("l", "\x1b[?1;4R")
	p.Send([]byte("s -l"))
	look("$ ls -l", "s-l", 7)
	p.Scroll(1)
	p.Resize(70, 24)
	look("$ l", "", 3)
	p.Send([]byte("s"))
	heard("s", "\x1b[?1;5R")
	p.Paste("more")
	look("$ ls", "", 4)
}

func TestInputIsBounded(t *testing.T) {
	q := newInputQueue()
	q.add(make([]byte, maxInput))
	q.add([]byte("x"))
	if !q.refused() || q.size != maxInput {
		t.Errorf("refused %v, size %d", q.refused(), q.size)
	}
}

func TestKeys(t *testing.T) {
	for _, tc := range []struct {
		key  uv.Key
		app  bool
		want string
	}{
		{uv.Key{Code: 'a', Text: "a"}, false, "a"},
		{uv.Key{Code: 'a', Text: "A", Mod: uv.ModShift}, false, "A"},
		{uv.Key{Code: 'ż', Text: "ż"}, false, "ż"},
		{uv.Key{Code: 'c', Mod: uv.ModCtrl}, false, "\x03"},
		{uv.Key{Code: ']', Mod: uv.ModCtrl}, false, "\x1d"},
		{uv.Key{Code: uv.KeySpace, Mod: uv.ModCtrl}, false, "\x00"},
		{uv.Key{Code: uv.KeySpace, Text: " "}, false, " "},
		{uv.Key{Code: 'b', Mod: uv.ModAlt}, false, "\x1bb"},
		{uv.Key{Code: 'd', Mod: uv.ModAlt | uv.ModCtrl}, false, "\x1b\x04"},
		{uv.Key{Code: uv.KeyEnter}, false, "\r"},
		{uv.Key{Code: uv.KeyBackspace}, false, "\x7f"},
		{uv.Key{Code: uv.KeyEscape}, false, "\x1b"},
		{uv.Key{Code: uv.KeyTab}, false, "\t"},
		{uv.Key{Code: uv.KeyTab, Mod: uv.ModShift}, false, "\x1b[Z"},
		{uv.Key{Code: uv.KeyUp}, false, "\x1b[A"},
		{uv.Key{Code: uv.KeyUp}, true, "\x1bOA"},
		{uv.Key{Code: uv.KeyLeft, Mod: uv.ModCtrl}, true, "\x1b[1;5D"},
		{uv.Key{Code: uv.KeyF1}, false, "\x1bOP"},
		{uv.Key{Code: uv.KeyF5, Mod: uv.ModShift}, false, "\x1b[15;2~"},
		{uv.Key{Code: uv.KeyPgDown}, false, "\x1b[6~"},
		{uv.Key{Code: uv.KeyMediaPlay}, false, ""},
		{uv.Key{Code: uv.KeyLeftShift}, false, ""},
	} {
		if got := string(encodeKey(tc.key, vt.Modes{CursorKeys: tc.app})); got != tc.want {
			t.Errorf("%v (app %v) = %q, want %q", tc.key, tc.app, got, tc.want)
		}
	}
}

func TestResize(t *testing.T) {
	s := newScript()
	p := New(s, 80, 24, func() {})
	defer p.Close()
	for _, bad := range [][2]int{{0, 24}, {80, 0}, {-1, -1}} {
		p.Resize(bad[0], bad[1])
	}
	if s.size != [2]uint16{} || p.cols != 80 || p.rows != 24 {
		t.Errorf("a bad size was taken: %v", s.size)
	}
	p.Resize(100, 30)
	if s.size != [2]uint16{100, 30} {
		t.Errorf("size = %v", s.size)
	}
	p.Resize(1<<30, 5)
	if p.cols != vt.MaxSize {
		t.Errorf("cols = %d", p.cols)
	}
}

func TestScrollbackIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 3 * scrollbackLines {
		fmt.Fprintf(&b, "line %d\r\n", i)
	}
	p, _ := run(t, b.String())
	if h := p.Status().History; h > scrollbackLines {
		t.Errorf("%d lines of history", h)
	}
	p.Scroll(10)
	if !strings.Contains(screenText(p), fmt.Sprintf("line %d", 3*scrollbackLines-24-10+1)) {
		t.Errorf("scrolled back:\n%s", screenText(p))
	}
	p.Scroll(1 << 30)
	p.Scroll(-1 << 30)
	if p.Status().Back != 0 {
		t.Errorf("back = %d", p.Status().Back)
	}
}

// TestViewStaysWhereOneReads prints while the view is scrolled back.
func TestViewStaysWhereOneReads(t *testing.T) {
	p := &Pane{wake: func() {}, input: newInputQueue(), cols: 80, rows: 24}
	p.newEmulator()
	for i := range 100 {
		p.parse(fmt.Appendf(nil, "line %d\r\n", i))
	}
	p.Scroll(10)
	before := screenText(p)
	for i := range 1000 {
		p.parse(fmt.Appendf(nil, "more %d\r\n", i))
	}
	if got := screenText(p); got != before {
		t.Errorf("it was\n%s\nand is\n%s", before, got)
	}
	for range 2 * scrollbackLines {
		p.parse([]byte("flood\r\n"))
	}
	screenText(p)
	if st := p.Status(); st.Back != st.History {
		t.Errorf("%d of %d lines back after what was read is gone", st.Back, st.History)
	}
}

// TestStyles checks that each style of the emulator is one of the screen.
func TestStyles(t *testing.T) {
	p, _ := run(t, "\x1b[1;2;3;5;7;8;9;4:3;31;48;5;200;58:2::1:2:3ma\x1b[0;38;2;4;5;6;97;104mb\x1b[0;38;2;4;5;6mc\x1b[md")
	scr := uv.NewScreenBuffer(80, 24)
	p.Draw(scr, scr.Bounds())
	for x, want := range []uv.Style{
		{
			Fg: ansi.Red, Bg: ansi.IndexedColor(200), UnderlineColor: color.RGBA{1, 2, 3, 255}, Underline: uv.UnderlineCurly,
			Attrs: uv.AttrBold | uv.AttrFaint | uv.AttrItalic | uv.AttrBlink | uv.AttrReverse | uv.AttrConceal | uv.AttrStrikethrough,
		},
		{Fg: ansi.BrightWhite, Bg: ansi.BrightBlue},
		{Fg: color.RGBA{4, 5, 6, 255}},
		{},
	} {
		if got := scr.CellAt(x, 0).Style; got != want {
			t.Errorf("cell %d is %+v, not %+v", x, got, want)
		}
	}
	p.parse([]byte("\x1b[?5h"))
	p.Draw(scr, scr.Bounds())
	if scr.CellAt(0, 0).Style.Attrs&uv.AttrReverse != 0 || scr.CellAt(3, 0).Style.Attrs != uv.AttrReverse || scr.CellAt(70, 20).Style.Attrs != uv.AttrReverse {
		t.Error("a reversed screen is not reversed")
	}
}

// TestConcurrentUse is for -race: output, input, resizes and frames at once.
func TestConcurrentUse(t *testing.T) {
	s := newScript()
	wakes := make(chan struct{}, 1)
	p := New(s, 80, 24, func() {
		select {
		case wakes <- struct{}{}:
		default:
		}
	})
	defer p.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 200 {
			fmt.Fprintf(s.feed, "\x1b[%d;%dH%s\x1b[%dm\x1b[c", rng.IntN(40), rng.IntN(100), strings.Repeat("x", rng.IntN(300)), rng.IntN(50))
		}
		s.feed.Close()
	})
	wg.Go(func() {
		for i := range 100 {
			p.Resize(20+i%90, 5+i%40)
			p.Key(uv.Key{Code: 'x', Text: "x"})
		}
	})
	wg.Go(func() {
		for i := range 100 {
			screenText(p)
			p.Cursor()
			p.Show(i%2 == 0)
			p.Scroll(i%3 - 1)
			p.Status()
			p.TakeDirty()
		}
	})
	wg.Wait()
	<-p.Done()
	<-wakes
}

// endless prints for ever and counts.
type endless struct {
	script
	mu   sync.Mutex
	read int
	stop chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.stop:
		return 0, io.EOF
	default:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.read += len(p)
	return copy(p, bytes.Repeat([]byte("flood "), len(p)/6+1)), nil
}

func (e *endless) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.read
}

// TestKeysPassAFlood checks that input is not stuck behind output.
func TestKeysPassAFlood(t *testing.T) {
	e := &endless{stop: make(chan struct{})}
	e.script.some.L = &e.script.mu
	e.script.out, e.script.feed = io.Pipe()
	p := New(e, 80, 24, func() {})
	for e.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Key(uv.Key{Code: 'c', Mod: uv.ModCtrl})
	if got := e.awaitSent(1); got != "\x03" {
		t.Errorf("sent %q", got)
	}
	close(e.stop)
	<-p.Done()
	p.Close()
}

func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"plain\r\n", "\x1b[1;60r\x1b[S", "\x1b]52;c;AA==\x07", "\x1b[?1049h\x1b[2J", "\u202e漢e\u0301\U0001f469\u200d\U0001f4bb",
		"\x1b[99999b", "\x1b(0q\x1b)B\x0e\x0f", "\x9b1m\x90x\x9c", "\x1b[6n\x1b[c",
	} {
		f.Add([]byte(seed), uint8(80), uint8(24))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cols, rows uint8) {
		p := &Pane{wake: func() {}, input: newInputQueue(), cols: 80, rows: 24, term: newScript()}
		p.newEmulator()
		p.parse(stream[:len(stream)/2])
		p.Resize(int(cols), int(rows))
		p.parse(stream[len(stream)/2:])
		scr := uv.NewScreenBuffer(80, 24)
		p.Draw(scr, scr.Bounds())
		p.Cursor()
		checkScreen(t, scr)
	})
}

func BenchmarkText(b *testing.B) {
	line := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog ", 4) + "\r\n")
	chunk := bytes.Repeat(line, 100)
	p := &Pane{wake: func() {}, input: newInputQueue(), cols: 200, rows: 50}
	p.newEmulator()
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		p.parse(chunk)
	}
}
