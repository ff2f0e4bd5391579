package team

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A clock that was ahead for a while notes confirmations from the future. Once it is set
// right they are no reason to take a roster for fresh that nobody has confirmed since.
func TestFreshAfterAClockThatWasAhead(t *testing.T) {
	now := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	carol := key.IdentityFromSeed([32]byte{1})
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{{
		MemberID: "carol", Email: "carol@example.com", Roles: []string{},
		Device: roster.DeviceBody{Public: carol.Public(), Recipient: u.Recipient(), Exp: now.Add(time.Hour).Unix()},
	}}}, carol)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.Open(genesis)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	clock := now
	open := func() *Team {
		t.Helper()
		l, err := ledger.Open(dir+"/ledger", ledger.Options{Now: func() time.Time { return clock }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		team, err := Open(Config{
			FP: r.TeamFP(), Dir: dir, MaxStale: 24 * time.Hour, Now: func() time.Time { return clock }, Head: l.Head,
			Logger: slog.New(slog.DiscardHandler), Fail: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return team
	}
	team := open()
	if err := team.Genesis(genesis); err != nil {
		t.Fatal(err)
	}
	confirm := func(team *Team) {
		t.Helper()
		if err := team.Confirm(wire.Head(r.Head())); err != nil {
			t.Fatal(err)
		}
		if _, err := team.Fresh(); err != nil {
			t.Errorf("just confirmed: %v", err)
		}
	}
	confirm(team)
	clock = now.Add(365 * 24 * time.Hour)
	confirm(team)
	clock = now.Add(time.Hour)
	if _, err := team.Fresh(); !errors.Is(err, ErrStale) {
		t.Errorf("confirmed in a year only: %v", err)
	}
	confirm(team)
	clock = clock.Add(25 * time.Hour)
	if _, err := team.Fresh(); !errors.Is(err, ErrStale) {
		t.Errorf("not confirmed for a day, and once in a year: %v", err)
	}
}
