package console

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/starts"
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
	id     int
	req    backend.OpenRequest
	name   sanitize.Text // the target's
	state  tabState
	since  time.Time
	ctx    context.Context
	cancel context.CancelFunc                                                   // ends opening and waiting
	open   func(context.Context, backend.OpenRequest) (backend.Terminal, error) // nil: the backend's
	pane   *pane.Pane
	starts *starts.List // nil where the pane's program starts are not judged
	scroll bool         // keys scroll
	bell   bool         // rang while not shown
	err    error
}

// needsPrefix says whether keys go to a program.
func (t *tab) needsPrefix() bool {
	return t.state == tabRunning && !t.pane.Status().Ended
}

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
		go t.pane.Close()
	}
}

// draw shows the pane, or where the request stands.
func (t *tab) draw(c *canvas.Canvas, area uv.Rectangle, keys *keymap.Keys, now time.Time) *tea.Cursor {
	if t.state == tabRunning {
		t.pane.Draw(c, area)
		if link := t.pane.Link(); link.Lost && !t.pane.Status().Ended {
			drawLost(c, area, link, now)
		}
		if x, y, shown := t.pane.Cursor(); shown && x < area.Dx() && y < area.Dy() {
			return tea.NewCursor(area.Min.X+x, area.Min.Y+y)
		}
		return nil
	}
	key := func(a keymap.Action) string { return keys.Key(&keymap.TerminalKeys, a) }
	what := []canvas.Para{
		{Label: "Target", Text: t.name, Style: c.Styles.Bold},
		phrase.Request(c.Styles.Plain, string(t.req.Kind), t.req.Argv),
	}
	var head canvas.Para
	var tail []canvas.Para
	switch t.state {
	case tabOpening:
		head = canvas.Para{Label: "", Text: sanitize.Literal("Opening ..."), Style: c.Styles.Bold}
		tail = []canvas.Para{{Label: "", Text: sanitize.Clean(key(keymap.ActCloseTab) + " gives up."), Style: c.Styles.Plain}}
	case tabAsking, tabWaiting:
		head = canvas.Para{Label: "", Text: sanitize.Literal("~ yours: waiting for approval"), Style: c.Styles.Hold}
		tail = []canvas.Para{
			{Label: "Reason", Text: phrase.Clean(t.req.Reason), Style: c.Styles.Plain},
			{Label: "Waiting", Text: sanitize.Literal(phrase.Duration(now.Sub(t.since))), Style: c.Styles.Plain},
			{},
			{Label: "", Text: sanitize.Clean("It opens by itself when somebody approves. Go on with other work: " + key(keymap.ActAgents) + " shows the targets. " + key(keymap.ActCloseTab) + " gives up waiting here."), Style: c.Styles.Plain},
		}
	case tabFailed:
		head = canvas.Para{Label: "", Text: sanitize.Literal("✗ It did not open."), Style: c.Styles.Deny}
		tail = []canvas.Para{
			{Label: "Cause", Text: phrase.Error(t.err), Style: c.Styles.Plain},
			{},
			{Label: "", Text: sanitize.Clean(key(keymap.ActAgain) + " tries again, " + key(keymap.ActCloseTab) + " closes the tab."), Style: c.Styles.Plain},
		}
	}
	paras := append([]canvas.Para{head, {}}, append(what, tail...)...)
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.Rows(inside, canvas.Layout(paras, max(1, inside.Dx())), 0)
	return nil
}

// drawLost lays a banner over a terminal that is frozen: since when, what is being
// done about it, and for how long.
func drawLost(c *canvas.Canvas, area uv.Rectangle, link backend.Link, now time.Time) {
	text := "Nothing was heard of it for " + phrase.Duration(max(0, now.Sub(link.Since))) + ". It is tried again and again, and goes on by itself."
	if !link.Until.IsZero() {
		text += " The machine keeps it for " + phrase.Left(now, link.Until) + "."
	}
	paras := []canvas.Para{
		{Text: sanitize.Literal("What you type is kept, and arrives then."), Style: c.Styles.Plain},
	}
	paras = append([]canvas.Para{{Text: sanitize.Clean(text), Style: c.Styles.Plain}}, paras...)
	if link.Why != "" {
		paras = append(paras, canvas.Para{Label: "Last try", Text: phrase.Clean(link.Why), Style: c.Styles.Faint})
	}
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout(paras, max(1, cols-4))
	height := min(len(rows)+2, area.Dy())
	if cols < 8 || height < 3 {
		return
	}
	box := uv.Rect(area.Min.X+(area.Dx()-cols)/2, area.Min.Y, cols, height)
	c.Rows(c.Box(box, sanitize.Literal("the link is lost, the terminal is frozen")), rows, 0)
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
	a := t.pane.Assurance()
	say := func(label, word, without string) {
		if word == "" {
			paras = append(paras, canvas.Para{Label: label, Text: sanitize.Literal(without), Style: st.Warn})
		} else {
			paras = append(paras, canvas.Para{Label: label, Text: phrase.Clean(word), Style: st.Plain})
		}
	}
	encrypted, policy := "", ""
	if a.E2EE {
		encrypted = "end to end, to the peer below"
	}
	if a.Policy {
		policy = "a policy allowed this terminal"
	}
	say("Encrypted", encrypted, "not end to end")
	say("Peer", a.Peer, "not known")
	say("Path", phrase.Way(a), "not known")
	say("Policy", policy, "no policy")
	say("Gate", a.Gate, "commands inside are not gated")
	say("Recording", a.Recording, "not recorded")
	return paras
}

// status is the line below a terminal: first what the pane has to say, then
// what protects it.
func (t *tab) status(style uv.Style, keys *keymap.Keys) []canvas.Span {
	if t.state != tabRunning {
		return nil
	}
	var spans []canvas.Span
	say := func(text sanitize.Text) {
		spans = append(spans, canvas.Span{Style: style, Text: text}, canvas.Lit(style, " · "))
	}
	st := t.pane.Status()
	again := keys.Key(&keymap.TerminalKeys, keymap.ActAgain) + " opens again, " + keys.Key(&keymap.TerminalKeys, keymap.ActCloseTab) + " closes"
	if t.scroll || st.Back > 0 {
		say(sanitize.Clean(fmt.Sprintf("%d of %d lines back, %s returns", st.Back, st.History, keys.Key(&keymap.ScrollKeys, keymap.ActBack))))
	}
	switch {
	case st.Ended && st.Err != nil:
		say(sanitize.Clean("the link was lost; " + again))
		say(phrase.Error(st.Err))
	case st.Ended:
		say(phrase.Exit(st.Exit))
		say(sanitize.Clean(again))
	}
	if st.Resets > 0 {
		say(sanitize.Literal("display was reset: the program sent something that could not be drawn"))
	}
	if st.Lost {
		say(sanitize.Literal("INPUT REFUSED: the program does not read"))
	}
	return append(spans, phrase.Assurance(t.pane.Assurance(), style)...)
}
