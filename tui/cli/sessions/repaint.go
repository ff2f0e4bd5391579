package sessions

import (
	"fmt"
	"io"
	"strconv"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/vt"
)

// maxScrollback bounds the lines above the screen that are drawn again.
const maxScrollback = 1000

// Repaint draws what a terminal had shown before it was come back to, and says what is
// lost of it. A terminal that is new is left alone.
func Repaint(w io.Writer, t backend.Terminal, cols, rows uint16) error {
	r, ok := backend.TerminalAs[backend.ReturnedTerminal](t)
	if !ok || r.Past() == nil {
		return nil
	}
	_, err := w.Write(repaint(r.Past(), int(cols), int(rows)))
	return err
}

// repaint gives what draws a past on a terminal of a size. It has no byte of the past but
// cells that an emulator made of it: what it asked for then is not asked again.
func repaint(p *backend.Past, cols, rows int) (out []byte) {
	e := vt.New(int(p.Cols), int(p.Rows), vt.Options{Scrollback: maxScrollback})
	_, _ = e.Write(p.Output)
	e.Resize(cols, rows)
	if p.Lost > 0 {
		out = fmt.Appendf(out, "tucdesk: %d bytes of output before this are lost\r\n", p.Lost)
	}
	modes, cursor := e.Modes(), e.Cursor()
	if modes.Alternate {
		out = append(out, "\x1b[?1049h\x1b[H\x1b[2J"...)
	}
	last := rows - 1 // below it there is nothing
	for last > cursor.Y && len(e.Line(nil, last)) == 0 {
		last--
	}
	first := -e.ScrollbackLen()
	if modes.Alternate {
		first = 0
	}
	var cells []vt.Cell
	for y := first; y <= last; y++ {
		if y > first {
			out = append(out, "\r\n"...)
		}
		cells = e.Line(cells[:0], y)
		out = line(out, cells)
	}
	if up := last - cursor.Y; up > 0 {
		out = fmt.Appendf(out, "\x1b[%dA", up)
	}
	out = fmt.Appendf(out, "\x1b[%dG", cursor.X+1)
	return append(out, modesOf(modes, cursor)...)
}

// line appends the cells of a row.
func line(out []byte, cells []vt.Cell) []byte {
	var now vt.Style
	for _, c := range cells {
		if c.Width == 0 {
			continue
		}
		style := c.Style
		style.Link = 0
		if style != now {
			out = sgr(out, style)
			now = style
		}
		out = append(out, c.Text...)
	}
	if now != (vt.Style{}) {
		out = append(out, "\x1b[0m"...)
	}
	return out
}

// sgr appends what sets a style.
func sgr(out []byte, s vt.Style) []byte {
	out = append(out, "\x1b[0"...)
	for i, attr := range []vt.Attrs{vt.Bold, vt.Faint, vt.Italic, 0, vt.Blink, 0, vt.Reverse, vt.Conceal, vt.Strike} {
		if attr != 0 && s.Attrs&attr != 0 {
			out = append(out, ';', byte('1'+i))
		}
	}
	if s.Underline != vt.UnderlineNone {
		out = append(out, ";4"...)
	}
	out = color(out, 38, s.Fg)
	out = color(out, 48, s.Bg)
	return append(out, 'm')
}

func color(out []byte, base int, c vt.Color) []byte {
	if i, ok := c.Index(); ok {
		return fmt.Appendf(out, ";%d;5;%d", base, i)
	}
	if r, g, b, ok := c.RGB(); ok {
		return fmt.Appendf(out, ";%d;2;%d;%d;%d", base, r, g, b)
	}
	return out
}

// modesOf gives what sets the modes that whoever types must be in.
func modesOf(m vt.Modes, c vt.Cursor) (out []byte) {
	mouse := map[vt.Mouse]int{vt.MousePress: 9, vt.MouseButton: 1000, vt.MouseDrag: 1002, vt.MouseMotion: 1003}[m.Mouse]
	for _, mode := range []struct {
		n  int
		on bool
	}{
		{1, m.CursorKeys}, {66, m.Keypad}, {2004, m.BracketedPaste}, {1004, m.FocusEvents}, {1006, m.MouseSGR}, {1007, m.AlternateScroll}, {mouse, mouse > 0},
	} {
		if mode.on {
			out = append(append(append(out, "\x1b[?"...), strconv.Itoa(mode.n)...), 'h')
		}
	}
	if !c.Visible {
		out = append(out, "\x1b[?25l"...)
	}
	return out
}
