package console

import (
	"slices"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/prompts"
)

// A doLend leaves the screen to a terminal as it is.
type doLend struct{ tab int }

// askToLend says what that means before it is done.
func (m *model) askToLend(t *tab) {
	if !t.own() {
		m.say(m.st.Faint, "nothing of yours runs here", sanitize.Text{})
		return
	}
	m.push(prompts.Raw(t.name, m.opts.Prefix, doLend{t.id}))
}

// lent is the terminal that has the screen; nil while the console has it.
func (m *model) lent() *tab {
	if at := slices.IndexFunc(m.tabs, func(t *tab) bool { return t.id == m.raw }); at >= 0 && m.tabs[at] == m.current() && m.tabs[at].needsPrefix() && m.top() == nil {
		return m.tabs[at]
	}
	return nil
}

// Lends implements program.Lender.
func (m *model) Lends() bool {
	if m.raw != 0 && m.lent() == nil { // its program ended
		m.takeBack()
	}
	return m.raw != 0
}

// Lent implements program.Lender.
func (m *model) Lent(write func([]byte)) {
	if t := m.lent(); t != nil {
		t.pane.Tee(write)
	}
}

// lend gives a terminal the whole screen.
func (m *model) lend(t *tab) tea.Cmd {
	m.raw = t.id
	t.pane.Resize(m.cols, m.rows)
	m.dirty = true
	return nil
}

// takeBack ends it.
func (m *model) takeBack() {
	if t := m.find(m.raw); t != nil && t.pane != nil {
		t.pane.Tee(nil)
	}
	m.raw = 0
	m.arrange()
	m.dirty = true
}

// drawLent is the last frame before the screen is left: the terminal, and nothing else.
func (m *model) drawLent(c *canvas.Canvas, t *tab) *tea.Cursor {
	area := uv.Rect(0, 0, m.cols, m.rows)
	t.pane.Draw(c, area)
	if x, y, shown := t.pane.Cursor(); shown {
		return tea.NewCursor(x, y)
	}
	return nil
}
