package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// postEntries takes an agent's own entries. Sending them again is harmless.
func (s *Server) postEntries(ctx context.Context, r *door.Request, in wire.EntriesRequest) (wire.EntriesAnswer, error) {
	if n := len(in.Entries); n == 0 || n > wire.MaxPost {
		return wire.EntriesAnswer{}, door.Malformed(fmt.Sprintf("%d entries, want 1 to %d", n, wire.MaxPost), "send them in parts")
	}
	var answer wire.EntriesAnswer
	err := s.transact(ctx, r.Caller.Team, func(t *team) error {
		if _, err := t.roster.Agent(r.Caller.Kid, s.now()); err != nil {
			return door.Unauthenticated()
		}
		for _, b := range in.Entries {
			if err := s.accept(t, r.Caller, b); err != nil {
				return err
			}
		}
		last, err := audit.LinkOf(in.Entries[len(in.Entries)-1])
		answer.Actor = wire.Actor(last)
		return err
	})
	return answer, err
}

// accept appends one entry of the calling agent.
func (s *Server) accept(t *team, c door.Caller, b []byte) error {
	u, err := audit.ParseEntry(b)
	if err != nil {
		return door.Malformed("an entry is not one", "update the agent")
	}
	if u.InsecureSigner() != c.Kid {
		return door.Denied("an entry is signed by another key", "each agent sends its own entries")
	}
	added, err := t.log.Accept(t.tx.Audit, t.roster, b)
	switch {
	case errors.Is(err, audit.ErrForeign):
		return door.NotFound()
	case errors.Is(err, audit.ErrSigner):
		return door.Denied("an agent may not sign this entry", "update the agent")
	case errors.Is(err, audit.ErrMalformed):
		return door.Malformed("an entry is not one", "update the agent")
	case errors.Is(err, audit.ErrGap), errors.Is(err, audit.ErrFork):
		if errors.Is(err, audit.ErrFork) {
			s.logger.Error("an agent tells two stories", "agent", c.Agent.Name, "kid", c.Kid.String(), "err", err)
		}
		return wire.NewProblem(wire.KindConflict, strings.TrimPrefix(err.Error(), "audit: "), "send the entries from the first that is not acknowledged")
	case err != nil:
		return err
	}
	if !added {
		return nil
	}
	t.wrote = true
	e, err := u.InsecureEntry() // Accept has verified it
	if err != nil {
		return err
	}
	return moveSession(t, c, e)
}

// moveSession lets the row of a session follow what its agent says of it.
func moveSession(t *team, c door.Caller, e audit.Entry) error {
	states := map[audit.Type]string{audit.SessionStart: sessionStarted, audit.SessionEnd: sessionEnded}
	state := states[e.Type]
	if state == "" || e.SessionID.IsZero() {
		return nil
	}
	row, err := t.tx.Sessions.Get(e.SessionID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.Agent != c.Kid || row.State == sessionEnded && state != sessionEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	if state == sessionEnded {
		if row.Body, err = endedAt(t, row); err != nil {
			return err
		}
	}
	row.State = state
	return t.move(row)
}

// endedAt notes in a session's body that the log's newest entry is about its end.
func endedAt(t *team, row store.Session) ([]byte, error) {
	var body sessionBody
	if err := envelope.Unmarshal(row.Body, &body); err != nil {
		return nil, err
	}
	size, err := t.tx.Audit.Size()
	if err != nil || body.End != 0 {
		return row.Body, err
	}
	body.End = uint64(size)
	return envelope.Marshal(body)
}

// getCheckpoint gives the signed checkpoint of what is committed.
func (s *Server) getCheckpoint(ctx context.Context, r *door.Request) (out wire.Checkpoint, err error) {
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		_, out.Checkpoint, err = tx.Audit.Checkpoint()
		return err
	})
	return out, err
}

// getEntries gives a page of entries.
func (s *Server) getEntries(ctx context.Context, r *door.Request) (wire.EntriesPage, error) {
	from, err := r.Number("from", 0)
	if err != nil {
		return wire.EntriesPage{}, err
	}
	n, err := r.Number("n", wire.MaxEntries)
	if err != nil {
		return wire.EntriesPage{}, err
	}
	page := wire.EntriesPage{From: from}
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		size, err := tx.Audit.Size()
		if err != nil {
			return err
		}
		page.Size = uint64(size)
		page.Entries, err = tx.Audit.Entries(int64(from), int(min(n, wire.MaxEntries)))
		return err
	})
	if page.Entries == nil {
		page.Entries = [][]byte{}
	}
	return page, err
}

// getLogProof proves that an entry is in the log.
func (s *Server) getLogProof(ctx context.Context, r *door.Request) (out wire.LogProof, err error) {
	index, err := r.Number("index", 0)
	if err != nil {
		return wire.LogProof{}, err
	}
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		size, note, err := tx.Audit.Checkpoint()
		if err != nil {
			return err
		}
		if int64(index) >= size {
			return door.NotFound()
		}
		entries, err := tx.Audit.Entries(int64(index), 1)
		if err != nil {
			return err
		}
		if len(entries) != 1 {
			return door.NotFound()
		}
		proof, err := audit.Prove(tx.Audit, int64(index), entries[0], note)
		if err != nil {
			return err
		}
		out.Proof = proof.Marshal()
		return nil
	})
	return out, err
}

// getExport writes the whole log, as it is at the beginning, in one file. It
// reads page by page and holds no transaction while the reader takes its time.
func (s *Server) getExport(ctx context.Context, r *door.Request) (door.Stream, error) {
	team := r.Caller.Team
	var size int64
	var note []byte
	on := r.Caller.Roster
	err := s.store.View(ctx, team, func(tx store.Tx) (err error) {
		if size, note, err = tx.Audit.Checkpoint(); err != nil {
			return err
		}
		on, err = s.rosters.At(tx, team)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		ctx, cancel := context.WithTimeout(r.HTTP.Context(), door.StreamTime)
		defer cancel()
		return audit.WriteExport(w, audit.Export{
			Genesis:    on.Genesis(),
			Statements: each(on.Statements(0)),
			Entries:    s.entries(ctx, team, size),
			Checkpoint: note,
		})
	}, nil
}

func each(list [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// entries reads the first n entries page by page.
func (s *Server) entries(ctx context.Context, team string, n int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from := int64(0); from < n; {
			var page [][]byte
			err := s.store.View(ctx, team, func(tx store.Tx) (err error) {
				page, err = tx.Audit.Entries(from, int(min(n-from, wire.MaxEntries)))
				return err
			})
			if err == nil && len(page) == 0 {
				err = errors.New("api: the log is shorter than its checkpoint")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, b := range page {
				if !yield(b, nil) {
					return
				}
			}
			from += int64(len(page))
		}
	}
}
