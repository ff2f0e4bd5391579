// Package redraw gives the bytes that show on one terminal what an emulator shows of
// another. They are made of cells, styles and modes alone: nothing that a program has
// asked of its terminal is asked again, and no title or clipboard is set.
//
// The package is pure. Of this module it must import only vt.
package redraw

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// Line appends what draws the cells of a row.
func Line(out []byte, cells []vt.Cell) []byte {
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

// modes are those that whoever types must be in, by their number.
func modes(m vt.Modes) map[int]bool {
	all := map[int]bool{
		1: m.CursorKeys, 66: m.Keypad, 2004: m.BracketedPaste, 1004: m.FocusEvents, 1006: m.MouseSGR, 1007: m.AlternateScroll,
		9: false, 1000: false, 1002: false, 1003: false,
	}
	if n := map[vt.Mouse]int{vt.MousePress: 9, vt.MouseButton: 1000, vt.MouseDrag: 1002, vt.MouseMotion: 1003}[m.Mouse]; n > 0 {
		all[n] = true
	}
	return all
}

// Modes appends what sets the modes that whoever types must be in, where they are not as
// a terminal begins.
func Modes(out []byte, m vt.Modes) []byte { return change(out, vt.Modes{}, m) }

// change appends what makes the modes of one those of another.
func change(out []byte, from, to vt.Modes) []byte {
	before, after := modes(from), modes(to)
	for _, n := range slices.Sorted(maps.Keys(after)) {
		if before[n] == after[n] {
			continue
		}
		end := byte('l')
		if after[n] {
			end = 'h'
		}
		out = append(fmt.Appendf(out, "\x1b[?%d", n), end)
	}
	return out
}

// Cursor gives what hides a hidden cursor.
func Cursor(c vt.Cursor) []byte {
	if c.Visible {
		return nil
	}
	return []byte("\x1b[?25l")
}
