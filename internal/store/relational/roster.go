package relational

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

type roster struct{ *tx }

func scanStatement(rows *sql.Rows, s *store.Statement) error {
	return rows.Scan(&s.Seq, fixed(s.Hash[:]), &s.Bytes)
}

func (r roster) AppendStatement(s store.Statement) error {
	if err := s.Check(); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO roster_statement (team_id, seq, hash, bytes)
		SELECT $1, $2, $3, $4 WHERE $2 = (SELECT coalesce(max(seq) + 1, 0) FROM roster_statement WHERE team_id = $1)`,
		r.Team, int64(s.Seq), s.Hash[:], s.Bytes)
	if err == nil && n == 0 {
		return fmt.Errorf("%w: statement %d is not the next", store.ErrConflict, s.Seq)
	}
	return err
}

func (r roster) Statements(after uint64, limit int) ([]store.Statement, error) {
	return list(r.tx, scanStatement, `SELECT seq, hash, bytes FROM roster_statement
		WHERE team_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, r.Team, clamp(after), store.Limit(limit))
}

func (r roster) Genesis() (s store.Statement, err error) {
	err = r.one(`SELECT seq, hash, bytes FROM roster_statement WHERE team_id = $1 AND seq = 0`,
		[]any{r.Team}, &s.Seq, fixed(s.Hash[:]), &s.Bytes)
	return s, err
}

func (r roster) Head() (s store.Statement, err error) {
	err = r.one(`SELECT seq, hash, bytes FROM roster_statement WHERE team_id = $1 ORDER BY seq DESC LIMIT 1`,
		[]any{r.Team}, &s.Seq, fixed(s.Hash[:]), &s.Bytes)
	return s, err
}

type targets struct{ *tx }

const targetColumns = `kid, name, tags, login_user, exp`

func targetFields(t *store.Target, tags *[]byte, exp *int64) []any {
	return []any{fixed(t.Kid[:]), &t.Name, tags, &t.LoginUser, exp}
}

func finishTarget(t *store.Target, tags []byte, exp int64) error {
	t.Exp = store.FromMillis(exp)
	return envelope.Unmarshal(tags, &t.Tags)
}

func (r targets) Put(t store.Target) error {
	if err := t.Check(); err != nil {
		return err
	}
	tags, err := envelope.Marshal(t.Tags)
	if err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO target (team_id, kid, name, tags, login_user, exp)
		SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM target WHERE team_id = $1 AND name = $3 AND kid <> $2)
		ON CONFLICT (team_id, kid) DO UPDATE SET name = excluded.name, tags = excluded.tags, login_user = excluded.login_user, exp = excluded.exp`,
		r.Team, t.Kid[:], t.Name, tags, t.LoginUser, store.Millis(t.Exp))
	if err == nil && n == 0 {
		return fmt.Errorf("%w: another target has this name", store.ErrExists)
	}
	return err
}

func (r targets) Delete(kid key.Kid) error {
	n, err := r.exec(`DELETE FROM target WHERE team_id = $1 AND kid = $2`, r.Team, kid[:])
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

func (r targets) Get(kid key.Kid) (store.Target, error) {
	return r.find(`SELECT `+targetColumns+` FROM target WHERE team_id = $1 AND kid = $2`, kid[:])
}

func (r targets) Named(name string) (store.Target, error) {
	return r.find(`SELECT `+targetColumns+` FROM target WHERE team_id = $1 AND name = $2`, name)
}

func (r targets) find(query string, by any) (t store.Target, err error) {
	var tags []byte
	var exp int64
	if err := r.one(query, []any{r.Team, by}, targetFields(&t, &tags, &exp)...); err != nil {
		return store.Target{}, err
	}
	return t, finishTarget(&t, tags, exp)
}

func (r targets) List(after string, limit int) ([]store.Target, error) {
	return list(r.tx, func(rows *sql.Rows, t *store.Target) error {
		var tags []byte
		var exp int64
		return errors.Join(rows.Scan(targetFields(t, &tags, &exp)...), finishTarget(t, tags, exp))
	}, `SELECT `+targetColumns+` FROM target WHERE team_id = $1 AND name > $2 ORDER BY name LIMIT $3`,
		r.Team, after, store.Limit(limit))
}

type replay struct{ *tx }

func (r replay) Use(signer key.Kid, jti string, exp time.Time) error {
	if err := store.CheckUse(signer, jti); err != nil {
		return err
	}
	n, err := r.exec(`INSERT INTO replay (team_id, signer, jti, exp) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		r.Team, signer[:], []byte(jti), store.Millis(exp))
	if err == nil && n == 0 {
		return store.ErrReplayed
	}
	return err
}

func (r replay) Prune(before time.Time, limit int) (int, error) {
	n, err := r.exec(`DELETE FROM replay WHERE (team_id, signer, jti) IN
		(SELECT team_id, signer, jti FROM replay WHERE team_id = $1 AND exp < $2 ORDER BY exp LIMIT $3)`,
		r.Team, store.Millis(before), store.Limit(limit))
	return int(n), err
}
