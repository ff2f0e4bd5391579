// Package sqlite keeps a store.Store in one SQLite file, with no server to
// install: what `tucdesk up` and `tucdesk demo` use, and sites with one apid.
//
// Invariants: WAL with synchronous=FULL, so that a commit that was acknowledged
// survives the loss of power; one writing connection, so that transactions that
// write run one after the other; every query names the team; the file is
// readable by its owner only.
//
// It must not import a service package.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/tucdesk/tucdesk/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers bounds the connections that View and Teams share.
const readers = 4

// A Store is a store.Store in one file.
type Store struct {
	write, read *sql.DB
}

var _ store.Store = (*Store)(nil)

// Open opens the database file, creates it (mode 0600) if it is missing, and
// migrates it. A file that a newer version has migrated is store.ErrNewerSchema.
func Open(ctx context.Context, file string) (_ *Store, err error) {
	file, err = filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	writer, err := connect(file, 1, "journal_mode(wal)", "synchronous(full)")
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := connect(file, readers, "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	return &Store{write: writer, read: reader}, nil
}

func connect(file string, n int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_defensive": {"1"}, "_dqs": {"0"}, "_pragma": append(pragmas, "busy_timeout(5000)", "trusted_schema(0)")}
	if n == 1 {
		// A transaction that will write takes the lock first: it can't fail
		// half-way because another process wrote in between.
		q.Set("_txlock", "immediate")
	}
	// filepath.ToSlash and url.URL so that any file name is a file name.
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(file), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	p, err := provider(db)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("sqlite: read the schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: version %d, and this program knows up to %d; install the newer TucDesk, or restore the copy made before the upgrade",
			store.ErrNewerSchema, current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("sqlite: migrate from version %d to %d: %w", current, target, err)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return p, nil
}

// Close closes the file. Transactions under way end with an error.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Tx implements store.Store.
func (s *Store) Tx(ctx context.Context, team string, f func(store.Tx) error) error {
	return run(ctx, s.write, team, true, f)
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, team string, f func(store.Tx) error) error {
	return run(ctx, s.read, team, false, f)
}

// Teams implements store.Store.
func (s *Store) Teams(ctx context.Context, after string, limit int) ([]string, error) {
	rows, err := s.read.QueryContext(ctx,
		`SELECT team_id FROM roster_statement WHERE seq = 0 AND team_id > ? ORDER BY team_id LIMIT ?`, after, store.Limit(limit))
	return collect(rows, err, func(rows *sql.Rows, team *string) error { return rows.Scan(team) })
}
