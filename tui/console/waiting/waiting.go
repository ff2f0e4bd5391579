// Package waiting is what stands in a terminal's place before there is one: that it
// opens, that people are asked and since when, or why it did not open.
package waiting

import (
	"errors"
	"fmt"
	"strings"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// A State is how far a request is.
type State uint8

// The states.
const (
	Opening State = iota
	Asked         // people are asked, or about to be
	Failed
)

// A Request is one that has no terminal yet.
type Request struct {
	Name  sanitize.Text // of the target
	Req   backend.OpenRequest
	State State
	Since time.Time
	Asked backend.Approval // what people are asked, as far as it is known
	Err   error            // of one that failed
	Keys  *keymap.Keys     // for hints
}

// Hints are what can be done while a request stands, or once it failed, with err.
func Hints(failed bool, err error) []keymap.Hint {
	first := []keymap.Hint{{Action: keymap.ActAgents, Word: "targets"}, {Action: keymap.ActCloseTab, Word: "give up"}}
	if failed {
		first = []keymap.Hint{{Action: keymap.ActCloseTab, Word: "close"}, {Action: keymap.ActAgents, Word: "targets"}}
	}
	if failed && !errors.Is(err, backend.ErrGone) {
		first = append([]keymap.Hint{{Action: keymap.ActAgain, Word: "again"}}, first...)
	}
	return append(first, keymap.Hint{Action: keymap.ActHelp, Word: "keys"}, keymap.Hint{Action: keymap.ActPalette, Word: "actions"})
}

// stands says how far the decision is.
func (r Request) stands(st *canvas.Styles, now time.Time) (paras []canvas.Para) {
	a := r.Asked
	if a.ID == "" {
		return nil
	}
	if a.Quorum > 0 {
		paras = append(paras, canvas.Para{Label: "Approved", Text: sanitize.Clean(fmt.Sprintf("%d of %d", a.Approved, a.Quorum)), Style: st.Plain})
	}
	if len(a.Approvers) > 0 {
		paras = append(paras, canvas.Para{Label: "By", Text: phrase.Clean(strings.Join(a.Approvers, ", ")), Style: st.Plain})
	}
	if a.Lasts > 0 {
		paras = append(paras, canvas.Para{Label: "For", Text: sanitize.Literal(phrase.Duration(a.Lasts) + " at most"), Style: st.Plain})
	}
	switch {
	case a.Nobody != "":
		paras = append(paras, canvas.Para{Label: "Can now", Text: phrase.Clean(a.Nobody), Style: st.Warn})
	case len(a.Awaits) > 0:
		paras = append(paras, canvas.Para{Label: "Can now", Text: phrase.Clean(a.WhoCan()), Style: st.Plain})
	}
	if others := a.Reading(now); others != "" {
		paras = append(paras, canvas.Para{Label: "Others", Text: phrase.Clean(others), Style: st.Ok})
	}
	if !a.AskUntil.IsZero() {
		paras = append(paras, canvas.Para{Label: "Time left", Text: sanitize.Literal(phrase.Left(now, a.AskUntil)), Style: st.Plain})
	}
	return paras
}

// Draw shows where the request stands.
func (r Request) Draw(c *canvas.Canvas, area uv.Rectangle, now time.Time) {
	key := func(a keymap.Action) string { return r.Keys.Key(&keymap.TerminalKeys, a) }
	what := []canvas.Para{
		{Label: "Target", Text: r.Name, Style: c.Styles.Bold},
		phrase.Request(c.Styles.Plain, string(r.Req.Kind), r.Req.Argv),
	}
	var head canvas.Para
	var tail []canvas.Para
	switch r.State {
	case Opening:
		head = canvas.Para{Label: "", Text: sanitize.Literal("Opening ..."), Style: c.Styles.Bold}
		tail = []canvas.Para{{Label: "", Text: sanitize.Clean(key(keymap.ActCloseTab) + " gives up."), Style: c.Styles.Plain}}
	case Asked:
		head = canvas.Para{Label: "", Text: sanitize.Literal("~ yours: waiting for approval"), Style: c.Styles.Hold}
		tail = []canvas.Para{
			{Label: "Reason", Text: phrase.Clean(r.Req.Reason), Style: c.Styles.Plain},
			{Label: "Waiting", Text: sanitize.Literal(phrase.Duration(now.Sub(r.Since))), Style: c.Styles.Plain},
		}
		tail = append(tail, r.stands(c.Styles, now)...)
		tail = append(tail,
			canvas.Para{},
			canvas.Para{Label: "", Text: sanitize.Clean("It opens by itself when somebody approves. Go on with other work: " + key(keymap.ActAgents) + " shows the targets. " + key(keymap.ActCloseTab) + " gives up waiting here."), Style: c.Styles.Plain},
		)
	case Failed:
		head = canvas.Para{Label: "", Text: sanitize.Literal("✗ It did not open."), Style: c.Styles.Deny}
		tail = []canvas.Para{
			{Label: "Cause", Text: phrase.Error(r.Err), Style: c.Styles.Plain},
			{},
			{Label: "", Text: sanitize.Clean(key(keymap.ActAgain) + " tries again, " + key(keymap.ActCloseTab) + " closes the tab."), Style: c.Styles.Plain},
		}
		if errors.Is(r.Err, backend.ErrGone) {
			tail[2].Text = sanitize.Clean("Its backend has ended: nothing of it opens until tucdesk is started again. " + key(keymap.ActCloseTab) + " closes the tab.")
		}
	}
	paras := append([]canvas.Para{head, {}}, append(what, tail...)...)
	inside := uv.Rect(area.Min.X+2, area.Min.Y+1, area.Dx()-4, max(0, area.Dy()-1))
	c.Rows(inside, canvas.Layout(paras, max(1, inside.Dx())), 0)
}
