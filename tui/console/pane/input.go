package pane

import (
	"bytes"
	"strings"
	"sync"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/tucdesk/tucdesk/internal/vt"
)

const (
	// maxInput bounds the input that waits for the program, in bytes. It
	// holds several large pastes.
	maxInput = 8 << 20
	// maxReplies bounds the answers to queries that wait, in bytes. More
	// are dropped: a program that asks without reading gets no answer.
	maxReplies = 16 << 10
)

// inputQueue holds input until the terminal takes it.
type inputQueue struct {
	mu      sync.Mutex
	some    sync.Cond
	parts   [][]byte
	size    int // of parts
	replies int // of the replies in parts, since the queue was last empty
	lost    bool
	closed  bool
}

func newInputQueue() *inputQueue {
	q := new(inputQueue)
	q.some.L = &q.mu
	return q
}

// add queues what the person typed, whole or not at all.
func (q *inputQueue) add(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.size+len(b) > maxInput {
		q.lost = true
		return
	}
	q.lost = false
	q.push(b)
}

// reply queues an answer of the emulator, or drops it.
func (q *inputQueue) reply(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.replies+len(b) > maxReplies {
		return
	}
	q.replies += len(b)
	q.push(b)
}

func (q *inputQueue) push(b []byte) {
	q.parts = append(q.parts, bytes.Clone(b))
	q.size += len(b)
	q.some.Signal()
}

// next waits for input and returns all of it. It returns false once the queue
// is closed.
func (q *inputQueue) next() ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.parts) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil, false
	}
	b := bytes.Join(q.parts, nil)
	q.parts, q.size, q.replies = nil, 0, 0
	return b, true
}

func (q *inputQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.parts = true, nil
	q.some.Broadcast()
}

// refused says whether the last input found no room.
func (q *inputQueue) refused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// encodePaste ends lines as the enter key does. A marker inside the text
// would end the paste early and run the rest as commands, so it goes.
func encodePaste(text string, bracketed bool) []byte {
	text = strings.ReplaceAll(text, "\r\n", "\r")
	text = strings.ReplaceAll(text, "\n", "\r")
	if !bracketed {
		return []byte(text)
	}
	for strings.Contains(text, ansi.BracketedPasteEnd) {
		text = strings.ReplaceAll(text, ansi.BracketedPasteEnd, "")
	}
	return []byte(ansi.BracketedPasteStart + text + ansi.BracketedPasteEnd)
}

// The sequences of xterm's "PC-style function keys": a final letter, or a
// number before a tilde. Modifiers stand before either.
var (
	letterKeys = map[rune]byte{
		uv.KeyUp: 'A', uv.KeyDown: 'B', uv.KeyRight: 'C', uv.KeyLeft: 'D', uv.KeyBegin: 'E', uv.KeyEnd: 'F', uv.KeyHome: 'H',
		uv.KeyF1: 'P', uv.KeyF2: 'Q', uv.KeyF3: 'R', uv.KeyF4: 'S',
	}
	tildeKeys = map[rune]string{
		uv.KeyInsert: "2", uv.KeyDelete: "3", uv.KeyPgUp: "5", uv.KeyPgDown: "6",
		uv.KeyF5: "15", uv.KeyF6: "17", uv.KeyF7: "18", uv.KeyF8: "19",
		uv.KeyF9: "20", uv.KeyF10: "21", uv.KeyF11: "23", uv.KeyF12: "24",
	}
	plainKeys = map[rune]string{
		uv.KeyEnter: "\r", uv.KeyTab: "\t", uv.KeyBackspace: "\x7f", uv.KeyEscape: "\x1b", uv.KeySpace: " ", uv.KeyKpEnter: "\r",
	}
)

// encodeKey returns the bytes that xterm sends for a key in the modes m.
func encodeKey(k uv.Key, m vt.Modes) []byte {
	alt := ""
	if k.Mod.Contains(uv.ModAlt) {
		alt = "\x1b"
	}
	if b, ok := letterKeys[k.Code]; ok {
		function := b >= 'P' && b <= 'S'
		switch mod := modifier(k.Mod); {
		case mod != "":
			return []byte("\x1b[1;" + mod + string(b))
		case m.CursorKeys || function:
			return []byte{0x1b, 'O', b}
		default:
			return []byte{0x1b, '[', b}
		}
	}
	if n, ok := tildeKeys[k.Code]; ok {
		if mod := modifier(k.Mod); mod != "" {
			n += ";" + mod
		}
		return []byte("\x1b[" + n + "~")
	}
	if k.Code == uv.KeyTab && k.Mod.Contains(uv.ModShift) {
		return []byte(alt + "\x1b[Z")
	}
	if k.Mod.Contains(uv.ModCtrl) {
		if c, ok := controlByte(k.Code); ok {
			return append([]byte(alt), c)
		}
	}
	if s, ok := plainKeys[k.Code]; ok {
		if m.NewLine && s == "\r" {
			s = "\r\n"
		}
		return []byte(alt + s)
	}
	switch {
	case k.Text != "":
		return []byte(alt + k.Text)
	case k.Code >= 0x20 && k.Code < uv.KeyExtended:
		return []byte(alt + string(k.Code))
	}
	return nil
}

// modifier is xterm's number for the modifiers: 1 plus a bit for each.
func modifier(m uv.KeyMod) string {
	n := 1
	if m.Contains(uv.ModShift) {
		n++
	}
	if m.Contains(uv.ModAlt) {
		n += 2
	}
	if m.Contains(uv.ModCtrl) {
		n += 4
	}
	if n == 1 {
		return ""
	}
	return string(rune('0' + n))
}

// controlByte is what ctrl and a key send: the letter's low five bits.
func controlByte(code rune) (byte, bool) {
	switch {
	case code >= 'a' && code <= 'z', code >= '[' && code <= '_', code == '@', code >= 'A' && code <= 'Z':
		return byte(code) & 0x1f, true
	case code == uv.KeySpace, code == '2':
		return 0, true
	case code >= '3' && code <= '7':
		return byte(code-'3') + 0x1b, true
	case code == '8', code == '?':
		return 0x7f, true
	case code == '/':
		return 0x1f, true
	case code == uv.KeyBackspace:
		return 8, true
	}
	return 0, false
}
