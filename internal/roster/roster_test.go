package roster

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
)

var t0 = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)

// exp is far enough for every test but those about expiry.
var exp = t0.Add(90 * 24 * time.Hour).Unix()

var recipient = func() key.Recipient {
	u, err := key.GenerateUnsealer()
	if err != nil {
		panic(err)
	}
	return u.Recipient()
}()

func ident(s string) key.Identity { return key.IdentityFromSeed(envelope.Sum([]byte(s))) }

func dev(name string) DeviceBody {
	return DeviceBody{Public: ident(name).Public(), Recipient: recipient, Exp: exp}
}

func newAdmin(name string) AdminDevice {
	return AdminDevice{MemberID: name, Email: name + "@example.com", Roles: []string{}, Device: dev(name)}
}

// found makes a team of the named admins with threshold k.
func found(t testing.TB, k uint64, admins ...string) *Roster {
	t.Helper()
	g := Genesis{TeamID: "example", Threshold: k, Created: t0.Unix()}
	var ids []key.Identity
	for _, a := range admins {
		g.Admins = append(g.Admins, newAdmin(a))
		ids = append(ids, ident(a))
	}
	b, err := Found(g, ids...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func st(t testing.TB, r *Roster, kind Kind, body any, by ...string) []byte {
	t.Helper()
	var ids []key.Identity
	for _, b := range by {
		ids = append(ids, ident(b))
	}
	s, err := r.Next(t0, kind, body, ids...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t testing.TB, r *Roster, kind Kind, body any, by ...string) *Roster {
	t.Helper()
	n, err := r.Apply(st(t, r, kind, body, by...))
	if err != nil {
		t.Fatalf("%s by %v: %v", kind, by, err)
	}
	return n
}

func newMember(name string, roles ...string) MemberAdd {
	if roles == nil {
		roles = []string{}
	}
	return MemberAdd{MemberID: name, Email: name + "@example.com", Roles: roles, Device: dev(name)}
}

func machine(name string) AgentAdd {
	return AgentAdd{
		Name: name, Public: ident("agent " + name).Public(), Recipient: recipient,
		Tags: map[string]string{"env": "prod"}, LoginUser: "deploy", Exp: exp,
	}
}

const doc = "version: 1\nmode: allowlist\nallowlist:\n  - name: all\n    members: [\"role:sre\"]\n    targets: {names: [\"*\"]}\n    sessions: [exec]\n"

func policySet(version uint64, document string) PolicySet {
	return PolicySet{Version: version, Hash: envelope.Sum([]byte(document)), Document: []byte(document)}
}

func TestTeamGrows(t *testing.T) {
	r := found(t, 1, "carol")
	if r.Head() != (Head{0, r.TeamFP()}) || r.TeamFP() != envelope.Sum(mustPayload(t, r.Genesis())) {
		t.Fatal("the fingerprint is not the genesis's hash")
	}
	if v := policy.Evaluate(&policy.Request{Kind: "exec"}, r.Snapshot()); v.Effect != policy.Deny {
		t.Fatalf("without a policy: %v", v.Effect)
	}
	empty := r
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre"), "carol")
	r = apply(t, r, KindAgentAdd, machine("web-1"), "carol")
	r = apply(t, r, KindPolicySet, policySet(1, doc), "carol")
	if empty.Head().Seq != 0 || len(empty.Agents()) != 0 {
		t.Error("an older snapshot changed")
	}
	d, err := r.Device(ident("alice").Kid(), t0)
	if err != nil || d.Email != "alice@example.com" || d.Admin || len(d.Roles) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	a, err := r.AgentNamed("web-1", t0)
	if err != nil || a.Kid != ident("agent web-1").Kid() || a.LoginUser != "deploy" {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := r.AgentNamed("web-2", t0); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown name: %v", err)
	}
	req := r.Request(d, a, "exec", "", []string{"uname"}, t0)
	if v := policy.Evaluate(req, r.Snapshot()); v.Effect != policy.Allow {
		t.Errorf("alice's exec: %v (%s)", v.Effect, v.Reason)
	}
	if _, err := r.Device(ident("alice").Kid(), time.Unix(exp, 0)); !errors.Is(err, ErrExpired) {
		t.Errorf("at exp: %v", err)
	}
	again, err := Load(r.Genesis(), r.Statements(0)...)
	if err != nil || again.Head() != r.Head() {
		t.Fatalf("loading again: %v %v", again.Head(), err)
	}
	if same, err := r.Apply(r.Statements(0)...); err != nil || same.Head() != r.Head() {
		t.Errorf("applying what is known: %v %v", same.Head(), err)
	}
	for seq := range uint64(4) {
		if h := (Head{seq, again.hashAt(seq)}); !r.Knows(h) {
			t.Errorf("head %d is not known", seq)
		}
	}
	if r.Knows(Head{4, r.TeamFP()}) || r.Knows(Head{1, r.TeamFP()}) {
		t.Error("a head that never was is known")
	}
}

func (r *Roster) hashAt(seq uint64) envelope.Hash {
	if seq == 0 {
		return r.fp
	}
	return r.hashes[seq-1]
}

func mustPayload(t testing.TB, raw []byte) []byte {
	t.Helper()
	u, err := envelope.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.InsecurePayload()
}

// TestRefusals is the table of what a roster does not take.
func TestRefusals(t *testing.T) {
	base := found(t, 2, "carol", "dave", "erin")
	base = apply(t, base, KindMemberAdd, newMember("alice", "sre"), "carol", "dave")
	base = apply(t, base, KindAgentAdd, machine("web-1"), "carol", "dave")
	gone := apply(t, base, KindRevoke, Revoke{Kid: ident("alice").Kid(), Reason: "left"}, "carol")
	both := []string{"carol", "dave"}
	lock := "version: 1\nmode: lockdown\n"
	weak := machine("web-2")
	weak.Recipient = key.Recipient{}
	twice := machine("web-2")
	twice.Public = ident("alice").Public()
	born := machine("web-2")
	born.Exp = t0.Unix()
	bidi := machine("web\u202e-2")
	mail := newMember("frank")
	mail.Email = "Frank <frank@example.com>"
	for name, c := range map[string]struct {
		r    *Roster
		kind Kind
		body any
		by   []string
		want error
	}{
		"one of two admins":                {base, KindMemberAdd, newMember("frank"), []string{"carol"}, ErrThreshold},
		"an admin and a member":            {base, KindMemberAdd, newMember("frank"), []string{"carol", "alice"}, ErrThreshold},
		"a member alone":                   {base, KindRevoke, Revoke{Kid: ident("agent web-1").Kid()}, []string{"alice"}, ErrThreshold},
		"an agent signs":                   {base, KindRevoke, Revoke{Kid: ident("alice").Kid()}, []string{"agent web-1"}, ErrThreshold},
		"a stranger signs":                 {base, KindMemberAdd, newMember("frank"), []string{"carol", "mallory"}, envelope.ErrUnknownSigner},
		"e-mail taken":                     {base, KindMemberAdd, MemberAdd{"alice2", "alice@example.com", []string{}, dev("new")}, both, ErrRefused},
		"member id taken":                  {base, KindMemberAdd, MemberAdd{"alice", "new@example.com", []string{}, dev("new")}, both, ErrRefused},
		"e-mail not plain":                 {base, KindMemberAdd, mail, both, ErrRefused},
		"name taken":                       {base, KindAgentAdd, machine("web-1"), both, ErrRefused},
		"a device's key for a machine":     {base, KindAgentAdd, twice, both, ErrRefused},
		"no recipient":                     {base, KindAgentAdd, weak, both, key.ErrMalformed},
		"born expired":                     {base, KindAgentAdd, born, both, ErrRefused},
		"bidi in a name":                   {base, KindAgentAdd, bidi, both, ErrRefused},
		"a revoked key comes back":         {gone, KindMemberAdd, MemberAdd{"alice2", "alice2@example.com", []string{}, dev("alice")}, both, ErrRefused},
		"a revoked key comes back, device": {gone, KindDeviceAdd, DeviceAdd{"carol", dev("alice")}, both, ErrRefused},
		"revoked twice":                    {gone, KindRevoke, Revoke{Kid: ident("alice").Kid()}, both, ErrRefused},
		"revoke an admin by one":           {base, KindRevoke, Revoke{Kid: ident("dave").Kid()}, []string{"carol"}, ErrRefused},
		"remove an admin by one":           {base, KindAdminRemove, Revoke{Kid: ident("erin").Kid()}, []string{"carol"}, ErrThreshold},
		"vote on oneself":                  {base, KindAdminRemove, Revoke{Kid: ident("dave").Kid()}, both, ErrThreshold},
		"suspend oneself":                  {base, KindAdminSuspend, Revoke{Kid: ident("dave").Kid()}, []string{"dave"}, ErrThreshold},
		"device for nobody":                {base, KindDeviceAdd, DeviceAdd{"zoe", dev("zoe")}, both, ErrRefused},
		"threshold zero":                   {base, KindThreshold, Threshold{0}, both, ErrRefused},
		"threshold above admins":           {base, KindThreshold, Threshold{4}, both, ErrRefused},
		"policy by one":                    {base, KindPolicySet, policySet(1, doc), []string{"carol"}, ErrThreshold},
		"policy skips a version":           {base, KindPolicySet, policySet(2, doc), both, ErrRefused},
		"policy with another hash":         {base, KindPolicySet, PolicySet{1, envelope.Hash{1}, []byte(doc)}, both, ErrRefused},
		"policy that does not parse":       {base, KindPolicySet, policySet(1, "mode: x"), both, ErrRefused},
		"policy too large":                 {base, KindPolicySet, policySet(1, doc+strings.Repeat("#", MaxPolicy)), both, ErrRefused},
		"server key is a member's":         {base, KindServerKeys, ServerKeys{Grant: []key.Public{ident("alice").Public()}}, both, ErrRefused},
		"one server key, two purposes":     {base, KindServerKeys, ServerKeys{Grant: []key.Public{ident("g").Public()}, Token: []key.Public{ident("g").Public()}}, both, ErrRefused},
		"three keys for a purpose":         {base, KindServerKeys, ServerKeys{Log: []key.Public{ident("1").Public(), ident("2").Public(), ident("3").Public()}}, both, ErrRefused},
		"server keys by one":               {base, KindServerKeys, ServerKeys{Grant: []key.Public{ident("g").Public()}}, []string{"erin"}, ErrThreshold},
		"an unknown kind":                  {base, "promote", Threshold{1}, both, ErrRefused},
		"a body of another kind":           {base, KindRevoke, Threshold{1}, both, envelope.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := func() ([]byte, error) {
				var ids []key.Identity
				for _, b := range c.by {
					ids = append(ids, ident(b))
				}
				return c.r.Next(t0, c.kind, c.body, ids...)
			}()
			if err != nil {
				t.Fatal(err)
			}
			n, err := c.r.Apply(s)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n.Head() != c.r.Head() {
				t.Error("a refused statement changed the head")
			}
		})
	}
	if n := apply(t, base, KindPolicySet, policySet(1, lock), "erin"); !n.snapshot.Policy.Lockdown() {
		t.Error("one admin alone can't lock down")
	}
}

func TestRevocation(t *testing.T) {
	r := found(t, 1, "carol")
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre"), "carol")
	r = apply(t, r, KindAgentAdd, machine("web-1"), "carol")
	r = apply(t, r, KindRevoke, Revoke{Kid: ident("alice").Kid(), Reason: "lost laptop"}, "carol")
	r = apply(t, r, KindRevoke, Revoke{Kid: ident("agent web-1").Kid(), Reason: "scrapped"}, "carol")
	if _, err := r.Device(ident("alice").Kid(), t0); !errors.Is(err, ErrRevoked) || !strings.Contains(err.Error(), "lost laptop") {
		t.Errorf("device: %v", err)
	}
	if _, err := r.AgentNamed("web-1", t0); !errors.Is(err, ErrUnknown) {
		t.Errorf("name: %v", err)
	}
	if _, err := r.Agent(ident("agent web-1").Kid(), t0); !errors.Is(err, ErrRevoked) {
		t.Errorf("agent: %v", err)
	}
	if _, ok := r.Key(ident("alice").Kid()); !ok {
		t.Error("an auditor can't verify what a revoked key signed before")
	}
	for _, p := range r.Snapshot().People {
		if p.Email == "alice@example.com" {
			t.Error("a member without a device could still approve")
		}
	}
	// The name is free for another machine.
	next := machine("web-1")
	next.Public = ident("agent web-1 second").Public()
	r = apply(t, r, KindAgentAdd, next, "carol")
	if a, err := r.AgentNamed("web-1", t0); err != nil || a.Kid != next.Public.Kid() {
		t.Errorf("%v %v", a.Kid, err)
	}
}

// TestBadAdmin: mallory, one admin of three, suspends the others. They can still
// remove mallory together, and nothing else.
func TestBadAdmin(t *testing.T) {
	r := found(t, 2, "carol", "dave", "mallory")
	r = apply(t, r, KindAdminSuspend, Revoke{Kid: ident("carol").Kid()}, "mallory")
	r = apply(t, r, KindAdminSuspend, Revoke{Kid: ident("dave").Kid()}, "mallory")
	if _, err := r.Device(ident("carol").Kid(), t0); !errors.Is(err, ErrRevoked) {
		t.Errorf("a suspended admin may act: %v", err)
	}
	if _, err := r.Apply(st(t, r, KindMemberAdd, newMember("x"), "carol", "dave", "mallory")); !errors.Is(err, ErrThreshold) {
		t.Errorf("suspended admins count: %v", err)
	}
	r = apply(t, r, KindAdminRemove, Revoke{Kid: ident("mallory").Kid(), Reason: "hostile"}, "carol", "dave")
	r = apply(t, r, KindMemberAdd, newMember("x"), "carol", "dave")
	if _, err := r.Apply(st(t, r, KindAdminRemove, Revoke{Kid: ident("dave").Kid()}, "carol", "dave")); err == nil {
		t.Error("fewer admins than the threshold are left")
	}
}

func TestTwoDevicesOneVote(t *testing.T) {
	r := found(t, 1, "carol", "dave")
	second := newAdmin("carol")
	second.Device = dev("carol's phone")
	r = apply(t, r, KindAdminAdd, second, "carol")
	r = apply(t, r, KindThreshold, Threshold{2}, "carol")
	if _, err := r.Apply(st(t, r, KindMemberAdd, newMember("x"), "carol", "carol's phone")); !errors.Is(err, ErrThreshold) {
		t.Errorf("two devices of one admin make a quorum: %v", err)
	}
	apply(t, r, KindMemberAdd, newMember("x"), "carol's phone", "dave")
}

func TestExpiredAdmin(t *testing.T) {
	r := found(t, 1, "carol")
	s, err := r.Next(time.Unix(exp, 0), KindMemberAdd, MemberAdd{"x", "x@example.com", []string{}, DeviceBody{ident("x").Public(), recipient, exp + 1}}, ident("carol"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(s); !errors.Is(err, ErrThreshold) {
		t.Errorf("an expired admin signs: %v", err)
	}
}

func TestForkIsEvidence(t *testing.T) {
	r := found(t, 1, "carol")
	a := apply(t, r, KindMemberAdd, newMember("alice"), "carol")
	second := st(t, r, KindMemberAdd, newMember("mallory"), "carol")
	n, err := a.Apply(second)
	var fork *ForkError
	if !errors.As(err, &fork) || fork.Seq != 1 || !bytes.Equal(fork.Second, second) || !bytes.Equal(fork.Known, a.Statements(0)[0]) {
		t.Fatalf("%v", err)
	}
	if n.Head() != a.Head() {
		t.Error("a fork moved the head")
	}
	// Not validly signed: an attack, but no evidence against admins.
	if _, err := a.Apply(st(t, r, KindMemberAdd, newMember("eve"), "mallory")); errors.As(err, &fork) || err == nil {
		t.Errorf("an unsigned second statement counts as a fork: %v", err)
	}
}

func TestOrderAndTeam(t *testing.T) {
	r := found(t, 1, "carol")
	one := apply(t, r, KindMemberAdd, newMember("alice"), "carol")
	two := st(t, one, KindMemberAdd, newMember("bob"), "carol")
	if _, err := r.Apply(two); !errors.Is(err, ErrGap) {
		t.Errorf("a gap: %v", err)
	}
	other := found(t, 1, "carol", "dave")
	if _, err := other.Apply(one.Statements(0)...); !errors.Is(err, ErrRefused) {
		t.Errorf("another team's statement: %v", err)
	}
	late, err := r.Next(t0.Add(time.Hour), KindMemberAdd, newMember("alice"), ident("carol"))
	if err != nil {
		t.Fatal(err)
	}
	r2, err := r.Apply(late)
	if err != nil {
		t.Fatal(err)
	}
	early := statement{V: 1, TeamFP: r.fp, Seq: 2, Prev: r2.Head().Hash, Time: t0.Unix(), Kind: KindThreshold, Body: []byte("\xa1\x61k\x01")}
	raw, err := envelope.Sign(contextStatement, early, ident("carol"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r2.Apply(raw); !errors.Is(err, ErrRefused) {
		t.Errorf("dated back: %v", err)
	}
	// What was good before the bad one is kept.
	n, err := r.Apply(one.Statements(0)[0], two[:10])
	if err == nil || n.Head().Seq != 1 {
		t.Errorf("head %d, %v", n.Head().Seq, err)
	}
}

func TestGenesisRefusals(t *testing.T) {
	good := Genesis{TeamID: "example", Threshold: 1, Admins: []AdminDevice{newAdmin("carol"), newAdmin("dave")}, Created: t0.Unix()}
	for name, c := range map[string]struct {
		change func(*Genesis)
		by     []string
	}{
		"one admin did not sign": {func(*Genesis) {}, []string{"carol"}},
		"a stranger signed":      {func(*Genesis) {}, []string{"carol", "dave", "mallory"}},
		"no threshold":           {func(g *Genesis) { g.Threshold = 0 }, []string{"carol", "dave"}},
		"threshold out of reach": {func(g *Genesis) { g.Threshold = 3 }, []string{"carol", "dave"}},
		"no team id":             {func(g *Genesis) { g.TeamID = "" }, []string{"carol", "dave"}},
		"no admin":               {func(g *Genesis) { g.Admins = nil }, []string{"carol"}},
		"one device for two":     {func(g *Genesis) { g.Admins[1].Device = dev("carol") }, []string{"carol"}},
	} {
		g := good
		g.Admins = append([]AdminDevice(nil), good.Admins...)
		c.change(&g)
		var ids []key.Identity
		for _, b := range c.by {
			ids = append(ids, ident(b))
		}
		if _, err := Found(g, ids...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	b, err := Found(good, ident("carol"), ident("dave"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x20
		if r, err := Open(c); err == nil && r.TeamFP() == envelope.Sum(mustPayload(t, b)) {
			t.Fatalf("byte %d flipped: same fingerprint", i)
		}
	}
}

// TestTampering flips every byte of a statement.
func TestTampering(t *testing.T) {
	r := found(t, 1, "carol")
	s := st(t, r, KindRevoke, Revoke{Kid: ident("carol").Kid(), Reason: "x"}, "carol")
	s2 := st(t, r, KindThreshold, Threshold{1}, "carol")
	for _, raw := range [][]byte{s, s2} {
		for i := range raw {
			c := bytes.Clone(raw)
			c[i] ^= 1
			if n, err := r.Apply(c); err == nil {
				t.Fatalf("byte %d flipped and accepted, head %d", i, n.Head().Seq)
			}
		}
	}
}

func TestApprovers(t *testing.T) {
	r := found(t, 1, "carol")
	held := "version: 1\nmode: allowlist\nallowlist:\n  - name: all\n    members: [\"role:sre\"]\n    targets: {names: [\"*\"]}\n    sessions: [exec]\n    hold: {approvers: [\"role:approver\"], quorum: 1, expires: 15m}\n"
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre", "approver"), "carol")
	r = apply(t, r, KindMemberAdd, newMember("bob", "approver"), "carol")
	r = apply(t, r, KindDeviceAdd, DeviceAdd{"bob", dev("bob's phone")}, "carol")
	r = apply(t, r, KindMemberAdd, newMember("eve", "sre"), "carol")
	r = apply(t, r, KindAgentAdd, machine("web-1"), "carol")
	r = apply(t, r, KindPolicySet, policySet(1, held), "carol")
	d, _ := r.Device(ident("alice").Kid(), t0)
	a, _ := r.AgentNamed("web-1", t0)
	v := policy.Evaluate(r.Request(d, a, "exec", "", []string{"uname"}, t0), r.Snapshot())
	if v.Effect != policy.Hold {
		t.Fatalf("%v %s", v.Effect, v.Reason)
	}
	var got []string
	for _, d := range r.Approvers(v, "alice", t0) {
		got = append(got, d.Email)
	}
	if fmt.Sprint(got) != "[bob@example.com bob@example.com]" {
		t.Errorf("approvers %v: alice asked, eve has no such role, bob has two devices", got)
	}
	if ds := r.Approvers(v, "alice", time.Unix(exp, 0)); len(ds) != 0 {
		t.Errorf("expired devices approve: %v", ds)
	}
}

func TestCheckPolicy(t *testing.T) {
	r := found(t, 1, "carol")
	r = apply(t, r, KindMemberAdd, newMember("alice", "sre"), "carol")
	r = apply(t, r, KindAgentAdd, machine("web-1"), "carol")
	test := func(want string) string {
		return doc + "tests:\n  - {member: alice@example.com, target: web-1, session: exec, command: \"uname -a\", at: \"2026-11-23T10:00:00+01:00\", want: " + want + "}\n"
	}
	if err := r.CheckPolicy([]byte(test("allow"))); err != nil {
		t.Errorf("a passing test: %v", err)
	}
	if err := r.CheckPolicy([]byte(test("deny"))); err == nil || !strings.Contains(err.Error(), "line 9") {
		t.Errorf("a failing test: %v", err)
	}
	if err := r.CheckPolicy([]byte("nonsense: true\n")); err == nil {
		t.Error("an unknown key")
	}
}

// FuzzApply feeds a roster whatever comes: it must refuse or stay as it was.
func FuzzApply(f *testing.F) {
	r := found(f, 1, "carol")
	f.Add(st(f, r, KindMemberAdd, newMember("alice", "sre"), "carol"))
	f.Add(st(f, r, KindPolicySet, policySet(1, doc), "carol"))
	f.Add(st(f, r, KindRunbookSet, bookSet(1, book), "carol"))
	f.Add(st(f, r, KindRevoke, Revoke{Kid: ident("carol").Kid()}, "carol"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := r.Apply(b)
		if err != nil && n.Head() != r.Head() {
			t.Error("refused, and changed")
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(found(f, 1, "carol").Genesis())
	f.Add([]byte{0x82})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Open(b); err == nil && !bytes.Equal(r.Genesis(), b) {
			t.Error("another genesis than given")
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	r := found(b, 1, "carol")
	for i := range 200 {
		r = apply(b, r, KindAgentAdd, machine(fmt.Sprintf("web-%03d", i)), "carol")
	}
	stmts := r.Statements(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(r.Genesis(), stmts...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(stmts)), "ns/statement")
}
