package pane

import (
	"unicode"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
)

// maxCell bounds the text of one cell, in bytes: a base and a few marks.
const maxCell = 32

// Draw copies the pane's cells to area of scr.
func (p *Pane) Draw(scr uv.Screen, area uv.Rectangle) {
	p.guard(func(emu *vt.Emulator) {
		history := emu.ScrollbackLen()
		p.back = min(p.back, history)
		for y := range area.Dy() {
			line := history - p.back + y
			for x := 0; x < area.Dx(); {
				var from *uv.Cell
				if line < history {
					from = emu.ScrollbackCellAt(x, line)
				} else {
					from = emu.CellAt(x, line-history)
				}
				cell := cleanCell(from)
				if x+cell.Width > area.Dx() {
					cell = uv.EmptyCell
				}
				scr.SetCell(area.Min.X+x, area.Min.Y+y, &cell)
				x += cell.Width
			}
		}
	})
}

// cleanCell returns a cell that can't do anything to the outer terminal but
// show a character.
func cleanCell(from *uv.Cell) uv.Cell {
	if from == nil || from.Content == "" {
		c := uv.EmptyCell
		if from != nil {
			c.Style = from.Style
		}
		return c
	}
	c := uv.Cell{Content: from.Content, Style: from.Style, Width: from.Width}
	if c.Width < 1 || c.Width > 2 || len(c.Content) > maxCell || !harmless(c.Content) {
		c.Content, c.Width = "\uFFFD", 1
	}
	return c
}

// harmless says whether s holds neither a control nor a mark that would move
// what stands beside it.
func harmless(s string) bool {
	if len(s) == 1 {
		return s[0] >= 0x20 && s[0] < 0x7f
	}
	for _, r := range s {
		switch {
		case r == '\u200d' || r == '\u200c': // joiners inside a cluster
		case r == utf8.RuneError && len(s) != 3:
			return false
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return false
		}
	}
	return true
}

// Cursor returns where the cursor is within the pane, and whether it is
// shown.
func (p *Pane) Cursor() (x, y int, shown bool) {
	p.guard(func(emu *vt.Emulator) {
		pos := emu.CursorPosition()
		x, y = pos.X, pos.Y
		shown = !emu.CursorHidden() && p.back == 0 && !p.ended &&
			x >= 0 && y >= 0 && x < p.cols && y < p.rows
	})
	return x, y, shown
}
