package relational

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/tucdesk/tucdesk/internal/store"
)

// tx is the data of one team inside one SQL transaction.
type tx struct {
	Engine
	Begun
}

// exec runs a statement that writes and gives the number of rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	if !t.Write {
		return 0, store.ErrReadOnly
	}
	if err := checkArgs(args); err != nil {
		return 0, err
	}
	r, err := t.SQL.ExecContext(t.Context, t.query(query), args...)
	if err != nil {
		return 0, t.Wrap(err)
	}
	n, err := r.RowsAffected()
	return n, t.Wrap(err)
}

// one reads the single row of a query; no row is store.ErrNotFound.
func (t *tx) one(query string, args []any, into ...any) error {
	if err := checkArgs(args); err != nil {
		return err
	}
	err := t.SQL.QueryRowContext(t.Context, t.query(query), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return t.Wrap(err)
}

// list reads all rows of a query, whose LIMIT bounds them.
func list[T any](t *tx, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	var all []T
	err := t.each(query, args, func(rows *sql.Rows) error {
		var v T
		if err := scan(rows, &v); err != nil {
			return t.Wrap(err)
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// each gives f every row of a query while it is read.
func (t *tx) each(query string, args []any, f func(*sql.Rows) error) error {
	if err := checkArgs(args); err != nil {
		return err
	}
	rows, err := t.SQL.QueryContext(t.Context, t.query(query), args...)
	if err != nil {
		return t.Wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return t.Wrap(rows.Err())
}

// checkArgs refuses text that a database would refuse in the middle of a
// transaction: what is only looked for may come from anybody.
func checkArgs(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok {
			if err := store.CheckText(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// fixed scans a byte string whose length is that of the slice it fills.
type fixed []byte

// Scan implements sql.Scanner.
func (f fixed) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(f) {
		return fmt.Errorf("a column holds %d bytes, want %d", len(b), len(f))
	}
	copy(f, b)
	return nil
}
