package api

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/backup"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// copyOf gives a backup of the server's store.
func (s *server) copyOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := backup.Write(t.Context(), s.store.(engine.Store), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// restored gives a new store with a backup in it.
func restored(t *testing.T, file []byte) engine.Store {
	t.Helper()
	db, err := engine.Open(t.Context(), filepath.Join(t.TempDir(), "restored.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := backup.Read(t.Context(), bytes.NewReader(file), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func entriesOf(t *testing.T, s store.Store, team string) (n int64) {
	t.Helper()
	if err := s.View(t.Context(), team, func(tx store.Tx) (err error) {
		n, err = tx.Audit.Size()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSetBack: a server whose database is an older state signs nothing and
// grants nothing, also after a restart, however long the old state grows. The
// newest state is taken up at once, whichever engine it comes from.
func TestSetBack(t *testing.T) { onEach(t, setBack) }

func setBack(t *testing.T, s *server) {
	file := filepath.Join(t.TempDir(), "log.marks")
	book, err := marks.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	s.marks = book
	c := newCrew(t, s, "acme")
	newest := s.store
	defer func() { s.store = newest }()
	old := s.copyOf(t)
	if _, err := c.alice.open(c.staging.Kid(), token.NewID()); err != nil {
		t.Fatal(err)
	}
	now := s.copyOf(t)
	if err := book.Save(); err != nil {
		t.Fatal(err)
	}
	tries := func(what string) {
		t.Helper()
		db := restored(t, old)
		s.store = db
		before := entriesOf(t, db, "acme")
		_, err := c.frank.client.SignIn(t.Context()) // of whom the old state knows all that there is
		p := wantProblem(t, err, wire.KindUnavailable)
		if !strings.Contains(p.Error(), "older than what") {
			t.Errorf("%s: %v", what, p)
		}
		if n := entriesOf(t, db, "acme"); n != before {
			t.Errorf("%s: the old log grew from %d to %d", what, before, n)
		}
	}
	tries("while it runs")
	again, err := marks.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	s.marks = again
	tries("after a restart")

	s.store = restored(t, now)
	if _, err := c.alice.open(c.staging.Kid(), token.NewID()); err != nil {
		t.Errorf("the newest state: %v", err)
	}

	// Without the memory the old state goes on: it is the memory that stops it,
	// also when the old state has grown past what was signed.
	empty, err := marks.Open("")
	if err != nil {
		t.Fatal(err)
	}
	s.marks = empty
	s.store = restored(t, old)
	for range 5 {
		if _, err := c.frank.open(c.staging.Kid(), token.NewID()); err != nil {
			t.Errorf("a server without a memory: %v", err)
		}
	}
	s.marks = again
	_, err = c.frank.open(c.staging.Kid(), token.NewID())
	wantProblem(t, err, wire.KindUnavailable)
}
