package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// defaultSession is how long a session may last where the policy does not say.
const defaultSession = 12 * time.Hour

// postSession answers a request for a session: deny, hold, or a grant. The entry
// comes first, in the same transaction; the answer after its commit.
func (s *Server) postSession(ctx context.Context, r *door.Request, in wire.SessionRequest) (wire.SessionAnswer, error) {
	if len(in.Approvals) > maxNamed {
		return wire.SessionAnswer{}, door.Malformed("too many approvals", "name those that this session relies on")
	}
	online := s.lookUp(ctx, r.Caller, in.Proof)
	var body sessions.Body
	var refusal error
	err := s.effect(ctx, r.Caller, func(t *team) error {
		refusal = nil
		v, err := s.operatorProof(t, r.Caller, in.Proof, actOf(in.Proof))
		if err != nil {
			return err
		}
		if v.Body().Act == token.ActResume {
			body, refusal, err = s.comeBack(t, r.Caller, v)
			return err
		}
		if done, err := s.grantedBefore(t, v); err != nil || done != nil {
			if done != nil {
				body = *done
			}
			return err
		}
		if err := t.current(v.Body()); err != nil {
			return err
		}
		agent, err := s.target(t, v.Body())
		if err != nil {
			return err
		}
		j := s.judge(t, r.Caller, v, agent)
		if j.actor, err = s.useProof(t, v); err != nil {
			return err
		}
		entry := j.entry(audit.Verdict, r.Caller, t.roster)
		named, err := s.namedApprovals(t, v.Body(), in.Approvals)
		if err != nil {
			return err
		}
		entry.Approvals = named.decisions
		if refusal = j.refusal(t.roster, named); refusal != nil {
			return s.record(t, entry)
		}
		if err := reachable(online, agent.Name); err != nil {
			return err
		}
		if err := s.record(t, entry); err != nil {
			return err
		}
		if err := named.spend(t); err != nil {
			return err
		}
		body, err = s.grant(t, &j, in.Approvals)
		return err
	})
	switch {
	case err != nil:
		return wire.SessionAnswer{}, err
	case refusal != nil:
		return wire.SessionAnswer{}, refusal
	}
	return s.sessionAnswer(r.Caller, body)
}

// lookUp asks the registry about the target of a proof, before the transaction:
// nothing waits for another server while it holds the team. The proof is not
// checked yet; its target is only worth a question if it is on the roster.
func (s *Server) lookUp(ctx context.Context, c door.Caller, raw []byte) wire.AgentState {
	unknown := wire.AgentState{State: wire.Unknown}
	u, err := token.ParseProof(raw)
	if err != nil {
		return unknown
	}
	var p token.Proof
	if u.InsecureDecode(&p) != nil {
		return unknown
	}
	if _, err := c.Roster.Agent(p.Target, s.now()); err != nil {
		return unknown
	}
	states, err := s.presence.States(ctx, c.Team, []key.Kid{p.Target})
	if err != nil {
		s.logger.Warn("rendezvous does not say who is online", "err", err)
	}
	return states[0]
}

// grantedBefore finds the grant that the same proof got before, so that a client
// whose answer was lost may ask again. A session's id is good for one grant.
func (s *Server) grantedBefore(t *team, v token.VerifiedProof) (*sessions.Body, error) {
	row, err := t.tx.Sessions.Get(v.Body().SessionID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case row.ProofHash != v.Hash() || row.Operator != v.Body().Operator:
		return nil, wire.NewProblem(wire.KindUsed, "this session id was used before", "choose a new one")
	}
	body, err := sessions.Read(row)
	if err != nil {
		return nil, err
	}
	if s.now().Unix() > body.StartBy {
		return nil, wire.NewProblem(wire.KindExpired, "the grant of this session has expired", "ask for a new session")
	}
	return &body, nil
}

// refusal is nil where a judgement, with the approvals that were named for it,
// is a yes.
func (j *judgement) refusal(on *roster.Roster, named namedApprovals) error {
	switch j.verdict.Effect {
	case policy.Allow:
		return nil
	case policy.Confirm:
		if j.proof.Body().Confirmed {
			return nil
		}
	case policy.Hold:
		short := func(a *ask.Ask) bool { return !a.Meets(j.verdict, on) }
		if len(named.rows) > 0 && !slices.ContainsFunc(named.rows, short) {
			return nil
		}
	}
	return j.problem()
}

// grant signs a grant and keeps it.
func (s *Server) grant(t *team, j *judgement, approvals []token.ID) (sessions.Body, error) {
	p, now := j.proof.Body(), s.now()
	last := j.verdict.Obligations.MaxSession
	if last <= 0 {
		last = defaultSession
	}
	last = max(min(last, token.MaxSession), token.StartWithin)
	body, err := s.sign(t, j, j.verdict.Effect, approvals, now.Add(last))
	if err != nil {
		return body, err
	}
	b, err := envelope.Marshal(body)
	if err != nil {
		return body, err
	}
	row, err := t.tx.Sessions.Insert(store.Session{
		ID: p.SessionID, State: sessions.Granted, Operator: p.Operator, Agent: p.Target, ProofHash: j.proof.Hash(),
		Created: now, EndsBy: now.Add(last), Body: b,
	})
	t.sessions = append(t.sessions, row)
	return body, err
}

