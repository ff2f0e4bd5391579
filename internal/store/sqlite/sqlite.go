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
	"github.com/tucdesk/tucdesk/internal/store/relational"
)

//go:embed migrations/*.sql
var migrations embed.FS

// sql3 is what relational must know of SQLite.
var sql3 = relational.Engine{Name: "sqlite", QuestionMarks: true}

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
	file, writer, err := openWriter(file, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	schema, err := schema()
	if err == nil {
		_, err = schema.Migrate(ctx, writer, relational.Latest)
	}
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := connect(file, readers, "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	return &Store{write: writer, read: reader}, nil
}

// Migrate takes a database file, which must be there, to a version of the
// schema, up or down, and gives the version that it had.
func Migrate(ctx context.Context, file string, to int64) (from int64, err error) {
	_, db, err := openWriter(file, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	schema, err := schema()
	if err != nil {
		return 0, err
	}
	return schema.Migrate(ctx, db, to)
}

// openWriter opens the connection that writes, and gives the file's full name.
func openWriter(file string, create int) (string, *sql.DB, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return "", nil, fmt.Errorf("sqlite: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|create, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", nil, fmt.Errorf("sqlite: %w", err)
	}
	db, err := connect(file, 1, "journal_mode(wal)", "synchronous(full)")
	return file, db, err
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

func schema() (relational.Schema, error) {
	dir, err := fs.Sub(migrations, "migrations")
	return relational.Schema{Engine: sql3, Dialect: goose.DialectSQLite3, Files: dir}, sql3.Wrap(err)
}

// Close closes the file. Transactions under way end with an error.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Tx implements store.Store.
func (s *Store) Tx(ctx context.Context, team string, f func(store.Tx) error) error {
	return run(ctx, s.write, team, true, func(b relational.Begun) error { return f(sql3.Tx(b)) })
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, team string, f func(store.Tx) error) error {
	return run(ctx, s.read, team, false, func(b relational.Begun) error { return f(sql3.Tx(b)) })
}

// Teams implements store.Store.
func (s *Store) Teams(ctx context.Context, after string, limit int) (teams []string, err error) {
	err = begin(ctx, s.read, false, func(t *sql.Tx) (err error) {
		teams, err = sql3.Teams(relational.Begun{Context: ctx, SQL: t}, after, limit)
		return err
	})
	return teams, err
}

// Dump gives every row of a team, as relational.Engine says.
func (s *Store) Dump(ctx context.Context, team string, yield func(relational.Row) error) error {
	return run(ctx, s.read, team, false, func(b relational.Begun) error { return sql3.Dump(b, yield) })
}

// Load runs f, which loads teams, in one transaction.
func (s *Store) Load(ctx context.Context, f func(*relational.Loader) error) error {
	return begin(ctx, s.write, true, func(t *sql.Tx) error {
		return f(relational.NewLoader(sql3, func(team string) (relational.Begun, error) {
			return relational.Begun{Context: ctx, SQL: t, Team: team, Write: true}, store.CheckTeam(team)
		}))
	})
}

func run(ctx context.Context, db *sql.DB, team string, write bool, f func(relational.Begun) error) error {
	if err := store.CheckTeam(team); err != nil {
		return err
	}
	return begin(ctx, db, write, func(t *sql.Tx) error {
		return f(relational.Begun{Context: ctx, SQL: t, Team: team, Write: write})
	})
}

func begin(ctx context.Context, db *sql.DB, write bool, f func(*sql.Tx) error) error {
	t, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: !write})
	if err != nil {
		return fmt.Errorf("sqlite: begin: %w", err)
	}
	defer t.Rollback() // after Commit it does nothing; after a panic it frees the connection
	if err := f(t); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("sqlite: commit: %w", err)
	}
	return nil
}
