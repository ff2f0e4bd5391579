package vt

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// A cell is packed into 64 bits; the zero value is a plain cell that nothing
// was written to.
//
//	bits  0-20  a rune, or the number of a cluster
//	bit     21  it is a cluster
//	bits 22-23  the kind
//	bits 32-63  the number of a style
type cell uint64

const (
	contentMask  = 1<<21 - 1
	clusterFlag  = 1 << 21
	kindMask     = 3 << 22
	narrow       = 0 << 22
	wide         = 1 << 22 // the left half of a wide cell
	tail         = 2 << 22 // the right half; has no content
	spacer       = 3 << 22 // blank: a wide cell had no room here and went to the next line
	styleShift   = 32
	maxStyles    = 1 << 16
	maxClusters  = 1 << 16
	sweepMinimum = 1 << 12
)

func (c cell) kind() cell     { return c & kindMask }
func (c cell) styleID() int   { return int(c >> styleShift) }
func (c cell) content() int   { return int(c & contentMask) }
func (c cell) isTail() bool   { return c&kindMask == tail }
func (c cell) isSpacer() bool { return c&kindMask == spacer }

// width returns how many columns the cell takes.
func (c cell) width() int {
	switch c.kind() {
	case wide:
		return 2
	case tail:
		return 0
	}
	return 1
}

func styled(id int) cell { return cell(id) << styleShift }

// A line is one row.
//
// Invariants: cells from end on are zero; a wide cell is always followed by its
// tail.
type line struct {
	cells   []cell
	end     int
	wrapped bool // the text goes on in the next line
}

// split makes sure that no wide cell lies on both sides of column x.
func (l *line) split(x int) {
	if x > 0 && x < l.end && l.cells[x].isTail() {
		l.cells[x-1] &^= contentMask | clusterFlag | kindMask
		l.cells[x] = l.cells[x-1]
	}
}

// fill makes the columns from up to to blank.
func (l *line) fill(from, to int, blank cell) {
	if from >= to {
		return
	}
	l.split(from)
	l.split(to)
	if blank == 0 {
		if stop := min(to, l.end); from < stop {
			clear(l.cells[from:stop])
			if stop == l.end {
				l.end = from
			}
		}
		return
	}
	part := l.cells[from:to]
	for i := range part {
		part[i] = blank
	}
	l.end = max(l.end, to)
}

// insert moves the columns from x to right by n, and drops what leaves.
func (l *line) insert(x, right, n int, blank cell) {
	n = min(n, right-x)
	l.split(x)
	l.split(right - n)
	l.split(right)
	copy(l.cells[x+n:right], l.cells[x:right-n])
	if l.end > x {
		l.end = min(len(l.cells), l.end+n)
	}
	l.fill(x, x+n, blank)
}

// remove takes n columns at x away; what is right of them, up to right, moves
// there.
func (l *line) remove(x, right, n int, blank cell) {
	n = min(n, right-x)
	l.split(x)
	l.split(x + n)
	l.split(right)
	copy(l.cells[x:right-n], l.cells[x+n:right])
	l.fill(right-n, right, blank)
}

// A screen is rows of lines. Scrolling moves the numbers of lines, never cells.
type screen struct {
	lines []line
	order []int32 // row y is lines[order[y]]
	spare []int32 // for rotate, as long as order
	saved savedCursor

	keyboard keyboard
}

func newScreen(cols, rows int) *screen {
	s := &screen{
		lines: make([]line, rows),
		order: make([]int32, rows),
		spare: make([]int32, rows),
		saved: savedCursor{single: none},
	}
	cells := make([]cell, cols*rows)
	for y := range s.lines {
		s.lines[y].cells = cells[y*cols : (y+1)*cols : (y+1)*cols]
		s.order[y] = int32(y)
	}
	return s
}

func (s *screen) row(y int) *line { return &s.lines[s.order[y]] }

// clear makes all rows blank.
func (s *screen) clear() {
	if s == nil {
		return
	}
	for y := range s.lines {
		s.lines[y].fill(0, len(s.lines[y].cells), 0)
		s.lines[y].wrapped = false
	}
	s.saved = savedCursor{single: none}
	s.keyboard = nil
}

// rotate moves the rows from top to bottom up by n; the first n come last.
func (s *screen) rotate(top, bottom, n int) {
	part := s.order[top : bottom+1]
	first := s.spare[:copy(s.spare, part[:n])]
	copy(part[copy(part, part[n:]):], first)
}

// An interned numbers values. Number 0 is the zero value. Numbers that no cell
// uses any more are used again after a sweep.
type interned[T comparable] struct {
	values []T
	ids    map[T]int
	free   []int
	sweep  int // values that make a sweep due
	rest   int // new values until then, where the last sweep freed little
}

