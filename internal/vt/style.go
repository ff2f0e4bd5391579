package vt

import "github.com/tucdesk/tucdesk/internal/vt/sequence"

// A Color is a colour as the program named it. The zero value is the default
// of whoever draws.
type Color uint32

const (
	indexedColor = 1 << 24
	directColor  = 2 << 24
)

// Indexed returns a colour of the palette of 256.
func Indexed(i uint8) Color { return indexedColor | Color(i) }

// RGB returns a direct colour.
func RGB(r, g, b uint8) Color {
	return directColor | Color(r)<<16 | Color(g)<<8 | Color(b)
}

// Index returns the place in the palette, if c has one.
func (c Color) Index() (uint8, bool) { return uint8(c), c&^0xff == indexedColor }

// RGB returns the parts of a direct colour, if c is one.
func (c Color) RGB() (r, g, b uint8, ok bool) {
	return uint8(c >> 16), uint8(c >> 8), uint8(c), c>>24 == directColor>>24
}

// Attrs is a set of attributes.
type Attrs uint8

// The attributes of SGR. RapidBlink is shown as Blink.
const (
	Bold Attrs = 1 << iota
	Faint
	Italic
	Blink
	Reverse
	Conceal
	Strike
)

// An Underline is a kind of line below the text.
type Underline uint8

// The kinds of SGR 4:0 to 4:5.
const (
	UnderlineNone Underline = iota
	UnderlineSingle
	UnderlineDouble
	UnderlineCurly
	UnderlineDotted
	UnderlineDashed
)

// A LinkID names the target of OSC 8; see Terminal.Link. Zero is no link.
type LinkID uint32

// A Style is how a cell looks. The zero value is plain. Styles are comparable.
type Style struct {
	Fg, Bg         Color
	UnderlineColor Color
	Link           LinkID
	Attrs          Attrs
	Underline      Underline
}

// A Cell is one cell as it is drawn.
type Cell struct {
	// Text is one grapheme cluster, " " where nothing was written, and ""
	// for the right half of a wide cell.
	Text string
	// Width is 1 or 2 columns, and 0 for the right half of a wide cell.
	Width int
	Style Style
}

// selectGraphics applies SGR to the pen.
func (t *Terminal) selectGraphics(q *sequence.Sequence) {
	if len(q.Args) == 0 {
		t.setPen(Style{Link: t.pen.Link})
		return
	}
	s := t.pen
	for i := 0; i < len(q.Args); {
		next := i + 1 // after the parameter and what hangs on it by colons
		for next < len(q.Args) && q.IsSub(next) {
			next++
		}
		switch n := q.Arg(i, 0); n {
		case 0:
			s = Style{Link: s.Link}
		case 1:
			s.Attrs |= Bold
		case 2:
			s.Attrs |= Faint
		case 3:
			s.Attrs |= Italic
		case 4:
			s.Underline = UnderlineSingle
			if next > i+1 {
				if kind := q.Arg(i+1, 1); kind <= int(UnderlineDashed) {
					s.Underline = Underline(kind)
				}
			}
		case 5, 6:
			s.Attrs |= Blink
		case 7:
			s.Attrs |= Reverse
		case 8:
			s.Attrs |= Conceal
		case 9:
			s.Attrs |= Strike
		case 21:
			s.Underline = UnderlineDouble
		case 22:
			s.Attrs &^= Bold | Faint
		case 23:
			s.Attrs &^= Italic
		case 24:
			s.Underline = UnderlineNone
		case 25:
			s.Attrs &^= Blink
		case 27:
			s.Attrs &^= Reverse
		case 28:
			s.Attrs &^= Conceal
		case 29:
			s.Attrs &^= Strike
		case 38, 48, 58:
			var c Color
			var ok bool
			if c, next, ok = colorAt(q, i, next); ok {
				switch n {
				case 38:
					s.Fg = c
				case 48:
					s.Bg = c
				default:
					s.UnderlineColor = c
				}
			}
		case 39:
			s.Fg = 0
		case 49:
			s.Bg = 0
		case 59:
			s.UnderlineColor = 0
		default:
			switch {
			case n >= 30 && n <= 37:
				s.Fg = Indexed(uint8(n - 30))
			case n >= 40 && n <= 47:
				s.Bg = Indexed(uint8(n - 40))
			case n >= 90 && n <= 97:
				s.Fg = Indexed(uint8(n - 90 + 8))
			case n >= 100 && n <= 107:
				s.Bg = Indexed(uint8(n - 100 + 8))
			}
		}
		i = next
	}
	t.setPen(s)
}

// colorAt reads the colour after parameter i, in the form of ITU T.416 (38:2::r:g:b
// or 38:5:n, which ends at next) or in xterm's (38;2;r;g;b). It returns where
// the sequence goes on.
func colorAt(q *sequence.Sequence, i, next int) (c Color, after int, ok bool) {
	var parts []int
	if next > i+1 {
		parts, after = q.Args[i+1:next], next
		if parts[0] == 2 && len(parts) >= 5 { // with a colour space
			parts = append([]int{2}, parts[2:5]...)
		}
	} else {
		n := 2 // 5;n
		if q.Arg(i+1, 0) == 2 {
			n = 4 // 2;r;g;b
		}
		after = min(len(q.Args), i+1+n)
		parts = q.Args[min(i+1, after):after]
	}
	for _, v := range parts[min(1, len(parts)):] {
		if v > 255 {
			return 0, after, false
		}
	}
	part := func(i int) uint8 { return uint8(max(0, parts[i])) } // a missing one is 0
	switch {
	case len(parts) >= 2 && parts[0] == 5:
		return Indexed(part(1)), after, true
	case len(parts) >= 4 && parts[0] == 2:
		return RGB(part(1), part(2), part(3)), after, true
	}
	return 0, after, false
}

func (t *Terminal) setPen(s Style) {
	if s != t.pen {
		t.pen = s
		t.penID = t.styleID(s)
	}
}
