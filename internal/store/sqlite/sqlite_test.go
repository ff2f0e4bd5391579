package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/relational"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

func open(t testing.TB, file string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFileIsPrivateAndDurable(t *testing.T) {
	// A name with the characters that a DSN would read as its own.
	file := filepath.Join(t.TempDir(), "a?mode=memory&b#c%20d.db")
	s := open(t, file)
	st := store.Statement{Hash: envelope.Sum([]byte("g")), Bytes: []byte("g")}
	if err := s.Tx(t.Context(), "acme", func(tx store.Tx) error { return tx.Roster.AppendStatement(st) }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	teams, err := open(t, file).Teams(t.Context(), "", 10)
	if err != nil || len(teams) != 1 || teams[0] != "acme" {
		t.Errorf("after reopening: %v, %v", teams, err)
	}
}

func TestSettings(t *testing.T) {
	// The pragmas that durability rests on, read through the write connection.
	file := filepath.Join(t.TempDir(), "t.db")
	s := open(t, file)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "trusted_schema": "0"} {
		if got := sqlite.WritePragma(t, s, pragma); got != want {
			t.Errorf("%s = %s, want %s", pragma, got, want)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.db")
	if err := open(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), file); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("Open = %v, want ErrNewerSchema", err)
	}
}

func TestMigrationsBothWays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.db")
	s := open(t, file)
	all := sqlite.Objects(t, s)
	from, err := sqlite.Migrate(t.Context(), file, 0)
	if err != nil || from == 0 {
		t.Fatalf("down from %d: %v", from, err)
	}
	if n := sqlite.Objects(t, s); n != 0 {
		t.Errorf("%d objects are left after taking every migration back", n)
	}
	for n := range from { // one step at a time
		if _, err := sqlite.Migrate(t.Context(), file, n+1); err != nil {
			t.Fatal(err)
		}
	}
	if n := sqlite.Objects(t, s); n != all {
		t.Errorf("%d objects after going down and up, want %d", n, all)
	}
	if _, err := sqlite.Migrate(t.Context(), file, from+1); err == nil {
		t.Error("migrated to a version that there is not")
	}
	if _, err := sqlite.Migrate(t.Context(), file+"x", relational.Latest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("migrating a file that is not there: %v", err)
	}
}

func TestSuite(t *testing.T) {
	storetest.Run(t, storetest.Harness{Open: func(t testing.TB, dir string) store.Store {
		return open(t, filepath.Join(dir, "t.db"))
	}})
}

func BenchmarkRequest(b *testing.B) {
	storetest.Benchmark(b, open(b, filepath.Join(b.TempDir(), "t.db")))
}
