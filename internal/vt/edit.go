package vt

// moveTo puts the cursor at a place on the screen.
func (t *Terminal) moveTo(x, y int) {
	t.x, t.y, t.pending = max(0, min(x, t.cols-1)), max(0, min(y, t.rows-1)), false
}

// moveIn puts the cursor at a place counted from the origin, which is that of
// the margins in origin mode.
func (t *Terminal) moveIn(x, y int) {
	if !t.inner.origin {
		t.moveTo(x, y)
		return
	}
	left, right := t.columns()
	t.moveTo(min(left+x, right-1), min(t.top+y, t.bottom))
}

// columns returns the first column of the region that scrolls and the one after
// its last.
func (t *Terminal) columns() (left, right int) {
	if t.inner.columns {
		return t.left, t.right + 1
	}
	return 0, t.cols
}

// vertical moves the cursor by n rows; the margins hold it where it is within.
func (t *Terminal) vertical(n int) {
	top, bottom := 0, t.rows-1
	if n < 0 && t.y >= t.top {
		top = t.top
	}
	if n > 0 && t.y <= t.bottom {
		bottom = t.bottom
	}
	t.moveTo(t.x, max(top, min(t.y+n, bottom)))
}

// horizontal moves the cursor by n columns; the margins hold it where it is
// within.
func (t *Terminal) horizontal(n int) {
	left, right := 0, t.cols-1
	if t.inner.columns && n < 0 && t.x >= t.left {
		left = t.left
	}
	if t.inner.columns && n > 0 && t.x <= t.right {
		right = t.right
	}
	t.moveTo(max(left, min(t.x+n, right)), t.y)
}

// index moves the cursor down, and scrolls at the bottom margin.
func (t *Terminal) index() {
	switch left, right := t.columns(); {
	case t.y != t.bottom:
		if t.y < t.rows-1 {
			t.y++
		}
	case t.x >= left && t.x < right:
		t.scrollUp(t.top, 1, true)
	}
	t.pending = false
}

// reverseIndex moves the cursor up, and scrolls at the top margin.
func (t *Terminal) reverseIndex() {
	switch left, right := t.columns(); {
	case t.y != t.top:
		t.y = max(0, t.y-1)
	case t.x >= left && t.x < right:
		t.scrollDown(t.top, 1)
	}
	t.pending = false
}

// scrollUp moves the rows from top to the bottom margin up by n. What leaves
// the first row of the screen is kept where save says so.
func (t *Terminal) scrollUp(top, n int, save bool) {
	n = min(n, t.bottom-top+1)
	blank := styled(t.eraseID())
	if left, right := t.columns(); left > 0 || right < t.cols {
		t.moveCells(top, t.bottom, n, blank)
		return
	}
	if !save {
		t.breakAbove(top)
	}
	if save && top == 0 && t.shown == t.main && t.history.Limit() > 0 {
		for y := range n {
			t.push(t.shown.row(y))
		}
	}
	t.shown.rotate(top, t.bottom, n)
	for y := t.bottom - n + 1; y <= t.bottom; y++ {
		t.clearRow(y, blank)
	}
	t.damageRows(top, t.bottom)
}

// scrollDown moves the rows from top to the bottom margin down by n.
func (t *Terminal) scrollDown(top, n int) {
	height := t.bottom - top + 1
	n = min(n, height)
	blank := styled(t.eraseID())
	if left, right := t.columns(); left > 0 || right < t.cols {
		t.moveCells(top, t.bottom, -n, blank)
		return
	}
	t.breakAbove(top)
	t.shown.rotate(top, t.bottom, height-n)
	for y := top; y < top+n; y++ {
		t.clearRow(y, blank)
	}
	t.shown.row(t.bottom).wrapped = false
	t.damageRows(top, t.bottom)
}

// moveCells scrolls between left and right margins: up by n, or down where n is
// negative.
func (t *Terminal) moveCells(top, bottom, n int, blank cell) {
	left, right := t.columns()
	for y := top; y <= bottom; y++ {
		l := t.shown.row(y)
		l.split(left)
		l.split(right)
	}
	y, step := top, 1
	if n < 0 {
		y, step = bottom, -1
	}
	for range bottom - top + 1 {
		l := t.shown.row(y)
		if from := y + n; from >= top && from <= bottom {
			other := t.shown.row(from)
			copy(l.cells[left:right], other.cells[left:right])
			l.end = max(l.end, min(other.end, right))
		} else {
			l.fill(left, right, blank)
		}
		y += step
	}
	t.damageRows(top, bottom)
}

func (t *Terminal) damageRows(top, bottom int) {
	if top == 0 && bottom == t.rows-1 {
		t.damaged = true
		return
	}
	for y := top; y <= bottom; y++ {
		t.damage[y] = true
	}
}

// eraseID is the style of what is erased: the pen's background.
func (t *Terminal) eraseID() int {
	if t.pen.Bg == 0 {
		return 0
	}
	return t.styleID(Style{Bg: t.pen.Bg})
}

func (t *Terminal) clearRow(y int, blank cell) {
	l := t.shown.row(y)
	l.fill(0, t.cols, blank)
	l.wrapped = false
	t.damage[y] = true
}

// breakAbove says that the row above y does not go on in y.
func (t *Terminal) breakAbove(y int) {
	switch {
	case y > 0:
		t.shown.row(y - 1).wrapped = false
	case t.shown == t.main:
		t.history.EndWrap()
	}
}

