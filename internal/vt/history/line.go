package history

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// A line is the UTF-8 of its narrow cells of one rune each, so printable ASCII
// is packed as itself. Cells hold no controls, and bytes below 0x20 say what is
// not such a cell.
const (
	opBlanks      = 1 // count: so many cells that nothing was written to
	opWide        = 2 // the next rune is wide
	opCluster     = 3 // length: a narrow cluster of so many bytes
	opWideCluster = 4 // length: a wide cluster
	opStyle       = 5 // length: the style from here on
)

// AppendBlanks packs n cells that nothing was written to.
func AppendBlanks(dst []byte, n int) []byte {
	return binary.AppendUvarint(append(dst, opBlanks), uint64(n))
}

// AppendRune packs a cell of one rune, which is no control, of 1 or 2 columns.
func AppendRune(dst []byte, r rune, width int) []byte {
	if width == 2 {
		dst = append(dst, opWide)
	}
	return utf8.AppendRune(dst, r)
}

// AppendCluster packs a cell of some runes, of 1 or 2 columns.
func AppendCluster[T string | []byte](dst []byte, text T, width int) []byte {
	dst = append(dst, byte(opCluster+width-1))
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// AppendStyle packs the style of the cells that follow.
func AppendStyle(dst, style []byte) []byte {
	return append(binary.AppendUvarint(append(dst, opStyle), uint64(len(style))), style...)
}

// A Reader reads a line cell by cell.
type Reader struct {
	// The cell that Next went to. They are valid until the History changes.
	Text     []byte // nil where nothing was written
	Cluster  bool   // Text is more than one rune
	Width    int    // 1 or 2
	Style    []byte
	NewStyle bool // it differs from the cell before

	// Wrapped says that the line goes on in the next one.
	Wrapped bool

	data   []byte
	blanks int // that are still to be handed out
}

// Read returns a reader of line n, which must be kept.
func (h *History) Read(n int) Reader {
	l, data := h.at(n)
	return Reader{data: data, Wrapped: l.wrapped}
}

// Next goes to the next cell, or returns false.
func (r *Reader) Next() bool {
	r.Width, r.NewStyle = 1, false
	for r.blanks == 0 {
		if len(r.data) == 0 {
			return false
		}
		op := r.data[0]
		if op >= 0x20 {
			return r.rune()
		}
		r.data = r.data[1:]
		switch op {
		case opBlanks:
			r.blanks = r.number()
		case opWide:
			r.Width = 2
			return r.rune()
		case opCluster, opWideCluster:
			r.Width, r.Cluster = 1+int(op-opCluster), true
			r.Text = r.take(r.number())
			return true
		case opStyle:
			r.Style, r.NewStyle = r.take(r.number()), true
		}
	}
	r.blanks--
	r.Text, r.Cluster = nil, false
	return true
}

func (r *Reader) rune() bool {
	_, n := utf8.DecodeRune(r.data)
	r.Text, r.Cluster = r.take(n), false
	return true
}

func (r *Reader) take(n int) []byte {
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *Reader) number() int {
	v, n := binary.Uvarint(r.data)
	r.data = r.data[n:]
	return int(v)
}

// letters takes the cells that follow in the same style and are one byte each,
// at most n. Packed, they are the same bytes.
func (r *Reader) letters(n int) []byte {
	if r.blanks > 0 {
		return nil
	}
	k := 0
	for k < min(n, len(r.data)) && r.data[k]-0x20 < 0x5f {
		k++
	}
	return r.take(k)
}

// A wrapper packs cells into lines of at most so many columns.
type wrapper struct {
	h       *History
	limit   int
	data    []byte // of the line that was begun
	style   []byte
	columns int
	begun   bool
}

// add appends the cell that r is at, and returns its column.
func (w *wrapper) add(r *Reader) int {
	text, width := r.Text, r.Width
	if width > w.limit {
		text, width = nil, 1 // a wide cell in lines of one column
	}
	if w.columns+width > w.limit {
		w.flush(true)
	}
	w.begun = true
	if !bytes.Equal(r.Style, w.style) {
		w.style = r.Style
		w.data = AppendStyle(w.data, r.Style)
	}
	switch {
	case text == nil:
		w.data = AppendBlanks(w.data, 1)
	case r.Cluster:
		w.data = AppendCluster(w.data, text, width)
	default:
		if width == 2 {
			w.data = append(w.data, opWide)
		}
		w.data = append(w.data, text...)
	}
	w.columns += width
	return w.columns - width
}

func (w *wrapper) flush(wrapped bool) {
	w.h.Add(w.data, w.columns, wrapped)
	w.data, w.style, w.columns, w.begun = w.data[:0], nil, 0, false
}

// A Place is a column of a line, which may be after its last.
type Place struct{ Line, Column int }

// Reflow wraps all lines anew to at most so many columns, and moves the places
// to where their text went. A place after the end of a line stays as far behind
// it, up to the column after the last.
func (h *History) Reflow(columns int, places ...*Place) {
	if !h.wraps(columns) {
		return
	}
	old := *h
	*h = History{limit: old.limit, dropped: old.dropped}
	before := make([]Place, len(places))
	for i, p := range places {
		before[i] = *p
	}
	w := wrapper{h: h, limit: columns}
	for n := old.First(); n < old.End(); n++ {
		l, data := old.at(n)
		goesOn := l.wrapped && n+1 < old.End()
		x := 0
		if !w.begun && !goesOn && int(l.columns) <= columns { // as it is
			for i, p := range before {
				if p.Line == n {
					*places[i] = Place{h.End(), min(p.Column, columns)}
				}
			}
			h.Add(data, int(l.columns), l.wrapped)
			continue
		}
		for r := old.Read(n); r.Next(); {
			at, width := w.add(&r), r.Width
			more := r.letters(columns - w.columns)
			w.data = append(w.data, more...)
			w.columns += len(more)
			width += len(more)
			for i, p := range before {
				if p.Line == n && p.Column >= x && p.Column < x+width {
					*places[i] = Place{h.End(), at + p.Column - x}
				}
			}
			x += width
		}
		for i, p := range before {
			if p.Line == n && p.Column >= x {
				*places[i] = Place{h.End(), min(w.columns+p.Column-x, columns)}
			}
		}
		if !goesOn {
			w.flush(l.wrapped)
		}
	}
}

// wraps says whether lines of at most so many columns would be others.
func (h *History) wraps(columns int) bool {
	for i := range h.blocks {
		for _, l := range h.blocks[i].lines {
			if l.wrapped || int(l.columns) > columns {
				return true
			}
		}
	}
	return false
}
