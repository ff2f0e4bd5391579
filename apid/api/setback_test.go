package api

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
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

// After a restore to an older state admins let the log go on, and only they: what was lost
// is a gap that everybody sees, and whoever had signed since goes on too.
func TestRestart(t *testing.T) {
	s := newServer(t)
	book, err := marks.Open("")
	if err != nil {
		t.Fatal(err)
	}
	s.marks = book
	c := newCrew(t, s, "acme")
	old := s.copyOf(t)
	first := s.store
	defer func() { s.store = first }()
	for range 2 { // alice's chain goes further than the backup knows
		if _, err := c.alice.open(c.staging.Kid(), token.NewID()); err != nil {
			t.Fatal(err)
		}
	}
	ahead, err := c.alice.client.Actor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice2.id.Kid(), Reason: "lost with the backup"})
	lost := c.roster.Statements(c.roster.Head().Seq - 1)[0]
	s.store = restored(t, old)

	restart := func(by *person, change func(*roster.Restart), extra ...[]byte) error {
		t.Helper()
		state, err := by.client.Restart(t.Context())
		if err != nil {
			return err
		}
		if !state.SetBack {
			t.Fatal("the log is not said to be set back")
		}
		body := roster.Restart{Size: state.Size, Root: state.Root, Lost: state.Lost, Reason: "the disk is gone"}
		if change != nil {
			change(&body)
		}
		p, err := c.roster.Propose(s.clock.Now(), by.id, roster.Change{Kind: roster.KindRestart, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = by.client.Restart(t.Context(), append(extra, p.Statements...)...); err == nil {
			c.roster, err = c.roster.Apply(p.Statements...)
		}
		return err
	}
	wantProblem(t, restart(c.alice, nil, lost), wire.KindUnauthenticated)
	wantProblem(t, restart(c.carol, nil), wire.KindConflict) // without the lost statement it does not follow
	wantProblem(t, restart(c.carol, func(r *roster.Restart) { r.Size-- }, lost), wire.KindConflict)
	wantProblem(t, restart(c.carol, func(r *roster.Restart) { r.Root[0]++ }, lost), wire.KindConflict)
	wantProblem(t, restart(c.carol, func(r *roster.Restart) { r.Lost-- }, lost), wire.KindConflict)
	_, err = c.frank.client.SignIn(t.Context())
	wantProblem(t, err, wire.KindUnavailable)
	if err := restart(c.carol, nil, lost); err != nil {
		t.Fatal(err)
	}
	state, err := c.carol.client.Restart(t.Context())
	if err != nil || state.SetBack {
		t.Fatalf("%+v %v", state, err)
	}
	// Those who had signed since go on, with a gap that shows; a second gap is none of the restart's.
	next := c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID())
	next.ActorSeq, next.ActorPrev = ahead.Seq+1, ahead.Hash
	if _, err := c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: c.alice.sign(next)}); err != nil {
		t.Errorf("alice: %v", err)
	}
	if _, err := c.frank.open(c.staging.Kid(), token.NewID()); err != nil {
		t.Errorf("frank: %v", err)
	}
	var file bytes.Buffer
	if err := c.dora.client.Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(&file, c.roster.TeamFP(), audit.Options{})
	if err != nil || report.ExitCode() != 2 {
		t.Errorf("a log with a gap that admins have signed for: exit %d, %v %v", report.ExitCode(), report.Problems, err)
	}
	alice := c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID())
	alice.ActorSeq += 5
	_, err = c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: c.alice.sign(alice)})
	wantProblem(t, err, wire.KindConflict)
}

// Where two admins must sign, one alone lets no log go on, whoever hands it in and however
// often it is signed; the proposal that both have signed does.
func TestRestartByTwoAdmins(t *testing.T) {
	s := newServer(t)
	book, err := marks.Open("")
	if err != nil {
		t.Fatal(err)
	}
	s.marks = book
	c := newCrew(t, s, "acme")
	second := s.person(t, c)
	c.append(t, roster.KindAdminAdd, roster.AdminDevice{
		MemberID: "grace", Email: "grace@example.com", Roles: []string{},
		Device: roster.DeviceBody{Public: second.id.Public(), Recipient: newRecipient(t), Exp: s.clock.Now().Add(24 * time.Hour).Unix()},
	})
	c.append(t, roster.KindThreshold, roster.Threshold{K: 2})
	old := s.copyOf(t)
	first := s.store
	defer func() { s.store = first }()
	if _, err := c.alice.open(c.staging.Kid(), token.NewID()); err != nil { // which the backup lacks
		t.Fatal(err)
	}
	s.store = restored(t, old)

	state, err := c.carol.client.Restart(t.Context())
	if err != nil || !state.SetBack {
		t.Fatalf("%+v %v", state, err)
	}
	p, err := c.roster.Propose(s.clock.Now(), c.carol.id, roster.Change{
		Kind: roster.KindRestart, Body: roster.Restart{Size: state.Size, Root: state.Root, Lost: state.Lost, Reason: "the disk is gone"},
	})
	if err != nil {
		t.Fatal(err)
	}
	signed := func(by ...key.Identity) roster.Proposal {
		t.Helper()
		q := p
		for _, id := range by {
			if q, err = q.Sign(id); err != nil {
				t.Fatal(err)
			}
		}
		return q
	}
	for name, q := range map[string]roster.Proposal{
		"one": p, "one, twice": signed(c.carol.id), "one and somebody who is no admin": signed(c.bob.id), "one and an agent": signed(c.staging),
	} {
		for _, by := range []*person{c.carol, second} {
			if _, err := by.client.Restart(t.Context(), q.Statements...); err == nil {
				t.Fatalf("signed by %s: the log goes on", name)
			}
		}
		_, err = c.frank.client.SignIn(t.Context())
		wantProblem(t, err, wire.KindUnavailable)
	}
	both := signed(second.id)
	if tallies, err := c.roster.Consider(both); err != nil || !roster.Enough(tallies) {
		t.Fatalf("%+v %v", tallies, err)
	}
	if _, err := second.client.Restart(t.Context(), both.Statements...); err != nil {
		t.Fatal(err)
	}
	if c.roster, err = c.roster.Apply(both.Statements...); err != nil {
		t.Fatal(err)
	}
	if state, err := c.carol.client.Restart(t.Context()); err != nil || state.SetBack {
		t.Fatalf("%+v %v", state, err)
	}
	if _, err := c.frank.open(c.staging.Kid(), token.NewID()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
