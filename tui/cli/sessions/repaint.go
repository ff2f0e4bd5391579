package sessions

import (
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/internal/vt/redraw"
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
		out = redraw.Line(out, cells)
	}
	if up := last - cursor.Y; up > 0 {
		out = fmt.Appendf(out, "\x1b[%dA", up)
	}
	out = fmt.Appendf(out, "\x1b[%dG", cursor.X+1)
	return append(redraw.Modes(out, modes), redraw.Cursor(cursor)...)
}
