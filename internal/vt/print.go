package vt

import (
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

const (
	// maxCluster bounds a cluster, in bytes; what would go beyond is dropped.
	// The longest emoji sequence in use takes 35.
	maxCluster = 40
	// maxMarks bounds the nonspacing marks of a cluster, so that no tower of
	// them covers other rows.
	maxMarks = 6
)

// printASCII shows printable ASCII.
func (t *Terminal) printASCII(b []byte) {
	if t.mayJoin() || t.single != none {
		t.print(rune(b[0]))
		if b = b[1:]; len(b) == 0 {
			return
		}
	}
	t.last = rune(b[len(b)-1])
	if t.inner.insert || t.charsets[t.lock] != ascii {
		for _, c := range b {
			t.print(rune(c))
		}
		return
	}
	style := styled(t.penID)
	for len(b) > 0 {
		t.wrapPending()
		limit := t.limit()
		l := t.shown.row(t.y)
		n := min(len(b), limit-t.x)
		to := t.x + n
		l.split(t.x)
		l.split(to)
		for i, c := range b[:n] {
			l.cells[t.x+i] = cell(c) | style
		}
		l.end = max(l.end, to)
		b = b[n:]
		t.advance(l, to-1, to, limit)
		if !t.inner.autowrap && len(b) > 0 {
			b = b[len(b)-1:] // each takes the place of the one before
		}
	}
}

// print shows a rune of the program.
func (t *Terminal) print(r rune) {
	t.last = r
	if r < utf8.RuneSelf {
		set := t.charsets[t.lock]
		if t.single != none {
			set, t.single = t.charsets[t.single], none
		}
		r = set.rune(r)
	}
	if w := plainWidth(r); w > 0 && !t.mayJoin() {
		t.put(cell(r), w)
		return
	}
	t.printCluster(r)
}

// mayJoin says whether the next rune may join the cluster before the cursor,
// even if it is a letter.
func (t *Terminal) mayJoin() bool { return t.joins && t.x == t.lastX && t.y == t.lastY }

// plainWidth returns how many columns r takes where r is known not to join
// what is before it, but after runes that are not plain themselves. For other
// runes it returns 0.
func plainWidth(r rune) int {
	switch {
	case r >= 0x20 && r < 0x7f,
		r >= 0xae && r < 0x300, r >= 0xa0 && r < 0xa9, // Latin
		r >= 0x370 && r < 0x483, r >= 0x48a && r < 0x530, // Greek, Cyrillic
		r >= 0x2500 && r < 0x25a0: // boxes and blocks
		return 1
	case r >= 0x4e00 && r < 0xa000, r >= 0x3041 && r < 0x3097, r >= 0x30a1 && r < 0x30fb: // Han, kana
		return 2
	case r >= 0xac00 && r < 0xd7a4: // Hangul; jamo are not plain
		return 2
	}
	return 0
}

// printCluster shows a rune, or makes it part of the cluster before the cursor.
func (t *Terminal) printCluster(r rune) {
	if !harmless(r) {
		return
	}
	fresh := t.x == t.lastX && t.y == t.lastY
	if fresh && t.join(t.lastAt, r) {
		return
	}
	_, width := ansi.FirstGraphemeCluster(runeText(r), ansi.GraphemeWidth)
	switch {
	case width > 0:
		t.put(cell(r), min(width, 2))
		t.joins = true
	case !fresh && t.pending:
		t.join(t.x, r)
	case !fresh && t.x > 0:
		t.join(t.x-1, r)
	}
}

// harmless says whether r may be part of what a cell shows.
func harmless(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // controls
		return false
	case r == '\u200c', r == '\u200d': // joiners
		return true
	}
	return !unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// join makes r part of the cluster at column at of the cursor's row, if it
// belongs to it. What would be too long, or too wide for the row, is dropped.
func (t *Terminal) join(at int, r rune) bool {
	l := t.shown.row(t.y)
	if at > 0 && l.cells[at].isTail() {
		at--
	}
	c := l.cells[at]
	text := t.appendText(t.scratch[:0], c)
	if len(text) == 0 {
		return false
	}
	mark := unicode.In(r, unicode.Mn, unicode.Me)
	if mark && marks(text) == maxMarks {
		return true
	}
	text = utf8.AppendRune(text, r)
	cluster, w := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
	if len(cluster) < len(text) {
		return false
	}
	limit := t.limit()
	grows := min(w, 2) > c.width()
	if len(text) > maxCluster || grows && at+2 > limit {
		return true
	}
	c = c&^(contentMask|clusterFlag) | t.clusterContent(text)
	l.cells[at] = c
	if grows {
		l.split(at + 2)
		l.cells[at] = c&^kindMask | wide
		l.cells[at+1] = c&^(contentMask|clusterFlag|kindMask) | tail
		l.end = max(l.end, at+2)
		if t.x == at+1 && !t.pending {
			t.advance(l, at, at+2, limit)
		}
	}
	t.damage[t.y] = true
	t.joins = true
	t.lastX, t.lastY, t.lastAt = t.x, t.y, at
	return true
}

// marks counts the nonspacing marks of a cluster.
func marks(text []byte) int {
	n := 0
	for i, r := range string(text) {
		if i > 0 && unicode.In(r, unicode.Mn, unicode.Me) {
			n++
		}
	}
	return n
}

// put shows content (a rune's or a cluster's bits) of width w at the cursor.
func (t *Terminal) put(content cell, w int) {
	t.wrapPending()
	limit := t.limit()
	if t.x+w > limit {
		if !t.inner.autowrap || t.lineStart()+w > limit {
			return // there is no room for a wide cell
		}
		l := t.shown.row(t.y)
		l.split(t.x)
		l.fill(t.x, limit, spacer|styled(t.eraseID()))
		t.damage[t.y] = true
		t.wrap()
		limit = t.limit()
	}
	l := t.shown.row(t.y)
	if t.inner.insert {
		l.insert(t.x, limit, w, 0)
	}
	l.split(t.x)
	l.split(t.x + w)
	content |= styled(t.penID)
	if w == 2 {
		content |= wide
		l.cells[t.x+1] = styled(t.penID) | tail
	}
	l.cells[t.x] = content
	l.end = max(l.end, t.x+w)
	t.advance(l, t.x, t.x+w, limit)
}

// advance moves the cursor to column to after something was shown at column at
// of l, the cursor's row.
func (t *Terminal) advance(l *line, at, to, limit int) {
	t.damage[t.y] = true
	t.x = to
	if to == limit {
		t.x = limit - 1
		t.pending = t.inner.autowrap
		if limit == t.cols {
			l.wrapped = false // until the next rune wraps
		}
	}
	t.joins = false
	t.lastX, t.lastY, t.lastAt = t.x, t.y, at
}

// wrapPending goes to the next line if the last rune was in the last column.
func (t *Terminal) wrapPending() {
	if t.pending {
		t.wrap()
	}
}

func (t *Terminal) wrap() {
	l := t.shown.row(t.y)
	l.wrapped = t.limit() == t.cols
	t.pending = false
	t.x = t.lineStart()
	t.index()
}

// limit is the column after the last that a rune may go to.
func (t *Terminal) limit() int {
	if t.inner.columns && t.x <= t.right {
		return t.right + 1
	}
	return t.cols
}

// lineStart is the column that a carriage return goes to.
func (t *Terminal) lineStart() int {
	if t.inner.columns && t.x >= t.left {
		return t.left
	}
	return 0
}

// A charset is what a byte of ASCII shows. The zero value is ASCII itself.
type charset uint8

const (
	ascii charset = iota
	british
	drawing
)

// drawings are what DEC Special Graphics shows for 0x5f to 0x7e (VT510,
// "DEC Special Graphic Character Set").
var drawings = []rune(" ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")

func charsetOf(final byte) charset {
	switch final {
	case '0':
		return drawing
	case 'A':
		return british
	}
	return ascii
}

func (c charset) rune(r rune) rune {
	switch {
	case c == drawing && r >= 0x5f && r < 0x7f:
		return drawings[r-0x5f]
	case c == british && r == '#':
		return '£'
	}
	return r
}
