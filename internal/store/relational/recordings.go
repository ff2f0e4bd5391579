package relational

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/store"
)

type recordings struct{ *tx }

const recordingColumns = `session_id, number, agent, segments, size, head, length_ms, final, updated`

func scanRecording(rows *sql.Rows, r *store.Recording) error {
	var length, updated int64
	err := rows.Scan(fixed(r.SessionID[:]), &r.Number, fixed(r.Agent[:]), &r.Segments, &r.Size, fixed(r.Head[:]), &length, &r.Final, &updated)
	r.Length, r.Updated = time.Duration(length)*time.Millisecond, store.FromMillis(updated)
	return err
}

func (r recordings) Append(rec store.Recording, manifest []byte) (store.Recording, error) {
	if err := rec.Check(manifest); err != nil {
		return store.Recording{}, err
	}
	args := []any{
		r.Team, rec.SessionID[:], rec.Agent[:], int64(rec.Segments), int64(rec.Size), rec.Head[:],
		rec.Length.Milliseconds(), flag(rec.Final), store.Millis(rec.Updated),
	}
	query := `UPDATE recording SET segments = $4, size = $5, head = $6, length_ms = $7, final = $8, updated = $9
		WHERE team_id = $1 AND session_id = $2 AND agent = $3 AND segments + 1 = $4 AND final = 0`
	if rec.Segments == 1 {
		query = `INSERT INTO recording (team_id, ` + recordingColumns + `)
			SELECT $1, $2, (SELECT coalesce(max(number), 0) + 1 FROM recording WHERE team_id = $1), $3, $4, $5, $6, $7, $8, $9
			WHERE NOT EXISTS (SELECT 1 FROM recording WHERE team_id = $1 AND session_id = $2)`
	}
	n, err := r.exec(query, args...)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: segment %d does not follow the recording's last", store.ErrConflict, rec.Segments)
	}
	if err != nil {
		return store.Recording{}, err
	}
	if _, err := r.exec(`INSERT INTO recording_manifest (team_id, session_id, n, bytes) VALUES ($1, $2, $3, $4)`,
		r.Team, rec.SessionID[:], int64(rec.Segments), manifest); err != nil {
		return store.Recording{}, err
	}
	return r.Get(rec.SessionID)
}

func (r recordings) Get(id [16]byte) (store.Recording, error) {
	return only(list(r.tx, scanRecording, `SELECT `+recordingColumns+` FROM recording WHERE team_id = $1 AND session_id = $2`, r.Team, id[:]))
}

func (r recordings) List(before uint64, limit int) ([]store.Recording, error) {
	return list(r.tx, scanRecording, `SELECT `+recordingColumns+` FROM recording WHERE team_id = $1 AND number < $2
		ORDER BY number DESC LIMIT $3`, r.Team, below(before), store.Limit(limit))
}

func (r recordings) Manifests(id [16]byte, after uint64, limit int) ([][]byte, error) {
	return list(r.tx, func(rows *sql.Rows, b *[]byte) error { return rows.Scan(b) },
		`SELECT bytes FROM recording_manifest WHERE team_id = $1 AND session_id = $2 AND n > $3 ORDER BY n LIMIT $4`,
		r.Team, id[:], clamp(after), store.Limit(limit))
}

// flag is a bool as both engines keep it.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
