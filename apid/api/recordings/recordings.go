// Package recordings is where apid keeps recordings: it takes manifests and sealed
// segments from the agents that made them, and gives them to auditors.
//
// apid can read none of it, and nobody believes it: an auditor's client checks the
// agent's signatures. What is checked here keeps honest agents' recordings whole
// and everybody else's rubbish out.
//
// Invariants:
//   - a segment is stored before its manifest is recorded, and a manifest is
//     recorded only as the next of its session, by the session's own agent;
//   - an object's name holds the hash that its manifest names, so nothing that
//     comes later takes its place;
//   - what belongs to another team or agent is not found;
//   - every body and list has a bound.
//
// The package must not import another service, tui or backend.
package recordings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/recording/blob"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// presignFor is how long an agent may use an upload URL.
const presignFor = 5 * time.Minute

// Config is what a Service is made of. Blobs may be nil: then no recording is
// taken, and agents keep theirs until one day it is.
type Config struct {
	Store  store.Store
	Blobs  blob.Store
	Now    func() time.Time
	Logger *slog.Logger
	// EndEntry gives the number of the log's entry about a session's end.
	EndEntry func(store.Session) (uint64, bool)
}

// A Service is safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Routes gives its part of apid's table.
func (s *Service) Routes() []door.Route {
	return []door.Route{
		door.Post("/v1/recordings/{id}/segments", door.Agent, "The manifest of the next segment of a session's recording.", s.postManifest),
		door.Put("/v1/recordings/{id}/segments", wire.MaxUpload, "A manifest, with its sealed segment.", s.putSegment),
		door.Get("/v1/recordings", door.Auditor, "The team's recordings.", s.list).Query("after"),
		door.Get("/v1/recordings/{id}", door.Auditor, "A recording's signed manifests.", s.manifests).Query("after"),
		door.Get("/v1/recordings/{id}/segments/{n}", door.Auditor, "A sealed segment.", s.segment).Waits(door.StreamTime),
	}
}

// A submission is a manifest that its session's agent has signed.
type submission struct {
	team     string
	key      key.Public // of the agent
	bytes    []byte
	manifest recording.VerifiedManifest
}

// name is that of the segment's object.
func name(m recording.Manifest) string {
	return fmt.Sprintf("%s/%s/%08d-%s.seg", m.TeamFP, m.SessionID, m.N, m.SHA256)
}

// submitted checks a manifest by itself: form, signature, team and session.
func submitted(r *door.Request, raw []byte) (submission, error) {
	id, err := r.ID()
	if err != nil {
		return submission{}, err
	}
	u, err := recording.ParseManifest(raw)
	if err != nil {
		return submission{}, door.Malformed("the manifest is not one", "update the agent")
	}
	m, err := u.Verify(envelope.One(r.Caller.Agent.Public))
	switch {
	case errors.Is(err, envelope.ErrUnknownSigner), errors.Is(err, envelope.ErrSignature):
		return submission{}, door.Denied("a manifest is signed by another key", "each agent sends its own recordings")
	case err != nil:
		return submission{}, door.Malformed("the manifest is not one", "update the agent")
	case m.Body().TeamFP != r.Caller.Roster.TeamFP() || m.Body().SessionID != id:
		return submission{}, door.NotFound()
	}
	return submission{r.Caller.Team, r.Caller.Agent.Public, raw, m}, nil
}

// place finds out where a manifest stands: recorded already, or the next. Whatever
// else is refused.
func (s *Service) place(tx store.Tx, in submission) (old store.Recording, recorded bool, err error) {
	m := in.manifest.Body()
	session, err := tx.Sessions.Get(m.SessionID)
	if errors.Is(err, store.ErrNotFound) || err == nil && session.Agent != in.manifest.Signer() {
		return old, false, door.NotFound()
	}
	if err != nil {
		return old, false, err
	}
	if old, err = tx.Recordings.Get(m.SessionID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return old, false, err
	}
	if m.N <= old.Segments {
		was, err := tx.Recordings.Manifests(m.SessionID, m.N-1, 1)
		if err != nil {
			return old, false, err
		}
		if len(was) != 1 || !bytes.Equal(was[0], in.bytes) {
			return old, false, conflict("another manifest with this number is recorded")
		}
		return old, true, nil
	}
	var last recording.VerifiedManifest
	if old.Segments > 0 {
		was, err := tx.Recordings.Manifests(m.SessionID, old.Segments-1, 1)
		if err != nil {
			return old, false, err
		}
		u, err := recording.ParseManifest(bytes.Join(was, nil))
		if err != nil {
			return old, false, err
		}
		if last, err = u.Verify(envelope.One(in.key)); err != nil {
			return old, false, err
		}
	}
	if err := in.manifest.Follows(last); err != nil {
		return old, false, conflict(strings.TrimPrefix(err.Error(), "recording: "))
	}
	return old, false, nil
}

