package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A FrameType is the first byte of a frame. A frame is type u8, length u32 (big
// endian, at most MaxFrame), payload.
type FrameType byte

// The frames, who sends them, and their payload.
const (
	FrameOpen   FrameType = 1 // operator, first: OpenMessage in CBOR
	FrameAnswer FrameType = 2 // agent, first: Answer in CBOR
	FrameStdin  FrameType = 3 // operator: bytes
	FrameStdout FrameType = 4 // agent: bytes
	FrameStderr FrameType = 5 // agent: bytes
	FrameEOF    FrameType = 6 // both: empty; no bytes follow in this direction
	FrameResize FrameType = 7 // operator: cols u16, rows u16
	FrameSignal FrameType = 8 // operator: name without SIG, as in RFC 4254, section 6.10
	FrameExit   FrameType = 9 // agent, last: Exit in CBOR
)

const (
	frameHeader = 5
	// MaxFrame bounds the payload of a frame of bytes, MaxControl that of all
	// other frames.
	MaxFrame   = 1 << 20
	MaxControl = 64 << 10
	// chunk is what one frame of bytes carries when we write, and one
	// ReadFrame gives at most: bytes have no boundaries of their own.
	chunk = 32 << 10
)

func (t FrameType) String() string {
	names := [...]string{"Open", "Answer", "Stdin", "Stdout", "Stderr", "EOF", "Resize", "Signal", "Exit"}
	if t < 1 || int(t) > len(names) {
		return fmt.Sprintf("frame %d", byte(t))
	}
	return names[t-1]
}

// bytes reports whether frames of this type carry a byte stream.
func (t FrameType) bytes() bool {
	return t == FrameStdin || t == FrameStdout || t == FrameStderr
}

// from reports whether the opener (operator) or the other side may send t.
func (t FrameType) from(opener bool) bool {
	switch t {
	case FrameOpen, FrameStdin, FrameResize, FrameSignal:
		return opener
	case FrameAnswer, FrameStdout, FrameStderr, FrameExit:
		return !opener
	}
	return t == FrameEOF
}

// A Frame is one frame of a channel, checked: its payload has the form that its
// type asks for.
type Frame struct {
	Type    FrameType
	Payload []byte // valid until the next read
}

// Size gives the terminal size of a Resize frame; zero for other frames.
func (f Frame) Size() (cols, rows uint16) {
	if f.Type != FrameResize || len(f.Payload) != 4 {
		return 0, 0
	}
	return binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:])
}

// Exit gives the content of an Exit frame.
func (f Frame) Exit() (Exit, error) {
	var e Exit
	if f.Type != FrameExit {
		return Exit{}, fmt.Errorf("%w: %v is not an Exit", ErrProtocol, f.Type)
	}
	return e, decode(f.Payload, &e)
}

// answer gives the content of an Answer frame.
func (f Frame) answer() (Answer, error) {
	var a Answer
	if f.Type != FrameAnswer {
		return Answer{}, fmt.Errorf("%w: %v is not an Answer", ErrProtocol, f.Type)
	}
	return a, decode(f.Payload, &a)
}

// check judges the payload of a frame that is not bytes.
func (f Frame) check() error {
	var err error
	switch f.Type {
	case FrameOpen:
		err = decode(f.Payload, &OpenMessage{})
	case FrameAnswer:
		err = decode(f.Payload, &Answer{})
	case FrameExit:
		err = decode(f.Payload, &Exit{})
	case FrameEOF:
		if len(f.Payload) != 0 {
			err = ErrProtocol
		}
	case FrameResize:
		if cols, rows := f.Size(); cols == 0 || rows == 0 {
			err = ErrProtocol
		}
	case FrameSignal:
		if n := len(f.Payload); n == 0 || n > 16 || strings.Trim(string(f.Payload), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			err = ErrProtocol
		}
	default:
		err = ErrProtocol
	}
	if err != nil {
		return fmt.Errorf("%w: payload of %v", ErrProtocol, f.Type)
	}
	return nil
}

// An OpenMessage asks for a channel. It is the first thing on it.
type OpenMessage struct {
	Kind  string        `cbor:"kind"`            // shell, exec, copy, forward, proxy, observe, join; look: what an exec would run
	Argv  []string      `cbor:"argv,omitempty"`  // empty for an interactive shell; run as it is, by no shell
	Cwd   string        `cbor:"cwd,omitempty"`   // "" is the login user's home
	Env   [][2]string   `cbor:"env,omitempty"`   // name, value
	As    string        `cbor:"as,omitempty"`    // "" is the login user of the roster
	TTY   *TTY          `cbor:"tty,omitempty"`   // nil: no terminal, streams apart
	Stdin string        `cbor:"stdin,omitempty"` // what an approval binds standard input to; "" is nothing
	Bound []token.Bound `cbor:"bound,omitempty"` // files that must have the content that was approved
	// Runbook is the step of a signed runbook that the command is.
	Runbook *runbook.Instance `cbor:"runbook,omitempty"`
	Salt    [16]byte          `cbor:"salt"` // of the commitment that proof and grant carry; hides the command from who guesses
}

