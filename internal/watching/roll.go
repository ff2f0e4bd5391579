package watching

import (
	"errors"
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// Kind is the kind of the channel on which the owner of a shell hears who watches it.
// Policy is not asked about it: it opens nothing.
const Kind = "watchers"

// Most is how many may watch one shell at a time.
const Most = 8

// maxRoll bounds a Roll and a Dismissal, in bytes.
const maxRoll = 8 << 10

// A Roll says who watches now, from the machine: once at the beginning, and at each
// change.
type Roll struct {
	Watchers []Watcher `cbor:"watchers"` // at most Most, in the order in which they came
}

// A Watcher is somebody who watches.
type Watcher struct {
	N     uint64 `cbor:"n"` // from 1 in each shell, never used again
	Who   string `cbor:"who"`
	Types bool   `cbor:"types"` // has joined: types, too
	Since int64  `cbor:"since"` // Unix seconds, by the machine's clock
}

// A Dismissal is the owner's word that a watcher must go.
type Dismissal struct {
	N uint64 `cbor:"n"`
}

// WriteRoll sends a Roll.
func WriteRoll(w io.Writer, r Roll) error {
	if r.Watchers == nil {
		r.Watchers = []Watcher{}
	}
	return write(w, r)
}

// WriteDismissal sends a Dismissal.
func WriteDismissal(w io.Writer, d Dismissal) error { return write(w, d) }

// ReadRoll reads the next Roll; its error is io.EOF only between two.
func ReadRoll(r io.Reader) (out Roll, err error) {
	if err = read(r, &out); err == nil && len(out.Watchers) > Most {
		err = ErrProtocol
	}
	return out, err
}

// ReadDismissal reads the next Dismissal; its error is io.EOF only between two.
func ReadDismissal(r io.Reader) (d Dismissal, err error) { return d, read(r, &d) }

func write(w io.Writer, message any) error {
	if err := envelope.WriteMessage(w, maxRoll, message); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	return nil
}

func read(r io.Reader, into any) error {
	err := envelope.ReadMessage(r, maxRoll, into)
	if errors.Is(err, envelope.ErrMessage) {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return err
}
