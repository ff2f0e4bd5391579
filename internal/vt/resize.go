package vt

import "github.com/tucdesk/tucdesk/internal/vt/history"

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
	next.saved, next.keyboard = t.alt.saved, t.alt.keyboard
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
	limit := h.Limit()
	h.SetLimit(limit + t.rows + rows)
	base := h.End()
	for row := range used + 1 {
		t.push(old.row(row))
	}
	cursor, top := history.Place{Line: base + y, Column: x}, history.Place{Line: base}
	if cols != t.cols {
		h.Reflow(cols, &cursor, &top)
	}

	start := max(h.First(), h.End()-rows)
	if used < t.rows-1 {
		start = max(start, top.Line)
	}
	line := max(cursor.Line, h.First())
	start = min(start, line)
	t.main = newScreen(cols, rows)
	t.main.saved, t.main.keyboard = old.saved, old.keyboard
	t.shown = t.main
	for row := range min(rows, h.End()-start) {
		t.unpackInto(t.main.row(row), start+row)
	}
	pending = cursor.Column >= cols && t.main.row(line-start).end == cols
	h.Truncate(start)
	h.SetLimit(limit)
	return min(cursor.Column, cols-1), line - start, pending
}
