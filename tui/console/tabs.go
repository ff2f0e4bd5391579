package console

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/connection"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/live"
	"github.com/tucdesk/tucdesk/tui/console/onlookers"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/starts"
	"github.com/tucdesk/tucdesk/tui/console/waiting"
)

// maxTabs bounds the tabs, and with them terminals and their memory.
const maxTabs = 64

// A tabState says what a tab shows.
type tabState uint8

const (
	tabOpening tabState = iota // Open is on its way
	tabAsking                  // Ask is on its way
	tabWaiting                 // people are asked; it opens by itself
	tabRunning                 // a pane
	tabFailed                  // what went wrong
)

// A tab is one request and what came of it.
type tab struct {
	id       int
	req      backend.OpenRequest
	name     sanitize.Text // the target's
	state    tabState
	since    time.Time
	ctx      context.Context
	cancel   context.CancelFunc                                                   // ends opening and waiting
	open     func(context.Context, backend.OpenRequest) (backend.Terminal, error) // nil: the backend's
	pane     *pane.Pane
	starts   *starts.List     // nil where the pane's program starts are not judged
	watchers *onlookers.List  // nil where nobody can watch it
	scroll   bool             // keys scroll
	bell     bool             // rang while not shown
	asked    backend.Approval // that it waits for, as the queue has it
	err      error
}

// needsPrefix says whether keys go to a program.
func (t *tab) needsPrefix() bool {
	return t.state == tabRunning && !t.pane.Status().Ended
}

// own says whether it is a program of this member.
func (t *tab) own() bool { return t.needsPrefix() && !t.req.Kind.Watches() }

// title is the tab's name in the bar, with a mark for what happened.
func (t *tab) title() []sanitize.Text {
	out := []sanitize.Text{t.name}
	if len(t.req.Argv) > 0 {
		out = append(out, sanitize.Literal(": "), phrase.BriefRequest("", t.req.Argv[:1]))
	}
	switch {
	case t.starts.Waiting() > 0:
		out = append(out, sanitize.Literal(" ?"))
	case t.bell:
		out = append(out, sanitize.Literal(" !"))
	case t.state == tabRunning && t.pane.Link().Lost:
		out = append(out, sanitize.Literal(" frozen"))
	case t.state == tabWaiting || t.state == tabAsking || t.state == tabOpening:
		out = append(out, sanitize.Literal(" ~"))
	case t.state == tabFailed:
		out = append(out, sanitize.Literal(" ✗"))
	case t.pane.Status().Ended:
		out = append(out, sanitize.Literal(" ."))
	}
	return out
}

// close ends whatever the tab does, without waiting.
func (t *tab) close() {
	t.cancel()
	if t.pane != nil {
		// A terminal that is slow to end must not hold the screen.
		p := t.pane
		backend.Go(func() { _ = p.Close() })
	}
}

// draw shows the pane, or where the request stands.
func (t *tab) draw(c *canvas.Canvas, area uv.Rectangle, keys *keymap.Keys, now time.Time) *tea.Cursor {
	if t.state == tabRunning {
		t.pane.Draw(c, area)
		if link := t.pane.Link(); link.Lost && !t.pane.Status().Ended {
			connection.DrawLost(c, area, link, now)
		}
		if x, y, shown := t.pane.Cursor(); shown && x < area.Dx() && y < area.Dy() {
			return tea.NewCursor(area.Min.X+x, area.Min.Y+y)
		}
		return nil
	}
	w := waiting.Request{Name: t.name, Req: t.req, Since: t.since, Asked: t.asked, Err: t.err, Keys: keys}
	switch t.state {
	case tabAsking, tabWaiting:
		w.State = waiting.Asked
	case tabFailed:
		w.State = waiting.Failed
	}
	w.Draw(c, area, now)
	return nil
}

// details is what protects the terminal, in full.
func (t *tab) details(st *canvas.Styles) []canvas.Para {
	paras := []canvas.Para{
		{Label: "Target", Text: t.name, Style: st.Bold},
		phrase.Request(st.Plain, string(t.req.Kind), t.req.Argv),
	}
	if t.state != tabRunning {
		return append(paras, canvas.Para{Label: "", Text: sanitize.Literal("Nothing is open yet."), Style: st.Plain})
	}
	return slices.Concat(paras, t.watchers.Details(st), connection.Details(st, t.pane.Assurance()))
}

// status is the line below a terminal.
func (t *tab) status(style uv.Style, keys *keymap.Keys) []canvas.Span {
	if t.state != tabRunning {
		return nil
	}
	if st := t.pane.Status(); t.open != nil && st.Ended {
		return []canvas.Span{{Style: style, Text: phrase.Exit(st.Exit)}}
	} else if t.open != nil {
		return []canvas.Span{canvas.Lit(style, "a plan: each target gets a session of its own")}
	}
	return slices.Concat(live.Status(t.req.Kind, style), t.watchers.Status(style), connection.Status(style, keys, t.pane.Status(), t.scroll, t.pane.Assurance()))
}
