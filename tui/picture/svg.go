package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
)

// Sizes in pixels, and the colours of the terminal that is drawn.
const (
	cellW, cellH = 9, 19
	pad, bar     = 14, 34
	background   = "#12151c"
	foreground   = "#d7dce6"
)

// palette are the terminal's first sixteen colours.
var palette = []color.Color{
	rgb(0x2a2f3a), rgb(0xff6b6b), rgb(0x5fd38d), rgb(0xf2c55c), rgb(0x6ca8ff), rgb(0xc792ea), rgb(0x5fd7d7), rgb(0xd7dce6),
	rgb(0x5c6577), rgb(0xff8f8f), rgb(0x8ae6ad), rgb(0xffdd8a), rgb(0x9cc4ff), rgb(0xdcb3f5), rgb(0x93ecec), rgb(0xffffff),
}

func rgb(v uint32) color.Color {
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

// svg draws a screen as a window with a title. Runs of one style are one text
// element, stretched to its cells, so that any monospaced font lines up.
func svg(emu *vt.Emulator, title string) []byte {
	w, h := emu.Width()*cellW+2*pad, emu.Height()*cellH+2*pad+bar
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="15">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="10" fill="%s"/>`+"\n", w, h, background)
	fmt.Fprintf(&b, `<text x="%d" y="23" text-anchor="middle" fill="#8a93a6">%s</text>`+"\n", w/2, escape(title))
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`+"\n", 20+20*i, c)
	}
	for y := range emu.Height() {
		for x := 0; x < emu.Width(); {
			x = run1(&b, emu, x, y)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// run1 draws the run of cells of one style at x, y and gives where it ends.
func run1(b *bytes.Buffer, emu *vt.Emulator, x, y int) int {
	at := func(x int) uv.Cell {
		if c := emu.CellAt(x, y); c != nil && c.Width > 0 {
			return *c
		}
		return uv.EmptyCell
	}
	start, style, text := x, at(x).Style, ""
	for x < emu.Width() && at(x).Style == style {
		c := at(x)
		if c.Content == "" {
			c.Content = " "
		}
		text += c.Content
		x += max(1, c.Width)
	}
	fg, bg := hex(style.Fg, foreground), hex(style.Bg, "")
	if style.Attrs&uv.AttrReverse != 0 {
		if bg == "" {
			bg = background
		}
		fg, bg = bg, fg
	}
	left, top, width := pad+start*cellW, pad+bar+y*cellH, (x-start)*cellW
	if bg != "" {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", left, top, width, cellH, bg)
	}
	if blank(text) {
		return x
	}
	extra := ""
	if style.Attrs&uv.AttrBold != 0 {
		extra += ` font-weight="bold"`
	}
	if style.Attrs&uv.AttrFaint != 0 {
		extra += ` opacity="0.6"`
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s"%s textLength="%d" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`+"\n",
		left, top+14, fg, extra, width, escape(text))
	return x
}

func blank(s string) bool {
	for _, r := range s {
		if r != ' ' {
			return false
		}
	}
	return true
}

func hex(c color.Color, none string) string {
	if c == nil {
		return none
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
