package auditlog

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
	"github.com/tucdesk/tucdesk/tui/console/phrase"
)

// details is all of one entry, and what was proved of it.
type details struct {
	ctx    context.Context
	end    context.CancelFunc
	log    backend.Auditor
	entry  backend.LogEntry
	checks []backend.Check
	err    error
	done   bool
	dialog.Scroller
}

type provedMsg struct {
	of     *details
	checks []backend.Check
	err    error
}

func newDetails(ctx context.Context, log backend.Auditor, e backend.LogEntry) *details {
	ctx, end := context.WithCancel(ctx)
	return &details{ctx: ctx, end: end, log: log, entry: e}
}

// Begin implements dialog.Live.
func (d *details) Begin() tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, askTimeout)
		defer cancel()
		checks, err := d.log.Prove(ctx, d.entry.Index)
		return provedMsg{d, checks, err}
	}
}

// Receive implements dialog.Live.
func (d *details) Receive(msg tea.Msg, _ time.Time) tea.Cmd {
	if p, ok := msg.(provedMsg); ok && p.of == d {
		d.checks, d.err, d.done = p.checks, p.err, true
	}
	return nil
}

// End implements dialog.Live.
func (d *details) End() { d.end() }

// Keys implements dialog.Dialog.
func (d *details) Keys() *keymap.Map { return &keymap.EntryKeys }

// Paste implements dialog.Dialog.
func (d *details) Paste(string) {}

// Key implements dialog.Dialog.
func (d *details) Key(k tea.KeyPressMsg, _ time.Time) dialog.Outcome {
	act := keymap.EntryKeys.Lookup(k.String())
	d.Move(act)
	switch act {
	case keymap.ActBack:
		return dialog.Outcome{Close: true}
	case keymap.ActPlay:
		return play(d.ctx, d.log, d.entry)
	}
	return dialog.Outcome{}
}

// Draw implements dialog.Dialog.
func (d *details) Draw(c *canvas.Canvas, area uv.Rectangle, _ time.Time) *tea.Cursor {
	cols := min(dialog.Cols, area.Dx())
	rows := canvas.Layout(append(d.what(c.Styles), d.proved(c.Styles)...), max(1, cols-4))
	title := sanitize.Clean(fmt.Sprintf("Entry %d of the audit log", d.entry.Index))
	d.Scroller.Draw(c, c.Box(dialog.Area(area, cols, len(rows)+2), title), rows)
	return nil
}

func (d *details) what(st *canvas.Styles) []canvas.Para {
	e := &d.entry
	if e.Problem != "" {
		return []canvas.Para{
			{Text: sanitize.Literal("✗ This entry does not verify. Nothing it says is to be believed."), Style: st.Deny},
			{Label: "Cause", Text: phrase.Clean(e.Problem), Style: st.Plain},
			{Label: "Next", Text: sanitize.Literal("Export the log and check all of it: `tucdesk audit export`, `tucdesk audit verify`. Tell the team's admins."), Style: st.Plain},
		}
	}
	var paras []canvas.Para
	say := func(label, text string, style uv.Style) {
		if text != "" {
			paras = append(paras, canvas.Para{Label: label, Text: phrase.Clean(text), Style: style})
		}
	}
	if e.BreakGlass {
		say("Mark", "BREAK-GLASS: opened without apid's grant, on the word of a quorum", st.Deny)
	}
	say("When", e.Time.Local().Format("2006-01-02 15:04:05 -0700")+", by the signer's clock", st.Plain)
	say("Who", e.Actor, st.Bold)
	say("What", e.Type+" "+e.Action, st.Bold)
	say("Target", e.Target, st.Plain)
	say("Session", e.Session, st.Plain)
	if e.Effect != "" {
		word, style := phrase.Verdict(st, effect(e.Effect))
		say("Verdict", word, style)
	}
	say("Rule", e.Rule, st.Plain)
	say("Tier", e.Tier, st.Plain)
	switch {
	case e.Argv != nil:
		paras = append(paras, phrase.Request(st.Plain, "exec", e.Argv))
		say("Runbook", e.Runbook, st.Plain)
	case e.Sealed:
		say("Command", "sealed to others: this device can't open it", st.Faint)
	}
	say("Reason", e.Reason, st.Plain)
	if e.Type == "session-end" {
		say("Ended", phrase.Exit(backend.Exit{Code: e.Exit, Signal: e.Signal}).String(), st.Plain)
	}
	if e.Recorded {
		say("Recording", "there is one", st.Ok)
	}
	return paras
}

// proved is what was checked, and nothing else.
func (d *details) proved(st *canvas.Styles) []canvas.Para {
	paras := []canvas.Para{{}}
	switch {
	case !d.done:
		return append(paras, canvas.Para{Label: "Proof", Text: sanitize.Literal("being fetched and checked ..."), Style: st.Faint})
	case d.err != nil:
		return append(paras, canvas.Para{Label: "Proof", Text: sanitize.Join(sanitize.Literal("not checked: "), phrase.Error(d.err)), Style: st.Warn})
	}
	label := "Proof"
	for _, check := range d.checks {
		mark, style := sanitize.Literal("✗ "), st.Deny
		if check.Holds {
			mark, style = sanitize.Literal("✓ "), st.Plain
		}
		paras = append(paras, canvas.Para{Label: label, Text: sanitize.Join(mark, phrase.Clean(check.What)), Style: style})
		label = " "
	}
	return paras
}
