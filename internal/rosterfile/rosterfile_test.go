package rosterfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

var (
	t0    = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	carol = key.IdentityFromSeed([32]byte{1})
)

func team(t testing.TB, id string) *roster.Roster {
	t.Helper()
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	g, err := roster.Found(roster.Genesis{TeamID: id, Threshold: 1, Created: t0.Unix(), Admins: []roster.AdminDevice{{
		MemberID: "carol", Email: "carol@example.com", Roles: []string{},
		Device: roster.DeviceBody{Public: carol.Public(), Recipient: u.Recipient(), Exp: t0.Add(time.Hour * 2400).Unix()},
	}}}, carol)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.Open(g)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next makes n statements on top of r and gives them with the roster after.
func next(t testing.TB, r *roster.Roster, n int) ([][]byte, *roster.Roster) {
	t.Helper()
	var out [][]byte
	for range n {
		s, err := r.Next(t0, roster.KindThreshold, roster.Threshold{K: 1}, carol)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.Apply(s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out, r
}

func create(t testing.TB, dir string, r *roster.Roster) *File {
	t.Helper()
	f, err := Create(dir, r.TeamFP(), r.Genesis())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLearnIsDurableAndShared(t *testing.T) {
	r := team(t, "a")
	dir := filepath.Join(t.TempDir(), "roster")
	f := create(t, dir, r)
	other := create(t, dir, r)
	all, want := next(t, r, 5)
	if got, err := f.Learn(t0, all[:3]); err != nil || got.Head().Seq != 3 {
		t.Fatalf("%v %v", got.Head(), err)
	}
	// The other process has not looked yet; when it adds, it sees all.
	if got, err := other.Learn(t0, all); err != nil || got.Head() != want.Head() {
		t.Fatalf("%v %v", got.Head(), err)
	}
	if got, err := f.Reload(); err != nil || got.Head() != want.Head() {
		t.Fatalf("%v %v", got.Head(), err)
	}
	again, err := Open(dir, r.TeamFP())
	if err != nil || again.Roster().Head() != want.Head() {
		t.Fatalf("%v", err)
	}
	if got, err := again.Learn(t0, all[:2]); err != nil || got.Head() != want.Head() {
		t.Errorf("what is known already: %v %v", got.Head(), err)
	}
}

// TestTornTail cuts the file at every byte: Open gives the whole statements
// before the cut, and the file goes on from there.
func TestTornTail(t *testing.T) {
	r := team(t, "a")
	src := filepath.Join(t.TempDir(), "roster")
	all, want := next(t, r, 2)
	if _, err := create(t, src, r).Learn(t0, all); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(src, "statements"))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		dir := filepath.Join(t.TempDir(), "r")
		create(t, dir, r)
		if err := os.WriteFile(filepath.Join(dir, "statements"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir, r.TeamFP())
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if wantSeq := uint64(cut / (len(whole) / 2)); f.Roster().Head().Seq != wantSeq {
			t.Fatalf("cut at %d: head %d, want %d", cut, f.Roster().Head().Seq, wantSeq)
		}
		if got, err := f.Learn(t0, all); err != nil || got.Head() != want.Head() {
			t.Fatalf("cut at %d: %v %v", cut, got.Head(), err)
		}
	}
}

func TestDamageIsRefused(t *testing.T) {
	r := team(t, "a")
	dir := filepath.Join(t.TempDir(), "roster")
	all, _ := next(t, r, 2)
	if _, err := create(t, dir, r).Learn(t0, all); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "statements")
	whole, _ := os.ReadFile(path)
	accepted := 0
	for i := 0; i < len(whole); i += 3 {
		b := append([]byte(nil), whole...)
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := Open(dir, r.TeamFP()); err == nil && f.Roster().Head().Seq == 2 {
			accepted++
		}
	}
	if accepted > 0 {
		t.Errorf("%d changed files gave the full roster", accepted)
	}
}

func TestOtherTeamAndFork(t *testing.T) {
	a, b := team(t, "a"), team(t, "b")
	dir := filepath.Join(t.TempDir(), "roster")
	f := create(t, dir, a)
	if _, err := Create(dir, b.TeamFP(), b.Genesis()); !errors.Is(err, ErrOtherTeam) {
		t.Errorf("another team in the same folder: %v", err)
	}
	if _, err := Create(filepath.Join(t.TempDir(), "x"), a.TeamFP(), b.Genesis()); !errors.Is(err, ErrOtherTeam) {
		t.Errorf("a genesis that is not the pinned one: %v", err)
	}
	if _, err := Open(dir, envelope.Hash{1}); !errors.Is(err, ErrOtherTeam) {
		t.Errorf("another fingerprint: %v", err)
	}
	one, _ := next(t, a, 1)
	if _, err := f.Learn(t0, one); err != nil {
		t.Fatal(err)
	}
	second, err := a.Next(t0.Add(time.Hour), roster.KindThreshold, roster.Threshold{K: 1}, carol)
	if err != nil {
		t.Fatal(err)
	}
	var fork *roster.ForkError
	got, err := f.Learn(t0, [][]byte{second})
	if !errors.As(err, &fork) || got.Head().Seq != 1 {
		t.Fatalf("fork: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "fork-1")); err != nil {
		t.Errorf("the evidence was not kept: %v", err)
	}
}
