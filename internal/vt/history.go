package vt

import (
	"encoding/binary"
	"slices"
	"sort"
	"unicode/utf8"
)

// A history holds lines that left the screen, packed.
//
// A line is the UTF-8 of its narrow cells of one rune each. Cells hold no
// controls, so bytes below 0x20 say what is not such a cell:
const (
	opBlanks  = 1 // count: so many cells that nothing was written to
	opWide    = 2 // the next rune is wide
	opCluster = 3 // length: a narrow cluster of so many bytes
	opWideCl  = 4 // length: a wide cluster
	opStyle   = 5 // attributes, underline, colours, link: the style from here on
	opPlain   = 6 // the plain style from here on
)

const (
	// blockSize and blockLines are when a new block is begun.
	blockSize  = 32 << 10
	blockLines = 1024
	// lineBudget times the limit of lines is the limit of bytes.
	lineBudget = 512
)

type history struct {
	limit   int // lines
	blocks  []block
	first   int   // the first line of blocks[0] that is kept
	count   int   // lines that are kept
	dropped int   // lines that were, since the beginning
	size    int   // bytes of all blocks
	spare   block // one that was dropped, for its room
}

type block struct {
	base  int // which line its first is, counted from blocks[0]'s first
	data  []byte
	lines []packedLine
}

// A packedLine is a line's place in its block: it ends where the next begins.
type packedLine struct {
	start   uint32
	cells   uint16 // columns, at most MaxSize
	wrapped bool
}

func (h *history) reset() { *h = history{limit: h.limit, dropped: h.dropped + h.count} }

// begin returns the block for one more line.
func (h *history) begin() *block {
	n := len(h.blocks)
	if n == 0 {
		h.blocks = append(h.blocks, block{})
		return &h.blocks[0]
	}
	last := &h.blocks[n-1]
	if len(last.lines) < blockLines && len(last.data) < blockSize {
		return last
	}
	if cap(last.data)-len(last.data) > len(last.data)/8 {
		last.data = slices.Clone(last.data)
	}
	next := block{base: last.base + len(last.lines), data: h.spare.data[:0], lines: h.spare.lines[:0]}
	h.spare = block{}
	if next.data == nil {
		next.data = make([]byte, 0, blockSize+blockSize/16)
	}
	h.blocks = append(h.blocks, next)
	return &h.blocks[n]
}

// add puts one line at the end, with the bytes that pack appends.
func (h *history) add(cells int, wrapped bool, pack func(dst []byte) []byte) {
	b := h.begin()
	start := len(b.data)
	b.data = pack(b.data)
	b.lines = append(b.lines, packedLine{start: uint32(start), cells: uint16(cells), wrapped: wrapped})
	h.size += len(b.data) - start
	h.count++
	h.trim()
}

// trim drops the oldest lines above the limits.
func (h *history) trim() {
	for h.count > h.limit || h.size > max(2*blockSize, h.limit*lineBudget) && len(h.blocks) > 1 {
		n := 1
		if h.count <= h.limit {
			n = len(h.blocks[0].lines) - h.first
		}
		h.first += n
		h.count -= n
		h.dropped += n
		if h.first == len(h.blocks[0].lines) {
			gone := len(h.blocks[0].lines)
			h.size -= len(h.blocks[0].data)
			h.spare = h.blocks[0]
			h.blocks = slices.Delete(h.blocks, 0, 1)
			for i := range h.blocks {
				h.blocks[i].base -= gone
			}
			h.first = 0
		}
	}
}

// truncate keeps the first n lines.
func (h *history) truncate(n int) {
	for h.count > n {
		last := len(h.blocks) - 1
		b := &h.blocks[last]
		end := len(b.lines) - 1
		start := int(b.lines[end].start)
		h.size -= len(b.data) - start
		h.count--
		b.data, b.lines = b.data[:start], b.lines[:end]
		if end == 0 {
			h.blocks = h.blocks[:last]
		}
	}
	if h.count == 0 {
		h.blocks, h.first, h.size = nil, 0, 0
	}
}

// at returns line i of those kept, and its bytes.
func (h *history) at(i int) (*packedLine, []byte) {
	i += h.first
	k := sort.Search(len(h.blocks), func(k int) bool { return h.blocks[k].base > i }) - 1
	b := &h.blocks[k]
	i -= b.base
	end := len(b.data)
	if i+1 < len(b.lines) {
		end = int(b.lines[i+1].start)
	}
	return &b.lines[i], b.data[b.lines[i].start:end]
}

// breakLast says that the newest line does not go on.
func (h *history) breakLast() {
	if h.count > 0 {
		l, _ := h.at(h.count - 1)
		l.wrapped = false
	}
}

