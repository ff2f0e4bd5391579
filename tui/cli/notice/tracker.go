package notice

import "bytes"

// A tracker follows what a program writes to its terminal, for two things: whether a
// control or a character has begun and not ended (ECMA-48, 5.4 and 5.6; RFC 3629), and
// which screen is shown. The zero value is a terminal at rest on its main screen.
type tracker struct {
	state state
	more  int    // bytes that the character still has
	args  []byte // of the control sequence; at most maxArgs
	other bool   // the other screen is shown
}

type state uint8

const (
	rest     state = iota
	escape         // after ESC, and its intermediate bytes
	sequence       // after ESC [
	text           // of a control string: OSC, DCS, APC, PM, SOS
	textEnd        // after ESC in it
)

// maxArgs bounds the arguments that are looked at; longer ones switch no screen.
const maxArgs = 32

// rests reports whether something else may write now.
func (t *tracker) rests() bool { return t.state == rest && t.more == 0 }

// pass follows some more bytes.
func (t *tracker) pass(p []byte) {
	for _, c := range p {
		t.step(c)
	}
}

func (t *tracker) step(c byte) {
	switch {
	case c == 0x18 || c == 0x1a: // CAN and SUB end any control
		t.state, t.more = rest, 0
		return
	case c == 0x1b:
		t.more = 0
		if t.state == text || t.state == textEnd {
			t.state = textEnd
		} else {
			t.state = escape
		}
		return
	}
	switch t.state {
	case rest:
		t.character(c)
	case textEnd:
		if t.state = rest; c != '\\' { // not the string's end: a control of its own
			t.state = escape
			t.escaped(c)
		}
	case escape:
		t.escaped(c)
	case text:
		if c == 0x07 {
			t.state = rest
		}
	case sequence:
		switch {
		case c >= 0x40 && c <= 0x7e:
			t.state = rest
			t.mode(c)
		case c >= 0x20 && len(t.args) < maxArgs:
			t.args = append(t.args, c)
		}
	}
}

// character counts the bytes of one in UTF-8.
func (t *tracker) character(c byte) {
	switch {
	case c&0xc0 == 0x80:
		t.more = max(t.more-1, 0)
	case c >= 0xf0 && c <= 0xf4:
		t.more = 3
	case c >= 0xe0 && c < 0xf0:
		t.more = 2
	case c >= 0xc2 && c < 0xe0:
		t.more = 1
	default:
		t.more = 0
	}
}

// escaped follows a byte after ESC.
func (t *tracker) escaped(c byte) {
	switch {
	case c == '[':
		t.state, t.args = sequence, t.args[:0]
	case bytes.IndexByte([]byte("]PX^_"), c) >= 0:
		t.state = text
	case c >= 0x20 && c <= 0x2f, c < 0x20: // more comes; a C0 control acts in between
	default:
		t.state = rest
		if c == 'c' { // RIS
			t.other = false
		}
	}
}

// mode follows a control sequence that has ended: DECSET and DECRST of a screen.
func (t *tracker) mode(final byte) {
	if final != 'h' && final != 'l' || len(t.args) == 0 || t.args[0] != '?' || len(t.args) == maxArgs {
		return
	}
	for _, n := range bytes.Split(t.args[1:], []byte(";")) {
		switch string(n) {
		case "47", "1047", "1049":
			t.other = final == 'h'
		}
	}
}

// end gives what ends a control that was begun, and the other screen.
func (t *tracker) end() (out string) {
	if t.state != rest {
		out = "\x18"
	}
	if t.other {
		out += "\x1b[?1049l"
	}
	*t = tracker{}
	return out
}
