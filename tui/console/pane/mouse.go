package pane

import (
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/vt"
)

// An Act is what was done with the mouse.
type Act uint8

// The acts.
const (
	Press Act = iota
	Release
	Motion
)

// Modes are what the program wants to be told.
func (p *Pane) Modes() vt.Modes {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.emu.Modes()
}

// OfferKeyboard says that the outer terminal knows the kitty keyboard protocol, so
// that the program may ask for it.
func (p *Pane) OfferKeyboard() { p.guard(func(emu *vt.Terminal) { emu.OfferKeyboard(true) }) }

// Mouse tells the program of the mouse, at a cell of the pane, as far as it asked for
// that.
func (p *Pane) Mouse(m uv.Mouse, act Act) {
	if b := encodeMouse(m, act, p.Modes()); b != "" {
		p.Send([]byte(b))
	}
}

// Focus tells the program that it has the keys now, or has them no more.
func (p *Pane) Focus(in bool) {
	switch {
	case !p.Modes().FocusEvents:
	case in:
		p.Send([]byte(ansi.Focus))
	default:
		p.Send([]byte(ansi.Blur))
	}
}

// encodeMouse gives what xterm sends; nothing where the program did not ask for it.
func encodeMouse(m uv.Mouse, act Act, modes vt.Modes) string {
	wheel := m.Button >= uv.MouseWheelUp && m.Button <= uv.MouseWheelRight
	switch {
	case modes.Mouse == vt.MouseNone,
		act == Release && (modes.Mouse == vt.MousePress || wheel),
		act == Motion && modes.Mouse < vt.MouseDrag,
		act == Motion && m.Button == uv.MouseNone && modes.Mouse < vt.MouseMotion:
		return ""
	}
	button := m.Button
	if act == Release && !modes.MouseSGR {
		button = uv.MouseNone
	}
	code := ansi.EncodeMouseButton(button, act == Motion, m.Mod.Contains(uv.ModShift), m.Mod.Contains(uv.ModAlt), m.Mod.Contains(uv.ModCtrl))
	switch {
	case modes.MouseSGR:
		return ansi.MouseSgr(code, m.X, m.Y, act == Release)
	case m.X > 222 || m.Y > 222: // X10 has a byte for each
		return ""
	}
	return ansi.MouseX10(code, m.X, m.Y)
}
