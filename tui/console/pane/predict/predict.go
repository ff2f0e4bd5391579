// Package predict guesses what the far end will echo, so that typing is seen at
// once where the way there and back is slow. It does what Mosh's does, with what
// an emulator's screen shows as the only witness.
//
// A guess is one letter in one cell, or one cell made blank by backspace. It is
// right where the host's own cursor has moved behind it and the cells are as it
// said. Guesses come in runs; a run is shown once one of its letters was right:
// a prompt that does not echo, or an editor that takes letters for commands, is
// never right, and so its letters are never shown.
//
// Invariants:
//
//   - The emulator is only read. What was guessed wrong leaves no trace.
//   - A run ends with whatever the guesser does not understand: enter, tab,
//     escape sequences, controls, pastes, the last column, text to the right of the
//     cursor, and a cursor that the host moved by itself. The next run has to earn
//     its trust anew.
//   - Masks (such as * and •) and blanks earn no trust.
//   - A guess that is not answered within a limit is dropped, and ends its run.
//   - At most maxGuesses wait.
//
// The package must not import backend, a network, or anything that draws. An
// Engine is for one goroutine at a time.
package predict

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/vt"
)

const (
	// Guesses are shown from slowFrom on, there and back, and until slowUntil.
	slowFrom  = 30 * time.Millisecond
	slowUntil = 20 * time.Millisecond
	// A guess waits for its answer for patience, or so many times the way there
	// and back, if that is more.
	patience   = 2 * time.Second
	roundTrips = 5
	// maxGuesses bounds the guesses that wait.
	maxGuesses = 128
)

// When says when guesses are shown. The zero value is Auto.
type When uint8

// When guesses are shown.
const (
	Auto   When = iota // where the way there and back is slow
	Always             // wherever the host echoes
	Never
)

// ParseWhen reads "auto", "always" or "never"; nothing is Auto.
func ParseWhen(s string) (When, error) {
	switch s {
	case "", "auto":
		return Auto, nil
	case "always":
		return Always, nil
	case "never":
		return Never, nil
	}
	return Never, fmt.Errorf("predict: %+q is none of auto, always and never", s)
}

// A guess is one cell: what it will show, and where the cursor is then.
type guess struct {
	text  string
	x     int
	after int
	run   int
	typed time.Time
}

// An Engine guesses for one terminal. The zero value is ready.
type Engine struct {
	// When says when guesses are shown.
	When When

	guesses []guess // in the order they were typed, all on one row
	row     int
	base    int // the cursor's column before the first guess
	run     int
	begun   bool
	from    int // the column where it began: backspace goes no further
	trusted int // the newest run of which a guess was right, plus 1
	blind   bool
	known   bool // the cursor was seen at x, y
	x, y    int
	slow    bool
	echo    time.Duration // how long answers took lately
	rtt     time.Duration
}

// Rate says how long the way there and back is; 0 means that nobody knows, and
// the engine goes by how long echoes took.
func (e *Engine) Rate(rtt time.Duration) {
	if rtt <= 0 {
		rtt = e.echo
	}
	e.rtt = rtt
	switch {
	case rtt >= slowFrom:
		e.slow = true
	case rtt < slowUntil:
		e.slow = false
	}
}

// Typed guesses what b, which is about to be sent, will do to the screen.
func (e *Engine) Typed(t *vt.Terminal, b []byte, now time.Time) {
	if e.When == Never {
		return
	}
	if len(b) > maxGuesses {
		e.Unknown()
		return
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if e.blind || !e.guess(t, r, n, now) {
			e.Unknown()
			return
		}
		b = b[n:]
	}
}

// Unknown says that something was sent whose effect can't be guessed.
func (e *Engine) Unknown() {
	e.endRun()
	e.blind = true
}

func (e *Engine) endRun() {
	e.run++
	e.begun = false
}

// Reset drops all guesses: the screen has another size, or began anew.
func (e *Engine) Reset() {
	e.drop()
	e.known = false
}

// drop drops all guesses and ends the run.
func (e *Engine) drop() {
	e.guesses = e.guesses[:0]
	e.endRun()
}

