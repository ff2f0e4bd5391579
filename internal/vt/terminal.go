package vt

import (
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/vt/history"
	"github.com/tucdesk/tucdesk/internal/vt/sequence"
)

const (
	// MaxSize bounds columns and rows.
	MaxSize = 2000
	// maxReplies bounds the answers that wait, in bytes. More are dropped: a
	// program that asks without reading gets no answer.
	maxReplies = 4096
	// maxTitle bounds a title, in bytes.
	maxTitle = 256
	// maxLinks is how many links are known at once; the oldest go first.
	maxLinks = 512
	// maxLink bounds a link's target, in bytes.
	maxLink = 1024
	// maxNotes is how many announcements wait; of more, the first stay.
	maxNotes = 4
	// none is no character set for the next rune only.
	none = -1
)

// Options are what New may be told. The zero value keeps no scrollback.
type Options struct {
	// Scrollback is how many lines are kept that left the screen. They also
	// take no more than about 512 bytes each, on average.
	Scrollback int
	// Keyboard offers the kitty keyboard protocol to programs. Without it they are told
	// nothing of it, as by a terminal that does not know it.
	Keyboard bool
}

// A Terminal is an emulated terminal. Use New.
type Terminal struct {
	cols, rows int
	main, alt  *screen         // alt is nil until it is used
	shown      *screen         // one of them
	history    history.History // of main
	packed     []byte          // for push
	parser     sequence.Parser
	modes      Modes
	inner      innerModes

	x, y    int
	pending bool // a rune was shown in the last column, and the next one wraps
	pen     Style
	penID   int

	// The region that scrolls, inclusive. Columns hold with inner.columns.
	top, bottom, left, right int

	tabs     []bool
	charsets [4]charset
	lock     int  // the set in use
	single   int  // the set of the next rune, or none
	keyboard bool // programs may ask for the kitty keyboard protocol

	// The last rune: where the cursor was after it, its cell's column, and
	// whether a letter may join it. See printCluster.
	lastX, lastY int
	lastAt       int
	joins        bool
	last         rune // for REP
	scratch      [maxCluster + utf8.UTFMax]byte

	styles   interned[Style]
	clusters interned[string]
	links    [maxLinks]string
	linkN    LinkID // the newest
	replies  []byte
	bells    int
	notes    []string
	title    []byte
	damage   []bool
	damaged  bool // all rows
}

// New returns an empty terminal. Sizes are bounded to 1 and MaxSize.
func New(cols, rows int, o Options) *Terminal {
	t := &Terminal{
		cols: clampSize(cols), rows: clampSize(rows),
		styles:   newInterned[Style](),
		clusters: newInterned[string](),
	}
	t.history.SetLimit(o.Scrollback)
	t.keyboard = o.Keyboard
	t.main = newScreen(t.cols, t.rows)
	t.damage = make([]bool, t.rows)
	t.reset()
	return t
}

func clampSize(n int) int { return max(1, min(n, MaxSize)) }

// reset makes everything as New does (RIS). Replies and bells stay.
func (t *Terminal) reset() {
	for _, s := range []*screen{t.main, t.alt} {
		s.clear()
	}
	t.shown = t.main
	t.history.Clear()
	t.modes, t.inner = Modes{}, innerModes{autowrap: true, cursor: true}
	t.pen, t.penID = Style{}, 0
	t.moveTo(0, 0)
	t.charsets, t.lock, t.single = [4]charset{}, 0, none
	t.last, t.lastX, t.lastY = 0, -1, -1
	t.title = nil
	t.tabs = nil
	t.resetTabs()
	t.resetMargins()
	t.damaged = true
}

// Size returns the columns and rows.
func (t *Terminal) Size() (cols, rows int) { return t.cols, t.rows }

// Title returns what the program set with OSC 0 or 2, up to 256 bytes of it.
func (t *Terminal) Title() sanitize.Text { return sanitize.Clean(string(t.title)) }

// Link returns the target of a link: up to 1024 printable ASCII bytes, chosen
// by the program and not to be trusted. It returns "" for no link and for one
// that is forgotten; the last 512 are known.
func (t *Terminal) Link(id LinkID) string {
	if id == 0 || id > t.linkN || t.linkN-id >= maxLinks {
		return ""
	}
	return t.links[id%maxLinks]
}

