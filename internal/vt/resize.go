package vt

// Resize sets the size, bounded to 1 and MaxSize. Lines of the main screen and
// of the scrollback that wrapped are wrapped anew. Where the text reached the
// last row it stays there, and lines come back from the scrollback; else it
// stays at the top. The alternate screen is cut. Margins are reset.
func (t *Terminal) Resize(cols, rows int) {
	cols, rows = clampSize(cols), clampSize(rows)
	if cols == t.cols && rows == t.rows {
		return
	}
	if t.shown == t.main {
		t.x, t.y, t.pending = t.resizeMain(cols, rows, t.x, t.y, t.pending)
	} else {
		s := &t.main.saved
		s.x, s.y, s.pending = t.resizeMain(cols, rows, min(s.x, t.cols-1), min(s.y, t.rows-1), s.pending)
		t.shown = t.alt
	}
	t.resizeAlt(cols, rows)
	t.cols, t.rows = cols, rows
	t.damage, t.damaged = make([]bool, rows), true
	t.lastX, t.lastY = -1, -1
	t.resetMargins()
	t.tabs = t.tabs[:min(len(t.tabs), cols)]
	t.resetTabs()
	if t.shown != t.main {
		pending := t.pending
		t.moveTo(t.x, t.y)
		t.pending = pending && t.x == cols-1
	}
}

func (t *Terminal) resizeAlt(cols, rows int) {
	if t.alt == nil {
		return
	}
	next := newScreen(cols, rows)
	next.saved = t.alt.saved
	for y := range min(rows, t.rows) {
		from, to := t.alt.row(y), next.row(y)
		if cols < t.cols {
			from.split(cols)
		}
		to.end = copy(to.cells, from.cells[:from.end])
	}
	if t.shown == t.alt {
		t.shown = next
	}
	t.alt = next
}

// resizeMain packs the screen to the end of the scrollback, wraps what must be
// wrapped anew, and takes the new screen from the end. It shows the main screen
// and returns where the cursor went to.
func (t *Terminal) resizeMain(cols, rows, x, y int, pending bool) (int, int, bool) {
	h, old := &t.history, t.main
	if pending {
		x++
	}
	used := y
	for row := y + 1; row < t.rows; row++ {
		if old.row(row).end > 0 {
			used = row
		}
	}
	// No line of the new screen may be dropped meanwhile.
	limit := h.limit
	h.limit += t.rows + rows
	base := h.dropped + h.count
	for row := range used + 1 {
		t.push(old.row(row))
	}
	cursor, top := place{base + y, x}, place{base, 0}
	if cols != t.cols {
		h.reflow(cols, &cursor, &top)
	}
	cursor.line, top.line = max(0, cursor.line-h.dropped), max(0, top.line-h.dropped)

	start := max(0, h.count-rows)
	if used < t.rows-1 {
		start = max(start, top.line)
	}
	start = min(start, cursor.line)
	saved := old.saved
	t.main = newScreen(cols, rows)
	t.main.saved = saved
	t.shown = t.main
	for row := range min(rows, h.count-start) {
		t.unpackInto(t.main.row(row), start+row)
	}
	x, y = cursor.x, cursor.line-start
	l := t.main.row(y)
	pending = x >= cols && l.end == cols
	h.truncate(start)
	h.limit = limit
	h.trim()
	return min(x, cols-1), y, pending
}

// unpackInto makes l the row that was packed as line i.
func (t *Terminal) unpackInto(l *line, i int) {
	u := t.history.unpack(i)
	id, style, x := 0, Style{}, 0
	for u.next() && x+u.width <= len(l.cells) {
		if u.style != style {
			style = u.style
			id = t.styleID(style)
		}
		c := styled(id)
		switch {
		case u.text == nil:
		case u.cluster:
			c |= t.clusterContent(u.text)
		default:
			c |= cell(firstRune(u.text))
		}
		if u.width == 2 {
			c |= wide
			l.cells[x+1] = styled(id) | tail
		}
		l.cells[x] = c
		x += u.width
		l.end = x
	}
	if l.wrapped = u.wrapped; l.wrapped && x < len(l.cells) {
		l.cells[x] = spacer
		l.end = x + 1
	}
}

// A place is a line, counted from the first there ever was, and a column of it,
// which may be after its last.
type place struct{ line, x int }

// reflow wraps all lines anew and moves the places to where their text went.
func (h *history) reflow(cols int, places ...*place) {
	due := false
	for k := range h.blocks {
		for i := range h.blocks[k].lines {
			l := &h.blocks[k].lines[i]
			due = due || l.wrapped || int(l.cells) > cols
		}
	}
	if !due {
		return
	}
	old := *h
	*h = history{limit: old.limit, dropped: old.dropped}
	moved := make([]place, len(places))
	for i, p := range places {
		moved[i] = *p
	}
	w := wrapper{h: h, cols: cols}
	for i := range old.count {
		l, data := old.at(i)
		number := old.dropped + i
		goesOn := l.wrapped && i+1 < old.count
		if !w.begun && !goesOn && int(l.cells) <= cols { // as it is
			for k, p := range places {
				if p.line == number {
					moved[k] = place{h.dropped + h.count, min(p.x, cols)}
				}
			}
			h.add(int(l.cells), l.wrapped, func(dst []byte) []byte { return append(dst, data...) })
			continue
		}
		x := 0
		for u := old.unpack(i); u.next(); {
			at, n := w.add(&u), u.width
			if more := u.letters(cols - w.cells); len(more) > 0 {
				w.data = append(w.data, more...)
				w.cells += len(more)
				n += len(more)
			}
			for k, p := range places {
				if p.line == number && p.x >= x && p.x < x+n {
					moved[k] = place{h.dropped + h.count, at + p.x - x}
				}
			}
			x += n
		}
		for k, p := range places {
			if p.line == number && p.x >= x {
				moved[k] = place{h.dropped + h.count, min(w.cells+p.x-x, cols)}
			}
		}
		if !goesOn {
			w.flush(l.wrapped)
		}
	}
	for i, p := range places {
		*p = moved[i]
	}
}

// A wrapper packs cells into lines of at most cols columns.
type wrapper struct {
	h     *history
	cols  int
	data  []byte // of the line that was begun
	cells int
	begun bool
	style Style
}

// add appends a cell and returns its column.
func (w *wrapper) add(u *unpacker) int {
	c := *u
	if c.width > w.cols {
		c.text, c.width = nil, 1 // a wide cell on a screen of one column
	}
	if w.cells+c.width > w.cols {
		w.flush(true)
	}
	w.begun = true
	w.data = c.pack(w.data, w.style)
	w.style = c.style
	w.cells += c.width
	return w.cells - c.width
}

func (w *wrapper) flush(wrapped bool) {
	w.h.add(w.cells, wrapped, func(dst []byte) []byte { return append(dst, w.data...) })
	w.data, w.cells, w.style, w.begun = w.data[:0], 0, Style{}, false
}
