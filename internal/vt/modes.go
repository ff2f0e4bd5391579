package vt

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/vt/sequence"
)

// A Mouse says which mouse events the program wants.
type Mouse uint8

// The modes of DECSET 9, 1000, 1002 and 1003.
const (
	MouseNone   Mouse = iota
	MousePress        // presses only
	MouseButton       // presses and releases
	MouseDrag         // and motion while a button is down
	MouseMotion       // and all motion
)

// Modes are the modes that whoever sends input or draws must know.
type Modes struct {
	CursorKeys      bool // DECCKM: arrows send SS3
	Keypad          bool // DECNKM, DECKPAM: the keypad sends sequences
	NewLine         bool // LNM: enter sends CR LF
	BracketedPaste  bool // 2004
	FocusEvents     bool // 1004
	Mouse           Mouse
	MouseSGR        bool // 1006: mouse events as SGR
	AlternateScroll bool // 1007: the wheel sends arrows on the alternate screen
	ReverseScreen   bool // DECSCNM: colours are swapped
	Sync            bool // 2026: the screen is not complete until this ends
	Alternate       bool // the alternate screen is shown
	Keyboard        int  // flags of the kitty keyboard protocol; 0: none
}

// Modes returns the modes.
func (t *Terminal) Modes() Modes {
	m := t.modes
	m.Alternate = t.shown != t.main
	m.Keyboard = t.shown.keyboard.now()
	return m
}

// innerModes are those that only the emulator needs.
type innerModes struct {
	autowrap bool // DECAWM
	insert   bool // IRM
	origin   bool // DECOM
	columns  bool // DECLRMM: left and right margins hold
	cursor   bool // DECTCEM
	shape    CursorShape
	blink    bool
}

// flag returns the switch of a mode that is no more than that, or nil.
func (t *Terminal) flag(private bool, mode int) *bool {
	if !private {
		switch mode {
		case 4:
			return &t.inner.insert
		case 20:
			return &t.modes.NewLine
		}
		return nil
	}
	switch mode {
	case 1:
		return &t.modes.CursorKeys
	case 5:
		return &t.modes.ReverseScreen
	case 6:
		return &t.inner.origin
	case 7:
		return &t.inner.autowrap
	case 12:
		return &t.inner.blink
	case 25:
		return &t.inner.cursor
	case 66:
		return &t.modes.Keypad
	case 69:
		return &t.inner.columns
	case 1004:
		return &t.modes.FocusEvents
	case 1006:
		return &t.modes.MouseSGR
	case 1007:
		return &t.modes.AlternateScroll
	case 2004:
		return &t.modes.BracketedPaste
	case 2026:
		return &t.modes.Sync
	}
	return nil
}

// mouseOf returns what a mouse mode asks for, or MouseNone.
func mouseOf(mode int) Mouse {
	switch mode {
	case 9:
		return MousePress
	case 1000:
		return MouseButton
	case 1002:
		return MouseDrag
	case 1003:
		return MouseMotion
	}
	return MouseNone
}

func (t *Terminal) setMode(private bool, mode int, on bool) {
	if flag := t.flag(private, mode); flag != nil {
		*flag = on
	}
	if !private {
		return
	}
	if m := mouseOf(mode); m != MouseNone {
		if on {
			t.modes.Mouse = m
		} else {
			t.modes.Mouse = MouseNone
		}
	}
	switch mode {
	case 5:
		t.damaged = true
	case 6:
		t.moveIn(0, 0)
	case 7:
		t.pending = t.pending && on
	case 69:
		t.left, t.right = 0, t.cols-1
	case 47:
		t.show(on)
	case 1047:
		if !on && t.shown == t.alt {
			t.eraseAlternate()
		}
		t.show(on)
	case 1048:
		if on {
			t.saveCursor()
		} else {
			t.restoreCursor()
		}
	case 1049:
		if on == (t.shown != t.main) {
			return
		}
		if on {
			t.saveCursor()
			t.show(true)
			t.eraseAlternate()
		} else {
			t.show(false)
			t.restoreCursor()
		}
	}
}

// show switches between the screens. The cursor stays where it is.
func (t *Terminal) show(alternate bool) {
	if alternate && t.alt == nil {
		t.alt = newScreen(t.cols, t.rows)
	}
	before := t.shown
	if t.shown = t.main; alternate {
		t.shown = t.alt
	}
	if t.shown != before {
		t.damaged = true
	}
}

func (t *Terminal) eraseAlternate() {
	blank := styled(t.eraseID())
	for y := range t.alt.lines {
		t.clearRow(y, blank)
	}
}

// softReset is DECSTR (VT510, "Soft Terminal Reset"), with autowrap on as in
// xterm.
func (t *Terminal) softReset() {
	shape, blink := t.inner.shape, t.inner.blink
	t.inner = innerModes{autowrap: true, cursor: true, shape: shape, blink: blink}
	t.modes.CursorKeys, t.modes.Keypad = false, false
	t.resetMargins()
	t.charsets, t.lock, t.single = [4]charset{}, 0, none
	t.setPen(Style{})
	t.shown.saved = savedCursor{single: none}
	t.pending = false
}

// cursorStyle is DECSCUSR.
func (t *Terminal) cursorStyle(n int) {
	if n > 6 {
		return
	}
	n = max(n, 1) - 1
	t.inner.shape, t.inner.blink = CursorShape(n/2), n%2 == 0
}

// deviceAttributes is the answer to DA1: a VT220 with colours.
const deviceAttributes = "\x1b[?62;22c"

// reply queues an answer, or drops it where too many wait.
func (t *Terminal) reply(s string) {
	if len(t.replies)+len(s) <= maxReplies {
		t.replies = append(t.replies, s...)
	}
}

// reportStatus answers DSR: 5 is "are you well", 6 is CPR, or DECXCPR where it
// is private.
func (t *Terminal) reportStatus(private bool, what int) {
	switch {
	case what == 5 && !private:
		t.reply("\x1b[0n")
	case what == 6:
		mark := ""
		if private {
			mark = "?"
		}
		t.reply(fmt.Sprintf("\x1b[%s%d;%dR", mark, t.rowIn()+1, t.columnIn()+1))
	}
}

// reportMode answers DECRQM: 0 not known, 1 set, 2 reset, 3 always set.
func (t *Terminal) reportMode(private bool, mode int) {
	known, on := false, false
	if flag := t.flag(private, mode); flag != nil {
		known, on = true, *flag
	}
	if private {
		switch m := mouseOf(mode); {
		case m != MouseNone:
			known, on = true, t.modes.Mouse == m
		case mode == 47, mode == 1047, mode == 1049:
			known, on = true, t.shown != t.main
		}
	}
	state, mark := 0, ""
	switch {
	case private && mode == 2027: // widths are those of clusters
		state = 3
	case on:
		state = 1
	case known:
		state = 2
	}
	if private {
		mark = "?"
	}
	t.reply(fmt.Sprintf("\x1b[%s%d;%d$y", mark, mode, state))
}

// deviceControl answers the questions among DCS: that what they ask for is not
// known (DECRQSS, XTGETTCAP).
func (t *Terminal) deviceControl(s *sequence.Sequence) {
	switch {
	case s.Prefix != 0 || s.Final != 'q':
	case s.Middle == '$':
		t.reply("\x1bP0$r\x1b\\")
	case s.Middle == '+':
		t.reply("\x1bP0+r\x1b\\")
	}
}