// check tells the asking side what is wrong with m, before it is sent.
func (m *OpenMessage) check() error {
	if m.Kind == "" || len(m.Kind) > 32 {
		return fmt.Errorf("%w: a channel has a kind of 1 to 32 bytes", ErrNotAllowed)
	}
	texts := append([]string{m.Kind, m.Cwd, m.As, m.Stdin}, m.Argv...)
	for _, e := range m.Env {
		texts = append(texts, e[:]...)
	}
	if m.TTY != nil {
		texts = append(texts, m.TTY.Term)
	}
	for _, b := range m.Bound {
		texts = append(texts, b.Path)
	}
	if m.Runbook != nil {
		texts = append(texts, m.Runbook.Name)
		for _, a := range m.Runbook.Args {
			texts = append(texts, a[:]...)
		}
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%w: command, directory and environment must be UTF-8", ErrNotAllowed)
		}
	}
	return nil
}

// A TTY describes the terminal that a channel wants.
type TTY struct {
	Cols uint16 `cbor:"cols"`
	Rows uint16 `cbor:"rows"`
	Term string `cbor:"term"` // TERM
}

// Allow is the one Effect that opens a channel.
const Allow = "allow"

// An Answer is the agent's verdict on an OpenMessage. The zero value refuses.
type Answer struct {
	Effect    string `cbor:"effect"` // allow, confirm, hold, deny; anything else is deny
	Rule      string `cbor:"rule,omitempty"`
	Line      int    `cbor:"line,omitempty"`
	Reason    string `cbor:"reason,omitempty"`
	Gate      string `cbor:"gate,omitempty"`      // how commands are gated in this channel
	Recording string `cbor:"recording,omitempty"` // whether and how it is recorded
	Owner     string `cbor:"owner,omitempty"`     // of a shell that is watched: e-mail address, as the machine's roster has it
	// Past is what a terminal has shown before this channel; nil where it is new.
	Past *Past `cbor:"past,omitempty"`
}

// A Past is what a terminal has shown before the channel on which its operator comes
// back to it. Its bytes are the first of Stdout.
type Past struct {
	Bytes uint64 `cbor:"bytes"` // how many of Stdout; at most MaxPast
	Lost  uint64 `cbor:"lost"`  // how many came before these and are not kept
	// The size of the terminal when it showed them.
	Cols uint16 `cbor:"cols"`
	Rows uint16 `cbor:"rows"`
}

// MaxPast bounds what is kept of a terminal's output, in bytes.
const MaxPast = 1 << 20

// Allowed reports whether the channel is open.
func (a Answer) Allowed() bool { return a.Effect == Allow }

// An Exit says how what ran on a channel ended.
type Exit struct {
	Code   int    `cbor:"code"`             // exit code; with a Signal it is 128 + its number
	Signal string `cbor:"signal,omitempty"` // name without SIG, if a signal ended it
	Reason string `cbor:"reason,omitempty"` // why TucDesk ended it, if it did
}

func encode(v any) ([]byte, error) {
	b, err := envelope.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	if len(b) > MaxControl {
		return nil, fmt.Errorf("channel: message of %d bytes, at most %d; send less", len(b), MaxControl)
	}
	return b, nil
}

// decode reads v strictly. Its error does not quote the input.
func decode(b []byte, v any) error {
	if len(b) > MaxControl {
		return ErrProtocol
	}
	if err := envelope.Unmarshal(b, v); err != nil {
		return ErrProtocol
	}
	if m, ok := v.(*OpenMessage); ok && (m.Kind == "" || len(m.Kind) > 32) {
		return ErrProtocol
	}
	return nil
}

// The ways a channel or a Mux ends or refuses.
var (
	// ErrTruncated: the channel ended without its end being said. What was
	// read may be a part of the whole.
	ErrTruncated = errors.New("channel: cut off before its end")
	// ErrProtocol: the peer sent what the protocol does not allow here.
	ErrProtocol = errors.New("channel: protocol violation by the peer")
	// ErrNotAllowed: writing before, or without, an answer that allows it, or
	// after this side's end.
	ErrNotAllowed = errors.New("channel: nothing may be sent in this state")
	// ErrClosed: the Mux was closed on purpose, by this side or the other.
	ErrClosed = errors.New("channel: the session was closed")
	// ErrLeft: this connection of the session was ended on purpose, by this side or
	// the other; the session goes on.
	ErrLeft = errors.New("channel: the session goes on without this connection")
	// ErrLost: the Mux ended, and nobody closed it: time-out or failure of the
	// path. Reconnect.
	ErrLost = errors.New("channel: the connection was lost")
)
