package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// Sizes in pixels, and the colours of the terminal that is drawn.
const (
	cellW, cellH = 10, 20
	baseline     = 15 // below a cell's upper edge
	pad, bar     = 14, 34
	points       = 16.6 // a letter of Go Mono is then as wide as a cell
)

var (
	background = color.RGBA{0x12, 0x15, 0x1c, 0xff}
	foreground = color.RGBA{0xd7, 0xdc, 0xe6, 0xff}
	titleText  = color.RGBA{0x8a, 0x93, 0xa6, 0xff}
	buttons    = []color.RGBA{{0xff, 0x5f, 0x57, 0xff}, {0xfe, 0xbc, 0x2e, 0xff}, {0x28, 0xc8, 0x40, 0xff}}
)

// palette are the terminal's first sixteen colours.
var palette = [16]uint32{
	0x2a2f3a, 0xff6b6b, 0x5fd38d, 0xf2c55c, 0x6ca8ff, 0xc792ea, 0x5fd7d7, 0xd7dce6,
	0x5c6577, 0xff8f8f, 0x8ae6ad, 0xffdd8a, 0x9cc4ff, 0xdcb3f5, 0x93ecec, 0xffffff,
}

// A canvas is a picture that is being drawn. The same cells give the same bytes.
type canvas struct {
	*image.RGBA
	plain, bold font.Face
}

// picture draws a screen as a window with a title, as PNG.
func picture(emu *vt.Terminal, title string) ([]byte, error) {
	width, height := emu.Size()
	c := canvas{RGBA: image.NewRGBA(image.Rect(0, 0, width*cellW+2*pad, height*cellH+2*pad+bar))}
	var err error
	if c.plain, err = face(gomono.TTF); err != nil {
		return nil, err
	}
	if c.bold, err = face(gomonobold.TTF); err != nil {
		return nil, err
	}
	c.fill(c.Bounds(), background)
	for i, b := range buttons {
		c.disc(20+20*i, 18, 6, 0, b)
	}
	for i, r := range title {
		c.letter((c.Bounds().Dx()-len(title)*cellW)/2+i*cellW, 8, r, c.plain, titleText)
	}
	for y := range height {
		for x := 0; x < width; {
			cell := emu.Cell(x, y)
			c.cell(pad+x*cellW, pad+bar+y*cellH, cell)
			x += max(1, cell.Width)
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, c.reduced())
	return out.Bytes(), err
}

func face(ttf []byte) (font.Face, error) {
	f, err := opentype.Parse(ttf)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: points, DPI: 72, Hinting: font.HintingNone})
}

// reduced is the picture with a palette, where it has few enough colours for one.
func (c canvas) reduced() image.Image {
	known := make(map[color.RGBA]bool)
	var colours color.Palette
	for i := 0; i < len(c.Pix); i += 4 {
		at := color.RGBA{c.Pix[i], c.Pix[i+1], c.Pix[i+2], c.Pix[i+3]}
		if known[at] {
			continue
		}
		if known[at] = true; len(known) > 256 {
			return c.RGBA
		}
		colours = append(colours, at)
	}
	out := image.NewPaletted(c.Bounds(), colours)
	draw.Draw(out, out.Bounds(), c.RGBA, image.Point{}, draw.Src)
	return out
}

// cell draws one cell of the terminal at a pixel.
func (c canvas) cell(x, y int, cell vt.Cell) {
	style := cell.Style
	fg, bg := rgb(style.Fg, foreground), rgb(style.Bg, background)
	if style.Attrs&vt.Faint != 0 {
		fg = mix(bg, fg, 5)
	}
	if style.Attrs&vt.Reverse != 0 {
		fg, bg = bg, fg
	}
	if bg != background {
		c.fill(image.Rect(x, y, x+max(1, cell.Width)*cellW, y+cellH), bg)
	}
	use := c.plain
	if style.Attrs&vt.Bold != 0 {
		use = c.bold
	}
	// Marks that combine are left out.
	if r, n := utf8.DecodeRuneInString(cell.Text); n > 0 && !c.shape(x, y, r, fg) {
		c.letter(x, y, r, use, fg)
	}
	if style.Underline != vt.UnderlineNone {
		c.fill(image.Rect(x, y+baseline+2, x+cellW, y+baseline+3), fg)
	}
}

// letter draws a letter of a font, with eight steps between its colour and the ground, so
// that a picture has few colours.
func (c canvas) letter(x, y int, r rune, use font.Face, ink color.RGBA) {
	at, mask, from, _, ok := use.Glyph(fixed.P(x, y+baseline), r)
	if !ok {
		return
	}
	for j := at.Min.Y; j < at.Max.Y; j++ {
		for i := at.Min.X; i < at.Max.X; i++ {
			_, _, _, a := mask.At(from.X+i-at.Min.X, from.Y+j-at.Min.Y).RGBA()
			c.dot(i, j, int(a>>8)*7/255+int(a>>15), ink)
		}
	}
}

// dot colours a pixel in eighths of ink.
func (c canvas) dot(x, y, eighths int, ink color.RGBA) {
	if image.Pt(x, y).In(c.Bounds()) && eighths > 0 {
		c.SetRGBA(x, y, mix(c.RGBAAt(x, y), ink, min(eighths, 8)))
	}
}

func (c canvas) fill(at image.Rectangle, ink color.RGBA) {
	draw.Draw(c.RGBA, at, image.NewUniform(ink), image.Point{}, draw.Src)
}

// mix is a colour so many eighths of the way from one to another.
func mix(from, to color.RGBA, eighths int) color.RGBA {
	part := func(a, b uint8) uint8 { return uint8((int(a)*(8-eighths) + int(b)*eighths) / 8) }
	return color.RGBA{part(from.R, to.R), part(from.G, to.G), part(from.B, to.B), 0xff}
}

func rgb(c vt.Color, none color.RGBA) color.RGBA {
	if r, g, b, ok := c.RGB(); ok {
		return color.RGBA{r, g, b, 0xff}
	}
	i, ok := c.Index()
	switch {
	case !ok:
		return none
	case int(i) < len(palette):
		p := palette[i]
		return color.RGBA{uint8(p >> 16), uint8(p >> 8), uint8(p), 0xff}
	}
	r, g, b, _ := ansi.IndexedColor(i).RGBA()
	return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 0xff}
}
