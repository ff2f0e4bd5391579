// Package auditlog is how apid hands the audit log out: checkpoints and proofs to members,
// entries and the export to auditors. Nobody believes it: readers verify what they get.
//
// It writes nothing, holds no transaction while a reader takes its time, and gives what is
// under a signed checkpoint only. The package must not import the handlers.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/rosters"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A Service is made of what it reads. It is safe for concurrent use.
type Service struct {
	View    func(ctx context.Context, team string, f func(store.Tx) error) error // store.Store's
	Rosters *rosters.Cache
}

// Routes gives its part of apid's table.
func (s *Service) Routes() []door.Route {
	return []door.Route{
		door.Get("/v1/audit/checkpoint", door.Member, "The audit log's signed checkpoint.", s.checkpoint),
		door.Get("/v1/audit/consistency", door.Reader, "The proof that the audit log of one size extends that of another.", s.consistency).Query("from", "to"),
		door.Get("/v1/audit/entries", door.Auditor, "Audit entries.", s.page).Query("from", "n"),
		door.Get("/v1/audit/proof", door.Auditor, "An inclusion proof.", s.proof).Query("index"),
		door.Get("/v1/audit/export", door.Auditor, "The whole log in one file that verifies offline.", s.export).Waits(door.StreamTime),
	}
}

// checkpoint gives the signed checkpoint of what is committed.
func (s *Service) checkpoint(ctx context.Context, r *door.Request) (out wire.Checkpoint, err error) {
	err = s.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		_, out.Checkpoint, err = tx.Audit.Checkpoint()
		return err
	})
	return out, err
}

// consistency proves that the log of one size extends that of another.
func (s *Service) consistency(ctx context.Context, r *door.Request) (out wire.Consistency, err error) {
	from, err := r.Number("from", 0)
	if err != nil {
		return out, err
	}
	to, err := r.Number("to", 0)
	if err != nil {
		return out, err
	}
	err = s.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		size, _, err := tx.Audit.Checkpoint()
		if err != nil {
			return err
		}
		if from > to || to > uint64(size) {
			return wire.NewProblem(wire.KindConflict, fmt.Sprintf("the log has %d entries, and was asked how that of %d extends that of %d", size, to, from),
				"who has seen a checkpoint of more entries than the log has keeps it as evidence")
		}
		proof, err := audit.ProveConsistency(tx.Audit, int64(from), int64(to))
		out.Proof = make([]envelope.Hash, len(proof))
		for i, h := range proof {
			out.Proof[i] = envelope.Hash(h)
		}
		return err
	})
	return out, err
}

// page gives a page of entries.
func (s *Service) page(ctx context.Context, r *door.Request) (wire.EntriesPage, error) {
	from, err := r.Number("from", 0)
	if err != nil {
		return wire.EntriesPage{}, err
	}
	n, err := r.Number("n", wire.MaxEntries)
	if err != nil {
		return wire.EntriesPage{}, err
	}
	out := wire.EntriesPage{From: from}
	err = s.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		size, err := tx.Audit.Size()
		if err != nil {
			return err
		}
		out.Size = uint64(size)
		out.Entries, err = tx.Audit.Entries(int64(from), int(min(n, wire.MaxEntries)))
		return err
	})
	if out.Entries == nil {
		out.Entries = [][]byte{}
	}
	return out, err
}

// proof proves that an entry is in the log.
func (s *Service) proof(ctx context.Context, r *door.Request) (out wire.LogProof, err error) {
	index, err := r.Number("index", 0)
	if err != nil {
		return wire.LogProof{}, err
	}
	err = s.View(ctx, r.Caller.Team, func(tx store.Tx) error {
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
		p, err := audit.Prove(tx.Audit, int64(index), entries[0], note)
		if err != nil {
			return err
		}
		out.Proof = p.Marshal()
		return nil
	})
	return out, err
}

// export writes the whole log, as it is at the beginning, in one file. It
// reads page by page and holds no transaction while the reader takes its time.
func (s *Service) export(ctx context.Context, r *door.Request) (door.Stream, error) {
	team := r.Caller.Team
	var size int64
	var note []byte
	on := r.Caller.Roster
	err := s.View(ctx, team, func(tx store.Tx) (err error) {
		if size, note, err = tx.Audit.Checkpoint(); err != nil {
			return err
		}
		on, err = s.Rosters.At(tx, team)
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
func (s *Service) entries(ctx context.Context, team string, n int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from := int64(0); from < n; {
			var page [][]byte
			err := s.View(ctx, team, func(tx store.Tx) (err error) {
				page, err = tx.Audit.Entries(from, int(min(n-from, wire.MaxEntries)))
				return err
			})
			if err == nil && len(page) == 0 {
				err = errors.New("auditlog: the log is shorter than its checkpoint")
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
