package pane

import (
	"image/color"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// Draw copies the pane's cells to area of scr. The emulator vouches for their
// text; links stay behind.
func (p *Pane) Draw(scr uv.Screen, area uv.Rectangle) {
	p.guard(func(emu *vt.Terminal) {
		p.back = min(p.back, emu.ScrollbackLen())
		plain := styleOf(vt.Style{}, emu.Modes().ReverseScreen)
		p.line = DrawRows(scr, area, emu, 0, -p.back, p.line)
		if p.back > 0 {
			return
		}
		p.guesses.Shown(func(x, y int, text string) {
			cell := uv.Cell{Content: text, Width: ansi.StringWidth(text), Style: plain}
			if text != " " {
				cell.Style.Underline = uv.UnderlineSingle
			}
			if x+cell.Width <= area.Dx() && y < area.Dy() {
				scr.SetCell(area.Min.X+x, area.Min.Y+y, &cell)
			}
		})
	})
}

// DrawRows copies cells of an emulator to area of scr: from its column x and row y on, as
// vt.Terminal.Line counts rows. line is memory for one row, and is given back.
func DrawRows(scr uv.Screen, area uv.Rectangle, emu *vt.Terminal, x0, y0 int, line []vt.Cell) []vt.Cell {
	reverse := emu.Modes().ReverseScreen
	plain := styleOf(vt.Style{}, reverse)
	for y := range area.Dy() {
		line = emu.Line(line[:0], y0+y)
		last, style := vt.Style{}, plain
		for x := 0; x < area.Dx(); {
			cell := uv.EmptyCell
			cell.Style = plain
			if from := x0 + x; from < len(line) {
				from := &line[from]
				if from.Style != last {
					last, style = from.Style, styleOf(from.Style, reverse)
				}
				if x+from.Width <= area.Dx() && from.Width > 0 {
					cell.Content, cell.Width = from.Text, from.Width
				}
				cell.Style = style
			}
			scr.SetCell(area.Min.X+x, area.Min.Y+y, &cell)
			x += cell.Width
		}
	}
	return line
}

// styleOf is a style of the emulator as one of the screen.
func styleOf(s vt.Style, reverse bool) uv.Style {
	style := uv.Style{
		Fg: colorOf(s.Fg), Bg: colorOf(s.Bg), UnderlineColor: colorOf(s.UnderlineColor),
		Underline: uv.Underline(s.Underline),
	}
	if reverse {
		s.Attrs ^= vt.Reverse
	}
	for _, a := range [...]struct {
		from vt.Attrs
		to   uint8
	}{
		{vt.Bold, uv.AttrBold}, {vt.Faint, uv.AttrFaint}, {vt.Italic, uv.AttrItalic}, {vt.Blink, uv.AttrBlink},
		{vt.Reverse, uv.AttrReverse}, {vt.Conceal, uv.AttrConceal}, {vt.Strike, uv.AttrStrikethrough},
	} {
		if s.Attrs&a.from != 0 {
			style.Attrs |= a.to
		}
	}
	return style
}

// colorOf is a colour of the emulator as one of the screen; nil is the default.
func colorOf(c vt.Color) color.Color {
	if i, ok := c.Index(); ok {
		if i < 16 {
			return ansi.BasicColor(i)
		}
		return ansi.IndexedColor(i)
	}
	if r, g, b, ok := c.RGB(); ok {
		return color.RGBA{R: r, G: g, B: b, A: 0xff}
	}
	return nil
}

// Cursor returns where the cursor is within the pane, and whether it is
// shown.
func (p *Pane) Cursor() (x, y int, shown bool) {
	p.guard(func(emu *vt.Terminal) {
		c := emu.Cursor()
		x, y, shown = c.X, c.Y, c.Visible && p.back == 0 && !p.ended
		if gx, gy, ok := p.guesses.Shown(func(int, int, string) {}); ok {
			x, y = gx, gy
		}
	})
	return x, y, shown
}
