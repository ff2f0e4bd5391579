package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/backup"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/store/relational"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

func lite(t testing.TB) engine.Store { return open(t, filepath.Join(t.TempDir(), "t.db")) }

func open(t testing.TB, address string) engine.Store {
	t.Helper()
	s, err := engine.Open(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// server makes an empty database and gives its address.
func server(t testing.TB) string {
	t.Helper()
	c := pgtest.Shared(t)
	name := c.Database(t)
	if _, err := engine.Migrate(context.Background(), c.URL(pgtest.Owner, name), engine.Latest); err != nil {
		t.Fatal(err)
	}
	return c.URL(pgtest.Apid, name)
}

// fill puts two teams into a store, one of them with something in each table.
func fill(t testing.TB, s store.Store) {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	err = s.Tx(context.Background(), "acme", func(tx store.Tx) error {
		if err := storetest.Fill(tx); err != nil {
			return err
		}
		size, err := tx.Audit.Size()
		if err != nil {
			return err
		}
		root, err := tlog.TreeHash(size, tx.Audit)
		if err != nil {
			return err
		}
		note, err := audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(envelope.Hash{1}), Size: size, Root: root}, id)
		if err != nil {
			return err
		}
		return tx.Audit.SetCheckpoint(size, note)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tx(context.Background(), "umbra", func(tx store.Tx) error {
		return tx.Roster.AppendStatement(store.Statement{Bytes: []byte("g")})
	}); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, s engine.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	teams, err := backup.Write(context.Background(), s, &b)
	if err != nil {
		t.Fatal(err)
	}
	if len(teams) != 2 || teams[0].ID != "acme" || teams[0].Entries != 5 || teams[1].Rows != 1 {
		t.Fatalf("teams: %+v", teams)
	}
	return b.Bytes()
}

// TestEverywhere copies a store to each engine and on to the other: the file of
// a copy is the file it was made of, byte for byte, and the copy goes on.
func TestEverywhere(t *testing.T) {
	first := lite(t)
	fill(t, first)
	file := write(t, first)
	for _, way := range [][]string{{"file"}, {"server", "file"}, {"server", "server"}} {
		from := file
		for _, kind := range way {
			address := filepath.Join(t.TempDir(), "t.db")
			if kind == "server" {
				address = server(t)
			}
			s := open(t, address)
			teams, err := backup.Read(t.Context(), bytes.NewReader(from), s)
			if err != nil || len(teams) != 2 || teams[0].Entries != 5 {
				t.Fatalf("%v: %+v, %v", way, teams, err)
			}
			if from = write(t, s); !bytes.Equal(from, file) {
				t.Errorf("%v: the backup of the copy is another", way)
			}
			if err := storetest.Request(t.Context(), s, "stark", 1); err != nil {
				t.Errorf("%v: the copy does not go on: %v", way, err)
			}
			storetest.CheckRequests(t, s, "stark", []int{1})
			if err := s.View(t.Context(), "acme", func(tx store.Tx) error {
				root, err := tlog.TreeHash(5, tx.Audit)
				if err != nil {
					return err
				}
				_, note, err := tx.Audit.Checkpoint()
				if err != nil {
					return err
				}
				c, err := audit.InsecureCheckpoint(note)
				if err == nil && c.Root != root {
					err = errors.New("another root")
				}
				return err
			}); err != nil {
				t.Errorf("%v: %v", way, err)
			}
		}
	}
}

// TestNothingIsForgotten: what a backup takes is every column of every table
// that has teams' rows, in both engines, but for what follows from the rest.
func TestNothingIsForgotten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.db")
	s := open(t, file)
	fill(t, s)
	taken := map[string][]string{}
	if err := s.Dump(t.Context(), "acme", func(r relational.Row) error {
		taken[r.Table] = slices.Sorted(slices.Values(append([]string{"team_id"}, r.Columns...)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	taken["audit_hash"] = []string{"hash", "idx", "team_id"}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	have := columns(t, db, `SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version' ORDER BY 1, 2`)
	if !reflect.DeepEqual(have, taken) {
		t.Errorf("SQLite has\n%v\nand a backup takes\n%v", have, taken)
	}
	db, err = sql.Open("pgx", server(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	have = columns(t, db, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT IN ('goose_db_version', 'writer') ORDER BY 1, column_name COLLATE "C"`)
	if !reflect.DeepEqual(have, taken) {
		t.Errorf("PostgreSQL has\n%v\nand a backup takes\n%v", have, taken)
	}
}

func columns(t *testing.T, db *sql.DB, query string) map[string][]string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		all[table] = append(all[table], column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// wantNothing fails unless reading a file is refused and leaves a store empty.
func wantNothing(t *testing.T, s engine.Store, file []byte, want error) {
	t.Helper()
	if _, err := backup.Read(t.Context(), bytes.NewReader(file), s); !errors.Is(err, want) {
		t.Errorf("Read = %v, want %v", err, want)
	}
	rows := 0
	for _, team := range []string{"acme", "umbra"} {
		if err := s.Dump(t.Context(), team, func(relational.Row) error { rows++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if rows != 0 {
		t.Fatalf("a refused backup left %d rows", rows)
	}
}

func TestRefusals(t *testing.T) {
	first := lite(t)
	fill(t, first)
	file := write(t, first)
	s := lite(t)
	// Damage is found before the store is asked for anything; of some files, also that
	// a real one then has nothing.
	for i := range file {
		bad := slices.Clone(file)
		bad[i] ^= 1 << (i % 8)
		for _, bad := range [][]byte{bad, file[:i]} {
			if _, err := backup.Read(t.Context(), bytes.NewReader(bad), nowhere{}); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("byte %d of %d: Read = %v", i, len(file), err)
			}
			if i%97 == 0 {
				wantNothing(t, s, bad, backup.ErrDamaged)
			}
		}
	}
	wantNothing(t, s, append(slices.Clone(file), 0), backup.ErrDamaged)
	// A forger makes the digest anew.
	for _, forged := range []struct {
		name, was, is string
		want          error
	}{
		{"another entry", "entry 3", "entry 4", backup.ErrTree},
		{"another table", "approval", "approvel", backup.ErrDamaged},
		{"a table of ours that no backup has", "\x66target", "\x66writer", backup.ErrDamaged},
		{"another column", "ask_until", "ask_untie", backup.ErrDamaged},
		{"a column twice", "ask_until", "session_id"[:9], backup.ErrDamaged},
		{"SQL in a column", "ask_until", "1;DROP --", backup.ErrDamaged},
	} {
		bad := bytes.Replace(file, []byte(forged.was), []byte(forged.is), 1)
		if bytes.Equal(bad, file) {
			t.Fatalf("%s: not in the file", forged.name)
		}
		wantNothing(t, s, seal(bad), forged.want)
	}
	if _, err := backup.Read(t.Context(), bytes.NewReader(file), first); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("Read into a store with teams: %v", err)
	}
	if !bytes.Equal(write(t, first), file) {
		t.Error("a refused Read has changed the store")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Read(ctx, bytes.NewReader(file), s); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a context that is done: %v", err)
	}
	if _, err := backup.Write(t.Context(), first, full{}); err == nil {
		t.Error("a backup to a full disk is one")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// seal gives a backup the digest of its contents.
func seal(file []byte) []byte {
	n := len(file) - sha256.Size
	sum := sha256.Sum256(file[:n-5])
	return append(slices.Clone(file[:n]), sum[:]...)
}

// nowhere is an empty store that takes nothing.
type nowhere struct{}

var errNowhere = errors.New("takes nothing")

func (nowhere) Teams(context.Context, string, int) ([]string, error) { return nil, nil }

func (nowhere) Load(context.Context, func(*relational.Loader) error) error { return errNowhere }

// FuzzRead reads what anybody may have written, with a digest that fits: up to
// the database, whose driver a fuzzer can't drive at any speed.
func FuzzRead(f *testing.F) {
	first := lite(f)
	fill(f, first)
	f.Add(write(f, first))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) < 64 {
			return
		}
		_, err := backup.Read(t.Context(), bytes.NewReader(seal(file)), nowhere{})
		if !errors.Is(err, errNowhere) && !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("Read = %v", err)
		}
	})
}
