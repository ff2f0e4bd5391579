package console

import (
	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/console/pane"
	"github.com/tucdesk/tucdesk/tui/console/program"
)

// focused is the terminal whose program has the keys; nil where the console has them.
func (m *model) focused() *tab {
	if t := m.current(); t != nil && m.top() == nil && t.needsPrefix() && !t.scroll {
		return t
	}
	return nil
}

// Modes implements program.ModeModel: what the focused program asks for, and nothing
// while the console has the keys, so that a selection is the terminal's own then.
func (m *model) Modes() (want program.Modes) {
	t := m.focused()
	if t == nil {
		return want
	}
	asked := t.pane.Modes()
	want.Focus, want.Keyboard = asked.FocusEvents, asked.Keyboard
	if m.opts.NoMouse {
		return want
	}
	switch asked.Mouse {
	case vt.MousePress, vt.MouseButton:
		want.Mouse = program.MouseButton
	case vt.MouseDrag:
		want.Mouse = program.MouseDrag
	case vt.MouseMotion:
		want.Mouse = program.MouseMotion
	}
	return want
}

// report passes on what the terminal reports because a program asked for it, and says
// whether this was such a report.
func (m *model) report(msg tea.Msg) bool {
	switch msg := msg.(type) {
	case program.KeyboardMsg:
		m.keyboard = true
		for _, t := range m.tabs {
			if t.pane != nil {
				t.pane.OfferKeyboard()
			}
		}
	case tea.MouseClickMsg:
		m.mouse(uv.Mouse(msg), pane.Press)
	case tea.MouseWheelMsg:
		m.mouse(uv.Mouse(msg), pane.Press)
	case tea.MouseReleaseMsg:
		m.mouse(uv.Mouse(msg), pane.Release)
	case tea.MouseMotionMsg:
		m.mouse(uv.Mouse(msg), pane.Motion)
	case tea.FocusMsg, tea.BlurMsg:
		if t := m.focused(); t != nil {
			_, in := msg.(tea.FocusMsg)
			t.pane.Focus(in)
		}
	default:
		return false
	}
	return true
}

// mouse tells the focused program, where the mouse is within its pane.
func (m *model) mouse(at uv.Mouse, act pane.Act) {
	t := m.focused()
	if t == nil {
		return
	}
	area := m.areaOf(t)
	if !uv.Pos(at.X, at.Y).In(area) {
		return
	}
	at.X, at.Y = at.X-area.Min.X, at.Y-area.Min.Y
	t.pane.Mouse(at, act)
}
