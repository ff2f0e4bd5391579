package roster

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

func delegated(kid key.Kid, n uint64) Delegation {
	return Delegation{
		Kid: kid, Names: "ci-", Tags: map[string]string{"env": "ci", "pool": "a"}, LoginUser: "build",
		Max: n, Exp: t0.Add(24 * time.Hour).Unix(),
	}
}

func ciMachine(name string, change ...func(*AgentAdd)) AgentAdd {
	a := AgentAdd{
		Name: name, Public: ident("agent " + name).Public(), Recipient: recipient,
		Tags: map[string]string{"env": "ci-2", "pool": "a"}, LoginUser: "build", Exp: exp,
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

// fleet is a team of one admin whose member erin may enrol n machines.
func fleet(t *testing.T, n uint64) *Roster {
	t.Helper()
	r := found(t, 1, "carol")
	r = apply(t, r, KindMemberAdd, MemberAdd{MemberID: "erin", Email: "erin@example.com", Roles: []string{}, Device: dev("erin")}, "carol")
	d := delegated(ident("erin").Kid(), n)
	return apply(t, r, KindDelegate, d, "carol")
}

func TestEnrollerAddsWithinBounds(t *testing.T) {
	r := fleet(t, 2)
	for i := range 2 {
		e, err := r.Enroller(ident("erin").Kid(), t0)
		if err != nil || e.Left != uint64(2-i) {
			t.Fatalf("%+v %v, want %d left", e, err, 2-i)
		}
		r = apply(t, r, KindAgentAdd, ciMachine(fmt.Sprintf("ci-%d", i)), "erin")
	}
	_, err := r.Apply(st(t, r, KindAgentAdd, ciMachine("ci-3"), "erin"))
	if !errors.Is(err, ErrThreshold) || !strings.Contains(err.Error(), "all are added") {
		t.Errorf("a third machine of two: %v", err)
	}
	if _, err := r.Enroller(ident("erin").Kid(), t0); !errors.Is(err, ErrExpired) {
		t.Errorf("used up: %v", err)
	}
	// A machine that is revoked gives nothing back; a new delegation counts anew.
	r = apply(t, r, KindRevoke, Revoke{Kid: ident("agent ci-0").Kid(), Reason: "gone"}, "carol")
	if _, err := r.Apply(st(t, r, KindAgentAdd, ciMachine("ci-3"), "erin")); !errors.Is(err, ErrThreshold) {
		t.Errorf("after a revocation: %v", err)
	}
	d := delegated(ident("erin").Kid(), 1)
	r = apply(t, r, KindDelegate, d, "carol")
	apply(t, r, KindAgentAdd, ciMachine("ci-3"), "erin")
	// Admins are not bound by it, and use nothing of it.
	r = apply(t, r, KindAgentAdd, ciMachine("web-1", func(a *AgentAdd) { a.Tags = nil }), "carol")
	apply(t, r, KindAgentAdd, ciMachine("ci-4"), "erin")
}

func TestEnrollerOutOfBounds(t *testing.T) {
	r := fleet(t, 5)
	for name, a := range map[string]AgentAdd{
		"name":           ciMachine("web-1"),
		"login user":     ciMachine("ci-1", func(a *AgentAdd) { a.LoginUser = "root" }),
		"value of a tag": ciMachine("ci-1", func(a *AgentAdd) { a.Tags = map[string]string{"env": "prod", "pool": "a"} }),
		"tag missing":    ciMachine("ci-1", func(a *AgentAdd) { a.Tags = map[string]string{"env": "ci"} }),
		"other tag":      ciMachine("ci-1", func(a *AgentAdd) { a.Tags = map[string]string{"env": "ci", "role": "a"} }),
		"one tag more":   ciMachine("ci-1", func(a *AgentAdd) { a.Tags = maps.Clone(a.Tags); a.Tags["role"] = "db" }),
		"no tags":        ciMachine("ci-1", func(a *AgentAdd) { a.Tags = nil }),
		"too long":       ciMachine("ci-1", func(a *AgentAdd) { a.Exp = t0.Add(EnrolledLife).Unix() + 1 }),
	} {
		if _, err := r.Apply(st(t, r, KindAgentAdd, a, "erin")); !errors.Is(err, ErrThreshold) {
			t.Errorf("%s: %v", name, err)
		}
	}
	apply(t, r, KindAgentAdd, ciMachine("ci-1"), "erin") // the same, within bounds
}

// An enroller adds machines and nothing else, alone, while its device is good.
func TestEnrollerIsNoAdmin(t *testing.T) {
	r := fleet(t, 5)
	for kind, body := range map[Kind]any{
		KindMemberAdd: MemberAdd{MemberID: "eve", Email: "eve@example.com", Roles: []string{}, Device: dev("eve")},
		KindDelegate:  delegated(ident("erin").Kid(), 500),
		KindRevoke:    Revoke{Kid: ident("erin").Kid(), Reason: "x"},
		KindThreshold: Threshold{K: 1},
	} {
		if _, err := r.Apply(st(t, r, kind, body, "erin")); !errors.Is(err, ErrThreshold) {
			t.Errorf("%s by an enroller: %v", kind, err)
		}
	}
	two := apply(t, r, KindMemberAdd, MemberAdd{MemberID: "frank", Email: "frank@example.com", Roles: []string{}, Device: dev("frank")}, "carol")
	if _, err := two.Apply(st(t, two, KindAgentAdd, ciMachine("ci-1"), "erin", "frank")); !errors.Is(err, ErrThreshold) {
		t.Errorf("an enroller beside somebody else: %v", err)
	}
	if _, err := two.Apply(st(t, two, KindAgentAdd, ciMachine("ci-1"), "frank")); !errors.Is(err, ErrThreshold) {
		t.Errorf("a member who is no enroller: %v", err)
	}
	gone := apply(t, r, KindRevoke, Revoke{Kid: ident("erin").Kid(), Reason: "left"}, "carol")
	if _, err := gone.Apply(st(t, gone, KindAgentAdd, ciMachine("ci-1"), "erin")); !errors.Is(err, ErrThreshold) {
		t.Errorf("a revoked enroller: %v", err)
	}
	late, err := r.Next(t0.Add(24*time.Hour), KindAgentAdd, ciMachine("ci-1"), ident("erin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(late); !errors.Is(err, ErrThreshold) || !errors.Is(err, ErrExpired) {
		t.Errorf("after the delegation's end: %v", err)
	}
}

// To give the right takes the threshold; to take it, one admin.
func TestDelegationThreshold(t *testing.T) {
	r := found(t, 2, "carol", "dave")
	r = apply(t, r, KindMemberAdd, MemberAdd{MemberID: "erin", Email: "erin@example.com", Roles: []string{}, Device: dev("erin")}, "carol", "dave")
	give := delegated(ident("erin").Kid(), 3)
	give.Tags = map[string]string{"env": "ci"}
	if _, err := r.Apply(st(t, r, KindDelegate, give, "carol")); !errors.Is(err, ErrThreshold) {
		t.Errorf("given by one of two: %v", err)
	}
	r = apply(t, r, KindDelegate, give, "carol", "dave")
	r = apply(t, r, KindDelegate, Delegation{Kid: give.Kid}, "dave")
	if _, err := r.Apply(st(t, r, KindAgentAdd, ciMachine("ci-1", func(a *AgentAdd) { a.Tags = give.Tags }), "erin")); !errors.Is(err, ErrThreshold) {
		t.Errorf("after it was taken back: %v", err)
	}
}

func TestDelegationIsChecked(t *testing.T) {
	r := found(t, 1, "carol")
	good := delegated(ident("carol").Kid(), 1)
	good.Tags = map[string]string{"env": "ci"}
	for name, change := range map[string]func(*Delegation){
		"unknown device": func(d *Delegation) { d.Kid = ident("nobody").Kid() },
		"all names":      func(d *Delegation) { d.Names = "" },
		"no tags":        func(d *Delegation) { d.Tags = nil },
		"all values":     func(d *Delegation) { d.Tags = map[string]string{"env": ""} },
		"no login user":  func(d *Delegation) { d.LoginUser = "" },
		"over":           func(d *Delegation) { d.Exp = t0.Unix() },
	} {
		d := good
		change(&d)
		if _, err := r.Apply(st(t, r, KindDelegate, d, "carol")); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	apply(t, r, KindDelegate, good, "carol")
}
