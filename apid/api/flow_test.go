package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

func TestSignIn(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	got, err := c.alice.client.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.TeamFP != c.roster.TeamFP() || got.MemberID != "alice" || roster.Head(got.RosterHead) != c.roster.Head() {
		t.Errorf("got %+v", got)
	}
	again, err := c.alice.client.SignIn(t.Context())
	if err != nil || again.AccessToken != got.AccessToken {
		t.Errorf("a fresh token was replaced: %v", err)
	}
	c.s.clock.Advance(9*time.Minute + 30*time.Second)
	again, err = c.alice.client.SignIn(t.Context())
	if err != nil || again.AccessToken == got.AccessToken {
		t.Errorf("an old token was kept: %v", err)
	}
}

func TestAllowedSession(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	session := token.NewID()
	claims := c.alice.proof(token.ActSession, c.staging.Kid(), session)
	raw := c.alice.sign(claims)
	answer, err := c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: raw})
	if err != nil {
		t.Fatal(err)
	}
	pu, err := token.ParseProof(raw)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := pu.Verify(c.roster.Key, token.ExpectProof{Now: c.s.clock.Now(), TeamFP: c.roster.TeamFP(), Audience: c.staging.Kid().String(), Act: token.ActSession})
	if err != nil {
		t.Fatal(err)
	}
	gu, err := token.ParseGrant(answer.Grant)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := gu.Verify(c.roster.Key, token.ExpectGrant{Now: c.s.clock.Now(), TeamFP: c.roster.TeamFP(), Agent: c.staging.Kid()})
	if err != nil {
		t.Fatal(err)
	}
	if err := token.GrantMatchesProof(grant, proof); err != nil {
		t.Error(err)
	}
	if _, ok := c.roster.ServerKey(roster.ServerGrant, grant.Signer()); !ok {
		t.Error("the grant is not signed by a grant key of the roster")
	}
	if answer.Relay.Addr != relayAddr || answer.Relay.Operator == answer.Relay.Agent || answer.Relay.Agent.Password == "" {
		t.Errorf("relay: %+v", answer.Relay)
	}
	if answer.Actor != (wire.Actor{Seq: 1, Hash: proof.Hash()}) {
		t.Errorf("actor %+v", answer.Actor)
	}
	again, err := c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: raw})
	if err != nil || !bytes.Equal(again.Grant, answer.Grant) {
		t.Errorf("the same proof after a lost answer: %v", err)
	}
	page, err := c.alice.client.Sessions(t.Context())
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].ID != session || page.Sessions[0].State != sessions.Granted {
		t.Errorf("sessions: %+v, %v", page, err)
	}
	if page, err = c.bob.client.Sessions(t.Context()); err != nil || len(page.Sessions) != 0 {
		t.Errorf("another person's sessions: %+v, %v", page, err)
	}
	c.s.clock.Advance(61 * time.Second)
	_, err = c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: raw})
	wantProblem(t, err, wire.KindExpired)
}

// A proof that never arrived in time is recorded without effect, so that its
// number is not used again.
func TestBygoneProofIsRecorded(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	session := token.NewID()
	raw := c.alice.sign(c.alice.proof(token.ActSession, c.staging.Kid(), session))
	c.s.clock.Advance(2 * time.Minute)
	_, err := c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: raw})
	wantProblem(t, err, wire.KindExpired)
	for range 2 {
		if at, err := c.alice.client.RecordProof(t.Context(), raw); err != nil || at.Seq != 1 {
			t.Fatalf("%+v, %v", at, err)
		}
	}
	if page, err := c.alice.client.Sessions(t.Context()); err != nil || len(page.Sessions) != 0 {
		t.Errorf("a recorded proof had an effect: %+v, %v", page, err)
	}
	_, err = c.bob.client.RecordProof(t.Context(), raw)
	wantProblem(t, err, wire.KindUnauthenticated) // another device's
	if _, err := c.alice.open(c.staging.Kid(), session); err != nil {
		t.Error(err)
	}
	var file bytes.Buffer
	if err := c.dora.client.Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(&file, c.roster.TeamFP(), audit.Options{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%v, %v", report.Problems, err)
	}
}