func newInterned[T comparable]() interned[T] {
	var zero T
	return interned[T]{values: []T{zero}, ids: map[T]int{zero: 0}, sweep: sweepMinimum}
}

// id returns the number of v. It returns false when all numbers are taken.
func (in *interned[T]) id(v T, limit int) (int, bool) {
	if id, ok := in.ids[v]; ok {
		return id, true
	}
	if len(in.ids) >= limit {
		return 0, false
	}
	id := len(in.values)
	if n := len(in.free); n > 0 {
		id, in.free = in.free[n-1], in.free[:n-1]
		in.values[id] = v
	} else {
		in.values = append(in.values, v)
	}
	in.ids[v] = id
	return id, true
}

// sweepDue says whether room should be made before v gets a number.
func (in *interned[T]) sweepDue(v T) bool {
	if _, ok := in.ids[v]; ok || len(in.ids) < in.sweep {
		return false
	}
	in.rest--
	return in.rest < 0
}

// keep frees all numbers but 0 and those in used, and plans the next sweep so
// that sweeps cost little for each new value.
func (in *interned[T]) keep(used []bool, cells, limit int) {
	in.free = in.free[:0]
	clear(in.ids)
	for id, v := range in.values {
		if id == 0 || used[id] {
			in.ids[v] = id
		} else {
			var zero T
			in.values[id] = zero
			in.free = append(in.free, id)
		}
	}
	in.sweep = min(max(sweepMinimum, 2*len(in.ids), cells/4), limit)
	if in.rest = 0; 2*len(in.ids) > limit {
		in.rest = cells / 4
	}
}

// styleID returns the number of s. Where too many styles are on the screen at
// once, s becomes plain.
func (t *Terminal) styleID(s Style) int {
	if s == (Style{}) {
		return 0
	}
	if t.styles.sweepDue(s) {
		used := make([]bool, len(t.styles.values))
		used[t.penID] = true
		t.eachCell(func(c cell) { used[c.styleID()] = true })
		t.styles.keep(used, t.cols*t.rows, maxStyles)
	}
	id, _ := t.styles.id(s, maxStyles)
	return id
}

// clusterContent returns the content of a cell with a cluster of several runes.
// Where too many are on the screen at once, it is the first rune only.
func (t *Terminal) clusterContent(text []byte) cell {
	s := string(text)
	if t.clusters.sweepDue(s) {
		used := make([]bool, len(t.clusters.values))
		t.eachCell(func(c cell) {
			if c&clusterFlag != 0 {
				used[c.content()] = true
			}
		})
		t.clusters.keep(used, t.cols*t.rows, maxClusters)
	}
	id, ok := t.clusters.id(s, maxClusters)
	if !ok {
		return cell(firstRune(text))
	}
	return clusterFlag | cell(id)
}

// eachCell visits what is on both screens.
func (t *Terminal) eachCell(f func(cell)) {
	for _, s := range []*screen{t.main, t.alt} {
		if s == nil {
			continue
		}
		for y := range s.lines {
			for _, c := range s.lines[y].cells[:s.lines[y].end] {
				f(c)
			}
		}
	}
}

// text returns what c shows, without allocation but for runes beyond the BMP.
func (t *Terminal) text(c cell) string {
	switch {
	case c.isTail():
		return ""
	case c&clusterFlag != 0:
		return t.clusters.values[c.content()]
	case c.content() == 0:
		return " "
	}
	return runeText(rune(c.content()))
}

// appendText appends what c shows; nothing for a cell that is blank.
func (t *Terminal) appendText(dst []byte, c cell) []byte {
	switch {
	case c.isTail() || c.content() == 0:
		return dst
	case c&clusterFlag != 0:
		return append(dst, t.clusters.values[c.content()]...)
	}
	return utf8.AppendRune(dst, rune(c.content()))
}

// basicPlane is every rune of the BMP after another: U+0000 to U+007F take one
// byte each, U+0080 to U+07FF two, the others three (surrogates as U+FFFD).
var basicPlane = sync.OnceValue(func() string {
	var b strings.Builder
	b.Grow(0x80 + 2*(0x800-0x80) + 3*(0x10000-0x800))
	for r := rune(0); r < 0x10000; r++ {
		b.WriteRune(r)
	}
	return b.String()
})

// runeText is string(r), mostly without allocation.
func runeText(r rune) string {
	switch {
	case r < 0x80:
		return basicPlane()[r : r+1]
	case r < 0x800:
		i := 0x80 + 2*(r-0x80)
		return basicPlane()[i : i+2]
	case r < 0x10000:
		i := 0x80 + 2*(0x800-0x80) + 3*(r-0x800)
		return basicPlane()[i : i+3]
	}
	return string(r)
}