// eraseLine is EL: 0 to the end, 1 to the cursor, 2 all.
func (t *Terminal) eraseLine(what int) {
	from, to := t.x, t.cols
	switch what {
	case 0:
		if t.pending {
			return // it would take the last letter of grep and top
		}
	case 1:
		from, to = 0, t.x+1
	case 2:
		from = 0
	default:
		return
	}
	l := t.shown.row(t.y)
	l.fill(from, to, styled(t.eraseID()))
	if what == 2 {
		t.breakAbove(t.y)
	}
	if to == t.cols {
		l.wrapped = false
	}
	t.pending = false
	t.damage[t.y] = true
}

// eraseScreen is ED: 0 to the end, 1 to the cursor, 2 all, 3 the scrollback.
func (t *Terminal) eraseScreen(what int) {
	from, to := t.y+1, t.rows
	switch what {
	case 0:
		t.eraseLine(0)
		if t.x == 0 && t.y == 0 {
			t.breakAbove(0)
		}
	case 1:
		t.eraseLine(1)
		from, to = 0, t.y
	case 2:
		from = 0
		t.pending = false
	case 3:
		t.history.Clear()
		return
	default:
		return
	}
	if from == 0 {
		t.breakAbove(0)
	}
	blank := styled(t.eraseID())
	for y := from; y < to; y++ {
		t.clearRow(y, blank)
	}
}

// eraseCells is ECH.
func (t *Terminal) eraseCells(n int) {
	to := min(t.x+n, t.cols)
	l := t.shown.row(t.y)
	l.fill(t.x, to, styled(t.eraseID()))
	if to == t.cols {
		l.wrapped = false
	}
	t.pending = false
	t.damage[t.y] = true
}

// shiftCells is ICH, or DCH where n is negative. Outside of the margins it does
// nothing.
func (t *Terminal) shiftCells(n int) {
	left, right := t.columns()
	if t.x < left || t.x >= right {
		return
	}
	l := t.shown.row(t.y)
	if blank := styled(t.eraseID()); n > 0 {
		l.insert(t.x, right, n, blank)
	} else {
		l.remove(t.x, right, -n, blank)
	}
	if right == t.cols {
		l.wrapped = false
	}
	t.pending = false
	t.damage[t.y] = true
}

// shiftLines is IL, or DL where n is negative. Outside of the margins it does
// nothing; else the cursor goes to the left one.
func (t *Terminal) shiftLines(n int) {
	left, right := t.columns()
	if t.y < t.top || t.y > t.bottom || t.x < left || t.x >= right {
		return
	}
	if n > 0 {
		t.scrollDown(t.y, n)
	} else {
		t.scrollUp(t.y, -n, false)
	}
	t.moveTo(left, t.y)
}

// alignmentTest is DECALN: the screen full of E.
func (t *Terminal) alignmentTest() {
	t.resetMargins()
	t.moveTo(0, 0)
	for y := range t.rows {
		t.clearRow(y, 'E')
	}
}

func (t *Terminal) resetMargins() {
	t.top, t.bottom, t.left, t.right = 0, t.rows-1, 0, t.cols-1
}

// setRows is DECSTBM. Margins that hold no two rows are not taken.
func (t *Terminal) setRows(top, bottom int) {
	if bottom = min(bottom, t.rows-1); top < bottom {
		t.top, t.bottom = top, bottom
		t.moveIn(0, 0)
	}
}

// setColumns is DECSLRM. Margins that hold no two columns are not taken.
func (t *Terminal) setColumns(left, right int) {
	if right = min(right, t.cols-1); left < right {
		t.left, t.right = left, right
		t.moveIn(0, 0)
	}
}

// resetTabs sets a stop at each eighth column that has none yet decided.
func (t *Terminal) resetTabs() {
	for x := len(t.tabs); x < t.cols; x++ {
		t.tabs = append(t.tabs, x%8 == 0)
	}
}

// tab moves the cursor by n stops, but not over the right margin.
func (t *Terminal) tab(n int) {
	x, last := t.x, t.limit()-1
	for ; n > 0 && x < last; n-- {
		for x++; x < last && !t.tabs[x]; x++ {
		}
	}
	t.x = x // a wrap goes on waiting
}

// backTab moves the cursor back by n stops.
func (t *Terminal) backTab(n int) {
	x := t.x
	for ; n > 0 && x > 0; n-- {
		for x--; x > 0 && !t.tabs[x]; x-- {
		}
	}
	t.moveTo(x, t.y)
}

// A savedCursor is what DECSC keeps.
type savedCursor struct {
	x, y     int
	pending  bool
	pen      Style
	charsets [4]charset
	lock     int
	single   int
	origin   bool
}

func (t *Terminal) saveCursor() {
	t.shown.saved = savedCursor{t.x, t.y, t.pending, t.pen, t.charsets, t.lock, t.single, t.inner.origin}
}

func (t *Terminal) restoreCursor() {
	s := &t.shown.saved
	t.moveTo(s.x, s.y)
	t.pending = s.pending && t.inner.autowrap && t.x == s.x
	t.charsets, t.lock, t.single, t.inner.origin = s.charsets, s.lock, s.single, s.origin
	t.setPen(s.pen)
}
