package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// What GET /v1/events speaks: server-sent events, as in the HTML standard, 9.2.
const (
	ContentTypeEvents = "text/event-stream"
	HeaderLastEvent   = "Last-Event-ID"
	Heartbeat         = 15   // seconds after which a stream says that it lives
	maxEventLine      = 1024 // bytes of a line, and of the data of one event
)

// An EventKind says what may have changed.
type EventKind string

// The kinds of events, with the fields that they have. A reader passes over
// others.
const (
	EventReset    EventKind = "reset"    // nothing: everything may have changed
	EventRoster   EventKind = "roster"   // Seq of its head
	EventApproval EventKind = "approval" // ID, State
	EventSession  EventKind = "session"  // ID, State
	EventAgent    EventKind = "agent"    // Kid, State; neither where many changed at once
)

// An Event is a hint that it is time to ask again. Nothing may be believed or
// decided because of it.
type Event struct {
	Stamp token.ID  `json:"-"` // the place in the stream, for Last-Event-ID; says nothing else
	Kind  EventKind `json:"-"`
	Seq   uint64    `json:"seq,omitempty"`
	ID    token.ID  `json:"id,omitzero"`
	Kid   key.Kid   `json:"kid,omitzero"`
	State string    `json:"state,omitempty"`
}

// ErrEvent means a stream that holds something else than events.
var ErrEvent = errors.New("wire: malformed event")

// AppendEvent appends an event as a stream has it.
func AppendEvent(b []byte, e Event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		data = []byte("{}") // can't be: its fields all have a text form
	}
	return fmt.Appendf(b, "id: %s\nevent: %s\ndata: %s\n\n", e.Stamp, e.Kind, data)
}

// check refuses an event that has not the fields of its kind, and a state that
// is no word.
func (e Event) check() error {
	if len(e.State) > 16 || strings.Trim(e.State, "abcdefghijklmnopqrstuvwxyz") != "" {
		return fmt.Errorf("%w: a state that is no word", ErrEvent)
	}
	seq, id, kid, state := e.Seq != 0, !e.ID.IsZero(), !e.Kid.IsZero(), e.State != ""
	ok := false
	switch e.Kind {
	case EventReset:
		ok = !seq && !id && !kid && !state
	case EventRoster:
		ok = seq && !id && !kid && !state
	case EventApproval, EventSession:
		ok = !seq && id && !kid && state
	case EventAgent:
		ok = !seq && !id && kid == state
	}
	if !ok || e.Stamp.IsZero() {
		return fmt.Errorf("%w: not the fields of its kind", ErrEvent)
	}
	return nil
}

// An EventReader reads a stream of events. It holds one line at a time.
type EventReader struct{ lines *bufio.Reader }

// NewEventReader makes a reader. It puts no deadline on r.
func NewEventReader(r io.Reader) *EventReader {
	return &EventReader{lines: bufio.NewReaderSize(r, maxEventLine)}
}

// Next gives the next event of a kind that is known here. The error wraps
// ErrEvent, or is the reader's; a stream that ends between events is io.EOF.
func (r *EventReader) Next() (Event, error) {
	e, data := Event{}, []byte(nil)
	for begun := false; ; {
		line, err := r.lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Event{}, fmt.Errorf("%w: a line is longer than %d bytes", ErrEvent, maxEventLine)
		case errors.Is(err, io.EOF) && (begun || len(line) > 0):
			return Event{}, io.ErrUnexpectedEOF
		case err != nil:
			return Event{}, err
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if len(line) == 0 {
			if got, ok, err := finish(e, data); ok || err != nil {
				return got, err
			}
			e, data, begun = Event{}, nil, false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) { // a comment has an empty name
		case "id":
			if e.Stamp, err = token.ParseID(string(value)); err != nil {
				return Event{}, fmt.Errorf("%w: an id that is none", ErrEvent)
			}
			begun = true
		case "event":
			e.Kind, begun = EventKind(value), true
		case "data":
			if data = append(data, value...); len(data) > maxEventLine {
				return Event{}, fmt.Errorf("%w: longer than %d bytes", ErrEvent, maxEventLine)
			}
			begun = true
		}
	}
}

// finish decodes the data of an event; ok is false where there is none, and for
// a kind that this version does not know.
func finish(e Event, data []byte) (out Event, ok bool, err error) {
	switch e.Kind {
	case EventReset, EventRoster, EventApproval, EventSession, EventAgent:
	default:
		return Event{}, false, nil
	}
	if err := strict.Decode(data, &e); err != nil {
		return Event{}, false, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if err := e.check(); err != nil {
		return Event{}, false, err
	}
	return e, true, nil
}

// How a client keeps a stream: after so long without a byte it counts as lost,
// and is opened again after a pause that doubles while nothing comes.
const (
	eventsQuiet = 3 * Heartbeat * time.Second
	firstPause  = time.Second
	lastPause   = 30 * time.Second
)

// Events calls f for each event that apid sends this device, one at a time, and
// opens the stream again whenever it ends, until ctx is done (its error) or
// apid says no for good, as one does that has no events. Whatever happened while
// there was no stream, or before the first, is an EventReset.
func (c *Client) Events(ctx context.Context, f func(Event)) error {
	var last token.ID
	pause := c.pause
	for {
		err := c.events(ctx, last, func(e Event) {
			last, pause = e.Stamp, c.pause
			f(e)
		})
		var p *ProblemError
		if !errors.As(err, &p) || !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTooMany) && p.Kind() != KindInternal {
			return err
		}
		// Not all at once, after a server was away.
		again := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		case <-again.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// events reads one stream to its end. Its error is of the kind unavailable where
// it makes sense to come again.
func (c *Client) events(ctx context.Context, last token.ID, f func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(callTimeout, cancel)
	defer quiet.Stop()
	k := &call{method: "GET", path: "/v1/events", lastEvent: last}
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType != ContentTypeEvents {
		return NewProblem(KindNotFound, c.base.Host+" has no events", "")
	}
	quiet.Reset(eventsQuiet)
	events := NewEventReader(lively{resp.Body, quiet})
	for {
		e, err := events.Next()
		if err != nil {
			return noAnswer(c.base.Host, err)
		}
		f(e)
	}
}

// lively is a body whose every byte puts off the moment at which it is given up.
type lively struct {
	io.Reader
	quiet *time.Timer
}

func (l lively) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	if n > 0 {
		l.quiet.Reset(eventsQuiet)
	}
	return n, err
}
