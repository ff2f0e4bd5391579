package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// WritePragma reads a setting of the connection that writes.
func WritePragma(t *testing.T, s *Store, name string) (v string) {
	t.Helper()
	if err := s.write.QueryRow("PRAGMA " + name).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// DownAndUp takes every migration back, checks that nothing is left, and
// applies them again.
func DownAndUp(ctx context.Context, s *Store) error {
	p, err := provider(s.write)
	if err != nil {
		return err
	}
	if _, err := p.DownTo(ctx, 0); err != nil {
		return err
	}
	var n int
	if err := s.write.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`).Scan(&n); err != nil {
		return err
	}
	if n != 0 {
		return errors.New(fmt.Sprint(n, " objects are left after taking every migration back"))
	}
	_, err = p.Up(ctx)
	return err
}