func (e *Engine) guess(t *vt.Terminal, r rune, size int, now time.Time) bool {
	if len(e.guesses) >= maxGuesses {
		return false
	}
	var x, reach int
	wide := false
	if n := len(e.guesses); n > 0 {
		x = e.guesses[n-1].after
		for _, g := range e.guesses {
			w := ansi.StringWidth(g.text)
			reach, wide = max(reach, g.x+w), wide || w > 1
		}
	} else {
		c := t.Cursor()
		if !c.Visible || t.Modes().Sync {
			return false
		}
		x, e.base, e.row = c.X, c.X, c.Y
	}
	if !e.begun {
		e.begun, e.from = true, x
	}
	if r == '\b' || r == 0x7f {
		if x <= e.from || wide || t.Cell(x-1, e.row).Width != 1 {
			return false // not what was typed here, or a wide letter
		}
		e.guesses = append(e.guesses, guess{" ", x - 1, x - 1, e.run, now})
		return true
	}
	if r == utf8.RuneError && size <= 1 || !unicode.IsPrint(r) {
		return false
	}
	text := string(r)
	w := ansi.StringWidth(text)
	cols, _ := t.Size()
	if w < 1 || x+w >= cols {
		return false
	}
	for i := max(x, reach); i < cols; i++ {
		if t.Cell(i, e.row).Text != " " {
			return false
		}
	}
	e.guesses = append(e.guesses, guess{text, x, x + w, e.run, now})
	return true
}

// Heard compares the guesses with the screen, which the host has just changed.
func (e *Engine) Heard(t *vt.Terminal, now time.Time) {
	if e.When == Never || t.Modes().Sync {
		return
	}
	c := t.Cursor()
	moved := e.known && (c.X != e.x || c.Y != e.y)
	e.x, e.y, e.known = c.X, c.Y, true
	if len(e.guesses) == 0 {
		if moved {
			e.endRun() // by itself
		}
		e.blind = false
		return
	}
	if right := e.right(t, c); right > 0 {
		e.confirm(right, now)
	} else if c.Y != e.row || c.X != e.base || e.blind {
		// Wrong, or answered together with what was typed after it.
		e.drop()
		e.blind = false
	}
}

// right is how many guesses the screen shows to be right, by the fewest that
// explain it; 0 where it shows none, or is as before the first.
func (e *Engine) right(t *vt.Terminal, c vt.Cursor) int {
	if c.Y != e.row || c.X == e.base {
		return 0
	}
	for k := range e.guesses {
		if e.guesses[k].after == c.X && e.shows(t, k+1) {
			return k + 1
		}
	}
	return 0
}

// shows says whether the cells are as after the first n guesses.
func (e *Engine) shows(t *vt.Terminal, n int) bool {
	for i := n - 1; i >= 0; i-- {
		over := false // a later guess is about the same cell
		for j := i + 1; j < n && !over; j++ {
			over = e.guesses[j].x == e.guesses[i].x
		}
		if !over && t.Cell(e.guesses[i].x, e.row).Text != e.guesses[i].text {
			return false
		}
	}
	return true
}

// confirm takes the first n guesses as right.
func (e *Engine) confirm(n int, now time.Time) {
	last := e.guesses[n-1]
	for _, g := range e.guesses[:n] {
		if !strings.Contains("*•●∗ ", g.text) {
			e.trusted = max(e.trusted, g.run+1)
		}
	}
	took := now.Sub(last.typed)
	if e.echo == 0 {
		e.echo = took
	}
	e.echo += (took - e.echo) / 8
	e.base = last.after
	e.guesses = append(e.guesses[:0], e.guesses[n:]...)
}

// Expire drops guesses that were not answered in time.
func (e *Engine) Expire(t *vt.Terminal, now time.Time) {
	due, waits := e.Due()
	if !waits || now.Before(due) {
		return
	}
	// Letters that were erased again may have come and gone unseen.
	c, n := t.Cursor(), len(e.guesses)
	unseen := c.Y == e.row && c.X == e.guesses[n-1].after && e.shows(t, n)
	if unseen {
		e.guesses = e.guesses[:0]
		return
	}
	e.drop()
	e.blind = true
}

// Due returns when Expire has something to do, if ever.
func (e *Engine) Due() (time.Time, bool) {
	if len(e.guesses) == 0 {
		return time.Time{}, false
	}
	return e.guesses[0].typed.Add(max(patience, roundTrips*e.rtt)), true
}

// Shown calls f for each guess that is to be seen, in the order they were typed:
// a later one lies above an earlier one. It returns where the cursor is to be
// seen, and false where it is where the host has it.
func (e *Engine) Shown(f func(x, y int, text string)) (x, y int, ok bool) {
	if e.When == Never || e.When == Auto && !e.slow {
		return 0, 0, false
	}
	for _, g := range e.guesses {
		if g.run >= e.trusted {
			break
		}
		f(g.x, e.row, g.text)
		x, y, ok = g.after, e.row, true
	}
	return x, y, ok
}

// Setting gives what an environment says of it (TUCDESK_ECHO), or otherwise what was set.
func Setting(environ []string, set When) (When, error) {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, "TUCDESK_ECHO="); ok {
			w, err := ParseWhen(value)
			if err != nil {
				return set, fmt.Errorf("console: TUCDESK_ECHO: %w", err)
			}
			set = w
		}
	}
	return set, nil
}
