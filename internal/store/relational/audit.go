package relational

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

type audit struct{ *tx }

func (r audit) Size() (n int64, err error) {
	err = r.one(`SELECT coalesce(max(idx) + 1, 0) FROM audit_entry WHERE team_id = $1`, []any{r.Team}, &n)
	return n, err
}

func (r audit) Append(index int64, entry []byte, hashes []tlog.Hash) error {
	if err := store.CheckEntry(entry); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_entry (team_id, idx, bytes)
		SELECT $1, $2, $3 WHERE $2 = (SELECT coalesce(max(idx) + 1, 0) FROM audit_entry WHERE team_id = $1)`, r.Team, index, entry)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: entry %d is not the next", store.ErrConflict, index)
	}
	if len(hashes) == 0 {
		return nil
	}
	// One statement, however many: each is a way to the server and back.
	at, values, args := tlog.StoredHashIndex(0, index), new(strings.Builder), []any{r.Team}
	for i := range hashes {
		fmt.Fprintf(values, ", ($1, $%d, $%d)", 2*i+2, 2*i+3)
		args = append(args, at+int64(i), hashes[i][:])
	}
	_, err = r.exec(`INSERT INTO audit_hash (team_id, idx, hash) VALUES `+values.String()[2:], args...)
	return err
}

func (r audit) Entries(from int64, n int) ([][]byte, error) {
	return list(r.tx, func(rows *sql.Rows, b *[]byte) error { return rows.Scan(b) },
		`SELECT bytes FROM audit_entry WHERE team_id = $1 AND idx >= $2 ORDER BY idx LIMIT $3`, r.Team, from, store.Limit(n))
}

func (r audit) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make(map[int64]tlog.Hash, len(indexes))
	for part := range slices.Chunk(indexes, store.MaxPage) {
		in, args := new(strings.Builder), []any{r.Team}
		for i, x := range part {
			fmt.Fprintf(in, ", $%d", i+2)
			args = append(args, x)
		}
		err := r.each(`SELECT idx, hash FROM audit_hash WHERE team_id = $1 AND idx IN (`+in.String()[2:]+`)`, args, func(rows *sql.Rows) error {
			var x int64
			var h tlog.Hash
			err := rows.Scan(&x, fixed(h[:]))
			found[x] = h
			return r.Wrap(err)
		})
		if err != nil {
			return nil, err
		}
	}
	all := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := found[x]
		if !ok {
			return nil, fmt.Errorf("tree hash %d: %w", x, store.ErrNotFound)
		}
		all[i] = h
	}
	return all, nil
}

func (r audit) Checkpoint() (size int64, note []byte, err error) {
	err = r.one(`SELECT size, note FROM audit_head WHERE team_id = $1`, []any{r.Team}, &size, &note)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil, nil
	}
	return size, note, err
}

func (r audit) SetCheckpoint(size int64, note []byte) error {
	if err := store.CheckCheckpoint(size, note); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_head (team_id, size, note) VALUES ($1, $2, $3)
		ON CONFLICT (team_id) DO UPDATE SET size = excluded.size, note = excluded.note WHERE audit_head.size <= excluded.size`, r.Team, size, note)
	if err == nil && n == 0 {
		return fmt.Errorf("%w: a newer checkpoint is stored", store.ErrConflict)
	}
	return err
}

func (r audit) Chain(name string, signer key.Kid) (seq uint64, last envelope.Hash, err error) {
	err = r.one(`SELECT seq, hash FROM audit_chain WHERE team_id = $1 AND name = $2 AND signer = $3`,
		[]any{r.Team, name, signer[:]}, &seq, fixed(last[:]))
	if errors.Is(err, store.ErrNotFound) {
		return 0, envelope.Hash{}, nil
	}
	return seq, last, err
}

func (r audit) SetChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return r.moveChain("=", name, signer, seq, last)
}

func (r audit) SkipChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return r.moveChain(">=", name, signer, seq, last)
}

// moveChain moves a chain where its next number is as the comparison says.
func (r audit) moveChain(next, name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	if err := store.CheckChain(name, signer, seq); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO audit_chain (team_id, name, signer, seq, hash)
		SELECT $1, $2, $3, $4, $5 WHERE $4 `+next+` 1 + coalesce((SELECT seq FROM audit_chain WHERE team_id = $1 AND name = $2 AND signer = $3), 0)
		ON CONFLICT (team_id, name, signer) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`,
		r.Team, name, signer[:], int64(seq), last[:])
	if err == nil && n == 0 {
		return fmt.Errorf("%w: %d is not the next number of the chain", store.ErrConflict, seq)
	}
	return err
}
