package program

import "testing"

func TestChange(t *testing.T) {
	for _, tc := range []struct {
		from, to Modes
		want     string
	}{
		{Modes{}, Modes{}, ""},
		{Modes{}, Modes{Mouse: MouseButton}, "\x1b[?1000h\x1b[?1006h"},
		{Modes{Mouse: MouseButton}, Modes{Mouse: MouseMotion}, "\x1b[?1000l\x1b[?1003h\x1b[?1006h"},
		{Modes{Mouse: MouseDrag, Focus: true, Keyboard: 5}, Modes{}, "\x1b[?1002l\x1b[?1006l\x1b[?1004l\x1b[<u"},
		{Modes{}, Modes{Focus: true, Keyboard: 1}, "\x1b[?1004h\x1b[>1u"},
		{Modes{Keyboard: 1}, Modes{Keyboard: 3}, "\x1b[=3;1u"},
	} {
		if got := change(tc.from, tc.to); got != tc.want {
			t.Errorf("%+v to %+v: %q, want %q", tc.from, tc.to, got, tc.want)
		}
	}
}
