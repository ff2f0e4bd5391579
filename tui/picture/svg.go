package main

import (
	"bytes"
	"encoding/xml"
	"fmt"

	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// Sizes in pixels, and the colours of the terminal that is drawn.
const (
	cellW, cellH = 9, 19
	pad, bar     = 14, 34
	background   = "#12151c"
	foreground   = "#d7dce6"
)

// palette are the terminal's first sixteen colours.
var palette = []string{
	"#2a2f3a", "#ff6b6b", "#5fd38d", "#f2c55c", "#6ca8ff", "#c792ea", "#5fd7d7", "#d7dce6",
	"#5c6577", "#ff8f8f", "#8ae6ad", "#ffdd8a", "#9cc4ff", "#dcb3f5", "#93ecec", "#ffffff",
}

// svg draws a screen as a window with a title. Runs of one style are one text
// element, stretched to its cells, so that any monospaced font lines up.
func svg(emu *vt.Terminal, title string) []byte {
	width, height := emu.Size()
	w, h := width*cellW+2*pad, height*cellH+2*pad+bar
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="15">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="10" fill="%s"/>`+"\n", w, h, background)
	fmt.Fprintf(&b, `<text x="%d" y="23" text-anchor="middle" fill="#8a93a6">%s</text>`+"\n", w/2, escape(title))
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`+"\n", 20+20*i, c)
	}
	for y := range height {
		for x := 0; x < width; {
			x = run1(&b, emu, x, y, width)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// run1 draws the run of cells of one style at x, y and gives where it ends.
func run1(b *bytes.Buffer, emu *vt.Terminal, x, y, width int) int {
	start, style, text := x, emu.Cell(x, y).Style, ""
	for x < width && emu.Cell(x, y).Style == style {
		c := emu.Cell(x, y)
		text += c.Text
		x += c.Width
	}
	fg, bg := hex(style.Fg, foreground), hex(style.Bg, "")
	if style.Attrs&vt.Reverse != 0 {
		if bg == "" {
			bg = background
		}
		fg, bg = bg, fg
	}
	left, top, length := pad+start*cellW, pad+bar+y*cellH, (x-start)*cellW
	if bg != "" {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", left, top, length, cellH, bg)
	}
	if blank(text) {
		return x
	}
	extra := ""
	if style.Attrs&vt.Bold != 0 {
		extra += ` font-weight="bold"`
	}
	if style.Attrs&vt.Faint != 0 {
		extra += ` opacity="0.6"`
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s"%s textLength="%d" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`+"\n",
		left, top+14, fg, extra, length, escape(text))
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

func hex(c vt.Color, none string) string {
	if r, g, b, ok := c.RGB(); ok {
		return fmt.Sprintf("#%02x%02x%02x", r, g, b)
	}
	i, ok := c.Index()
	switch {
	case !ok:
		return none
	case int(i) < len(palette):
		return palette[i]
	}
	r, g, b, _ := ansi.IndexedColor(i).RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