func TestDeniedSessionNamesRuleAndLine(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	_, err := c.bob.open(c.staging.Kid(), token.NewID())
	p := wantProblem(t, err, wire.KindDenied)
	if p.Rule == "" || p.Line == 0 || p.Actor == nil || p.Actor.Seq != 1 {
		t.Errorf("got %+v", p)
	}
	if !errors.Is(err, wire.ErrDenied) {
		t.Errorf("%v is not ErrDenied", err)
	}
	// The no was recorded with the proof, so the chain goes on.
	_, err = c.bob.open(c.staging.Kid(), token.NewID())
	wantProblem(t, err, wire.KindDenied)
}

func TestHeldApprovedOnce(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	session := token.NewID()
	_, err := c.alice.open(c.prod.Kid(), session)
	p := wantProblem(t, err, wire.KindHeld)
	if p.Rule != "sre-prod" || p.Line == 0 || p.Quorum != 1 || p.AskFor != 15*60 || len(p.Approvers) != 1 {
		t.Errorf("got %+v", p)
	}
	asked, err := c.alice.ask(c.prod.Kid(), session)
	if err != nil {
		t.Fatal(err)
	}
	if !asked.Mine || asked.CanDecide || asked.State != wire.Pending || asked.Actor == nil || asked.Actor.Seq != 2 {
		t.Errorf("asked: %+v", asked)
	}
	_, err = c.alice.open(c.prod.Kid(), session, asked.ID)
	wantProblem(t, err, wire.KindHeld) // nobody has decided

	_, err = c.alice.decide(asked, true)
	wantProblem(t, err, wire.KindDenied)
	_, err = c.alice2.decide(asked, true) // the same person's other device
	wantProblem(t, err, wire.KindDenied)
	_, err = c.dora.decide(asked, true) // not an approver
	wantProblem(t, err, wire.KindDenied)

	list, err := c.bob.client.Approvals(t.Context(), wire.Pending, "")
	if err != nil || len(list.Approvals) != 1 || !list.Approvals[0].CanDecide || list.Approvals[0].Sealed != nil {
		t.Fatalf("bob's queue: %+v, %v", list, err)
	}
	waited := make(chan wire.Approval, 1)
	go func() {
		a, err := c.alice.client.Approval(t.Context(), asked.ID, 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		waited <- a
	}()
	got, err := c.bob.decide(asked, true)
	if err != nil || got.State != wire.Approved {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := <-waited; a.State != wire.Approved || len(a.Decisions) != 1 || string(a.Sealed) != "sealed ask" {
		t.Errorf("waited for %+v", a)
	}
	_, err = c.bob.decide(asked, false) // bob's second thought
	wantProblem(t, err, wire.KindUsed)

	answer, err := c.alice.open(c.prod.Kid(), session, asked.ID)
	if err != nil {
		t.Fatal(err)
	}
	gu, _ := token.ParseGrant(answer.Grant)
	var g token.Grant
	if err := gu.InsecureDecode(&g); err != nil || g.Effect != "hold" || len(g.Approvals) != 1 || g.Approvals[0] != asked.ID {
		t.Errorf("grant %+v, %v", g, err)
	}
	_, err = c.alice.open(c.prod.Kid(), session, asked.ID)
	wantProblem(t, err, wire.KindUsed)
	_, err = c.alice.open(c.prod.Kid(), token.NewID(), asked.ID) // another session
	wantProblem(t, err, wire.KindDenied)
	if a, err := c.bob.client.Approval(t.Context(), asked.ID, 0); err != nil || a.State != wire.Used {
		t.Errorf("%+v, %v", a, err)
	}
}

// A command of a held tier on a target that the rules allow: apid takes the
// asker's word that it is held, and uses the approval up in the grant.
func TestHeldByTier(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	session := token.NewID()
	asked, err := c.alice.ask(c.staging.Kid(), session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*token.Proof){
		"as":         func(p *token.Proof) { p.As = "deploy" },
		"target":     func(p *token.Proof) { p.Target = c.prod.Kid() },
		"session":    func(p *token.Proof) { p.SessionID = token.NewID() },
		"kind":       func(p *token.Proof) { p.Kind = "shell" },
		"commitment": func(p *token.Proof) { p.Commitment[0] ^= 1 },
	} {
		moved := c.alice.proof(token.ActSession, c.staging.Kid(), session)
		edit(&moved)
		_, err = c.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: c.alice.sign(moved), Approvals: []token.ID{asked.ID}})
		if p := wantProblem(t, err, wire.KindDenied); p.Rule != "" {
			t.Errorf("%s: refused by policy, not because the approval was moved: %v", name, err)
		}
	}
	other := c.alice2.proof(token.ActSession, c.staging.Kid(), session)
	_, err = c.alice2.client.OpenSession(t.Context(), wire.SessionRequest{Proof: c.alice2.sign(other), Approvals: []token.ID{asked.ID}})
	wantProblem(t, err, wire.KindDenied)
	if _, err := c.alice.open(c.staging.Kid(), session, asked.ID); err != nil {
		t.Fatal(err)
	}
}

