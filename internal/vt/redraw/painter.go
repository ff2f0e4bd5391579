package redraw

import (
	"bytes"
	"fmt"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// A Painter shows what an emulator shows on a terminal of any size: what has changed since
// the last time. A terminal that is smaller shows the part that the cursor is in. The
// zero value has shown nothing yet.
type Painter struct {
	Keys bool // whoever is there types: the modes of keys are set, too

	rows       [][]byte // as they were drawn
	x, y       int      // of the emulator, in the terminal's upper left corner
	cols, size int      // of the terminal
	modes      vt.Modes
	cells      []vt.Cell
}

// Paint appends what shows the emulator on a terminal of a size, which must be positive.
func (p *Painter) Paint(out []byte, e *vt.Terminal, cols, rows int) []byte {
	if cols != p.cols || rows != p.size {
		p.cols, p.size, p.rows = cols, rows, make([][]byte, rows)
		out = append(out, "\x1b[0m\x1b[2J"...)
	}
	ec, er := e.Size()
	c := e.Cursor()
	p.x, p.y = follow(p.x, c.X, cols, ec), follow(p.y, c.Y, rows, er)
	out = append(out, "\x1b[?25l"...)
	for i := range rows {
		var row []byte
		if y := p.y + i; y < er {
			p.cells = e.Line(p.cells[:0], y)
			row = Line(nil, crop(p.cells, p.x, cols))
		}
		if p.rows[i] != nil && bytes.Equal(row, p.rows[i]) || p.rows[i] == nil && len(row) == 0 {
			continue
		}
		out = fmt.Appendf(out, "\x1b[%d;1H\x1b[0m\x1b[K", i+1)
		out = append(out, row...)
		p.rows[i] = append([]byte{}, row...)
	}
	if p.Keys {
		out = change(out, p.modes, e.Modes())
		p.modes = e.Modes()
	}
	out = fmt.Appendf(out, "\x1b[%d;%dH", c.Y-p.y+1, min(c.X-p.x, cols-1)+1)
	if c.Visible {
		out = append(out, "\x1b[?25h"...)
	}
	return out
}

// follow gives where a window of a size begins, so that it holds a place and moves no
// more than it must.
func follow(begin, at, size, all int) int {
	begin = min(begin, at)
	begin = max(begin, at-size+1)
	return max(min(begin, all-size), 0)
}

// crop gives so many columns of a row, from one on. A half of a wide cell is a blank.
func crop(cells []vt.Cell, from, cols int) []vt.Cell {
	if from >= len(cells) {
		return nil
	}
	cells = cells[from:]
	if len(cells) > cols {
		cells = cells[:cols]
	}
	blank := func(i int) { cells[i].Text, cells[i].Width = " ", 1 }
	for i := 0; i < len(cells) && cells[i].Width == 0; i++ {
		blank(i)
	}
	if last := len(cells) - 1; cells[last].Width > 1 {
		blank(last)
	}
	return cells
}
