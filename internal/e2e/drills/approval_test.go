package drills

import (
	"fmt"
	"os"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func approvalDrills() []*drill {
	return []*drill{
		{
			part: malApid, name: "invent an approval", promise: "an approval is an approver's own signature",
			attack: "answers a held request as approved, with an approval that it has signed itself in the approver's place and sealed to the operator",
			shows:  "commands.high",
			check: check{
				file: "agent/host/decide.go", in: "(*checker).decide",
				old: "if no := c.approvals(ctx, a, t); no != nil {", new: "if no := c.approvals(ctx, a, t); false && no != nil {",
				then: "the command runs",
			},
			play: func(w *world) string {
				c := w.canary(0)
				alice := w.as("alice")
				id := alice.ask("web-1", c.held())
				// In league with the operator the forger even knows the command.
				w.apid.play("GET /v1/approvals/*", alter(func(ap *wire.Approval) {
					plain, err := w.homes["bob"].Unsealer.Open(ap.Sealed, 64<<10)
					w.must(err)
					u, err := approval.ParseAsk(plain)
					w.must(err)
					var a approval.Ask
					w.must(u.InsecureDecode(&a))
					now := time.Now().Unix()
					forged, err := approval.SignApproval(w.grantKey, approval.Approval{
						ID: a.ID, TeamFP: a.TeamFP, SessionID: a.SessionID, Agent: a.Agent, Operator: a.Operator, Kind: a.Kind, As: a.As,
						Command: a.Command, PolicyHash: a.PolicyHash, RosterHead: a.RosterHead, AskHash: ap.AskHash,
						UseUntil: now + 300, Nonce: a.Nonce, Approver: w.grantKey.Kid(), Decided: now,
					})
					w.must(err)
					sealed, err := key.Seal(forged, w.homes["alice"].Unsealer.Recipient())
					w.must(err)
					ap.State, ap.Approved, ap.Decisions = wire.Approved, 1, []wire.SealedDecision{{Decision: forged, Sealed: sealed}}
				}))
				w.apid.play("POST /v1/sessions", w.granted(func(g *token.Grant) { g.Effect = "hold" }))
				w.must(alice.await(id))
				_, err := alice.use("web-1", c.held(), id)
				if err != nil && fmt.Sprint(err) == "" {
					w.t.Error("a refusal without a word")
				}
				return w.said(err) + w.machines["web-1"].logs.String()
			},
		},
		{
			part: malApid, name: "approve without approvers", promise: "what apid says of an approval's state counts for nothing",
			attack: "answers a held request as approved, with nobody's decision",
			shows:  "hands out 0 of 1 signed approvals",
			check: check{
				file: "backend/control/approve.go", in: "(*Backend).collect",
				old: "if len(got) < a.plan.verdict.Obligations.Quorum {", new: "if false && len(got) < a.plan.verdict.Obligations.Quorum {",
				then: "the client goes on, and the agent refuses",
			},
			play: func(w *world) string {
				c := w.canary(0)
				alice := w.as("alice")
				id := alice.ask("web-1", c.held())
				w.apid.play("GET /v1/approvals/*", alter(func(ap *wire.Approval) { ap.State, ap.Approved = wire.Approved, 1 }))
				w.apid.play("POST /v1/sessions", w.granted(func(g *token.Grant) { g.Effect = "hold" }))
				err := alice.await(id)
				if _, err := alice.use("web-1", c.held(), id); err == nil {
					w.t.Error("MUST NOT HAPPEN: a session on an approval that nobody gave")
				}
				return w.said(err)
			},
		},
		{
			part: malApid, name: "move an approval", promise: "an approval is for one command of one session",
			attack: "hands out the approver's true signature for one command as the answer about another",
			shows:  "differs",
			check: check{
				file: "internal/approval/check.go", in: "Check",
				old: "if err := want.same(a); err != nil {", new: "if err := want.same(a); false && err != nil {",
				then: "a command runs that nobody has approved",
			},
			play: func(w *world) string {
				harmless, c := w.canary(0), w.canary(0)
				alice, bob := w.as("alice"), w.as("bob")
				first, second := alice.ask("web-1", harmless.held()), alice.ask("web-1", c.held())
				w.must(bob.decide(first))
				w.handOver(first)
				w.apid.play("POST /v1/sessions", w.granted(func(g *token.Grant) { g.Effect = "hold" }))
				w.must(alice.await(second))
				_, err := alice.use("web-1", c.held(), second)
				return w.said(err)
			},
		},
		{
			part: malApid, name: "use an approval twice", promise: "an approval is used once, whatever the servers forget",
			attack: "grants a session on an approval that was used, for an operator in league who sends the same command and the same signatures again",
			shows:  "used: this session was used before",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "if err := c.used.Check(c.sessionItem(a)); err != nil {", new: "if err := c.used.Check(c.sessionItem(a)); false && err != nil {",
				then: "the agent answers; the ledger still holds the session's id and the approval's nonce, and nothing runs",
			},
			play: func(w *world) string {
				c := w.canary(1)
				alice := w.as("alice")
				id := alice.ask("web-1", c.held())
				w.must(w.as("bob").decide(id))
				tid, err := token.ParseID(string(id))
				w.must(err)
				given, command, session := w.opened("alice", tid)
				a := attempt{by: w.inLeague("alice"), approvals: given, ids: []token.ID{tid}, command: &command, session: session}
				m := w.machines["web-1"]
				if said := w.attack(m, a); said != "" || c.touched() != 1 {
					w.t.Fatalf("the approved command: %s", said)
				}
				m.await(w, "session ended")
				w.must(os.Remove(c.path))
				// Under another session's id it would not be what was approved.
				said := w.refused(w.attack(m, a))
				if c.touched() != 0 {
					w.t.Error("MUST NOT HAPPEN: it ran again")
				}
				return said
			},
		},
		{
			part: malApid, name: "show an approver another command", promise: "an approver signs what the operator signed, and sees it",
			attack: "answers about one held request with the sealed command of another",
			shows:  "apid shows this request under another name than its operator signed",
			check: check{
				file: "backend/control/review/review.go", in: "Open",
				old:  "if a.ID != ap.ID || a.Operator != ap.Operator || a.Agent != ap.Target || va.Hash() != ap.AskHash {",
				new:  "if false && a.ID != ap.ID {",
				then: "the approver is shown the other command as this request",
			},
			play: func(w *world) string {
				alice, bob := w.as("alice"), w.as("bob")
				first, second := alice.ask("web-1", w.canary(0).held()), alice.ask("web-1", w.canary(0).held())
				tid, err := token.ParseID(string(second))
				w.must(err)
				other := w.approvalOf("bob", tid)
				w.apid.play("GET /v1/approvals/"+string(first), alter(func(ap *wire.Approval) { ap.Sealed = other.Sealed }))
				ctx, cancel := w.context()
				defer cancel()
				for ap, err := range bob.Pending(ctx) {
					w.must(err)
					if ap.ID == first && (ap.CanDecide || ap.Argv != nil) {
						w.t.Errorf("MUST NOT HAPPEN: the queue shows %q as that request", ap.Argv)
					}
				}
				return w.said(bob.decide(first))
			},
		},
		{
			part: malApid, name: "show an approver another user", promise: "an approver signs what the operator signed, and sees it",
			attack: "says of a held request that it is for another user on the machine than its operator signed",
			shows:  "as another user, than its operator signed",
			check: check{
				file: "backend/control/review/review.go", in: "Open",
				old:  "if a.Kind != ap.Kind || a.As != ap.As {",
				new:  "if false && a.Kind != ap.Kind {",
				then: "the approver sees the user that the operator has signed, whatever apid says",
			},
			play: func(w *world) string {
				alice, bob := w.as("alice"), w.as("bob")
				id := alice.ask("web-1", w.canary(0).held())
				w.apid.play("GET /v1/approvals/"+string(id), alter(func(ap *wire.Approval) { ap.As = "nobody" }))
				ctx, cancel := w.context()
				defer cancel()
				for ap, err := range bob.Pending(ctx) {
					w.must(err)
					if ap.ID == id && ap.CanDecide && ap.As == "nobody" {
						w.t.Errorf("MUST NOT HAPPEN: it can be approved as for %q", ap.As)
					}
				}
				return w.said(bob.decide(id))
			},
		},
		{
			part: malApid, name: "ask in an operator's name", promise: "a request in the queue is signed by who asks",
			attack: "puts a request into the queue that names an operator and that no operator has signed",
			shows:  "the request does not verify",
			check: check{
				file: "internal/envelope/envelope.go", in: "(Unverified).Verify",
				old: "if !pub.Verify(context, s.Sig, u.w.Payload) {", new: "if false && !pub.Verify(context, s.Sig, u.w.Payload) {",
				then: "the approver is shown an invented request; what is approved runs only for whom it names",
			},
			play: func(w *world) string {
				alice, bob := w.as("alice"), w.as("bob")
				id := alice.ask("web-1", w.canary(0).held())
				w.apid.play("GET /v1/approvals/*", alter(func(ap *wire.Approval) {
					plain, err := w.homes["bob"].Unsealer.Open(ap.Sealed, 64<<10)
					w.must(err)
					u, err := approval.ParseAsk(plain)
					w.must(err)
					var a approval.Ask
					w.must(u.InsecureDecode(&a))
					a.Command.Argv, a.Reason = []string{"touch", "/srv/all"}, "please"
					mallory := w.identity()
					forged, err := envelope.Sign(a.Context(), a, mallory)
					w.must(err)
					forged = renamed(forged, mallory.Kid(), a.Operator)
					e, err := envelope.Parse(forged)
					w.must(err)
					ap.AskHash = envelope.Sum(e.InsecurePayload())
					ap.Sealed, err = key.Seal(forged, w.homes["bob"].Unsealer.Recipient())
					w.must(err)
				}))
				return w.said(bob.decide(backend.ApprovalID(id)))
			},
		},
	}
}

// handOver has apid give the decisions of one approval as those of any other.
func (w *world) handOver(id backend.ApprovalID) {
	tid, err := token.ParseID(string(id))
	w.must(err)
	true1 := w.approvalOf("alice", tid)
	w.apid.play("GET /v1/approvals/*", alter(func(ap *wire.Approval) {
		ap.State, ap.Approved, ap.Decisions = wire.Approved, 1, true1.Decisions
	}))
}
