package database_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/apid/api/database"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/backup"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
)

// command runs a task on a database and gives what it prints.
func command(t *testing.T, address, name string, args ...string) (string, error) {
	t.Helper()
	for _, task := range database.Tasks(func(cfg []byte) (string, error) { return string(cfg), nil }) {
		if task.Command.Name() != name {
			continue
		}
		var out bytes.Buffer
		task.Command.SetOut(&out)
		task.Command.SetContext(t.Context())
		if err := task.Command.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		err := task.Run(task.Command, []byte(address), task.Command.Flags().Args())
		return out.String(), err
	}
	t.Fatalf("no command %s", name)
	return "", nil
}

func must(t *testing.T, address, name string, args ...string) string {
	t.Helper()
	out, err := command(t, address, name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func found(t *testing.T, address string) {
	t.Helper()
	s, err := engine.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Tx(t.Context(), "acme", func(tx store.Tx) error {
		return tx.Roster.AppendStatement(store.Statement{Bytes: []byte("g")})
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFromFileToServerAndBack(t *testing.T) {
	dir := t.TempDir()
	first, second, third := filepath.Join(dir, "1.db"), "", filepath.Join(dir, "3.db")
	found(t, first)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if out := must(t, first, "backup", a); !strings.Contains(out, "team acme: 1 rows") {
		t.Errorf("backup says: %s", out)
	}
	if info, err := os.Stat(a); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	c := pgtest.Shared(t)
	name := c.Database(t)
	second = c.URL(pgtest.Apid, name)
	if _, err := command(t, second, "restore", a); !errors.Is(err, store.ErrOlderSchema) {
		t.Errorf("restore into a database without a schema: %v", err)
	}
	must(t, second, "migrate", c.URL(pgtest.Owner, name))
	if out := must(t, second, "restore", a); !strings.Contains(out, "1 teams") {
		t.Errorf("restore says: %s", out)
	}
	must(t, second, "backup", b)
	must(t, third, "restore", b)
	one, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(b)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("the copy's backup is another: %v", err)
	}
	if out := must(t, third, "migrate", "--to", "1"); !strings.Contains(out, "migrated from version") {
		t.Errorf("migrate says: %s", out)
	}
	if _, err := command(t, first, "restore", a); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("restore over a team: %v", err)
	}
}

// TestRefusals: what is refused leaves no file behind and changes none.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	db, file, bad := filepath.Join(dir, "x.db"), filepath.Join(dir, "x.backup"), filepath.Join(dir, "bad")
	for name, args := range map[string][]string{"backup": {file}, "migrate": nil} {
		if _, err := command(t, db, name, args...); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a database that is not there: %v", name, err)
		}
	}
	if err := os.WriteFile(bad, []byte("tucdesk backup v1\nand no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, db, "restore", bad); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), bad) {
		t.Errorf("restore of a damaged file: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	found(t, db)
	must(t, db, "backup", file)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, db, "backup", file); err == nil {
		t.Error("a backup went over another")
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused backup has changed the file: %v", err)
	}
}
