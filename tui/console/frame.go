package console

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// View implements tea.Model. It only paints what changed since the last time.
func (m *model) View() tea.View {
	if !m.dirty {
		return m.view
	}
	m.dirty = false
	m.view = tea.View{AltScreen: true, WindowTitle: "TucDesk"}
	if m.cols <= 0 || m.rows <= 0 {
		return m.view
	}
	c := newCanvas(m.cols, m.rows, m.st)
	m.view.Cursor = m.draw(c)
	m.view.Content = c.Render()
	return m.view
}

// draw paints a frame: the tab bar, the place, the status or footer, dialogs
// and toast.
func (m *model) draw(c *canvas) *tea.Cursor {
	now := m.now()
	m.drawBar(c)
	area := uv.Rect(0, 1, m.cols, max(0, m.rows-2))
	var cursor *tea.Cursor
	switch t := m.current(); {
	case m.place == atAgents:
		cursor = m.agents.draw(c, area)
	case m.place == atApprovals:
		m.queue.draw(c, area, now)
	case t != nil:
		cursor = t.draw(c, area, now)
	}
	m.drawToast(c)
	for i, d := range m.dialogs {
		// Only the topmost has a cursor.
		at := d.draw(c, area, now)
		if i == len(m.dialogs)-1 {
			cursor = at
		}
	}
	m.drawFooter(c)
	return cursor
}

// drawToast shows a toast at the right: above the footer, but in the tab bar
// where a program or a dialog has the rows below.
func (m *model) drawToast(c *canvas) {
	if m.toast == nil || m.rows <= 2 {
		return
	}
	w := 0
	for _, s := range m.toast {
		w += width(s.text)
	}
	w = min(w+2, m.cols)
	y := m.rows - 2
	if m.place >= atTabs || len(m.dialogs) > 0 {
		y = 0
	}
	c.fill(uv.Rect(m.cols-w, y, w, 1), c.st.plain)
	c.line(m.cols-w+1, y, w-1, m.toast...)
}

func (m *model) drawBar(c *canvas) {
	label := func(p place, texts ...sanitize.Text) []span {
		style, open, shut := c.st.plain, " ", " "
		if p == m.place {
			style, open, shut = c.st.active, "[", "]"
		}
		spans := []span{lit(style, open)}
		for _, t := range texts {
			spans = append(spans, span{style, t})
		}
		return append(spans, lit(style, shut))
	}
	number := func(i int) sanitize.Text {
		if i > 9 {
			return sanitize.Text{}
		}
		return sanitize.Clean(fmt.Sprintf("%d ", i))
	}
	labels := [][]span{label(atAgents, number(1), sanitize.Literal("agents"))}
	waiting := sanitize.Literal("approvals")
	if n := m.queue.pending(m.now()); n > 0 {
		waiting = sanitize.Clean(fmt.Sprintf("approvals %d!", n))
	}
	if m.queue.err != nil {
		waiting = sanitize.Literal("approvals ?")
	}
	labels = append(labels, label(atApprovals, number(2), waiting))
	for i, t := range m.tabs {
		labels = append(labels, label(atTabs+place(i), append([]sanitize.Text{number(i + 3)}, t.title()...)...))
	}
	// From the right end of the active label to the left, as many as fit.
	widths := make([]int, len(labels))
	for i, l := range labels {
		for _, s := range l {
			widths[i] += width(s.text)
		}
	}
	first, used := int(m.place), widths[m.place]
	for first > 0 && used+widths[first-1] < m.cols-2 {
		first--
		used += widths[first]
	}
	x := 0
	if first > 0 {
		x += c.line(0, 0, 1, lit(c.st.faint, "<"))
	}
	for _, l := range labels[first:] {
		x += c.line(x, 0, m.cols-x, l...)
	}
	// At the right: who one is, or that what is shown may be old.
	right := span{c.st.faint, sanitize.Clean(m.opts.Who)}
	if m.agents.err != nil || m.queue.err != nil {
		right = lit(c.st.warn, "! no answer")
	}
	if w := width(right.text); w > 0 && x+w+2 < m.cols {
		c.line(m.cols-w, 0, w, right)
	}
}

// drawFooter shows the keys of the place, or what protects a terminal.
func (m *model) drawFooter(c *canvas) {
	y := m.rows - 1
	if y < 1 {
		return
	}
	if d := m.top(); d != nil {
		if keys := d.keys(); keys != nil {
			c.line(0, y, m.cols, keys.footer(c)...)
		}
		return
	}
	t := m.current()
	switch {
	case m.place == atAgents && m.agents.typing:
		c.line(0, y, m.cols, lit(c.st.bold, "enter"), lit(c.st.faint, " to the list  "), lit(c.st.bold, "esc"), lit(c.st.faint, " drop  words, and env:prod for tags"))
	case m.place == atAgents:
		c.line(0, y, m.cols, agentKeys.footer(c)...)
	case m.place == atApprovals:
		c.line(0, y, m.cols, approvalKeys.footer(c)...)
	case m.prefixed:
		c.line(0, y, m.cols, append([]span{lit(c.st.warn, m.opts.Prefix+" then: ")}, terminalKeys.footer(c)...)...)
	case t.state != tabRunning:
		c.line(0, y, m.cols, terminalKeys.footer(c)...)
	default:
		c.fill(uv.Rect(0, y, m.cols, 1), c.st.status)
		hint := " " + m.opts.Prefix + " ? keys "
		room := m.cols
		if m.cols >= hintFrom {
			room -= len(hint)
			c.line(room, y, len(hint), lit(c.st.status, hint))
		}
		c.line(0, y, room, append([]span{lit(c.st.status, " ")}, t.status(c.st.status)...)...)
	}
}
