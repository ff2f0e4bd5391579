package vt

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/vt/history"
)

// push packs a row at the end of the history.
func (t *Terminal) push(l *line) {
	cells := l.cells[:l.end]
	if l.wrapped {
		cells = l.cells
		if n := len(cells) - 1; cells[n].isSpacer() {
			cells = cells[:n]
		}
	}
	dst, id := t.packed[:0], 0
	for i := 0; i < len(cells); i++ {
		c := cells[i]
		if now := c.styleID(); now != id {
			id = now
			var style [maxPackedStyle]byte
			dst = history.AppendStyle(dst, appendStyle(style[:0], t.styles.values[id]))
		}
		switch low := uint32(c); {
		case low-0x20 < 0x5f:
			dst = append(dst, byte(low))
		case c.isTail():
		case c.content() == 0:
			n := 1
			for i+1 < len(cells) && cells[i+1]|spacer == c|spacer && !cells[i+1].isTail() {
				n++
				i++
			}
			dst = history.AppendBlanks(dst, n)
		case c&clusterFlag != 0:
			dst = history.AppendCluster(dst, t.clusters.values[c.content()], c.width())
		default:
			dst = history.AppendRune(dst, rune(c.content()), c.width())
		}
	}
	t.history.Add(dst, len(cells), l.wrapped)
	t.packed = dst
}

// unpackInto makes l, which is empty, the row that was packed as line n.
func (t *Terminal) unpackInto(l *line, n int) {
	r := t.history.Read(n)
	style, x := cell(0), 0
	for r.Next() && x+r.Width <= len(l.cells) {
		if r.NewStyle {
			style = styled(t.styleID(parseStyle(r.Style)))
		}
		c := style
		switch {
		case r.Text == nil:
		case r.Cluster:
			c |= t.clusterContent(r.Text)
		default:
			c |= cell(firstRune(r.Text))
		}
		if r.Width == 2 {
			c |= wide
			l.cells[x+1] = style | tail
		}
		l.cells[x] = c
		x += r.Width
		l.end = x
	}
	if l.wrapped = r.Wrapped; l.wrapped && x < len(l.cells) {
		l.cells[x] = spacer
		l.end = x + 1
	}
}

func firstRune(b []byte) rune {
	r, _ := utf8.DecodeRune(b)
	return r
}

// packedText returns what the cell that r is at shows, mostly without
// allocation.
func packedText(r *history.Reader) string {
	switch {
	case r.Text == nil:
		return " "
	case r.Cluster:
		return string(r.Text)
	}
	return runeText(firstRune(r.Text))
}

// maxPackedStyle is the length of the longest style, in bytes.
const maxPackedStyle = 2 + 4*binary.MaxVarintLen32

// appendStyle packs a style; the plain one is no bytes.
func appendStyle(dst []byte, s Style) []byte {
	if s == (Style{}) {
		return dst
	}
	dst = append(dst, byte(s.Attrs), byte(s.Underline))
	for _, c := range [...]Color{s.Fg, s.Bg, s.UnderlineColor} {
		dst = binary.AppendUvarint(dst, packColor(c))
	}
	return binary.AppendUvarint(dst, uint64(s.Link))
}

// parseStyle reads what appendStyle wrote.
func parseStyle(b []byte) Style {
	if len(b) == 0 {
		return Style{}
	}
	s := Style{Attrs: Attrs(b[0]), Underline: Underline(b[1])}
	b = b[2:]
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	for _, c := range [...]*Color{&s.Fg, &s.Bg, &s.UnderlineColor} {
		*c = unpackColor(number())
	}
	s.Link = LinkID(number())
	return s
}

// packColor makes the usual colours small: 0, then the palette, then others.
func packColor(c Color) uint64 {
	if i, ok := c.Index(); ok {
		return 1 + uint64(i)
	}
	if r, g, b, ok := c.RGB(); ok {
		return 257 + (uint64(r)<<16 | uint64(g)<<8 | uint64(b))
	}
	return 0
}

func unpackColor(v uint64) Color {
	switch {
	case v == 0:
		return 0
	case v < 257:
		return Indexed(uint8(v - 1))
	}
	v -= 257
	return RGB(uint8(v>>16), uint8(v>>8), uint8(v))
}
