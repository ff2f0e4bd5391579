package sqlite

import (
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

type audit struct{ *tx }

func (r audit) Size() (n int64, err error) {
	err = r.one(`SELECT coalesce(max(idx) + 1, 0) FROM audit_entry WHERE team_id = ?`, []any{r.team}, &n)
	return n, err
}

func (r audit) Append(index int64, entry []byte, hashes []tlog.Hash) error {
	if err := store.CheckEntry(entry); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_entry (team_id, idx, bytes)
		SELECT ?1, ?2, ?3 WHERE ?2 = (SELECT coalesce(max(idx) + 1, 0) FROM audit_entry WHERE team_id = ?1)`, r.team, index, entry)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: entry %d is not the next", store.ErrConflict, index)
	}
	at := tlog.StoredHashIndex(0, index)
	for i, h := range hashes {
		if _, err := r.exec(`INSERT INTO audit_hash (team_id, idx, hash) VALUES (?, ?, ?)`, r.team, at+int64(i), h[:]); err != nil {
			return err
		}
	}
	return nil
}

func (r audit) Entries(from int64, n int) ([][]byte, error) {
	return list(r.tx, func(rows *sql.Rows, b *[]byte) error { return rows.Scan(b) },
		`SELECT bytes FROM audit_entry WHERE team_id = ? AND idx >= ? ORDER BY idx LIMIT ?`, r.team, from, store.Limit(n))
}

func (r audit) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if err := r.one(`SELECT hash FROM audit_hash WHERE team_id = ? AND idx = ?`, []any{r.team, x}, fixed(all[i][:])); err != nil {
			return nil, fmt.Errorf("tree hash %d: %w", x, err)
		}
	}
	return all, nil
}

func (r audit) Checkpoint() (c store.Checkpoint, err error) {
	err = r.one(`SELECT size, note FROM audit_head WHERE team_id = ?`, []any{r.team}, &c.Size, &c.Note)
	return c, err
}

func (r audit) SetCheckpoint(c store.Checkpoint) error {
	if err := c.Check(); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_head (team_id, size, note) VALUES (?, ?, ?)
		ON CONFLICT (team_id) DO UPDATE SET size = excluded.size, note = excluded.note WHERE audit_head.size <= excluded.size`, r.team, c.Size, c.Note)
	if err == nil && n == 0 {
		return fmt.Errorf("%w: a newer checkpoint is stored", store.ErrConflict)
	}
	return err
}

func (r audit) Chain(name string, signer key.Kid) (l store.Link, err error) {
	err = r.one(`SELECT seq, hash FROM audit_chain WHERE team_id = ? AND name = ? AND signer = ?`,
		[]any{r.team, name, signer[:]}, &l.Seq, fixed(l.Hash[:]))
	if errors.Is(err, store.ErrNotFound) {
		return store.Link{}, nil
	}
	return l, err
}

func (r audit) SetChain(name string, signer key.Kid, next store.Link) error {
	if err := store.CheckChain(name, signer, next); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_chain (team_id, name, signer, seq, hash)
		SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?4 = 1 + coalesce((SELECT seq FROM audit_chain WHERE team_id = ?1 AND name = ?2 AND signer = ?3), 0)
		ON CONFLICT (team_id, name, signer) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`,
		r.team, name, signer[:], int64(next.Seq), next.Hash[:])
	if err == nil && n == 0 {
		return fmt.Errorf("%w: %d is not the next number of the chain", store.ErrConflict, next.Seq)
	}
	return err
}