// A colleague who neither asked, nor may decide, nor audits, sees nothing of it.
func TestApprovalsAreForThoseConcerned(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	asked, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.frank.client.Approval(t.Context(), asked.ID, 0)
	wantProblem(t, err, wire.KindDenied)
	list, err := c.frank.client.Approvals(t.Context(), "", "")
	if err != nil || len(list.Approvals) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, p := range []*person{c.alice, c.alice2, c.bob, c.carol, c.dora} {
		if _, err := p.client.Approval(t.Context(), asked.ID, 0); err != nil {
			t.Error(err)
		}
	}
}

// An approval that was given under another policy is worth nothing.
func TestPolicyChangesAfterApproval(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	asked, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	doc := []byte(testPolicy + "max_session: 1h\n")
	c.append(t, roster.KindPolicySet, roster.PolicySet{Version: 2, Hash: envelope.Sum(doc), Document: doc})
	_, err = c.alice.open(c.prod.Kid(), asked.SessionID, asked.ID)
	wantProblem(t, err, wire.KindExpired)
}

func TestDenyCancelExpire(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	denied, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.bob.decide(denied, false); err != nil || a.State != wire.Denied {
		t.Fatalf("%+v, %v", a, err)
	}

	cancelled, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	cancel := c.bob.sign(c.bob.proof(token.ActCancel, c.prod.Kid(), cancelled.SessionID))
	_, err = c.bob.client.Cancel(t.Context(), cancelled.ID, cancel)
	wantProblem(t, err, wire.KindDenied)
	cancel = c.alice.sign(c.alice.proof(token.ActCancel, c.prod.Kid(), cancelled.SessionID))
	if a, err := c.alice.client.Cancel(t.Context(), cancelled.ID, cancel); err != nil || a.State != wire.Cancelled {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = c.bob.decide(cancelled, true)
	wantProblem(t, err, wire.KindUsed)

	late, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	unused, err := c.alice.ask(c.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.bob.decide(unused, true); err != nil {
		t.Fatal(err)
	}
	c.s.clock.Advance(11 * time.Minute)
	if a, err := c.alice.client.Approval(t.Context(), late.ID, 0); err != nil || a.State != wire.Expired {
		t.Errorf("before the sweep: %+v, %v", a, err)
	}
	_, err = c.bob.decide(late, true)
	wantProblem(t, err, wire.KindExpired)
	_, err = c.alice.open(c.prod.Kid(), unused.SessionID, unused.ID)
	wantProblem(t, err, wire.KindExpired)
	if err := c.s.sweepTeam(t.Context(), c.name, true); err != nil {
		t.Fatal(err)
	}
	list, err := c.alice.client.Approvals(t.Context(), wire.Expired, "")
	if err != nil || len(list.Approvals) != 2 {
		t.Errorf("after the sweep: %+v, %v", list, err)
	}
}

func TestOfflineAndUnknownAgents(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	c.s.presence.set(func() { c.s.presence.offline[c.staging.Kid()] = true })
	_, err := c.alice.open(c.staging.Kid(), token.NewID())
	wantProblem(t, err, wire.KindUnavailable)
	page, err := c.alice.client.Agents(t.Context(), "")
	if err != nil || len(page.Agents) != 2 || page.Agents[0].State != wire.Online || page.Agents[1].State != wire.Offline {
		t.Errorf("agents: %+v, %v", page, err)
	}
	asked := c.s.presence.asked
	if _, err = c.alice.client.Agents(t.Context(), ""); err != nil || c.s.presence.asked != asked {
		t.Errorf("asked the rendezvous again within the cache's life: %v", err)
	}
	c.s.clock.Advance(3 * time.Second)
	c.s.presence.set(func() { c.s.presence.down = true })
	page, err = c.alice.client.Agents(t.Context(), "")
	if err != nil || page.Agents[0].State != wire.Unknown {
		t.Errorf("agents: %+v, %v", page, err)
	}
	_, err = c.alice.open(c.staging.Kid(), token.NewID())
	wantProblem(t, err, wire.KindUnavailable)
	// Nothing was recorded, so the chain has not moved.
	if at, err := c.alice.client.Actor(t.Context()); err != nil || at.Seq != 0 {
		t.Errorf("actor %+v, %v", at, err)
	}
}

func TestRoster(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	page, err := c.bob.client.Roster(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.Load(page.Genesis, page.Statements...)
	if err != nil || r.Head() != c.roster.Head() || page.More {
		t.Fatalf("head %v, want %v: %v", r.Head(), c.roster.Head(), err)
	}
	for name, id := range map[string]*wire.Signed{"agent": s.signedBy(t, c.staging), "rendezvous": s.signedBy(t, c.rendezvous)} {
		page, err := id.Roster(t.Context(), c.name, 3)
		if err != nil || len(page.Statements) != len(c.roster.Statements(3)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A revoked agent leaves the targets with the statement.
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.staging.Kid(), Reason: "retired"})
	states, err := c.alice.client.Agents(t.Context(), "")
	if err != nil || len(states.Agents) != 1 {
		t.Errorf("agents: %+v, %v", states, err)
	}
	_, err = c.alice.open(c.staging.Kid(), token.NewID())
	wantProblem(t, err, wire.KindNotFound)
	_, err = s.signedBy(t, c.staging).Roster(t.Context(), c.name, 0)
	wantProblem(t, err, wire.KindUnauthenticated)

	st := c.next(t, roster.KindMemberAdd, roster.MemberAdd{})
	_, err = c.carol.client.AppendStatements(t.Context(), st)
	p := wantProblem(t, err, wire.KindMalformed)
	if p.Head == nil || roster.Head(*p.Head) != c.roster.Head() {
		t.Errorf("got %+v", p)
	}
	stranger, err := c.roster.Next(s.clock.Now(), roster.KindRevoke, roster.Revoke{Kid: c.bob.id.Kid()}, c.alice.id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.alice.client.AppendStatements(t.Context(), stranger)
	wantProblem(t, err, wire.KindDenied)
	known := c.roster.Statements(0)[0]
	if head, err := c.alice.client.AppendStatements(t.Context(), known); err != nil || roster.Head(head) != c.roster.Head() {
		t.Errorf("a known statement: %v, %v", head, err)
	}
}

func TestFounding(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	if got, err := c.carol.client.Found(t.Context(), c.roster.Genesis()); err != nil || got.TeamFP != c.roster.TeamFP() {
		t.Errorf("the same genesis again: %v", err)
	}
	id := newIdentity(t)
	other, err := roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: s.clock.Now().Unix(), Admins: []roster.AdminDevice{{
		MemberID: "eve", Email: "eve@example.com", Device: roster.DeviceBody{Public: id.Public(), Recipient: newRecipient(t), Exp: s.clock.Now().Add(time.Hour).Unix()},
	}}}, id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.client(t, "acme", id).Found(t.Context(), other)
	wantProblem(t, err, wire.KindConflict)
	for _, f := range []Founding{FoundingFirst, FoundingClosed, ""} {
		s.cfg.Founding = f
		_, err = s.client(t, "acme", id).Found(t.Context(), other)
		wantProblem(t, err, wire.KindDenied)
	}
}

func TestAgentEntries(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	session := token.NewID()
	if _, err := c.alice.open(c.staging.Kid(), session); err != nil {
		t.Fatal(err)
	}
	entry := func(chain *audit.Chain, kind audit.Type, fp bool) []byte {
		e := audit.Entry{
			TeamID: c.name, Type: kind, Timestamp: s.clock.Now().Unix(), Action: "exec", SessionID: session, RosterHead: c.roster.Head(),
			Actor: audit.Party{Kid: c.alice.id.Kid(), Name: "alice@example.com"}, Target: audit.Party{Kid: c.staging.Kid(), Name: "web-1"},
		}
		if kind == audit.Exec {
			e.Action, e.Outcome.Reason = audit.ActionStart, "gate: enforced"
		}
		if fp {
			e.TeamFP = c.roster.TeamFP()
		} else {
			e.TeamFP[0] = 1
		}
		b, err := chain.Next(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	chain := audit.NewChain(c.staging, audit.Link{})
	start, exec, end := entry(chain, audit.SessionStart, true), entry(chain, audit.Exec, true), entry(chain, audit.SessionEnd, true)
	client := s.signedBy(t, c.staging)
	_, err := client.PostEntries(t.Context(), c.name, exec)
	wantProblem(t, err, wire.KindConflict) // a gap
	for range 2 {                          // the outbox may send again
		got, err := client.PostEntries(t.Context(), c.name, start, exec)
		if err != nil || got.Actor.Seq != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if page, err := c.alice.client.Sessions(t.Context()); err != nil || page.Sessions[0].State != sessions.Started || page.Sessions[0].Gate != "enforced" {
		t.Errorf("%+v, %v", page, err)
	}
	_, err = s.signedBy(t, c.prod).PostEntries(t.Context(), c.name, end)
	wantProblem(t, err, wire.KindDenied) // another agent carries it
	comeBack(t, s, c, session)
	if _, err := client.PostEntries(t.Context(), c.name, end); err != nil {
		t.Fatal(err)
	}
	if page, err := c.alice.client.Sessions(t.Context()); err != nil || page.Sessions[0].State != sessions.Ended {
		t.Errorf("%+v, %v", page, err)
	}
	fork := audit.NewChain(c.staging, audit.Link{Seq: 2, Hash: chain.Last().Hash})
	_, err = client.PostEntries(t.Context(), c.name, entry(fork, audit.SessionEnd, true))
	wantProblem(t, err, wire.KindConflict)
	_, err = client.PostEntries(t.Context(), c.name, entry(chain, audit.SessionEnd, false))
	wantProblem(t, err, wire.KindNotFound) // another team's entry
	_, err = client.PostEntries(t.Context(), c.name, entry(audit.NewChain(c.staging, chain.Last()), audit.SignIn, true))
	wantProblem(t, err, wire.KindDenied) // apid's to write
	_, err = client.PostEntries(t.Context(), c.name, []byte("nonsense"))
	wantProblem(t, err, wire.KindMalformed)
}

// comeBack has a member ask for a session that runs: from another own device, as itself
// and nothing else; nobody else does.
func comeBack(t *testing.T, s *server, c *crew, session token.ID) {
	t.Helper()
	ask := func(p *person, target key.Kid, session token.ID, change func(*token.Proof)) (wire.SessionAnswer, error) {
		claims := p.proof(token.ActResume, target, session)
		claims.Confirmed = true
		if change != nil {
			change(&claims)
		}
		return p.client.OpenSession(t.Context(), wire.SessionRequest{Proof: p.sign(claims)})
	}
	got, err := ask(c.alice2, c.staging.Kid(), session, nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := token.ParseGrant(got.Grant)
	var g token.Grant
	if err = errors.Join(err, u.InsecureDecode(&g)); err != nil || g.Operator != c.alice2.id.Kid() || g.SessionID != session || g.Effect != "allow" {
		t.Errorf("%+v, %v", g, err)
	}
	page, err := c.alice2.client.Sessions(t.Context())
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].Operator != c.alice.id.Kid() {
		t.Errorf("the other device sees %+v, %v", page, err)
	}
	for what, try := range map[string]func() (wire.SessionAnswer, error){
		"another member":  func() (wire.SessionAnswer, error) { return ask(c.bob, c.staging.Kid(), session, nil) },
		"another machine": func() (wire.SessionAnswer, error) { return ask(c.alice, c.prod.Kid(), session, nil) },
		"another session": func() (wire.SessionAnswer, error) { return ask(c.alice, c.staging.Kid(), token.NewID(), nil) },
		"as another account": func() (wire.SessionAnswer, error) {
			return ask(c.alice, c.staging.Kid(), session, func(p *token.Proof) { p.As = "root" })
		},
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: granted", what)
		} else {
			wantProblem(t, err, wire.KindNotFound)
		}
	}
}

// Who signs in may ask for a session with the same request, and has the answers that two
// requests would have had: a grant, or a no beside the token.
func TestSessionAtSignIn(t *testing.T) {
	c := newCrew(t, newServer(t), "acme")
	ask := func(p *person, proof []byte) (wire.TokenAnswer, int) {
		t.Helper()
		body, err := json.Marshal(wire.TokenRequest{TeamID: "acme", Session: &wire.SessionRequest{Proof: proof}})
		if err != nil {
			t.Fatal(err)
		}
		h := c.s.dpopHeaders(t, p.id, "", token.DPoPClaims{Method: "POST", URL: c.s.url + "/v1/token", BodySHA256: envelope.Sum(body)})
		status, out := c.s.send(t, "POST", "/v1/token", h, body)
		var answer wire.TokenAnswer
		if status == http.StatusOK {
			if err := strict.Decode(out, &answer); err != nil {
				t.Fatal(err)
			}
		}
		return answer, status
	}
	proof := c.alice.sign(c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID()))
	got, status := ask(c.alice, proof)
	if status != http.StatusOK || got.AccessToken == "" || got.Session == nil || got.Problem != nil {
		t.Fatalf("status %d: %+v", status, got)
	}
	if _, err := token.ParseGrant(got.Session.Grant); err != nil || got.Session.Actor.Seq == 0 {
		t.Errorf("the answer is no grant: %v, %+v", err, got.Session)
	}
	// An answer that was lost is had again, as without signing in.
	if again, _ := ask(c.alice, proof); again.Session == nil || !bytes.Equal(again.Session.Grant, got.Session.Grant) {
		t.Errorf("asked again: %+v", again)
	}
	// Somebody else's proof, and one that names another head, are refused beside the token.
	if got, _ := ask(c.bob, proof); got.AccessToken == "" || got.Session != nil || got.Problem == nil {
		t.Errorf("another's proof: %+v", got)
	}
	old := c.alice.proof(token.ActSession, c.staging.Kid(), token.NewID())
	old.RosterHead.Seq--
	if got, _ := ask(c.alice, c.alice.sign(old)); got.Session != nil || got.Problem == nil || got.Problem.Kind() != wire.KindConflict || got.Problem.Head == nil {
		t.Errorf("a proof on another roster: %+v", got)
	}
	// Nobody gets either.
	if got, status := ask(&person{t: t, id: newIdentity(t)}, proof); status != http.StatusUnauthorized || got.AccessToken != "" {
		t.Errorf("a stranger: status %d, %+v", status, got)
	}
}
