// Package starts shows the programs that are about to start inside a terminal and that
// policy does not simply let run: above the program's own screen and in the console's
// colours, where the target can't draw.
package starts

import (
	"fmt"
	"slices"
	"sync"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

const (
	// endFor is how long it is shown how a start has ended.
	endFor = 8 * time.Second
	// maxRows bounds the rows that a list takes of a terminal's screen.
	maxRows = 8
)

// A List is what a terminal says of starts. Its methods are safe for concurrent use.
type List struct {
	terminal backend.GatedTerminal

	mu      sync.Mutex
	waiting []backend.Start // oldest first
	last    backend.Start   // that has ended
	until   time.Time       // until when last is shown
}

// Follow makes the list of a terminal, nil where its starts are not judged. It calls
// changed, which must not block, when there is something new to draw.
func Follow(term backend.Terminal, changed func()) *List {
	g, ok := backend.TerminalAs[backend.GatedTerminal](term)
	if !ok || g.Starts() == nil {
		return nil
	}
	l := &List{terminal: g}
	backend.Go(func() {
		for s := range g.Starts() {
			l.take(s, time.Now())
			changed()
		}
	})
	return l
}

func (l *List) take(s backend.Start, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.waiting, func(w backend.Start) bool { return w.ID == s.ID })
	switch {
	case s.State.Waits() && at >= 0:
		l.waiting[at] = s
	case s.State.Waits():
		l.waiting = append(l.waiting, s)
	default:
		if at >= 0 {
			l.waiting = slices.Delete(l.waiting, at, at+1)
		}
		l.last, l.until = s, now.Add(endFor)
	}
}

// Waiting says how many starts wait.
func (l *List) Waiting() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Confirm says yes to the oldest start that waits for this member; false if none does.
// No is to end what waits, with Ctrl-C.
func (l *List) Confirm() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	at := slices.IndexFunc(l.waiting, func(w backend.Start) bool { return w.State == backend.StartConfirm })
	var id uint64
	if at >= 0 {
		id = l.waiting[at].ID
		l.waiting = slices.Delete(l.waiting, at, at+1) // asked once
	}
	l.mu.Unlock()
	if at >= 0 {
		l.terminal.Confirm(id, true)
	}
	return at >= 0
}

// Draw shows the list at the lower end of area, and takes no room where there is
// nothing to say. confirm is the keys that confirm a start.
func (l *List) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time, confirm string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var paras []canvas.Para
	for i, s := range l.waiting {
		if i > 0 {
			break // one at a time; the title counts them
		}
		paras = append(paras, about(c.Styles, s, confirm)...)
	}
	if len(paras) == 0 && now.Before(l.until) {
		paras = about(c.Styles, l.last, confirm)
	}
	if len(paras) == 0 || area.Dx() < 20 || area.Dy() < 5 {
		return
	}
	title := "program start"
	if n := len(l.waiting); n > 1 {
		title = fmt.Sprintf("program start 1 of %d that wait", n)
	}
	rows := canvas.Layout(paras, area.Dx()-4)
	height := min(len(rows), maxRows, area.Dy()-2) + 2
	box := c.Box(uv.Rect(area.Min.X, area.Max.Y-height, area.Dx(), height), sanitize.Clean(title))
	c.Rows(box, rows, 0)
}

// about says what starts, why it does not simply run, and what to do.
func about(st *canvas.Styles, s backend.Start, confirm string) []canvas.Para {
	what := phrase.Request(st.Bold, "", s.Argv)
	what.Label = "Program"
	var paras []canvas.Para
	if s.Cwd != "" {
		paras = append(paras, canvas.Para{Label: "Folder", Text: phrase.Clean(s.Cwd), Style: st.Plain})
	}
	for _, kv := range s.Env {
		paras = append(paras, canvas.Para{Label: "With", Text: phrase.Clean(kv), Style: st.Warn})
	}
	head := canvas.Para{Style: st.Hold}
	var next string
	switch s.State {
	case backend.StartConfirm:
		head.Text, next = sanitize.Literal("~ waits for you to confirm it"), confirm+" runs it. Ctrl-C gives it up."
	case backend.StartHold:
		head.Text, next = sanitize.Literal("~ waits for approval"), "It runs by itself when it is approved. Ctrl-C takes it back."
	case backend.StartRuns:
		head.Text, head.Style = sanitize.Literal("✓ it runs"), st.Ok
	case backend.StartCanceled:
		head.Text, head.Style = sanitize.Literal("taken back"), st.Faint
	case backend.StartNoticed:
		head.Text = sanitize.Literal("~ noticed, and not stopped (gate advisory)")
	default:
		head.Text, head.Style = sanitize.Clean("✗ "+string(s.State)), st.Deny
	}
	first := []canvas.Para{head, what}
	if next != "" { // before what may not have room
		first = append(first, canvas.Para{Text: sanitize.Clean(next), Style: st.Faint})
	}
	paras = append(first, paras...)
	if s.State.Waits() || slices.Contains([]backend.StartState{backend.StartRefused, backend.StartKilled, backend.StartNoticed}, s.State) {
		paras = append(paras, canvas.Para{Label: "Why", Text: phrase.Clean(s.Reason), Style: st.Plain})
	}
	if s.State == backend.StartHold && s.Approvers != "" {
		paras = append(paras, canvas.Para{Label: "Who", Text: phrase.Clean(s.Approvers), Style: st.Plain})
	}
	return paras
}
