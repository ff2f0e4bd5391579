// Package postgres keeps a store.Store in PostgreSQL 15 or newer: what sites
// with several apids use, or with a database of their own.
//
// Invariants:
//   - Every query names the team, and behind that stands row-level security: a
//     transaction sees and writes the rows of the team that it began for, and
//     one that began for none sees nothing.
//   - Open refuses a role that could get past that wall: a superuser, one with
//     BYPASSRLS, the tables' owner, or a member of any of these. The schema is
//     made and changed by its owner (Migrate), the daemon only uses it.
//   - A team has one writer at a time: it holds the lock of the team's row.
//   - What was acknowledged is on the server's disk; a server or a role that is
//     set to lose it is refused.
//   - Nothing waits without end: statements, locks, idle transactions and whole
//     transactions have limits.
//
// It must not import a service package.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/relational"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Daemon is the role to which the schema grants what a daemon needs. The role
// that a daemon signs in with is a member of it.
const Daemon = "tucdesk_daemon"

// pg is what relational must know of PostgreSQL.
var pg = relational.Engine{Name: "postgres"}

const (
	txTime   = 30 * time.Second // one Tx or View, with all its waiting
	attempts = 4                // of one transaction
	pause    = 20 * time.Millisecond
)

// A Store is a store.Store in a PostgreSQL database.
type Store struct {
	pool  *pgxpool.Pool
	db    *sql.DB
	turns turns
}

var _ store.Store = (*Store)(nil)

// Open connects as a daemon. The URL is postgres://ROLE@HOST/DATABASE with the
// parameters of libpq, and pool_max_conns; it names a file with the password
// (passfile) and never holds one. Beyond this machine the server is verified
// (sslmode=verify-full). store.ErrOlderSchema asks for Migrate,
// store.ErrNewerSchema for a newer program; ErrRole, ErrServer and ErrURL say
// what to change.
func Open(ctx context.Context, url string) (*Store, error) {
	cfg, err := parse(url, daemonSettings)
	if err != nil {
		return nil, err
	}
	s, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connect(ctx context.Context, cfg *pgxpool.Config) (*Store, error) {
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, pg.Wrap(err)
	}
	return &Store{pool: pool, db: stdlib.OpenDBFromPool(pool)}, nil
}

// Migrate connects as the owner of the database, takes it to a version of the
// schema, up or down, and gives the version that it had. ErrRole if the role
// Daemon is missing; its text has the statements that make it.
func Migrate(ctx context.Context, url string, to int64) (from int64, err error) {
	cfg, err := parse(url, nil)
	if err != nil {
		return 0, err
	}
	s, err := connect(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.checkServer(ctx); err != nil {
		return 0, err
	}
	if err := s.checkDaemonRole(ctx); err != nil {
		return 0, err
	}
	schema, err := schema()
	if err != nil {
		return 0, err
	}
	return schema.Migrate(ctx, s.db, to)
}

func schema() (relational.Schema, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return relational.Schema{}, pg.Wrap(err)
	}
	// Two that migrate at once do it one after the other.
	locker, err := lock.NewPostgresSessionLocker()
	return relational.Schema{
		Engine: pg, Dialect: goose.DialectPostgres, Files: dir, Options: []goose.ProviderOption{goose.WithSessionLocker(locker)},
	}, pg.Wrap(err)
}

// Close closes all connections. Transactions under way end with an error.
func (s *Store) Close() error {
	err := s.db.Close()
	s.pool.Close()
	return pg.Wrap(err)
}

// Tx implements store.Store.
func (s *Store) Tx(ctx context.Context, team string, f func(store.Tx) error) error {
	return s.run(ctx, team, true, func(b relational.Begun) error { return f(pg.Tx(b)) })
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, team string, f func(store.Tx) error) error {
	return s.run(ctx, team, false, func(b relational.Begun) error { return f(pg.Tx(b)) })
}

// Teams implements store.Store.
func (s *Store) Teams(ctx context.Context, after string, limit int) (teams []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, txTime)
	defer cancel()
	err = s.try(ctx, sql.TxOptions{ReadOnly: true}, allTeams, func(t *sql.Tx) (err error) {
		teams, err = pg.Teams(relational.Begun{Context: ctx, SQL: t}, after, limit)
		return err
	})
	return teams, err
}

// Dump gives every row of a team, as relational.Engine says. It takes the time
// that yield takes.
func (s *Store) Dump(ctx context.Context, team string, yield func(relational.Row) error) error {
	if err := store.CheckTeam(team); err != nil {
		return err
	}
	return s.try(ctx, snapshot, only(team, patient), func(t *sql.Tx) error {
		return pg.Dump(relational.Begun{Context: ctx, SQL: t, Team: team}, yield)
	})
}

// Load runs f, which loads teams, in one transaction.
func (s *Store) Load(ctx context.Context, f func(*relational.Loader) error) error {
	return s.once(ctx, sql.TxOptions{}, only("", patient), func(t *sql.Tx) error {
		return f(relational.NewLoader(pg, func(team string) (relational.Begun, error) {
			if err := store.CheckTeam(team); err != nil {
				return relational.Begun{}, err
			}
			return relational.Begun{Context: ctx, SQL: t, Team: team, Write: true}, only(team, lockTeam(team))(ctx, t)
		}))
	})
}

func (s *Store) run(ctx context.Context, team string, write bool, f func(relational.Begun) error) error {
	if err := store.CheckTeam(team); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, txTime)
	defer cancel()
	opts, begin := snapshot, only(team)
	if write {
		// One writer of each team waits for the database: a busy team leaves the
		// other connections to the others.
		done, err := s.turns.take(ctx, team)
		if err != nil {
			return pg.Wrap(err)
		}
		defer done()
		// Each statement sees what is committed when it begins, and nobody else
		// commits to this team.
		opts, begin = sql.TxOptions{Isolation: sql.LevelReadCommitted}, only(team, lockTeam(team))
	}
	return s.try(ctx, opts, begin, func(t *sql.Tx) error {
		return f(relational.Begun{Context: ctx, SQL: t, Team: team, Write: write})
	})
}