// sign makes a grant for what a judgement's proof asks for.
func (s *Server) sign(t *team, j *judgement, effect policy.Effect, approvals []token.ID, ends time.Time) (sessions.Body, error) {
	p, now := j.proof.Body(), s.now()
	g := token.Grant{
		TeamFP: p.TeamFP, SessionID: p.SessionID, Operator: p.Operator, Agent: p.Target, Kind: p.Kind, As: p.As,
		Commitment: p.Commitment, Confirmed: p.Confirmed, Effect: effect.String(), Rule: j.verdict.Rule,
		PolicyHash: p.PolicyHash, Approvals: approvals, ProofHash: j.proof.Hash(), Nonce: token.NewID(),
		IAT: now.Unix(), StartBy: now.Add(token.StartWithin).Unix(), EndsBy: max(ends.Unix(), now.Add(token.StartWithin).Unix()),
	}
	signed, err := token.SignGrant(s.cfg.Keys.Grant.For(t.roster.ServerKeys(roster.ServerGrant)), g)
	if err != nil {
		return sessions.Body{}, fmt.Errorf("api: grant: %w", err)
	}
	return sessions.Body{Kind: p.Kind, As: p.As, Grant: signed, StartBy: g.StartBy, Actor: j.actor}, nil
}

// actOf is what a proof for a session asks for: a new one, or to come back to one.
func actOf(raw []byte) string {
	u, err := token.ParseProof(raw)
	var p token.Proof
	if err == nil && u.InsecureDecode(&p) == nil && p.Act == token.ActResume {
		return token.ActResume
	}
	return token.ActSession
}

// comeBack answers a member who wants the terminal of an own session that runs. Policy
// must allow it now; who held or confirmed it when it began is not asked again. The grant
// ends with the session.
func (s *Server) comeBack(t *team, c door.Caller, v token.VerifiedProof) (body sessions.Body, refusal, err error) {
	p := v.Body()
	if err := t.current(p); err != nil {
		return body, nil, err
	}
	agent, err := s.target(t, p)
	if err != nil {
		return body, nil, err
	}
	row, err := sessions.Returns(t.tx, t.roster, c.Device.MemberID, p)
	if err != nil {
		return body, nil, err
	}
	j := s.judge(t, c, v, agent)
	if j.actor, err = s.useProof(t, v); err != nil {
		return body, nil, err
	}
	if err := s.record(t, j.entry(audit.Verdict, c, t.roster)); err != nil {
		return body, nil, err
	}
	if j.verdict.Effect == policy.Deny {
		return body, j.problem(), nil
	}
	body, err = s.sign(t, &j, policy.Allow, nil, row.EndsBy)
	return body, nil, err
}

// sessionAnswer adds the relay's credentials, which are computed and never kept.
func (s *Server) sessionAnswer(c door.Caller, body sessions.Body) (wire.SessionAnswer, error) {
	answer := wire.SessionAnswer{Grant: body.Grant, Rendezvous: s.cfg.RendezvousURL, Actor: body.Actor}
	u, err := token.ParseGrant(body.Grant)
	if err != nil {
		return wire.SessionAnswer{}, err
	}
	var g token.Grant
	if err := u.InsecureDecode(&g); err != nil { // our own, from our own store
		return wire.SessionAnswer{}, err
	}
	named := c.Roster.Relays()
	i := slices.IndexFunc(s.cfg.RelayAddrs, func(a string) bool { return slices.Contains(named, a) })
	if i < 0 || s.cfg.RelaySecret.IsZero() {
		return answer, nil
	}
	s.usage.Granted(g.SessionID, c.Team)
	answer.Relay.Addr = s.cfg.RelayAddrs[i]
	for side, into := range map[cred.Side]*wire.Credential{cred.Operator: &answer.Relay.Operator, cred.Agent: &answer.Relay.Agent} {
		minted := s.cfg.RelaySecret.Mint(g.SessionID, side, time.Unix(g.EndsBy, 0))
		*into = wire.Credential{Username: minted.Username, Password: string(minted.Password)}
	}
	return answer, nil
}

// getActor tells the end of the chain of this device's proofs.
func (s *Server) getActor(ctx context.Context, r *door.Request) (actor wire.Actor, err error) {
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		actor.Seq, actor.Hash, err = tx.Audit.Chain(proofChain, r.Caller.Kid)
		return err
	})
	return actor, err
}

// getSessions gives the latest sessions: one's own, or all of them to auditors.
func (s *Server) getSessions(ctx context.Context, r *door.Request) (page wire.SessionsPage, err error) {
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		page, err = sessions.List(tx, r.Caller, s.now())
		return err
	})
	return page, err
}