// Bells returns how often the program rang the bell since the last call.
func (t *Terminal) Bells() int {
	n := t.bells
	t.bells = 0
	return n
}

// Notes returns what the program has announced since the last call (OSC 9 and 777), at
// most four of up to 256 bytes.
func (t *Terminal) Notes() (out []sanitize.Text) {
	for _, n := range t.notes {
		out = append(out, sanitize.Clean(n))
	}
	t.notes = nil
	return out
}

// Replies returns the answers to the program's queries since the last call, at
// most 4096 bytes. They are to be sent as input.
func (t *Terminal) Replies() []byte {
	r := t.replies
	t.replies = nil
	return r
}

// A CursorShape is how the program wants its cursor drawn.
type CursorShape uint8

// The shapes of DECSCUSR.
const (
	CursorBlock CursorShape = iota
	CursorUnderline
	CursorBar
)

// A Cursor says where the next rune goes.
type Cursor struct {
	X, Y    int
	Visible bool
	Shape   CursorShape
	Blink   bool
}

// Cursor returns the cursor. X and Y are always on the screen: a cursor that
// waits to wrap is at the last column.
func (t *Terminal) Cursor() Cursor {
	return Cursor{X: t.x, Y: t.y, Visible: t.inner.cursor, Shape: t.inner.shape, Blink: t.inner.blink}
}

// Damage calls f for each row that may have changed since the last call, from
// the first.
func (t *Terminal) Damage(f func(y int)) {
	for y := range t.damage {
		if t.damage[y] || t.damaged {
			t.damage[y] = false
			f(y)
		}
	}
	t.damaged = false
}

// Cell returns the cell at column x of row y, and a blank one for a place that
// is not on the screen.
func (t *Terminal) Cell(x, y int) Cell {
	if x < 0 || x >= t.cols || y < 0 || y >= t.rows {
		return Cell{Text: " ", Width: 1}
	}
	return t.cell(t.shown.row(y).cells[x])
}

func (t *Terminal) cell(c cell) Cell {
	return Cell{Text: t.text(c), Width: c.width(), Style: t.styles.values[c.styleID()]}
}

// ScrollbackLen returns how many lines left the screen and are kept. The
// alternate screen has none.
func (t *Terminal) ScrollbackLen() int {
	if t.shown != t.main {
		return 0
	}
	return t.history.Len()
}

// Scrolled returns how many lines left the screen for the scrollback, of all
// that did; whoever reads there moves on by what it grew. A resize changes it.
func (t *Terminal) Scrolled() int { return t.history.End() }

// Line appends the cells of a row to dst, one for each column but blank ones at
// the end. Rows from 0 are the screen's; row -1 is the newest of the scrollback
// and -ScrollbackLen() the oldest. Other rows have no cells.
func (t *Terminal) Line(dst []Cell, y int) []Cell {
	switch {
	case y >= 0 && y < t.rows:
		l := t.shown.row(y)
		for _, c := range l.cells[:l.end] {
			dst = append(dst, t.cell(c))
		}
	case y < 0 && -y <= t.ScrollbackLen():
		var style Style
		for r := t.history.Read(t.history.End() + y); r.Next(); {
			if r.NewStyle {
				style = parseStyle(r.Style)
			}
			dst = append(dst, Cell{Text: packedText(&r), Width: r.Width, Style: style})
			if r.Width == 2 {
				dst = append(dst, Cell{Style: style})
			}
		}
	}
	return dst
}

// Text appends the text of a row to dst, without blanks at the end, and says
// whether it goes on in the next row. Rows are counted as for Line.
func (t *Terminal) Text(dst []byte, y int) (text []byte, wrapped bool) {
	begin := len(dst)
	switch {
	case y >= 0 && y < t.rows:
		l := t.shown.row(y)
		for _, c := range l.cells[:l.end] {
			if c.content() == 0 && !c.isTail() && !(c.isSpacer() && l.wrapped) {
				dst = append(dst, ' ')
			}
			dst = t.appendText(dst, c)
		}
		wrapped = l.wrapped
	case y < 0 && -y <= t.ScrollbackLen():
		r := t.history.Read(t.history.End() + y)
		for r.Next() {
			if r.Text == nil {
				dst = append(dst, ' ')
			}
			dst = append(dst, r.Text...)
		}
		wrapped = r.Wrapped
	}
	for !wrapped && len(dst) > begin && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst, wrapped
}
