// Package recorder makes the recording of a session, as policy wants it. What it
// hands to a Store is sealed by internal/recording before.
//
// Invariants:
//   - where policy says "required", nothing runs that is not recorded: a session
//     does not begin when its recording can't, and ends when its recording does;
//   - where it says "on", a recording that can't begin or go on is a line in the
//     log and a word in the audit entry of the session's end, and the session
//     goes on;
//   - standard input is not recorded: it holds passwords, and what is typed at a
//     terminal shows in its output where it is echoed.
//
// The package must not import the network, a store or a console.
package recorder

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/token"
)

// What policy may want (policy.Obligations.Record), and the states of a track.
const (
	Required = "required"
	On       = "on"
	Off      = "off"
)

// A Sink keeps the recording of one session. After Close nothing comes any more.
type Sink interface {
	recording.Sink
	Close() error
}

// A Store makes room for the recording of one session; its error says why there is
// none.
type Store interface {
	Create() (Sink, error)
}

// A Tape is the recording of one session: nothing, until a channel wants one. All
// its channels are on it; their output stands in the order in which it came.
type Tape struct {
	id     token.ID
	teamFP envelope.Hash
	store  Store
	logger *slog.Logger
	lost   func(error) // told once, when a required recording ends before the session

	mu       sync.Mutex
	required bool
	w        *recording.Writer
	sink     Sink
	err      error // why there is no recording, or no more
}

// NewTape gives the tape of a session. lost must not block.
func NewTape(id token.ID, teamFP envelope.Hash, store Store, logger *slog.Logger, lost func(error)) *Tape {
	return &Tape{id: id, teamFP: teamFP, store: store, logger: logger, lost: lost}
}

// A Request is what a channel wants of its recording.
type Request struct {
	Want     string // Required, On or Off
	Auditors []key.Recipient
	Header   recording.Header // of the tape, if this is its first channel
	Label    string           // a marker: who may do what, and why
}

// A Track is one channel on a tape. A nil Track records nothing.
type Track struct{ t *Tape }

// Start begins a channel: what it writes from now on is recorded. It fails only
// where a recording is required and can't be had. The state is for the operator:
// Required, On or Off.
func (t *Tape) Start(q Request) (track *Track, state string, err error) {
	if q.Want != Required && q.Want != On {
		return nil, Off, nil
	}
	t.mu.Lock()
	if t.w == nil && t.err == nil {
		t.begin(q)
	}
	t.required = t.required || q.Want == Required
	w, err := t.w, t.err
	t.mu.Unlock()
	if err == nil {
		err = w.Mark(q.Label)
	}
	switch {
	case err == nil:
		return &Track{t}, q.Want, nil
	case q.Want == Required:
		return nil, Off, fmt.Errorf("this session must be recorded, and can't be: %w", err)
	}
	t.logger.Warn("a session is not recorded", "session", t.id, "error", err)
	return nil, Off, nil
}

// begin makes the writer. The caller holds mu.
func (t *Tape) begin(q Request) {
	if len(q.Auditors) == 0 {
		t.err = errors.New("the roster names no auditors to seal it to")
		return
	}
	if t.sink, t.err = t.store.Create(); t.err != nil {
		return
	}
	t.w, t.err = recording.NewWriter(recording.Config{
		TeamFP: t.teamFP, SessionID: t.id, Auditors: q.Auditors, Header: q.Header, Failed: t.fail,
	}, t.sink)
}

// fail notes that the recording has ended, and ends the session where it must.
func (t *Tape) fail(err error) {
	t.mu.Lock()
	first := t.err == nil
	if first {
		t.err = err
	}
	required := t.required
	t.mu.Unlock()
	if !first {
		return
	}
	t.logger.Error("the recording of a session ends before it does", "session", t.id, "error", err)
	if required {
		t.lost(fmt.Errorf("the session must be recorded, and its recording can't go on: %w", err))
	}
}

// End ends the recording with the session. It gives the hash of the last manifest,
// zero if there is none, and why the recording ended early, if it did.
func (t *Tape) End() (envelope.Hash, error) {
	t.mu.Lock()
	w, sink, err := t.w, t.sink, t.err
	t.mu.Unlock()
	if sink == nil {
		return envelope.Hash{}, err
	}
	var head envelope.Hash
	if w != nil {
		var werr error
		if head, werr = w.Close(); werr != nil {
			t.fail(werr)
			err = werr
		}
	}
	if cerr := sink.Close(); cerr != nil {
		t.logger.Error("a recording stays in the spool until the next start", "session", t.id, "error", cerr)
	}
	return head, err
}

// A Stream is one stream of a track's output. A nil Stream takes everything.
type Stream struct {
	t *Tape
	s *recording.Stream
}

// Stream begins a stream of output; tty says whether it comes from a terminal.
func (k *Track) Stream(tty bool) *Stream {
	if k == nil {
		return nil
	}
	return &Stream{k.t, k.t.w.Stream(tty)}
}

// Write records output. It fails only where a recording is required: then b must
// not be shown.
func (s *Stream) Write(b []byte) (int, error) {
	if s == nil {
		return len(b), nil
	}
	_, err := s.s.Write(b)
	return len(b), s.t.must(err)
}

// Close ends the stream.
func (s *Stream) Close() error {
	if s == nil {
		return nil
	}
	return s.t.must(s.s.Flush())
}

// must passes on an error only where the recording is required.
func (t *Tape) must(err error) error {
	if err == nil {
		return nil
	}
	t.fail(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.required {
		return err
	}
	return nil
}

// Mark records a marker: what was decided meanwhile.
func (k *Track) Mark(label string) {
	if k != nil {
		_ = k.t.must(k.t.w.Mark(label)) // noted there
	}
}

// Resize records the terminal's new size.
func (k *Track) Resize(cols, rows uint16) {
	if k != nil {
		_ = k.t.must(k.t.w.Resize(int(cols), int(rows))) // noted there
	}
}

// Exit records how the program ended.
func (k *Track) Exit(code int) {
	if k != nil {
		_ = k.t.must(k.t.w.Exit(code)) // noted there
	}
}
