// Package tour shows somebody who is new to the console what it can do, in a few short
// steps. Each is a small box at the lower edge: the console itself stays in sight above
// it, and is brought to the place that the step is about.
//
// Invariants: the tour opens nothing, asks nobody and decides nothing; one key ends it;
// keys are named as this person has bound them. A step fits on a screen of 40 by 12.
//
// It knows no backend.
package tour

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// What the tour gives back.
type (
	// DoShow brings the console to the place of an action: ActAgents or ActApprovals.
	DoShow struct{ At keymap.Action }
	// DoEnd says that the tour is over, seen to its end or not.
	DoEnd struct{}
)

// A step is one box.
type step struct {
	title string
	at    keymap.Action // the place that is shown above it
	text  string
}

// A Tour is the dialog. Use New.
type Tour struct {
	steps []step
	at    int
}

// New makes a tour that names keys as keys has them, and prefix as the key before the
// console's own in a terminal.
func New(keys *keymap.Keys, prefix string) *Tour {
	list := func(a keymap.Action) string { return keys.Key(&keymap.AgentKeys, a) }
	pane := func(a keymap.Action) string { return keys.Key(&keymap.TerminalKeys, a) }
	ask := func(a keymap.Action) string { return keys.Key(&keymap.RequestKeys, a) }
	return &Tour{steps: []step{
		{"What you may, beforehand", keymap.ActAgents, fmt.Sprintf(
			"Each machine has a verdict: ✓ allow, ? confirm, ~ hold (people approve first), ✗ deny. %s says why, and what would change it. %s filters: env:prod web.",
			list(keymap.ActDetails), list(keymap.ActFilter))},
		{"Connect", keymap.ActAgents, fmt.Sprintf(
			"%s opens a shell on the machine at >, encrypted end to end. %s runs one command. %s marks machines, to run it on all of them.",
			list(keymap.ActOpen), list(keymap.ActExec), list(keymap.ActMark))},
		{"In a terminal", keymap.ActAgents, fmt.Sprintf(
			"Every key is the program's but %s. After it one key is the console's: %s to this list, %s and %s split, %s types into several, %s shows all.",
			prefix, pane(keymap.ActAgents), pane(keymap.ActSplitRight), pane(keymap.ActSplitBelow), pane(keymap.ActCast), pane(keymap.ActHelp))},
		{"Ask, and approve", keymap.ActApprovals, fmt.Sprintf(
			"What is held you can ask for in place; it opens by itself when somebody approves. Whoever may, reads it in this queue (%s) to its end: %s approves, %s denies.",
			list(keymap.ActApprovals), ask(keymap.ActApprove), ask(keymap.ActDeny))},
		{"What happened", keymap.ActAgents, fmt.Sprintf(
			"%s opens the audit log: who did what, and what is proved of it; auditors play recordings there. %s lists what this console has said.",
			list(keymap.ActAudit), list(keymap.ActSaid))},
		{"Anything else", keymap.ActAgents, fmt.Sprintf(
			"%s shows every key. %s finds any action by its name and runs it, this tour too. %s goes to your terminals, one after the other.",
			list(keymap.ActHelp), list(keymap.ActPalette), list(keymap.ActNextTab))},
	}}
}

// Keys implements dialog.Dialog.
func (t *Tour) Keys() *keymap.Map { return &keymap.TourKeys }

// Paste implements dialog.Dialog.
func (t *Tour) Paste(string) {}

// Key implements dialog.Dialog.
func (t *Tour) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	switch keymap.TourKeys.Lookup(k.String()) {
	case keymap.ActRight:
		t.at++
	case keymap.ActLeft:
		t.at = max(0, t.at-1)
	case keymap.ActBack:
		t.at = len(t.steps)
	default:
		return dialog.Outcome{}
	}
	if t.at >= len(t.steps) {
		return dialog.Outcome{Close: true, Do: DoEnd{}}
	}
	return dialog.Outcome{Do: DoShow{t.steps[t.at].at}}
}

// Draw implements dialog.Dialog.
func (t *Tour) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	if t.at >= len(t.steps) {
		return nil
	}
	s := t.steps[t.at]
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout([]canvas.Para{{Text: sanitize.Clean(s.text), Style: c.Styles.Plain}}, max(1, cols-4))
	box := dialog.Area(area, cols, len(rows)+2)
	box = box.Add(uv.Pos(0, area.Max.Y-box.Max.Y)) // the lower edge
	c.Rows(c.Box(box, sanitize.Clean(fmt.Sprintf("Tour %d of %d: %s", t.at+1, len(t.steps), s.title))), rows, 0)
	return nil
}