func conflict(detail string) error {
	return wire.NewProblem(wire.KindConflict, detail, "send the manifests in order, from the first that is not recorded")
}

// stored reports whether the segment of a manifest is there, as long as it says.
func (s *Service) stored(ctx context.Context, m recording.Manifest) (bool, error) {
	if s.Blobs == nil {
		return false, wire.NewProblem(wire.KindUnavailable, "this server keeps no recordings", "an operator of the server configures where they go")
	}
	size, err := s.Blobs.Stat(ctx, name(m))
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	return err == nil && uint64(size) == m.Len, err
}

// record adds a manifest whose segment is stored.
func (s *Service) record(ctx context.Context, in submission) error {
	m := in.manifest.Body()
	return s.Store.Tx(ctx, in.team, func(tx store.Tx) error {
		old, recorded, err := s.place(tx, in)
		if err != nil || recorded {
			return err
		}
		_, err = tx.Recordings.Append(store.Recording{
			SessionID: m.SessionID, Agent: in.manifest.Signer(), Segments: m.N, Size: old.Size + m.Len, Head: in.manifest.Hash(),
			Length: time.Duration(m.T1) * time.Millisecond, Final: m.Final, Updated: s.Now(),
		}, in.bytes)
		if errors.Is(err, store.ErrConflict) {
			return conflict("the manifest is not the next one")
		}
		return err
	})
}

// look is place without a writer.
func (s *Service) look(ctx context.Context, in submission) (recorded bool, err error) {
	err = s.Store.View(ctx, in.team, func(tx store.Tx) error {
		_, recorded, err = s.place(tx, in)
		return err
	})
	return recorded, err
}

// postManifest records a manifest whose segment is stored, and else says where to
// send it.
func (s *Service) postManifest(ctx context.Context, r *door.Request, body wire.SegmentRequest) (wire.SegmentAnswer, error) {
	in, err := submitted(r, body.Manifest)
	if err != nil {
		return wire.SegmentAnswer{}, err
	}
	recorded, err := s.look(ctx, in)
	if err != nil || recorded {
		return wire.SegmentAnswer{Stored: recorded}, err
	}
	there, err := s.stored(ctx, in.manifest.Body())
	if err != nil {
		return wire.SegmentAnswer{}, err
	}
	if there {
		err := s.record(ctx, in)
		return wire.SegmentAnswer{Stored: err == nil}, err
	}
	p, ok := s.Blobs.(blob.Presigner)
	if !ok {
		return wire.SegmentAnswer{}, nil
	}
	url, err := p.PresignPut(ctx, name(in.manifest.Body()), presignFor)
	return wire.SegmentAnswer{Upload: url}, err
}

// putSegment stores a segment that comes with its manifest, and records it.
func (s *Service) putSegment(ctx context.Context, r *door.Request, body []byte) (wire.SegmentAnswer, error) {
	raw, segment, err := wire.CutUpload(body)
	if err != nil {
		return wire.SegmentAnswer{}, door.Malformed("the body is not a manifest and a segment", "update the agent")
	}
	in, err := submitted(r, raw)
	if err != nil {
		return wire.SegmentAnswer{}, err
	}
	m := in.manifest.Body()
	if uint64(len(segment)) != m.Len || envelope.Sum(segment) != m.SHA256 {
		return wire.SegmentAnswer{}, door.Malformed("the segment is not the one that its manifest names", "send it again")
	}
	recorded, err := s.look(ctx, in)
	if err != nil || recorded {
		return wire.SegmentAnswer{Stored: recorded}, err
	}
	there, err := s.stored(ctx, m)
	if err != nil {
		return wire.SegmentAnswer{}, err
	}
	if !there {
		if err := s.Blobs.Put(ctx, name(m), bytes.NewReader(segment), int64(len(segment))); err != nil {
			s.Logger.Error("a segment could not be stored", "session", m.SessionID, "n", m.N, "err", err)
			return wire.SegmentAnswer{}, wire.NewProblem(wire.KindUnavailable, "the segment could not be stored", "keep it and send it again")
		}
	}
	err = s.record(ctx, in)
	return wire.SegmentAnswer{Stored: err == nil}, err
}

