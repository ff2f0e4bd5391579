// Package relational answers the interfaces of store in SQL that SQLite and
// PostgreSQL both speak, and holds what else the two have in common: migration
// and copying. The engines open the database, begin and end transactions, and
// keep writers apart; every query that reads or writes a team's rows is here,
// once.
//
// Invariants: every query names the team; a refusal (ErrConflict, ErrExists, …)
// is found by the query itself and never by a failed statement, which would end
// a transaction of PostgreSQL; every list has a limit.
//
// It must not import a database driver or a service package.
package relational

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/internal/store"
)

// An Engine is what the queries must know of a database.
type Engine struct {
	Name string // begins the text of errors
	// QuestionMarks says that parameters are written ?1 and not $1.
	QuestionMarks bool
}

// Begun is a SQL transaction that has begun for a team. The context bounds each
// call; without Write, calls that write are store.ErrReadOnly.
type Begun struct {
	Context context.Context
	SQL     *sql.Tx
	Team    string
	Write   bool
}

// Tx gives the team's data inside the transaction. Who began it ends it.
func (e Engine) Tx(b Begun) store.Tx {
	t := &tx{e, b}
	return store.Tx{
		Roster: roster{t}, Targets: targets{t}, Replay: replay{t},
		Approvals: approvals{t}, Sessions: sessions{t}, Audit: audit{t}, Recordings: recordings{t},
	}
}

// Teams lists the teams that have a genesis, as store.Store says.
func (e Engine) Teams(b Begun, after string, limit int) ([]string, error) {
	return list(&tx{e, b}, func(rows *sql.Rows, team *string) error { return rows.Scan(team) },
		`SELECT team_id FROM roster_statement WHERE seq = 0 AND team_id > $1 ORDER BY team_id LIMIT $2`, after, store.Limit(limit))
}

// Wrap says which engine an error comes from.
func (e Engine) Wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", e.Name, err)
}

// query writes a query's parameters in the form of the engine.
func (e Engine) query(q string) string {
	if e.QuestionMarks {
		return strings.ReplaceAll(q, "$", "?")
	}
	return q
}
