package roster

import (
	"errors"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// One admin alone closes doors. A lockdown that brings its own break-glass opens some: it
// stands in for a grant, and takes k signatures as every policy does.
func TestLockdownOpensNothing(t *testing.T) {
	const lock = "version: 1\nmode: lockdown\n"
	const glass = "break_glass: {members: [\"*\"], quorum: 1, expires: 168h}\ngate: none\n"
	base := found(t, 2, "carol", "dave", "erin")
	base = apply(t, base, KindPolicySet, policySet(1, doc), "carol", "dave")
	if _, err := base.Apply(st(t, base, KindPolicySet, policySet(2, lock+glass), "erin")); !errors.Is(err, ErrThreshold) {
		t.Errorf("one admin alone has opened break-glass: %v", err)
	}
	apply(t, base, KindPolicySet, policySet(2, lock+glass), "erin", "carol")
	apply(t, base, KindPolicySet, policySet(2, lock), "erin")
	locked := apply(t, base, KindPolicySet, policySet(2, lock), "erin")
	if _, err := locked.Apply(st(t, locked, KindPolicySet, policySet(3, lock+glass), "erin")); !errors.Is(err, ErrThreshold) {
		t.Errorf("one admin alone has opened break-glass in two steps: %v", err)
	}
}

// Who may sign alone may not have everybody else's keys expire, by a statement that is
// dated as far ahead as the own key lasts: signers count by the time of a statement, and
// that never goes back.
func TestStatementsFromTheFuture(t *testing.T) {
	late := newAdmin("erin")
	late.Device.Exp = t0.Add(365 * 24 * time.Hour).Unix()
	g := Genesis{TeamID: "example", Threshold: 2, Created: t0.Unix(), Admins: []AdminDevice{newAdmin("carol"), newAdmin("dave"), late}}
	genesis, err := Found(g, ident("carol"), ident("dave"), ident("erin"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := Open(genesis)
	if err != nil {
		t.Fatal(err)
	}
	base = apply(t, base, KindMemberAdd, newMember("alice", "sre"), "carol", "dave")
	next := func(r *Roster, at time.Time, kind Kind, body any, by ...string) []byte {
		t.Helper()
		var ids []key.Identity
		for _, b := range by {
			ids = append(ids, ident(b))
		}
		s, err := r.Next(at, kind, body, ids...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	early := next(base, t0.Add(364*24*time.Hour), KindRevoke, Revoke{Kid: ident("alice").Kid()}, "erin")

	// What it would do: nobody but erin could ever sign again.
	frozen, err := base.Apply(early)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Apply(st(t, frozen, KindAdminRemove, Revoke{Kid: ident("erin").Kid()}, "carol", "dave")); !errors.Is(err, ErrThreshold) {
		t.Fatalf("the attack is none: %v", err)
	}

	learned, err := base.Learn(t0, early)
	if !errors.Is(err, ErrEarly) || learned.Head() != base.Head() {
		t.Fatalf("learned: %v", err)
	}
	// A day's difference of clocks is none, and the others can still remove erin.
	ahead := next(base, t0.Add(MaxAhead), KindRevoke, Revoke{Kid: ident("alice").Kid()}, "erin")
	learned, err = base.Learn(t0, ahead)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := learned.Learn(t0, st(t, learned, KindAdminRemove, Revoke{Kid: ident("erin").Kid()}, "carol", "dave")); err != nil {
		t.Errorf("the others can't remove who dated a statement ahead: %v", err)
	}
	// With time it is good, for everybody.
	if _, err := base.Learn(t0.Add(363*24*time.Hour), early); err != nil {
		t.Errorf("in its time: %v", err)
	}
	// What was learned holds whatever the clock says later.
	if _, err := learned.Learn(t0.Add(-1000 * time.Hour)); err != nil {
		t.Error(err)
	}
	if again, err := learned.Learn(t0.Add(-1000*time.Hour), learned.Statements(0)...); err != nil || again.Head() != learned.Head() {
		t.Errorf("known statements, with the clock set back: %v", err)
	}
}

// A stranger's statement under a number that is known costs no more than one check of a
// signature: an agent reads statements before it knows who sends them.
func TestStrangersStatementsCostLittle(t *testing.T) {
	r := found(t, 1, "carol")
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre"), "carol")
	for range 200 {
		r = apply(t, r, KindThreshold, Threshold{1}, "carol")
	}
	forged := func(by key.Identity) []byte {
		body, err := envelope.Marshal(Threshold{1})
		if err != nil {
			t.Fatal(err)
		}
		b, err := envelope.Sign(contextStatement, statement{V: Version, TeamFP: r.fp, Seq: r.Head().Seq, Time: t0.Unix() + 1, Kind: KindThreshold, Body: body}, by)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tt := range map[string]struct {
		by   key.Identity
		want error
	}{
		"a stranger": {ident("mallory"), envelope.ErrUnknownSigner},
		"a member":   {ident("alice"), ErrThreshold},
	} {
		b := forged(tt.by)
		n := testing.AllocsPerRun(1, func() {
			if _, err := r.Apply(b); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if n > 2000 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
