package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tucdesk/tucdesk/internal/store"
)

// tx is the data of one team inside one SQL transaction.
type tx struct {
	ctx   context.Context
	sql   *sql.Tx
	team  string
	write bool
}

func run(ctx context.Context, db *sql.DB, team string, write bool, f func(store.Tx) error) (err error) {
	if err := store.CheckTeam(team); err != nil {
		return err
	}
	s, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: !write})
	if err != nil {
		return fmt.Errorf("sqlite: begin: %w", err)
	}
	defer s.Rollback() // after Commit it does nothing; after a panic it frees the connection
	t := &tx{ctx: ctx, sql: s, team: team, write: write}
	if err := f(store.Tx{
		Roster: roster{t}, Targets: targets{t}, Replay: replay{t},
		Approvals: approvals{t}, Sessions: sessions{t}, Audit: audit{t}, Recordings: recordings{t},
	}); err != nil {
		return err
	}
	if err := s.Commit(); err != nil {
		return fmt.Errorf("sqlite: commit: %w", err)
	}
	return nil
}

// exec runs a statement that writes and gives the number of rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	if !t.write {
		return 0, store.ErrReadOnly
	}
	r, err := t.sql.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("sqlite: %w", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("sqlite: %w", err)
	}
	return n, nil
}

// one reads the single row of a query; no row is store.ErrNotFound.
func (t *tx) one(query string, args []any, into ...any) error {
	err := t.sql.QueryRowContext(t.ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	return nil
}

// list reads all rows of a query, whose LIMIT bounds them.
func list[T any](t *tx, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	rows, err := t.sql.QueryContext(t.ctx, query, args...)
	return collect(rows, err, scan)
}

func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows, *T) error) ([]T, error) {
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, fmt.Errorf("sqlite: %w", err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return all, nil
}

// fixed scans a byte string whose length is that of the slice it fills.
type fixed []byte

func (f fixed) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(f) {
		return fmt.Errorf("a column holds %d bytes, want %d", len(b), len(f))
	}
	copy(f, b)
	return nil
}
