package roster

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

func propose(t *testing.T, r *Roster, by string, changes ...Change) Proposal {
	t.Helper()
	p, err := r.Propose(t0, ident(by), changes...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProposal(t *testing.T) {
	r := found(t, 2, "carol", "bob", "dora")
	p := propose(t, r, "carol", Change{KindMemberAdd, newMember("alice", "sre")}, Change{KindPolicySet, policySet(1, doc)})
	if _, err := r.Apply(p.Statements...); !errors.Is(err, ErrThreshold) {
		t.Fatalf("one signature is enough: %v", err)
	}
	tallies, err := r.Consider(p)
	if err != nil || !slices.Equal(tallies, []Tally{{1, 2}, {1, 2}}) || Enough(tallies) {
		t.Fatalf("%v %v", tallies, err)
	}
	byBob, err := p.Sign(ident("bob"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := byBob.Sign(ident("bob")); err != nil || !reflect.DeepEqual(again, byBob) {
		t.Errorf("signed twice: %v", err)
	}
	byDora, err := p.Sign(ident("dora"))
	if err != nil {
		t.Fatal(err)
	}
	both, err := byBob.With(byDora)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]Proposal{"two": byBob, "three": both} {
		id, err := q.ID()
		if was, _ := p.ID(); err != nil || id != was {
			t.Errorf("%s: signatures change the id", name)
		}
		tallies, err := r.Consider(q)
		if err != nil || !Enough(tallies) {
			t.Errorf("%s: %v %v", name, tallies, err)
		}
		if n, err := r.Apply(q.Statements...); err != nil || n.PolicyVersion() != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := both.Text()
	if err != nil {
		t.Fatal(err)
	}
	if q, err := ParseProposal(" " + text[:40] + "\n " + text[40:] + "\n"); err != nil || !reflect.DeepEqual(q, both) {
		t.Errorf("%v", err)
	}
}

// What is no proposal for this roster is judged as none, whoever has signed it.
func TestConsiderRefuses(t *testing.T) {
	r := found(t, 2, "carol", "bob")
	good := propose(t, r, "carol", Change{KindMemberAdd, newMember("alice", "sre")})
	next, err := r.Apply(st(t, r, KindThreshold, Threshold{1}, "carol", "bob"))
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(good.Statements[0])
	changed[len(changed)-1] ^= 1
	for name, c := range map[string]struct {
		on   *Roster
		p    Proposal
		want error
	}{
		"overtaken":       {next, good, ErrGap},
		"a bad signature": {r, Proposal{[][]byte{changed}}, envelope.ErrSignature},
		"a stranger's":    {r, propose(t, r, "mallory", Change{KindThreshold, Threshold{1}}), envelope.ErrUnknownSigner},
		"would not hold":  {r, propose(t, r, "carol", Change{KindThreshold, Threshold{9}}), ErrRefused},
		"empty":           {r, Proposal{}, ErrRefused},
		"twice":           {r, Proposal{[][]byte{good.Statements[0], good.Statements[0]}}, nil},
	} {
		tallies, err := c.on.Consider(c.p)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || tallies != nil {
			t.Errorf("%s: %v %v", name, tallies, err)
		}
	}
	if r.Head().Seq != 0 || r.considering != nil {
		t.Error("considering has changed the roster")
	}
	other := propose(t, r, "carol", Change{KindMemberAdd, newMember("eve", "sre")})
	if _, err := good.With(other); err == nil {
		t.Error("signatures of another proposal are taken")
	}
	for _, bad := range []string{"", "tdr1.", "tdr1.!", "tdp1." + strings.Repeat("A", 40)} {
		if _, err := ParseProposal(bad); err == nil {
			t.Errorf("%q is a proposal", bad)
		}
	}
}

// Each kind is put into words, with all its fields.
func TestDescribe(t *testing.T) {
	r := found(t, 1, "carol")
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre"), "carol")
	for _, c := range []struct {
		kind Kind
		body any
		want []string
	}{
		{KindMemberAdd, newMember("bob", "approver"), []string{"add the member bob@example.com with the roles: approver", ident("bob").Kid().String()}},
		{KindAdminAdd, newAdmin("bob"), []string{"ADMIN", "bob@example.com"}},
		{KindDeviceAdd, DeviceAdd{"alice", dev("alice2")}, []string{"alice@example.com", ident("alice2").Kid().String()}},
		{KindAgentAdd, machine("web-1"), []string{"the machine web-1", "env=prod", "deploy"}},
		{KindRevoke, Revoke{ident("alice").Kid(), "lost"}, []string{"revoke a device of alice@example.com", "lost"}},
		{KindAdminRemove, Revoke{ident("carol").Kid(), "left"}, []string{"remove the ADMIN a device of carol@example.com"}},
		{KindAdminSuspend, Revoke{ident("carol").Kid(), "odd"}, []string{"suspend the ADMIN"}},
		{KindThreshold, Threshold{2}, []string{"let 2 admin signature(s) widen power, instead of 1"}},
		{KindPolicySet, policySet(1, doc), []string{"version 1 of the policy", "  mode: allowlist"}},
		{KindServerKeys, ServerKeys{Log: []key.Public{ident("log").Public()}, Relays: []string{"relay:1"}}, []string{"log: " + ident("log").Public().String(), "relay: relay:1"}},
		{KindRecipients, Recipients{Auditors: []key.Recipient{recipient}}, []string{"1 auditor", "@example.com"}},
		{KindDelegate, Delegation{Kid: ident("alice").Kid(), Names: "ci-", Tags: map[string]string{"env": "ci"}, LoginUser: "ci", Max: 3, Exp: exp}, []string{"3 machine", "ci-", "env=ci"}},
		{KindRestart, Restart{Size: 10, Root: envelope.Sum(nil), Lost: 12, Reason: "disk"}, []string{"go on from 10 entries: 2 that were signed are LOST", "disk"}},
	} {
		lines, err := r.Describe(st(t, r, c.kind, c.body, "carol"))
		text := strings.Join(lines, "\n")
		if err != nil || !strings.Contains(text, string(c.kind)) {
			t.Errorf("%s: %v\n%s", c.kind, err, text)
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.kind, want, text)
			}
		}
	}
	if _, err := r.Describe(st(t, r, "nonsense", Threshold{1}, "carol")); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

func FuzzParseProposal(f *testing.F) {
	r := found(f, 1, "carol")
	p, err := r.Propose(t0, ident("carol"), Change{KindThreshold, Threshold{1}})
	if err != nil {
		f.Fatal(err)
	}
	text, err := p.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("tdr1.oWpzdGF0ZW1lbnRzgVkCgIJZ")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseProposal(s)
		if err != nil {
			return
		}
		again, err := p.Text()
		if err != nil || again != strings.Join(strings.Fields(s), "") {
			t.Errorf("%q reads as another: %v", s, err)
		}
		r.Consider(p)
	})
}
