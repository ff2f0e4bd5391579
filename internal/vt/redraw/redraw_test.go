package redraw

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// scribble is something that a program could write.
func scribble(r *rand.Rand) string {
	n := func(most int) int { return 1 + r.IntN(most) }
	switch r.IntN(14) {
	case 0:
		return fmt.Sprintf("\x1b[%d;%dH", n(12), n(40))
	case 1:
		return []string{"\x1b[1m", "\x1b[3;9m", "\x1b[2;5m", "\x1b[7m", "\x1b[8m", "\x1b[0m"}[r.IntN(6)]
	case 2:
		return fmt.Sprintf("\x1b[%d;4%dm", 30+r.IntN(8), r.IntN(8))
	case 3:
		return fmt.Sprintf("\x1b[38;5;%dm\x1b[48;2;%d;%d;%dm", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
	case 4:
		return "\x1b[4m"
	case 5:
		return []string{"\x1b[K", "\x1b[1J", "\x1b[J", "\x1b[1K", "\x1b[2K", "\x1b[5X", "\x1b[3P", "\x1b[4@"}[r.IntN(8)]
	case 6:
		return []string{"漢字かな", "🙂👩‍👩‍👧", "e\u0301a\u0308", "한글"}[r.IntN(4)]
	case 7:
		return []string{"\r\n", "\n", "\x1bM", "\t", "\b\b"}[r.IntN(5)]
	case 8:
		return []string{"\x1b[?25l", "\x1b[?25h", "\x1b[?1h", "\x1b[?1l", "\x1b[?2004h", "\x1b[?1002;1006h", "\x1b[?1002l", "\x1b="}[r.IntN(8)]
	case 9:
		return fmt.Sprintf("\x1b[%d;%dr", n(5), 6+n(6))
	case 10:
		return []string{"\x1b[?1049h", "\x1b[?1049l"}[r.IntN(2)]
	case 11:
		return "\x1b]8;;https://example.com\x1b\\a link\x1b]8;;\x1b\\\x1b]2;a title\a"
	}
	return strings.Repeat("words of a program ", n(3))
}

// same wants one terminal to show in its upper left corner what another shows from a
// place on. A wide cell of which only a half is seen is a blank.
func same(t *testing.T, got, want *vt.Terminal, x0, y0 int) {
	t.Helper()
	cols, rows := got.Size()
	wc, wr := want.Size()
	for y := range min(rows, wr-y0) {
		for x := range min(cols, wc-x0) {
			g, w := got.Cell(x, y), want.Cell(x0+x, y0+y)
			w.Style.Link = 0
			if half := w.Width == 0 && x == 0 || w.Width > 1 && x == cols-1; half {
				w.Text, w.Width = " ", 1
			}
			if blank(g) && blank(w) {
				g.Text = w.Text
			}
			if g != w {
				t.Fatalf("column %d of row %d: %+v, want %+v", x, y, g, w)
			}
		}
	}
}

func blank(c vt.Cell) bool { return c.Width == 1 && strings.TrimSpace(c.Text) == "" }

// Whatever a program writes, in pieces, and whatever size the terminal of who looks on
// has and gets: it shows the part with the cursor, and is asked for nothing else.
func TestPaint(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			program := vt.New(40, 12, vt.Options{})
			cols, rows := 5+r.IntN(50), 2+r.IntN(14)
			eye := vt.New(cols, rows, vt.Options{})
			p := &Painter{Keys: true}
			for range 60 {
				program.Write([]byte(scribble(r)))
				if r.IntN(3) > 0 {
					continue
				}
				if r.IntN(12) == 0 {
					cols, rows = 5+r.IntN(50), 2+r.IntN(14)
					eye.Resize(cols, rows)
				}
				eye.Write(p.Paint(nil, program, cols, rows))
				same(t, eye, program, p.x, p.y)
				c, e := program.Cursor(), eye.Cursor()
				if e.Visible != c.Visible || e.X != c.X-p.x || e.Y != c.Y-p.y {
					t.Fatalf("cursor %+v of %+v, from %d, %d", e, c, p.x, p.y)
				}
			}
			eye.Write(p.Paint(nil, program, cols, rows))
			want, got := modes(program.Modes()), modes(eye.Modes())
			for n := range want {
				if n != 66 && want[n] != got[n] {
					t.Errorf("mode %d is %v, want %v", n, got[n], want[n])
				}
			}
			if eye.Title().String() != "" || len(eye.Replies()) > 0 || eye.Bells() > 0 {
				t.Errorf("who looks on was told %q, answered %q, and heard %d bells", eye.Title(), eye.Replies(), eye.Bells())
			}
		})
	}
}

// What has not changed is not drawn again.
func TestPaintAgain(t *testing.T) {
	program := vt.New(40, 12, vt.Options{})
	program.Write([]byte("one\r\ntwo\r\nthree"))
	var p Painter
	p.Paint(nil, program, 40, 12)
	if again := string(p.Paint(nil, program, 40, 12)); strings.Contains(again, "t") {
		t.Errorf("drawn again: %q", again)
	}
	program.Write([]byte("\x1b[2;1HTWO"))
	if again := string(p.Paint(nil, program, 40, 12)); !strings.Contains(again, "TWO") || strings.Contains(again, "one") || strings.Contains(again, "three") {
		t.Errorf("drawn for a change of one row: %q", again)
	}
}

// Without Keys the terminal's own modes stay as they are.
func TestModesAreTheTypists(t *testing.T) {
	program := vt.New(40, 12, vt.Options{})
	program.Write([]byte("\x1b[?1h\x1b[?2004h\x1b[?1003;1006h"))
	var p Painter
	if out := string(p.Paint(nil, program, 40, 12)); strings.Contains(out, "2004") || strings.Contains(out, "1003") {
		t.Errorf("modes were set: %q", out)
	}
}