// push packs a row at the end.
func (t *Terminal) push(l *line) {
	cells := l.cells[:l.end]
	if l.wrapped {
		cells = l.cells
		if n := len(cells) - 1; cells[n].isSpacer() {
			cells = cells[:n]
		}
	}
	t.history.add(len(cells), l.wrapped, func(dst []byte) []byte {
		id := 0
		for i := 0; i < len(cells); i++ {
			c := cells[i]
			if now := c.styleID(); now != id {
				id = now
				dst = appendStyle(dst, t.styles.values[id])
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
				dst = binary.AppendUvarint(append(dst, opBlanks), uint64(n))
			case c&clusterFlag != 0:
				dst = appendCluster(dst, t.clusters.values[c.content()], c.width())
			default:
				if c.width() == 2 {
					dst = append(dst, opWide)
				}
				dst = utf8.AppendRune(dst, rune(c.content()))
			}
		}
		return dst
	})
}

func appendCluster[T string | []byte](dst []byte, text T, width int) []byte {
	op := byte(opCluster)
	if width == 2 {
		op = opWideCl
	}
	dst = binary.AppendUvarint(append(dst, op), uint64(len(text)))
	return append(dst, text...)
}

func appendStyle(dst []byte, s Style) []byte {
	if s == (Style{}) {
		return append(dst, opPlain)
	}
	dst = append(dst, opStyle, byte(s.Attrs), byte(s.Underline))
	for _, c := range [...]Color{s.Fg, s.Bg, s.UnderlineColor} {
		dst = binary.AppendUvarint(dst, packColor(c))
	}
	return binary.AppendUvarint(dst, uint64(s.Link))
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

// An unpacker reads a packed line cell by cell.
type unpacker struct {
	data    []byte
	wrapped bool
	blanks  int // that are still to be handed out

	text    []byte // of the cell; nil where it is blank
	cluster bool   // text is more than one rune
	width   int
	style   Style
}

func (h *history) unpack(i int) unpacker {
	l, data := h.at(i)
	return unpacker{data: data, wrapped: l.wrapped}
}

func (u *unpacker) next() bool {
	u.width = 1
	for u.blanks == 0 && len(u.data) > 0 {
		op := u.data[0]
		if op >= 0x20 {
			u.take(0)
			return true
		}
		u.data = u.data[1:]
		switch op {
		case opBlanks:
			u.blanks = u.number()
		case opWide:
			u.width = 2
			u.take(0)
			return true
		case opCluster, opWideCl:
			u.width = 1 + int(op-opCluster)
			u.take(u.number())
			return true
		case opPlain:
			u.style = Style{}
		case opStyle:
			u.style = Style{Attrs: Attrs(u.data[0]), Underline: Underline(u.data[1])}
			u.data = u.data[2:]
			for _, c := range [...]*Color{&u.style.Fg, &u.style.Bg, &u.style.UnderlineColor} {
				*c = unpackColor(uint64(u.number()))
			}
			u.style.Link = LinkID(u.number())
		}
	}
	if u.blanks == 0 {
		return false
	}
	u.blanks--
	u.text, u.cluster = nil, false
	return true
}

// take makes the next n bytes the text, or the next rune where n is 0.
func (u *unpacker) take(n int) {
	if u.cluster = n > 0; !u.cluster {
		_, n = utf8.DecodeRune(u.data)
	}
	u.text, u.data = u.data[:n], u.data[n:]
}

// letters takes the cells that follow in the same style and are one byte each,
// at most n. Packed, they are the same bytes.
func (u *unpacker) letters(n int) []byte {
	if u.blanks > 0 {
		return nil
	}
	k := 0
	for k < min(n, len(u.data)) && u.data[k]-0x20 < 0x5f {
		k++
	}
	text := u.data[:k]
	u.data = u.data[k:]
	return text
}

func (u *unpacker) number() int {
	v, n := binary.Uvarint(u.data)
	u.data = u.data[n:]
	return int(v)
}

// visible returns what the cell shows.
func (u *unpacker) visible() []byte {
	if u.text == nil {
		return []byte{' '}
	}
	return u.text
}

// string is visible as a string, mostly without allocation.
func (u *unpacker) string() string {
	switch {
	case u.text == nil:
		return " "
	case u.cluster:
		return string(u.text)
	}
	return runeText(firstRune(u.text))
}

// pack appends the cell in the style before.
func (u *unpacker) pack(dst []byte, before Style) []byte {
	if u.style != before {
		dst = appendStyle(dst, u.style)
	}
	switch {
	case u.text == nil:
		return append(dst, opBlanks, 1)
	case u.cluster:
		return appendCluster(dst, u.text, u.width)
	case u.width == 2:
		dst = append(dst, opWide)
	}
	return append(dst, u.text...)
}

func firstRune(b []byte) rune {
	r, _ := utf8.DecodeRune(b)
	return r
}
