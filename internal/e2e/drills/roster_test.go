package drills

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// needAdmins is the check behind every forged statement.
func needAdmins(then string) check {
	return check{
		file: "internal/roster/apply.go", in: "(*Roster).need",
		old: "got := r.votes(s.Time, signers, subject, withSuspended)",
		new: "got := r.votes(s.Time, signers, subject, withSuspended) + n", then: then,
	}
}

func rosterDrills() []*drill {
	return []*drill{
		{
			part: malApid, name: "swap an agent's key", promise: "a session goes to the machine that admins have signed, or nowhere",
			attack: "tells the operator that web-1 was replaced: two statements, signed by all four servers, revoke its key and name the attacker's",
			shows:  "apid answered roster statements that do not hold",
			check:  needAdmins("the operator's client seals the session to the attacker's key"),
			play: func(w *world) string {
				c := w.canary(0)
				revoke, head := w.forgeStatement(w.head(), roster.KindRevoke, roster.Revoke{Kid: w.machines["web-1"].kid, Reason: "replaced"})
				false1 := w.identity()
				unsealer, err := key.GenerateUnsealer()
				w.must(err)
				add, head := w.forgeStatement(head, roster.KindAgentAdd, roster.AgentAdd{
					Name: "web-1", Public: false1.Public(), Recipient: unsealer.Recipient(), Tags: map[string]string{"env": "staging"},
					LoginUser: "root", Exp: time.Now().Add(time.Hour).Unix(),
				})
				w.serveForged(head, revoke, add)
				w.apid.play("POST /v1/sessions", w.granted(nil))
				w.meet.route = func(o *wire.Offer) (wire.OfferAnswer, bool, error) {
					if o.Agent == false1.Kid() {
						w.t.Error("MUST NOT HAPPEN: a bundle was sealed to the attacker's key")
					}
					return wire.OfferAnswer{}, true, nil
				}
				alice := w.as("alice")
				_, err = alice.Sync(w.t.Context())
				said := w.said(err)
				_, err = alice.run("web-1", c.low())
				return said + w.said(err)
			},
		},
		{
			part: malApid, name: "answer in another agent's name", promise: "whoever answers proves to be the machine that was named",
			attack: "hands the offer for web-1 to web-2, which can't open it, and then answers the handshake itself",
			shows:  "is not the machine that the roster names",
			check:  check{inherent: "both sides derive their keys over the machine's key and the sealed bundle: there is no check to leave out, only cryptography to break"},
			play: func(w *world) string {
				c := w.canary(0)
				w.meet.route = func(o *wire.Offer) (wire.OfferAnswer, bool, error) {
					out, err := w.meet.offer(w.machines["web-2"], signal(*o))
					return out, true, err
				}
				alice := w.as("alice")
				_, err := alice.run("web-1", c.low())
				if said := w.said(err); !strings.Contains(said, "did not answer the offer") {
					w.t.Errorf("the offer that went to web-2: %s", said)
				}
				w.meet.route = func(o *wire.Offer) (wire.OfferAnswer, bool, error) {
					_, hs2, err := session.Respond(session.ResponderConfig{
						ID: session.ID(o.SessionID), Self: w.identity(), Peer: w.homes["alice"].Identity.Public(), TeamFP: w.fp,
						BundleHash: envelope.Sum(o.Sealed), Evidence: session.Evidence{RosterHash: w.fp, Time: time.Now().Truncate(time.Second)},
					}, o.HS1)
					w.must(err)
					return wire.OfferAnswer{HS2: hs2, Candidate: o.Candidate}, true, nil
				}
				_, err = alice.run("web-1", c.low())
				return w.said(err)
			},
		},
		{
			part: malApid, name: "invent an operator", promise: "nobody is on the roster whom admins did not sign for",
			attack: "signs a new member into the roster with all four server keys, serves that to everybody, and has the member open a session with a true grant",
			shows:  "silence",
			check:  needAdmins("the invented operator's command runs"),
			play: func(w *world) string {
				c := w.canary(0)
				mallory := w.identity()
				unsealer, err := key.GenerateUnsealer()
				w.must(err)
				st, head := w.forgeStatement(w.head(), roster.KindMemberAdd, roster.MemberAdd{
					MemberID: "mallory", Email: "mallory@example.com", Roles: []string{"sre"},
					Device: roster.DeviceBody{Public: mallory.Public(), Recipient: unsealer.Recipient(), Exp: time.Now().Add(time.Hour).Unix()},
				})
				w.serveForged(head, st)
				return w.refused(w.attack(w.machines["web-1"], attempt{by: mallory, argv: c.low(), on: head, statements: [][]byte{st}}))
			},
		},
		{
			part: malApid, name: "promote an operator", promise: "roles are what admins have signed; a token's role widens nothing",
			attack: "makes the auditor an admin by a statement of its own, grants the auditor a session, and has agents believe in the statement",
			shows:  "roster: operator and agent do not know the same roster",
			check:  needAdmins("the auditor acts as an operator"),
			play: func(w *world) string {
				c := w.canary(0)
				dora := w.device("dora")
				dora.Public, dora.Exp = w.identity().Public(), time.Now().Add(time.Hour).Unix()
				st, head := w.forgeStatement(w.head(), roster.KindAdminAdd, roster.AdminDevice{
					MemberID: "dora", Email: "dora@example.com", Roles: []string{"auditor", "sre"}, Device: dora,
				})
				w.serveForged(head, st)
				return w.refused(w.attack(w.machines["web-1"], attempt{by: w.inLeague("dora"), argv: c.low(), on: head, statements: [][]byte{st}}))
			},
		},
		{
			part: malApid, name: "loosen the policy", promise: "policy is what admins have signed",
			attack: "signs a policy that refuses nothing with all four server keys and serves it to everybody; an operator in league asks by it",
			shows:  "roster: operator and agent do not know the same roster",
			check:  needAdmins("the refused command runs"),
			play: func(w *world) string {
				c := w.canary(0)
				doc := strings.Replace(w.policy, `critical: ["mkdir ..."]`, `critical: ["reboot ..."]`, 1)
				set := w.policySet(doc)
				st, head := w.forgeStatement(w.head(), roster.KindPolicySet, set)
				w.serveForged(head, st)
				if _, err := w.as("alice").run("web-1", c.denied()); err == nil || !strings.Contains(err.Error(), "do not hold") {
					w.t.Errorf("the honest client: %v", err)
				}
				return w.refused(w.attack(w.machines["web-1"], attempt{
					by: w.inLeague("beth"), argv: c.denied(), on: head, policy: set.Hash, statements: [][]byte{st},
				}))
			},
		},
		{
			part: malApid, name: "roll the policy back at an agent", promise: "a policy that an agent has seen is never replaced by an older one",
			attack: "after a lockdown, serves the roster from before it, and grants what an operator asks who has not heard of it",
			shows:  "roster: operator and agent do not know the same roster",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).sameHead",
				old: "if head(r) == want {", new: "if head(r) == want || r.Knows(roster.Head(want)) {",
				then: "the agent still refuses: the proof names another policy than its own",
			},
			play: func(w *world) string {
				c := w.canary(0)
				before := w.head()
				st := w.setPolicy("version: 1\nmode: lockdown\n")
				w.meet.tell(w.machines["web-1"], st)
				w.machines["web-1"].await(w, "msg=roster")
				w.freeze(before)
				w.apid.play("POST /v1/sessions", w.granted(nil))
				_, err := w.as("beth").run("web-1", c.low())
				return w.said(err)
			},
		},
		{
			part: malApid, name: "show an operator an older roster", promise: "a device that has seen a lockdown does not forget it",
			attack: "serves an operator who knows of a lockdown the roster from before it",
			shows:  "apid tells of another roster",
			check: check{
				file: "backend/control/control.go", in: "(*Backend).fetch",
				old: "if page.Head.Seq < r.Head().Seq || ", new: "if false && page.Head.Seq < r.Head().Seq || false && ",
				then: "the client keeps the newer roster and says nothing of the older one",
			},
			play: func(w *world) string {
				c := w.canary(0)
				before := w.head()
				st := w.setPolicy("version: 1\nmode: lockdown\n")
				_, err := w.homes["alice"].Learn([][]byte{st})
				w.must(err)
				w.freeze(before)
				w.apid.play("POST /v1/sessions", w.granted(nil))
				alice := w.as("alice")
				ctx, cancel := w.context()
				defer cancel()
				_, err = alice.Sync(ctx)
				said := w.said(err)
				if _, err := alice.run("web-1", c.low()); err == nil {
					w.t.Error("MUST NOT HAPPEN: a session after the lockdown")
				}
				return said
			},
		},
		{
			part: malApid, name: "withhold a revocation", promise: "one operator who knows of a revocation is enough for an agent to know it",
			attack: "hides from agents that an operator was revoked, and grants that operator what it asks; then an operator who knows of it opens a session",
			shows:  "device: ",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).sources",
				old: "return c.team.Learn(a.bundle.Statements)", new: "return team.ErrNone",
				then: "the revoked operator's commands go on running, for as long as the servers hide it",
			},
			play: func(w *world) string {
				beth := w.as("beth")
				running, err := beth.open("web-1", []string{"cat"}, "")
				w.must(err)
				st := w.publish(roster.KindRevoke, roster.Revoke{Kid: w.homes["beth"].Identity.Kid(), Reason: "lost"})
				_, err = w.homes["alice"].Learn([][]byte{st})
				w.must(err)
				before := w.homes["bob"].Roster().Head()
				w.freeze(before)
				w.apid.play("POST /v1/sessions", w.granted(nil))
				// What it can do until then stands on the page.
				hidden := w.canary(1)
				if _, err := beth.run("web-1", hidden.low()); err != nil || hidden.touched() != 1 {
					w.t.Errorf("the page says that a hidden revocation has no effect yet, and it had: %v", err)
				}
				if _, err := w.as("alice").run("web-1", []string{"true"}); err != nil {
					w.t.Errorf("an operator who knows of it: %v", err)
				}
				ended := make(chan error, 1)
				go func() { _, err := running.Wait(); ended <- err }()
				select {
				case <-ended:
				case <-time.After(20 * time.Second):
					w.t.Error("MUST NOT HAPPEN: the revoked operator's session goes on")
				}
				_, err = beth.run("web-1", w.canary(0).low())
				return w.said(err)
			},
		},
		{
			part: malApid, name: "withhold the roster from held work", promise: "held work is judged by a roster as new as the approver's",
			attack: "hides the newest statement from the agent and from who asks, and not from who approves",
			shows:  "newer roster",
			check: check{
				file: "internal/approval/check.go", in: "Check",
				old: "case !want.HeadKnown(a.RosterHead):", new: "case false && !want.HeadKnown(a.RosterHead):",
				then: "the held command runs on the older roster",
			},
			play: func(w *world) string {
				c := w.canary(0)
				alice := w.as("alice")
				id := alice.ask("web-1", c.held())
				before := w.head()
				st := w.publish(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{w.homes["dora"].Unsealer.Recipient(), w.homes["carol"].Unsealer.Recipient()}})
				_, err := w.homes["bob"].Learn([][]byte{st})
				w.must(err)
				w.must(w.as("bob").decide(id))
				w.freeze(before)
				w.apid.play("POST /v1/sessions", w.granted(func(g *token.Grant) { g.Effect = "hold" }))
				w.must(alice.await(id))
				_, err = alice.use("web-1", c.held(), id)
				return w.said(err)
			},
		},
		{
			part: malApid, name: "fork the roster", promise: "two rosters under one number are found when two honest sides meet",
			attack: "keeps back a statement that an admin has signed, has the admin sign another in its place, and shows one to the agent and one to the operator",
			shows:  "two rosters are signed under one number",
			check: check{
				file: "internal/roster/apply.go", in: "(*Roster).judgeOld",
				old: "if r.hashes[s.Seq-1] == envelope.Sum(u.InsecurePayload()) {", new: "if true || r.hashes[s.Seq-1] == envelope.Sum(u.InsecurePayload()) {",
				then: "the session is still refused, and nobody keeps the evidence",
			},
			play: func(w *world) string {
				c := w.canary(0)
				m := w.machines["web-1"]
				kept := w.sign(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{w.homes["carol"].Unsealer.Recipient()}})
				w.meet.tell(m, kept)
				m.await(w, "msg=roster")
				w.publish(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{w.homes["bob"].Unsealer.Recipient()}})
				w.apid.play("POST /v1/sessions", w.granted(nil))
				alice := w.as("alice")
				_, err := alice.Sync(w.t.Context())
				w.must(err)
				_, err = alice.run("web-1", c.low())
				w.said(err)
				evidence, err := filepath.Glob(filepath.Join(m.dir, "roster", "fork-*"))
				w.must(err)
				if len(evidence) != 1 {
					w.t.Error("MUST NOT HAPPEN: no evidence of the fork is kept")
				} else if st, err := os.Stat(evidence[0]); err != nil || st.Size() == 0 {
					w.t.Errorf("the evidence: %v", err)
				}
				return m.logs.String()
			},
		},
	}
}