// row says of a recording what lists show.
func row(tx store.Tx, r store.Recording) (wire.Recording, store.Session, error) {
	session, err := tx.Sessions.Get(r.SessionID)
	return wire.Recording{
		SessionID: r.SessionID, Operator: session.Operator, Agent: r.Agent, Started: session.Created.Unix(), Updated: r.Updated.Unix(),
		Segments: r.Segments, Size: r.Size, Length: r.Length.Milliseconds(), Final: r.Final,
	}, session, err
}

// list gives a page of recordings, from the newest on.
func (s *Service) list(ctx context.Context, r *door.Request) (wire.RecordingsPage, error) {
	before, err := r.Number("after", 0)
	if err != nil {
		return wire.RecordingsPage{}, err
	}
	page := wire.RecordingsPage{Recordings: []wire.Recording{}}
	err = s.Store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		rows, err := tx.Recordings.List(before, wire.MaxRecordings)
		if err != nil {
			return err
		}
		for _, x := range rows {
			shown, _, err := row(tx, x)
			if err != nil {
				return err
			}
			page.Recordings = append(page.Recordings, shown)
		}
		if len(rows) == wire.MaxRecordings {
			page.Next = strconv.FormatUint(rows[len(rows)-1].Number, 10)
		}
		return nil
	})
	return page, err
}

// manifests gives a recording and a page of its manifests.
func (s *Service) manifests(ctx context.Context, r *door.Request) (page wire.RecordingPage, err error) {
	id, err := r.ID()
	if err != nil {
		return page, err
	}
	after, err := r.Number("after", 0)
	if err != nil {
		return page, err
	}
	err = s.Store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		rec, err := tx.Recordings.Get(id)
		if errors.Is(err, store.ErrNotFound) {
			return door.NotFound()
		}
		if err != nil {
			return err
		}
		var session store.Session
		if page.Recording, session, err = row(tx, rec); err != nil {
			return err
		}
		if n, ok := s.EndEntry(session); ok {
			page.EndEntry = &n
		}
		page.Manifests, err = tx.Recordings.Manifests(id, after, wire.MaxManifests)
		return err
	})
	if page.Manifests == nil {
		page.Manifests = [][]byte{}
	}
	return page, err
}

// segment gives the bytes of one segment.
func (s *Service) segment(ctx context.Context, r *door.Request) (door.Stream, error) {
	id, err := r.ID()
	if err != nil {
		return nil, err
	}
	n, err := r.Part("n")
	if err != nil || n == 0 {
		return nil, door.NotFound()
	}
	var m recording.Manifest
	err = s.Store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		raw, err := tx.Recordings.Manifests(id, n-1, 1)
		if err != nil {
			return err
		}
		if len(raw) != 1 {
			return door.NotFound()
		}
		m, err = own(raw[0])
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.N != n || m.SessionID != token.ID(id) || s.Blobs == nil {
		return nil, door.NotFound()
	}
	object, size, err := s.Blobs.Get(r.HTTP.Context(), name(m))
	if errors.Is(err, blob.ErrNotFound) {
		return nil, wire.NewProblem(wire.KindUnavailable, "the segment is recorded, and its bytes are not where they were put", "ask who keeps the server's storage")
	}
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		defer object.Close()
		_, err := io.Copy(w, io.LimitReader(object, min(size, wire.MaxSegment)))
		return err
	}, nil
}

// own reads a manifest of our own store, whose signature was checked on its way in.
func own(raw []byte) (m recording.Manifest, err error) {
	u, err := recording.ParseManifest(raw)
	if err != nil {
		return m, err
	}
	return m, u.InsecureDecode(&m)
}
