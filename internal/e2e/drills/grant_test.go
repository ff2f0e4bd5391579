package drills

import (
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func grantDrills() []*drill {
	return []*drill{
		{
			part: malApid, name: "forge an operator's proof", promise: "without the operator's own signature nothing is asked",
			attack: "signs a proof in an operator's name, once with its own key and once with the operator's key id under its own signature, and grants it",
			shows:  "silence",
			check: check{
				file: "internal/envelope/envelope.go", in: "(Unverified).Verify",
				old: "if !pub.Verify(context, s.Sig, u.w.Payload) {", new: "if false && !pub.Verify(context, s.Sig, u.w.Payload) {",
				then: "the agent answers the offer; the handshake still wants the operator's key, and nothing runs",
			},
			play: func(w *world) string {
				c := w.canary(0)
				m := w.machines["web-1"]
				said := w.refused(w.attack(m, attempt{by: w.grantKey, argv: c.low()}))
				if said != "silence" {
					w.t.Errorf("a proof by a server's key: %s", said)
				}
				alice := w.homes["alice"].Identity.Kid()
				command := token.Command{V: token.Version, Argv: c.low(), Env: [][2]string{}, Stdin: token.StdinNone, Salt: token.NewID()}
				now := time.Now().Unix()
				r := w.homes["carol"].Roster()
				mallory := w.identity()
				proof, err := envelope.Sign(token.Proof{}.Context(), token.Proof{
					V: token.Version, JTI: token.NewID(), IAT: now, Exp: now + 60, Aud: token.Audience(m.kid), TeamFP: w.fp, Operator: alice,
					Act: token.ActSession, Target: m.kid, SessionID: token.NewID(), Kind: "exec", Commitment: command.Commitment(),
					PolicyHash: r.PolicyHash(), RosterHead: token.Head(r.Head()), ActorSeq: 1,
				}, mallory)
				w.must(err)
				proof = renamed(proof, mallory.Kid(), alice)
				return w.refused(w.attack(m, attempt{by: mallory, argv: c.low(), proof: proof, command: &command}))
			},
		},
		{
			part: malApid, name: "grant what policy denies", promise: "a grant is needed and never enough: the agent judges by the signed policy",
			attack: "grants a session to somebody whom no rule lets in",
			shows:  "(this agent's policy: version 1)",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).judge",
				old: "if a.verdict.Effect == policy.Deny {", new: "if false && a.verdict.Effect == policy.Deny {",
				then: "the agent still refuses: a verdict that denies meets no gate level",
			},
			play: func(w *world) string {
				c := w.canary(0)
				m := w.machines["web-1"]
				return w.refused(w.attack(m, attempt{by: w.inLeague("dora"), argv: c.low()})) + m.await(w, "session refused")
			},
		},
		{
			part: malApid, name: "grant a command that policy denies", promise: "no server sees a command, and no server can let one run that policy denies",
			attack: "grants an operator in league, whose client judges nothing, a session for a command of the critical tier",
			shows:  "commands.critical",
			check: check{
				file: "agent/host/decide.go", in: "(*checker).decide",
				old:  "no := c.reevaluate(a, t)\n\tif no == nil && policy.Kind",
				new:  "no := c.reevaluate(a, t)\n\tif no != nil {\n\t\tno, t.verdict.Effect = nil, policy.Allow\n\t}\n\tif no == nil && policy.Kind",
				then: "the command runs",
			},
			play: func(w *world) string {
				c := w.canary(0)
				return w.refused(w.attack(w.machines["web-1"], attempt{by: w.inLeague("alice"), argv: c.denied()}))
			},
		},
		{
			part: malApid, name: "grant a held command", promise: "held work needs the signatures of the people whom policy names",
			attack: "grants an operator in league a session for a held command as if it were an allowed one, without any approval",
			shows:  "commands.high",
			check: check{
				file: "agent/host/decide.go", in: "(*checker).decide",
				old: "if no := c.approvals(ctx, a, t); no != nil {", new: "if no := c.approvals(ctx, a, t); false && no != nil {",
				then: "the command runs",
			},
			play: func(w *world) string {
				c := w.canary(0)
				return w.refused(w.attack(w.machines["web-1"], attempt{by: w.inLeague("alice"), argv: c.held()}))
			},
		},
		{
			part: malApid, name: "sign grants with another key", promise: "each server key serves one purpose",
			attack: "signs a grant with the key of its access tokens, and with one that nobody knows",
			shows:  "grant: it is expired or not for this request",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "return a.roster.ServerKey(roster.ServerGrant, k) }", new: "return a.roster.Key(k) }",
				then: "whoever steals any server's key can grant",
			},
			play: func(w *world) string {
				unknown := w.identity()
				said := w.refused(w.attack(w.machines["web-1"], attempt{by: w.inLeague("alice"), argv: w.canary(0).low(), signer: &unknown}))
				if !strings.Contains(said, "grant: ") {
					w.t.Errorf("a grant by an unknown key: %s", said)
				}
				return w.refused(w.attack(w.machines["web-1"], attempt{by: w.inLeague("alice"), argv: w.canary(0).low(), signer: &w.tokenKey}))
			},
		},
		{
			part: malApid, name: "widen a grant", promise: "a grant is for what the operator has signed, field by field",
			attack: "answers an honest request for one command with grants for a shell, another user, another machine, another session, another command and another proof",
			shows:  "grant: it is expired or not for this request",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).verifyGrant",
				old:  "return v, token.GrantMatchesProof(v, a.proof)",
				new:  "return v, nil",
				then: "the session begins; the agent still goes by the operator's proof in all that it does",
			},
			play: func(w *world) string {
				alice := w.as("alice")
				said := ""
				for name, change := range map[string]func(*token.Grant){
					"kind":      func(g *token.Grant) { g.Kind = "shell" },
					"as":        func(g *token.Grant) { g.As = "root" },
					"session":   func(g *token.Grant) { g.SessionID = token.NewID() },
					"command":   func(g *token.Grant) { g.Commitment[0] ^= 1 },
					"confirmed": func(g *token.Grant) { g.Confirmed = !g.Confirmed },
					"proof":     func(g *token.Grant) { g.ProofHash[0] ^= 1 },
					"operator":  func(g *token.Grant) { g.Operator = w.homes["beth"].Identity.Kid() },
					"agent":     func(g *token.Grant) { g.Agent = w.machines["web-2"].kid },
					"policy":    func(g *token.Grant) { g.PolicyHash[0] ^= 1 },
				} {
					w.apid.play("POST /v1/sessions", w.granted(change))
					_, err := alice.run("web-1", w.canary(0).low())
					if said = w.said(err); !strings.Contains(said, "grant: ") {
						w.t.Errorf("another %s: %s", name, said)
					}
				}
				return said
			},
		},
		{
			part: malApid, name: "replay a session", promise: "what was granted once starts once",
			attack: "hands an agent a recorded offer and its last handshake message again: at once, and after the agent's restart",
			shows:  "used: this session was used before",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).admit",
				old: "if err := c.used.Check(c.sessionItem(a)); err != nil {", new: "if err := c.used.Check(c.sessionItem(a)); false && err != nil {",
				then: "the agent answers the offer; its handshake is new, so the recorded end does not fit, and nothing runs",
			},
			play: func(w *world) string {
				c := w.canary(1)
				m := w.machines["web-1"]
				_, err := w.as("alice").run("web-1", c.low())
				w.must(err)
				offer, end := w.meet.last()
				m.await(w, "session ended")
				for _, when := range []string{"at once", "after a restart"} {
					_, err = w.meet.offer(m, signal(offer))
					if err == nil {
						w.t.Errorf("MUST NOT HAPPEN: %s: the replayed offer was answered", when)
					}
					w.meet.finish(m, end)
					m.stop()
					w.startAgent("web-1")
				}
				return w.said(err)
			},
		},
		{
			part: malApid, name: "hand out another relay", promise: "devices send packets only to relays that admins have signed",
			attack: "answers a session with a relay of the attacker's own",
			shows:  "which the roster does not",
			check: check{
				file: "backend/control/open.go", in: "(*plan).seal",
				old: "if !slices.Contains(p.roster.Relays(), relay.Addr) {", new: "if false && !slices.Contains(p.roster.Relays(), relay.Addr) {",
				then: "the operator's device sends packets to an address of the attacker's choice",
			},
			play: func(w *world) string {
				l, err := net.ListenPacket("udp", "127.0.0.1:0")
				w.must(err)
				defer l.Close()
				w.apid.play("POST /v1/sessions", alter(func(a *wire.SessionAnswer) { a.Relay.Addr = l.LocalAddr().String() }))
				_, err = w.as("alice").run("web-1", w.canary(0).low())
				l.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, _, err := l.ReadFrom(make([]byte, 1500)); !errors.Is(err, os.ErrDeadlineExceeded) {
					w.t.Error("MUST NOT HAPPEN: the operator's device has sent a packet there")
				}
				return w.said(err)
			},
		},
		{
			part: malApid, name: "send an agent elsewhere", promise: "devices send packets only to relays that admins have signed",
			attack: "has an operator in league name a relay of the attacker's in the sealed bundle",
			shows:  "relay: the agent can't use this relay",
			check: check{
				file: "agent/host/checker.go", in: "(*checker).relay",
				old: "if !slices.Contains(a.roster.Relays(), r.Addr) {", new: "if false && !slices.Contains(a.roster.Relays(), r.Addr) {",
				then: "the agent sends packets to an address of the attacker's choice",
			},
			play: func(w *world) string {
				l, err := net.ListenPacket("udp", "127.0.0.1:0")
				w.must(err)
				defer l.Close()
				said := w.refused(w.attack(w.machines["web-1"], attempt{
					by: w.inLeague("alice"), argv: w.canary(0).low(), seal: func(b *token.Bundle) { b.Relay.Addr = l.LocalAddr().String() },
				}))
				l.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, _, err := l.ReadFrom(make([]byte, 1500)); !errors.Is(err, os.ErrDeadlineExceeded) {
					w.t.Error("MUST NOT HAPPEN: the agent has sent a packet there")
				}
				return said
			},
		},
	}
}
