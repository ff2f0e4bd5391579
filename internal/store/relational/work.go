package relational

import (
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/tucdesk/tucdesk/internal/store"
)

// clamp turns a cursor into an SQL integer.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// below turns the cursor of a list that runs from the newest on into a bound:
// 0 is above every number.
func below(n uint64) int64 {
	if n == 0 {
		return math.MaxInt64
	}
	return clamp(n)
}

// newest completes a query that ends in its WHERE part: rows that f selects,
// below a number, from the newest on.
func newest(t *tx, query string, f store.Filter, before uint64, limit int) (string, []any) {
	query, args := query+` AND number < $2`, []any{t.Team, below(before)}
	and := func(column string, v any) {
		args = append(args, v)
		query += fmt.Sprintf(` AND %s = $%d`, column, len(args))
	}
	if f.State != "" {
		and("state", f.State)
	}
	if !f.Operator.IsZero() {
		and("operator", f.Operator[:])
	}
	if !f.Agent.IsZero() {
		and("agent", f.Agent[:])
	}
	args = append(args, store.Limit(limit))
	return query + fmt.Sprintf(` ORDER BY number DESC LIMIT $%d`, len(args)), args
}

type approvals struct{ *tx }

const approvalColumns = `number, id, version, state, operator, agent, session_id, created, ask_until, body`

func scanApproval(rows *sql.Rows, a *store.Approval) error {
	var created, until int64
	err := rows.Scan(&a.Number, fixed(a.ID[:]), &a.Version, &a.State, fixed(a.Operator[:]), fixed(a.Agent[:]),
		fixed(a.SessionID[:]), &created, &until, &a.Body)
	a.Created, a.AskUntil, a.Body = store.FromMillis(created), store.FromMillis(until), orNil(a.Body)
	return err
}

func (r approvals) Insert(a store.Approval) (store.Approval, error) {
	if err := a.Check(); err != nil {
		return store.Approval{}, err
	}
	n, err := r.exec(`INSERT INTO approval (team_id, `+approvalColumns+`)
		SELECT $1, (SELECT coalesce(max(number), 0) + 1 FROM approval WHERE team_id = $1), $2, 1, $3, $4, $5, $6, $7, $8, $9
		WHERE NOT EXISTS (SELECT 1 FROM approval WHERE team_id = $1 AND id = $2)`,
		r.Team, a.ID[:], a.State, a.Operator[:], a.Agent[:], a.SessionID[:], store.Millis(a.Created), store.Millis(a.AskUntil), notNil(a.Body))
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: approval", store.ErrExists)
	}
	if err != nil {
		return store.Approval{}, err
	}
	return r.Get(a.ID)
}

func (r approvals) Get(id [16]byte) (store.Approval, error) {
	return only(list(r.tx, scanApproval, `SELECT `+approvalColumns+` FROM approval WHERE team_id = $1 AND id = $2`, r.Team, id[:]))
}

func (r approvals) List(f store.Filter, before uint64, limit int) ([]store.Approval, error) {
	query, args := newest(r.tx, `SELECT `+approvalColumns+` FROM approval WHERE team_id = $1`, f, before, limit)
	return list(r.tx, scanApproval, query, args...)
}

func (r approvals) Update(a store.Approval) (store.Approval, error) {
	if err := a.Check(); err != nil {
		return store.Approval{}, err
	}
	n, err := r.exec(`UPDATE approval SET version = version + 1, state = $1, ask_until = $2, body = $3 WHERE team_id = $4 AND id = $5 AND version = $6`,
		a.State, store.Millis(a.AskUntil), notNil(a.Body), r.Team, a.ID[:], clamp(a.Version))
	return afterUpdate(n, err, func() (store.Approval, error) { return r.Get(a.ID) })
}

func (r approvals) Due(state string, now time.Time, limit int) ([]store.Approval, error) {
	return list(r.tx, scanApproval, `SELECT `+approvalColumns+` FROM approval
		WHERE team_id = $1 AND state = $2 AND ask_until <= $3 ORDER BY ask_until, number LIMIT $4`, r.Team, state, store.Millis(now), store.Limit(limit))
}

type sessions struct{ *tx }

const sessionColumns = `number, id, version, state, operator, agent, proof_hash, created, ends_by, body`

func scanSession(rows *sql.Rows, s *store.Session) error {
	var created, ends int64
	err := rows.Scan(&s.Number, fixed(s.ID[:]), &s.Version, &s.State, fixed(s.Operator[:]), fixed(s.Agent[:]),
		fixed(s.ProofHash[:]), &created, &ends, &s.Body)
	s.Created, s.EndsBy, s.Body = store.FromMillis(created), store.FromMillis(ends), orNil(s.Body)
	return err
}

func (r sessions) Insert(s store.Session) (store.Session, error) {
	if err := s.Check(); err != nil {
		return store.Session{}, err
	}
	n, err := r.exec(`INSERT INTO session (team_id, `+sessionColumns+`)
		SELECT $1, (SELECT coalesce(max(number), 0) + 1 FROM session WHERE team_id = $1), $2, 1, $3, $4, $5, $6, $7, $8, $9
		WHERE NOT EXISTS (SELECT 1 FROM session WHERE team_id = $1 AND id = $2)`,
		r.Team, s.ID[:], s.State, s.Operator[:], s.Agent[:], s.ProofHash[:], store.Millis(s.Created), store.Millis(s.EndsBy), notNil(s.Body))
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: session", store.ErrExists)
	}
	if err != nil {
		return store.Session{}, err
	}
	return r.Get(s.ID)
}

func (r sessions) Get(id [16]byte) (store.Session, error) {
	return only(list(r.tx, scanSession, `SELECT `+sessionColumns+` FROM session WHERE team_id = $1 AND id = $2`, r.Team, id[:]))
}

func (r sessions) List(f store.Filter, before uint64, limit int) ([]store.Session, error) {
	query, args := newest(r.tx, `SELECT `+sessionColumns+` FROM session WHERE team_id = $1`, f, before, limit)
	return list(r.tx, scanSession, query, args...)
}

func (r sessions) Update(s store.Session) (store.Session, error) {
	if err := s.Check(); err != nil {
		return store.Session{}, err
	}
	n, err := r.exec(`UPDATE session SET version = version + 1, state = $1, ends_by = $2, body = $3 WHERE team_id = $4 AND id = $5 AND version = $6`,
		s.State, store.Millis(s.EndsBy), notNil(s.Body), r.Team, s.ID[:], clamp(s.Version))
	return afterUpdate(n, err, func() (store.Session, error) { return r.Get(s.ID) })
}

func (r sessions) Due(state string, now time.Time, limit int) ([]store.Session, error) {
	return list(r.tx, scanSession, `SELECT `+sessionColumns+` FROM session
		WHERE team_id = $1 AND state = $2 AND ends_by <= $3 ORDER BY ends_by, number LIMIT $4`, r.Team, state, store.Millis(now), store.Limit(limit))
}

// only gives the one row of a query by a unique key.
func only[T any](all []T, err error) (T, error) {
	var zero T
	switch {
	case err != nil:
		return zero, err
	case len(all) == 0:
		return zero, store.ErrNotFound
	}
	return all[0], nil
}

// afterUpdate reads the row back; where none was changed it says why.
func afterUpdate[T any](n int64, err error, get func() (T, error)) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	v, err := get()
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	if err != nil {
		return zero, err
	}
	return v, nil
}

// notNil keeps an empty body out of NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// orNil is the inverse: an empty body comes back as nil.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
