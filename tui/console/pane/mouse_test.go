package pane

import (
	"testing"

	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/internal/vt"
)

func TestEncodeMouse(t *testing.T) {
	at := func(b uv.MouseButton, mod uv.KeyMod) uv.Mouse { return uv.Mouse{X: 4, Y: 9, Button: b, Mod: mod} }
	for _, tc := range []struct {
		what  string
		m     uv.Mouse
		act   Act
		modes vt.Modes
		want  string
	}{
		{"nobody asked", at(uv.MouseLeft, 0), Press, vt.Modes{MouseSGR: true}, ""},
		{"press", at(uv.MouseLeft, 0), Press, vt.Modes{Mouse: vt.MouseButton, MouseSGR: true}, "\x1b[<0;5;10M"},
		{"release", at(uv.MouseLeft, 0), Release, vt.Modes{Mouse: vt.MouseButton, MouseSGR: true}, "\x1b[<0;5;10m"},
		{"only presses", at(uv.MouseLeft, 0), Release, vt.Modes{Mouse: vt.MousePress}, ""},
		{"with keys", at(uv.MouseRight, uv.ModCtrl|uv.ModShift), Press, vt.Modes{Mouse: vt.MouseDrag, MouseSGR: true}, "\x1b[<22;5;10M"},
		{"wheel", at(uv.MouseWheelDown, 0), Press, vt.Modes{Mouse: vt.MouseButton, MouseSGR: true}, "\x1b[<65;5;10M"},
		{"drag", at(uv.MouseLeft, 0), Motion, vt.Modes{Mouse: vt.MouseDrag, MouseSGR: true}, "\x1b[<32;5;10M"},
		{"motion to who wants drags", at(uv.MouseNone, 0), Motion, vt.Modes{Mouse: vt.MouseDrag, MouseSGR: true}, ""},
		{"motion", at(uv.MouseNone, 0), Motion, vt.Modes{Mouse: vt.MouseMotion, MouseSGR: true}, "\x1b[<35;5;10M"},
		{"X10", at(uv.MouseLeft, 0), Press, vt.Modes{Mouse: vt.MouseButton}, "\x1b[M %*"},
		{"X10 release", at(uv.MouseLeft, 0), Release, vt.Modes{Mouse: vt.MouseButton}, "\x1b[M#%*"},
		{"X10 too far", uv.Mouse{X: 223, Y: 1, Button: uv.MouseLeft}, Press, vt.Modes{Mouse: vt.MouseButton}, ""},
	} {
		if got := encodeMouse(tc.m, tc.act, tc.modes); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
	}
}
