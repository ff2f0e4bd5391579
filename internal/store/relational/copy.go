package relational

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/store"
)

// A Row is one row of one of a team's tables. Cells are int64, string or []byte.
type Row struct {
	Table   string
	Columns []string // shared by all rows of a table: not to be changed
	Cells   []any
}

// table is a table in the order in which it is copied. The tree of a log is not
// copied: it follows from the entries.
type table struct {
	name    string
	columns []string // without team_id
	key     int      // how many columns, from the first on, give the order
}

func columns(names string) []string { return strings.Split(names, ", ") }

// Entries is the table of the log's entries.
const Entries = "audit_entry"

// tables are all tables that begin with team_id, but audit_hash.
var tables = []table{
	{"roster_statement", columns("seq, hash, bytes"), 1},
	{"target", columns("kid, name, tags, login_user, exp"), 1},
	{"replay", columns("signer, jti, exp"), 2},
	{"approval", columns(approvalColumns), 1},
	{"session", columns(sessionColumns), 1},
	{"recording", columns(recordingColumns), 1},
	{"recording_manifest", columns("session_id, n, bytes"), 2},
	{Entries, columns("idx, bytes"), 1},
	{"audit_head", columns("size, note"), 1},
	{"audit_chain", columns("name, signer, seq, hash"), 2},
}

// Dump gives every row of the team, table by table, in an order that depends on
// nothing but the rows. An error of yield ends it and is returned.
func (e Engine) Dump(b Begun, yield func(Row) error) error {
	t := &tx{e, b}
	for _, tab := range tables {
		query := fmt.Sprintf(`SELECT %s FROM %s WHERE team_id = $1 ORDER BY %s`,
			strings.Join(tab.columns, ", "), tab.name, strings.Join(tab.columns[:tab.key], ", "))
		err := t.each(query, []any{b.Team}, func(rows *sql.Rows) error {
			row := Row{Table: tab.name, Columns: tab.columns, Cells: make([]any, len(tab.columns))}
			into := make([]any, len(row.Cells))
			for i := range into {
				into[i] = &row.Cells[i]
			}
			if err := rows.Scan(into...); err != nil {
				return e.Wrap(err)
			}
			return yield(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A Loader fills an empty database, team by team, inside one transaction.
type Loader struct {
	engine Engine
	begin  func(team string) (Begun, error)
	team   *tx
	size   int64 // entries so far
}

// NewLoader makes a Loader. begin makes a team the one whose rows come next.
func NewLoader(e Engine, begin func(team string) (Begun, error)) *Loader {
	return &Loader{engine: e, begin: begin}
}

// Team begins a team and gives its data, so that what was loaded can be checked.
func (l *Loader) Team(team string) (store.Tx, error) {
	b, err := l.begin(team)
	if err != nil {
		return store.Tx{}, err
	}
	l.team, l.size = &tx{l.engine, b}, 0
	return l.engine.Tx(b), nil
}

// Row adds a row to the team that was begun. Its table and columns must be ones
// that this version knows; columns that it lacks get their default.
func (l *Loader) Row(r Row) error {
	i := slices.IndexFunc(tables, func(t table) bool { return t.name == r.Table })
	if i < 0 {
		return fmt.Errorf("%w: no table %q", store.ErrInvalid, r.Table)
	}
	if len(r.Cells) == 0 || len(r.Columns) != len(r.Cells) {
		return fmt.Errorf("%w: a row of %s with %d cells for %d columns", store.ErrInvalid, r.Table, len(r.Cells), len(r.Columns))
	}
	for n, c := range r.Columns {
		if !slices.Contains(tables[i].columns, c) || slices.Contains(r.Columns[:n], c) {
			return fmt.Errorf("%w: no column %q of %s", store.ErrInvalid, c, r.Table)
		}
	}
	if r.Table == Entries {
		return l.entry(r)
	}
	args, values := []any{l.team.Team}, "$1"
	for n, cell := range r.Cells {
		switch cell.(type) {
		case int64, string, []byte:
		default:
			return fmt.Errorf("%w: a cell of %s is a %T", store.ErrInvalid, r.Table, cell)
		}
		args, values = append(args, cell), values+fmt.Sprintf(", $%d", n+2)
	}
	_, err := l.team.exec(fmt.Sprintf(`INSERT INTO %s (team_id, %s) VALUES (%s)`, r.Table, strings.Join(r.Columns, ", "), values), args...)
	return err
}

// entry adds an entry of the log with the hashes that it completes.
func (l *Loader) entry(r Row) error {
	if !slices.Equal(r.Columns, columns("idx, bytes")) {
		return fmt.Errorf("%w: an entry has idx and bytes", store.ErrInvalid)
	}
	index, ok := r.Cells[0].(int64)
	bytes, also := r.Cells[1].([]byte)
	if !ok || !also || index != l.size {
		return fmt.Errorf("%w: entry %d is not one", store.ErrInvalid, l.size)
	}
	l.size++
	log := audit{l.team}
	hashes, err := tlog.StoredHashes(index, bytes, log)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return log.Append(index, bytes, hashes)
}
