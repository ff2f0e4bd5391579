package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A step is what a transaction does before its own work.
type step func(context.Context, *sql.Tx) error

var snapshot = sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// only lets a transaction see the rows of a team, and then does more.
func only(team string, more ...step) step {
	return func(ctx context.Context, t *sql.Tx) error {
		for _, s := range append([]step{set("tucdesk.team", team)}, more...) {
			if err := s(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
}

// set makes a setting, up to the end of the transaction.
func set(name, value string) step {
	return func(ctx context.Context, t *sql.Tx) error {
		_, err := t.ExecContext(ctx, `SELECT set_config($1, $2, true)`, name, value)
		return err
	}
}

// allTeams lets a transaction see which teams there are.
var allTeams = set("tucdesk.all_teams", "on")

// patient lets a transaction take its time.
func patient(ctx context.Context, t *sql.Tx) error {
	_, err := t.ExecContext(ctx, `SELECT set_config(name, '0', true) FROM unnest($1::text[]) name`,
		[]string{"statement_timeout", "idle_in_transaction_session_timeout"})
	return err
}

// lockTeam makes a transaction the team's only writer, once no other is.
func lockTeam(team string) step {
	return func(ctx context.Context, t *sql.Tx) error {
		const lock = `SELECT team_id FROM writer WHERE team_id = $1 FOR UPDATE`
		err := t.QueryRowContext(ctx, lock, team).Scan(&team)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		// The first to write for this team.
		if _, err := t.ExecContext(ctx, `INSERT INTO writer (team_id) VALUES ($1) ON CONFLICT DO NOTHING`, team); err != nil {
			return err
		}
		return t.QueryRowContext(ctx, lock, team).Scan(&team)
	}
}

// try is once, again where that is safe: the database gave the transaction up
// in favour of another, or it could not begin.
func (s *Store) try(ctx context.Context, opts sql.TxOptions, begin step, f func(*sql.Tx) error) error {
	for n := 1; ; n++ {
		began := false
		err := s.once(ctx, opts, begin, func(t *sql.Tx) error {
			began = true
			return f(t)
		})
		if err == nil || n == attempts || ctx.Err() != nil || !again(began, err) {
			return err
		}
		if !began {
			s.pool.Reset() // connections to a server that has restarted
		}
		select {
		case <-time.After(time.Duration(n)*pause + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
	}
}

// again reports whether nothing of a failed transaction is there and another
// try may help. A commit whose answer got lost is no such case.
func again(began bool, err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return !began
	}
	switch e.Code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	case "57P01", "57P02", "57P03": // the server goes down, crashes, starts
		return !began
	}
	return !began && strings.HasPrefix(e.Code, "08") // the connection
}

// once runs f in one transaction and commits it.
func (s *Store) once(ctx context.Context, opts sql.TxOptions, begin step, f func(*sql.Tx) error) error {
	t, err := s.db.BeginTx(ctx, &opts)
	if err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	defer t.Rollback() // after Commit it does nothing; after a panic it frees the connection
	if err := begin(ctx, t); err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	if err := f(t); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("postgres: commit: %w", err)
	}
	return nil
}

// turns lets one writer of each team through at a time. Its size is that of the
// writers that run or wait.
type turns struct {
	mu    sync.Mutex
	teams map[string]*turn
}

type turn struct {
	free  chan struct{} // holds one token while nobody writes
	users int
}

// take waits for the team's turn; done gives it back.
func (t *turns) take(ctx context.Context, team string) (done func(), err error) {
	t.mu.Lock()
	if t.teams == nil {
		t.teams = map[string]*turn{}
	}
	own := t.teams[team]
	if own == nil {
		own = &turn{free: make(chan struct{}, 1)}
		own.free <- struct{}{}
		t.teams[team] = own
	}
	own.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(t.teams, team)
		}
	}
	select {
	case <-own.free:
		return func() { own.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for the writer of team %s: %w", team, ctx.Err())
	}
}
