package console

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
	"github.com/tucdesk/tucdesk/tui/console/tabbar"
	"github.com/tucdesk/tucdesk/tui/console/waiting"
)

// Dirty implements program.Model.
func (m *model) Dirty() bool { return m.dirty }

// Draw implements program.Model.
func (m *model) Draw(on uv.Screen) *tea.Cursor {
	m.dirty = false
	if m.cols <= 0 || m.rows <= 0 {
		return nil
	}
	return m.draw(canvas.New(on, m.st))
}

// draw paints a frame: the tab bar, the place, the status or footer, dialogs
// and toast.
func (m *model) draw(c *canvas.Canvas) *tea.Cursor {
	now := m.now()
	if t := m.lent(); t != nil {
		return m.drawLent(c, t)
	}
	m.drawBar(c)
	area := uv.Rect(0, 1, m.cols, max(0, m.rows-2))
	var cursor *tea.Cursor
	switch t := m.current(); {
	case m.place == atAgents:
		cursor = m.agents.Draw(c, area)
	case m.place == atApprovals:
		m.queue.Draw(c, area, now)
	case t != nil:
		cursor = m.drawTab(c, t, now)
	}
	// Above the footer, but in the tab bar where a program or a dialog has the rows below.
	if y := m.rows - 2; m.place >= atTabs || len(m.dialogs) > 0 {
		m.said.Draw(c, m.cols, 0, now)
	} else {
		m.said.Draw(c, m.cols, y, now)
	}
	for i, d := range m.dialogs {
		// Only the topmost has a cursor.
		at := d.Draw(c, area, now)
		if i == len(m.dialogs)-1 {
			cursor = at
		}
	}
	m.drawFooter(c)
	return cursor
}

// drawBar names the places, and at the right who one is, or that what is shown may be
// old.
func (m *model) drawBar(c *canvas.Canvas) {
	waiting := sanitize.Literal("approvals")
	if n := m.queue.Pending(m.now()); n > 0 {
		waiting = sanitize.Clean(fmt.Sprintf("approvals %d!", n))
	}
	if m.queue.Err != nil {
		waiting = sanitize.Literal("approvals ?")
	}
	labels := []sanitize.Text{sanitize.Literal("agents"), waiting}
	for _, t := range m.tabs {
		texts := t.title()
		if m.cast[t.id] {
			texts = append(texts, sanitize.Literal(" »"))
		}
		labels = append(labels, sanitize.Join(texts...))
	}
	right := canvas.Span{Style: c.Styles.Faint, Text: sanitize.Clean(m.opts.Who)}
	quiet := m.agents.Err == nil && m.queue.Err == nil
	if !quiet {
		right = canvas.Lit(c.Styles.Warn, "! no answer")
	}
	if len(m.notices) > 0 && (m.notices[0].Grave || quiet) {
		right = canvas.Span{Style: c.Styles.Warn, Text: sanitize.Clean("! " + m.notices[0].Short)}
	}
	tabbar.Draw(c, m.cols, labels, int(m.place), right)
}

// drawFooter shows the keys of the place, or what protects a terminal.
func (m *model) drawFooter(c *canvas.Canvas) {
	y := m.rows - 1
	if y < 1 {
		return
	}
	if d := m.top(); d != nil {
		if keys := d.Keys(); keys != nil {
			c.Spans(0, y, m.cols, m.keys.Of(keys).Footer(c)...)
		}
		return
	}
	t := m.current()
	switch {
	case m.place == atAgents && m.agents.Typing:
		c.Spans(0, y, m.cols, append(m.keys.Of(&keymap.FilterKeys).Footer(c), canvas.Lit(c.Styles.Faint, "  words, env:prod, !role:db, state:online"))...)
	case m.place == atAgents:
		spans := m.keys.Of(&keymap.AgentKeys).Footer(c)
		if n := len(m.lists.Shells.Entries(m.now(), m.nameOf)); n > 0 {
			spans = append([]canvas.Span{canvas.Lit(c.Styles.Hold, m.keys.Key(&keymap.AgentKeys, keymap.ActAttach)),
				canvas.Lit(c.Styles.Faint, fmt.Sprintf(" attach (%d)  ", n))}, spans...)
		}
		c.Spans(0, y, m.cols, spans...)
	case m.place == atApprovals:
		c.Spans(0, y, m.cols, m.keys.Of(&keymap.ApprovalKeys).Footer(c)...)
	case m.prefixed:
		then := []canvas.Span{canvas.Lit(c.Styles.Warn, m.opts.Prefix+" then: ")}
		if m.casting(t) > 0 {
			then = append(append(then, m.keys.Of(&keymap.TerminalKeys).Hints(c, keymap.Hint{Action: keymap.ActCastAll, Word: "end broadcast"})...), canvas.Lit(c.Styles.Plain, "  "))
		}
		c.Spans(0, y, m.cols, append(then, m.keys.Of(&keymap.TerminalKeys).Footer(c)...)...)
	case t.state != tabRunning:
		c.Spans(0, y, m.cols, m.keys.Of(&keymap.TerminalKeys).Hints(c, waiting.Hints(t.state == tabFailed, t.err)...)...)
	default:
		status := c.Styles.Status
		said := " "
		if n := m.casting(t); n > 0 {
			said += castWords(n)
			status.Fg, status.Attrs = c.Styles.Deny.Fg, status.Attrs|uv.AttrBold
		}
		c.Blank(uv.Rect(0, y, m.cols, 1), status)
		help, actions := m.keys.Key(&keymap.TerminalKeys, keymap.ActHelp), m.keys.Key(&keymap.TerminalKeys, keymap.ActPalette)
		hint := " " + m.opts.Prefix + " " + help + " keys "
		if m.cols >= actionsFrom {
			hint = " " + m.opts.Prefix + " then " + help + " keys, " + actions + " actions "
		}
		room := m.cols
		if m.cols >= hintFrom {
			room -= len(hint)
			c.Spans(room, y, len(hint), canvas.Lit(status, hint))
		}
		c.Spans(0, y, room, append([]canvas.Span{canvas.Lit(status, said)}, t.status(status, m.keys)...)...)
	}
}
