package store

import (
	"fmt"
	"math"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// A Recording is what is known of one session's recording without opening it:
// where the chain of its manifests stands.
type Recording struct {
	SessionID [16]byte
	Number    uint64 // given by Append: 1, 2, … in the team; the cursor of List
	Agent     key.Kid
	Segments  uint64        // manifests so far
	Size      uint64        // bytes of the segments they name
	Head      envelope.Hash // of the newest manifest's payload
	Length    time.Duration // recorded time; kept to the millisecond
	Final     bool          // the newest manifest is the last one
	Updated   time.Time     // times are kept to the millisecond
}

// Recordings keeps the manifests of a team's recordings. The sealed segments
// that they name lie elsewhere.
type Recordings interface {
	// Append adds manifest number Segments and moves the recording to what r
	// says; the first one begins it. It gives the row back with its Number. It is
	// ErrConflict if Segments is not the next number, if Agent is not the one
	// who began, or if the recording is final.
	Append(r Recording, manifest []byte) (Recording, error)
	Get(sessionID [16]byte) (Recording, error)
	// List gives recordings from the newest on, below the number given (0: from
	// the newest).
	List(before uint64, limit int) ([]Recording, error)
	// Manifests gives a recording's manifests in order, those after number
	// after. None is no error.
	Manifests(sessionID [16]byte, after uint64, limit int) ([][]byte, error)
}

// Check refuses a recording that can't be stored.
func (r Recording) Check(manifest []byte) error {
	if r.SessionID == [16]byte{} || r.Agent.IsZero() || r.Head.IsZero() {
		return fmt.Errorf("%w: a recording has a session, an agent and a head", ErrInvalid)
	}
	if r.Segments == 0 || r.Segments > math.MaxInt32 || r.Size > math.MaxInt64 || r.Length < 0 {
		return fmt.Errorf("%w: a recording's numbers are out of range", ErrInvalid)
	}
	return checkBytes("manifest", manifest)
}
