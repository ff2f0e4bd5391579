package review

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const heldByTwo = `version: 1
mode: allowlist
allowlist:
  - name: prod
    members: ["role:sre"]
    targets: {names: ["*"]}
    sessions: [exec]
    hold: {approvers: ["role:approver"], quorum: 2}
break_glass: {members: ["role:admin"], quorum: 1}
`

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Whom a request waits for is judged by the roster and the policy of this device. What
// apid says of people who could not decide is not shown.
func TestWaits(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	exp := now.Add(24 * time.Hour).Unix()
	ids := map[string]key.Identity{}
	device := func(who string) roster.DeviceBody {
		ids[who] = must(key.GenerateIdentity())
		return roster.DeviceBody{Public: ids[who].Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: exp}
	}
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: device("carol")}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{admin}}, ids["carol"]))))
	state := func(kind roster.Kind, body any) {
		r = must(r.Apply(must(r.Next(now, kind, body, ids["carol"]))))
	}
	version := uint64(0)
	setPolicy := func(text string) {
		version++
		state(roster.KindPolicySet, roster.PolicySet{Version: version, Hash: envelope.Sum([]byte(text)), Document: []byte(text)})
	}
	for who, roles := range map[string][]string{"alice": {"sre", "approver"}, "bob": {"approver"}, "beth": {"approver"}, "dora": {"auditor"}} {
		state(roster.KindMemberAdd, roster.MemberAdd{MemberID: who, Email: who + "@example.com", Roles: roles, Device: device(who)})
	}
	agent := device("web-1")
	state(roster.KindAgentAdd, roster.AgentAdd{Name: "web-1", Public: agent.Public, Recipient: agent.Recipient, LoginUser: "deploy", Exp: exp})
	setPolicy(heldByTwo)
	asked := approval.Ask{
		ID: token.NewID(), TeamFP: r.TeamFP(), SessionID: token.NewID(), Agent: ids["web-1"].Kid(), AgentName: "web-1", Operator: ids["alice"].Kid(), Kind: "exec",
		Command:    Command(backend.OpenRequest{Kind: backend.KindExec, Argv: []string{"uptime"}}, true),
		PolicyHash: r.PolicyHash(), RosterHead: token.Head(r.Head()), Created: now.Unix(), AskUntil: now.Add(time.Hour).Unix(), Nonce: token.NewID(),
	}
	plain := must(approval.SignAsk(ids["alice"], asked))
	ap := wire.Approval{
		ID: asked.ID, Operator: asked.Operator, Target: asked.Agent, Kind: "exec", State: wire.Pending, AskHash: must(envelope.PayloadHash(plain)),
		Online: []string{"beth", "alice", "dora", "mallory"}, Deciding: []wire.Deciding{{Member: "bob", For: 12}, {Member: "alice", For: 1}, {Member: "mallory", For: 1}},
	}
	show := func(who string) backend.Approval {
		t.Helper()
		out := Outline(r, ap)
		c, err := Open(plain, ap, r, must(r.Device(ids[who].Kid(), now)), now)
		if err != nil {
			t.Fatal(err)
		}
		c.Show(&out, profile.Approved{})
		return out
	}
	want := func(step, who, deciding string) {
		t.Helper()
		for _, reader := range []string{"alice", "beth"} {
			a := show(reader)
			if a.WhoCan() != who || a.Reading(now) != deciding {
				t.Errorf("%s, to %s: %q, %q; want %q, %q", step, reader, a.WhoCan(), a.Reading(now), who, deciding)
			}
		}
	}
	const bobReads = "bob@example.com is deciding (12 s)"
	want("asked", "beth@example.com (online, says the server), bob@example.com", bobReads)

	ap.Deciding[0].For = -5
	want("a server that says nonsense", "beth@example.com (online, says the server), bob@example.com", "bob@example.com is deciding (0 s)")
	ap.Deciding[0].For = 12

	yes := approval.Decision{ID: asked.ID, AskHash: ap.AskHash, Approver: ids["beth"].Kid(), Approve: true, Decided: now.Unix(), UseUntil: now.Add(time.Hour).Unix(), SealedHash: envelope.Sum([]byte("x"))}
	ap.Decisions = []wire.SealedDecision{{Decision: must(approval.SignDecision(ids["beth"], yes)), Sealed: []byte("x")}}
	want("one of two", "bob@example.com", bobReads)

	state(roster.KindRevoke, roster.Revoke{Kid: ids["bob"].Kid(), Reason: "left"})
	want("the other has left", "nobody on the roster could approve this now (needs 2 of role:approver); an admin can add somebody, or change the policy;"+
		" in an emergency: tucdesk breakglass ask web-1 --reason WHY -o FILE", "")
	setPolicy(strings.Replace(heldByTwo, "break_glass", "# break_glass", 1))
	want("another policy", "nobody: policy has changed since it was asked; ask again", "")
	ap.State = wire.Denied
	want("denied", "", "")
}

// A line names a few people, who is online first.
func TestWhoCanIsShort(t *testing.T) {
	var a backend.Approval
	for i := range 1000 {
		a.Awaits = append(a.Awaits, backend.Awaited{Who: fmt.Sprint("p", i), Online: i == 999})
	}
	if got := a.WhoCan(); got != "p999 (online, says the server), p0, p1, p2, p3, p4, p5, p6, and 992 more" {
		t.Errorf("got %q", got)
	}
}
