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

// What an approver is shown of a request comes from what its operator has signed, all of
// it: what an apid in league with the operator says besides is not shown, or the request
// can't be decided.
func TestShownIsSigned(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	ids := map[string]key.Identity{}
	device := func(who string) roster.DeviceBody {
		ids[who] = must(key.GenerateIdentity())
		return roster.DeviceBody{Public: ids[who].Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: now.Add(24 * time.Hour).Unix()}
	}
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: device("carol")}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{admin}}, ids["carol"]))))
	state := func(kind roster.Kind, body any) {
		r = must(r.Apply(must(r.Next(now, kind, body, ids["carol"]))))
	}
	for who, roles := range map[string][]string{"alice": {"sre"}, "bob": {"approver"}} {
		state(roster.KindMemberAdd, roster.MemberAdd{MemberID: who, Email: who + "@example.com", Roles: roles, Device: device(who)})
	}
	for _, name := range []string{"web-1", "web-2"} {
		agent := device(name)
		state(roster.KindAgentAdd, roster.AgentAdd{Name: name, Public: agent.Public, Recipient: agent.Recipient, LoginUser: "deploy", Exp: agent.Exp})
	}
	doc := strings.Replace(heldByTwo, "sessions: [exec]", "sessions: [exec]\n    as: [deploy, root]", 1)
	state(roster.KindPolicySet, roster.PolicySet{Version: 1, Hash: envelope.Sum([]byte(doc)), Document: []byte(doc)})
	asked := approval.Ask{
		ID: token.NewID(), TeamFP: r.TeamFP(), SessionID: token.NewID(), Agent: ids["web-1"].Kid(), AgentName: "web-1", Operator: ids["alice"].Kid(), Kind: "exec", As: "root",
		Command:    Command(backend.OpenRequest{Kind: backend.KindExec, Argv: []string{"uptime"}}, true),
		PolicyHash: r.PolicyHash(), RosterHead: token.Head(r.Head()), Created: now.Unix(), AskUntil: now.Add(time.Hour).Unix(), Nonce: token.NewID(),
	}
	plain := must(approval.SignAsk(ids["alice"], asked))
	honest := wire.Approval{
		ID: asked.ID, Operator: asked.Operator, Target: asked.Agent, Kind: asked.Kind, As: asked.As, State: wire.Pending, Tier: "low",
		AskHash: must(envelope.PayloadHash(plain)), Created: asked.Created, AskUntil: asked.AskUntil,
	}
	look := func(ap wire.Approval) (backend.Approval, error) {
		out := Outline(r, ap)
		c, err := Open(plain, ap, r, must(r.Device(ids["bob"].Kid(), now)), now)
		if err == nil {
			c.Show(&out, profile.Approved{})
		}
		return out, err
	}
	said := func(a backend.Approval) string {
		return fmt.Sprintln(a.ID, a.Operator, a.Target, a.Kind, a.As, a.Argv, a.Cwd, a.Env, a.Stdin, a.Tier, a.Risk, a.Reason, a.Lasts, a.Asked, a.AskUntil, a.Content, a.Unread, a.Runbook)
	}
	truth, err := look(honest)
	if err != nil || !truth.CanDecide || truth.As != "root" || truth.Kind != "exec" {
		t.Fatalf("%+v %v", truth, err)
	}
	for name, lie := range map[string]func(*wire.Approval){
		"another id":       func(ap *wire.Approval) { ap.ID = token.NewID() },
		"another operator": func(ap *wire.Approval) { ap.Operator = ids["bob"].Kid() },
		"another machine":  func(ap *wire.Approval) { ap.Target = ids["web-2"].Kid() },
		"another user":     func(ap *wire.Approval) { ap.As = "deploy" },
		"the login user":   func(ap *wire.Approval) { ap.As = "" },
		"another kind":     func(ap *wire.Approval) { ap.Kind = "look" },
		"another tier":     func(ap *wire.Approval) { ap.Tier = "none" },
		"another time":     func(ap *wire.Approval) { ap.Created, ap.AskUntil = 1, now.Add(time.Minute).Unix() },
	} {
		ap := honest
		lie(&ap)
		if got, err := look(ap); err == nil && said(got) != said(truth) {
			t.Errorf("%s: an approver who may decide is shown\n%swhere the operator has signed\n%s", name, said(got), said(truth))
		}
	}
}

// A reason that anybody could seal is not put into the mouth of who has said no.
func TestDenialIsWhatWasSaid(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	carol, alice := must(key.GenerateIdentity()), must(key.GenerateUnsealer())
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: roster.DeviceBody{
		Public: carol.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: now.Add(time.Hour).Unix(),
	}}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{admin}}, carol))))
	sealed := must(key.Seal([]byte("not on a Friday"), alice.Recipient()))
	id := token.NewID()
	ap := wire.Approval{ID: id, State: wire.Denied, Decisions: []wire.SealedDecision{{Sealed: sealed, Decision: must(approval.SignDecision(carol, approval.Decision{
		ID: id, AskHash: envelope.Sum([]byte("ask")), Approver: carol.Kid(), Decided: now.Unix(), SealedHash: envelope.Sum(sealed),
	}))}}}
	if got := Denial(r, ap, alice); got != "carol@example.com said no: not on a Friday" {
		t.Errorf("%q", got)
	}
	ap.Decisions[0].Sealed = must(key.Seal([]byte("run curl evil.example instead"), alice.Recipient()))
	if got := Denial(r, ap, alice); strings.Contains(got, "evil") || !strings.Contains(got, "another reason") {
		t.Errorf("apid's own words: %q", got)
	}
}
