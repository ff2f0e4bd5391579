package gating

import (
	"encoding/binary"
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
	Tier string      `cbor:"tier"`
	Rule string      `cbor:"rule"`
	Line int64       `cbor:"line"`
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
	b, err := envelope.Marshal(message)
	if err != nil {
		return fmt.Errorf("gating: %w", err)
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("gating: a message of %d bytes, at most %d", len(b), MaxMessage)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func read(r io.Reader, into any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxMessage {
		return ErrProtocol
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if err := envelope.Unmarshal(b, into); err != nil {
		return ErrProtocol
	}
	return nil
}
