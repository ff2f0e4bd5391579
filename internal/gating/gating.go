package gating

import (
	"errors"
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Kind is the kind of the channel. Policy is not asked about it: it opens nothing.
const Kind = "gate"

// MaxMessage bounds a message, in bytes: a sealed bundle and some.
const MaxMessage = token.MaxSealedBundle + 4<<10

// A State says how a program start stands.
type State string

// The states. Confirm and Hold wait; the others are ends.
const (
	Confirm  State = "confirm"  // until the operator has confirmed exactly this
	Hold     State = "hold"     // until others have approved exactly this
	Started  State = "started"  // it runs
	Refused  State = "refused"  // by policy, by an approver, or because the answer was not good
	Killed   State = "killed"   // it was not what was judged
	Canceled State = "canceled" // nobody waits for it any more
	Noticed  State = "noticed"  // policy would not let it start, and it does: gate level advisory
)

// Waits reports whether a start in this state waits for an Answer.
func (s State) Waits() bool { return s == Confirm || s == Hold }

// An Event says how a program start stands, from the agent.
type Event struct {
	ID    uint64 `cbor:"id"` // of the start, from 1 in each session
	State State  `cbor:"state"`
	// What starts: the command that an Answer must be about, where it waits. The
	// device shows it as hostile text.
	Argv []string    `cbor:"argv"`
	Cwd  string      `cbor:"cwd"`
	Env  [][2]string `cbor:"env"` // variables that change what it does
	// Bound is the file that would start, with the hash of what is in it: it is a part of
	// the command. Absent where it can't be told; who approves reads that then.
	Bound []token.Bound `cbor:"bound,omitempty"`
	Tier  string        `cbor:"tier"`
	Rule  string        `cbor:"rule"`
	Line  int64         `cbor:"line"`
	// Reason says what, why and what to do next.
	Reason string `cbor:"reason"`
}

// An Answer says that a start may begin, or that it is not wanted, from the device.
type Answer struct {
	ID      uint64   `cbor:"id"`
	Session token.ID `cbor:"session"` // of the exec that the bundle would open
	Salt    token.ID `cbor:"salt"`    // of its command's commitment
	Bundle  []byte   `cbor:"bundle"`  // sealed to the agent; empty: the start is not wanted
}

// ErrProtocol means bytes that are no message.
var ErrProtocol = errors.New("gating: not a message")

// ReadEvent reads the next event; it is io.EOF only between two.
func ReadEvent(r io.Reader) (e Event, err error) { return e, read(r, &e) }

// ReadAnswer reads the next answer; it is io.EOF only between two.
func ReadAnswer(r io.Reader) (a Answer, err error) { return a, read(r, &a) }

// Write sends an Event or an Answer.
func Write(w io.Writer, message any) error {
	if err := envelope.WriteMessage(w, MaxMessage, message); err != nil {
		return fmt.Errorf("gating: %w", err)
	}
	return nil
}

func read(r io.Reader, into any) error {
	err := envelope.ReadMessage(r, MaxMessage, into)
	if errors.Is(err, envelope.ErrMessage) {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return err
}
