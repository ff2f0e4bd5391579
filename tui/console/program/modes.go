package program

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A Mouse says which mouse events are wanted.
type Mouse uint8

// Modes 1000, 1002 and 1003, each with the coordinates of 1006.
const (
	MouseNone   Mouse = iota
	MouseButton       // presses and releases
	MouseDrag         // and motion while a button is down
	MouseMotion       // and all motion
)

// Modes are what the terminal is to report because the focused program asks for it.
// The zero value leaves mouse and selection to the terminal.
type Modes struct {
	Mouse    Mouse
	Focus    bool
	Keyboard int // flags of the kitty keyboard protocol; 0: none
}

// A ModeModel is a Model whose program may ask for modes.
type ModeModel interface{ Modes() Modes }

// A KeyboardMsg says that the terminal knows the kitty keyboard protocol.
type KeyboardMsg struct{}

// change gives the sequences that lead from one state to another.
func change(from, to Modes) string {
	var b strings.Builder
	if from.Mouse != to.Mouse {
		b.WriteString([]string{"", ansi.ResetModeMouseNormal, ansi.ResetModeMouseButtonEvent, ansi.ResetModeMouseAnyEvent}[from.Mouse])
		b.WriteString([]string{ansi.ResetModeMouseExtSgr, ansi.SetModeMouseNormal, ansi.SetModeMouseButtonEvent, ansi.SetModeMouseAnyEvent}[to.Mouse])
		if to.Mouse != MouseNone {
			b.WriteString(ansi.SetModeMouseExtSgr)
		}
	}
	if from.Focus != to.Focus {
		b.WriteString(map[bool]string{true: ansi.SetModeFocusEvent, false: ansi.ResetModeFocusEvent}[to.Focus])
	}
	switch {
	case from.Keyboard == to.Keyboard:
	case from.Keyboard == 0:
		fmt.Fprintf(&b, "\x1b[>%du", to.Keyboard)
	case to.Keyboard == 0:
		b.WriteString("\x1b[<u")
	default:
		fmt.Fprintf(&b, "\x1b[=%d;1u", to.Keyboard)
	}
	return b.String()
}

// want has the terminal report what the model's program asks for.
func (s *screen) want(m Model) {
	asks, ok := m.(ModeModel)
	if !ok {
		return
	}
	if to := asks.Modes(); to != s.have {
		s.WriteString(change(s.have, to))
		s.have = to
	}
}
