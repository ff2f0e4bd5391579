package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/apid/api/rosters"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// proofChain names the chains of operators' proofs in the store.
const proofChain = "proof"

// A team is a team inside one transaction: its roster as it stands there, and
// its log.
type team struct {
	tx     store.Tx
	roster *roster.Roster
	log    *audit.Log
	signer key.Kid // of log
	wrote  bool    // entries that no checkpoint covers yet
	signed []byte  // the checkpoint over them

	// What changed, for those who wait or listen.
	began    roster.Head
	asks     []*ask.Ask
	sessions []store.Session
}

// keep stores an ask.
func (t *team) keep(a *ask.Ask) error {
	t.asks = append(t.asks, a)
	return a.Write(t.tx)
}

// move stores a session's next state.
func (t *team) move(row store.Session) error {
	t.sessions = append(t.sessions, row)
	_, err := t.tx.Sessions.Update(row)
	return err
}

// record appends an entry of apid's own.
func (s *Server) record(t *team, e audit.Entry) error {
	e.Timestamp, e.RosterHead = s.now().Unix(), t.roster.Head()
	t.wrote = true
	_, _, err := t.log.Record(t.tx.Audit, e)
	return err
}

// begin makes the team of a transaction.
func (s *Server) begin(tx store.Tx, name string) (*team, error) {
	r, err := s.rosters.At(tx, name)
	if err != nil {
		return nil, err
	}
	return s.team(tx, r), nil
}

// team makes the team of a roster. Its log is signed with a key that the roster
// names, also while keys are rotated.
func (s *Server) team(tx store.Tx, r *roster.Roster) *team {
	id := s.cfg.Keys.Log.For(r.ServerKeys(roster.ServerLog))
	return &team{tx: tx, roster: r, began: r.Head(), signer: id.Kid(), log: audit.NewLog(id, r.TeamFP(), r.TeamID())}
}

// transact runs f as the team's only writer. What f recorded is under a signed
// checkpoint when it returns nil; if f fails, nothing of it is kept.
func (s *Server) transact(ctx context.Context, name string, f func(*team) error) error {
	return s.commit(ctx, name, func(tx store.Tx) (*team, error) {
		t, err := s.begin(tx, name)
		if err != nil {
			return nil, err
		}
		return t, f(t)
	})
}

// commit runs f in the team's transaction, signs what it recorded, remembers what
// was signed, and wakes those who wait for what changed. A log that was set back is not signed, and nothing is kept.
func (s *Server) commit(ctx context.Context, name string, f func(store.Tx) (*team, error)) error {
	var t *team
	err := s.store.Tx(ctx, name, func(tx store.Tx) (err error) {
		if t, err = f(tx); err != nil || !t.wrote {
			return err
		}
		if err := s.marks.Check(t.roster.TeamFP(), audit.Restarts(t.roster), tx.Audit); err != nil {
			return err
		}
		t.signed, err = t.log.Sign(tx.Audit)
		return err
	})
	switch {
	case errors.Is(err, marks.ErrSetBack):
		s.logger.Error("nothing is signed or granted for this team", "team", name, "err", err)
		return wire.NewProblem(wire.KindUnavailable, "the audit log in this server's database is older than what the server has signed: it goes no further", "whoever runs the server restores the newest backup; if there is none, admins run tucdesk audit restart --reason WHY")
	case errors.Is(err, rosters.ErrDamaged), errors.Is(err, audit.ErrInconsistent):
		return fmt.Errorf("%w: team %s: %w", door.ErrDamaged, name, err)
	case err != nil:
		return err
	}
	s.tell(name, t)
	if t.signed == nil {
		return nil
	}
	if err := s.marks.Signed(name, len(t.roster.Restarts()), t.signed); err != nil {
		s.logger.Error("a signed checkpoint is not remembered", "team", name, "err", err)
	}
	return nil
}

// effect is transact for a member's request: the device must still be on the
// roster, and the request's proof is used up with the effect. A refusal that f
// returns leaves an entry about who tried.
func (s *Server) effect(ctx context.Context, c door.Caller, f func(*team) error) error {
	err := s.transact(ctx, c.Team, func(t *team) error {
		if _, err := t.roster.Device(c.Kid, s.now()); err != nil {
			return door.Unauthenticated()
		}
		err := t.tx.Replay.Use(c.Kid, "dpop "+c.Proof.JTI, c.Proof.IssuedAt.Add(2*token.DPoPWindow))
		if errors.Is(err, store.ErrReplayed) || errors.Is(err, store.ErrInvalid) {
			return door.Unauthenticated()
		}
		if err != nil {
			return err
		}
		return f(t)
	})
	if err != nil {
		s.recordRefusal(ctx, c, err)
	}
	return err
}

// recordRefusal leaves an entry where a known device was refused something that
// an honest client does not ask for. Its own errors are logged only: the answer
// is a no in any case.
func (s *Server) recordRefusal(ctx context.Context, c door.Caller, refusal error) {
	var p *wire.ProblemError
	if !errors.As(refusal, &p) || p.Actor != nil {
		return // not a refusal, or one with an entry of its own
	}
	switch p.Kind() {
	case wire.KindUnauthenticated, wire.KindDenied, wire.KindNotFound, wire.KindUsed, wire.KindExpired:
	default:
		return
	}
	if !s.refusals.Take(string(c.Kid[:]), s.now()) {
		s.logger.Warn("refusals of one device come too fast to record each", "device", c.Kid.Short())
		return
	}
	err := s.transact(context.WithoutCancel(ctx), c.Team, func(t *team) error {
		return s.record(t, audit.Entry{
			Type: audit.Refusal, Action: "request", Actor: party(c), Outcome: audit.Outcome{Reason: string(p.Kind())},
		})
	})
	if err != nil {
		s.logger.Error("a refusal could not be recorded", "device", c.Kid.Short(), "err", err)
	}
}

// party names a caller in an entry.
func party(c door.Caller) audit.Party { return audit.Party{Kid: c.Kid, Name: c.Device.Email} }

// own names apid in an entry about what it did by itself.
func (t *team) own() audit.Party { return audit.Party{Kid: t.signer, Name: "apid"} }

// operatorProof checks the operator's own proof of a sensitive request: by this
// device, for this team and this act, now. It uses nothing up.
func (s *Server) operatorProof(t *team, c door.Caller, raw []byte, act string) (token.VerifiedProof, error) {
	u, err := token.ParseProof(raw)
	if err != nil {
		return token.VerifiedProof{}, door.Malformed("the operator's proof is not one", "update the client")
	}
	return verifyProof(t, c, u, act, s.now())
}

// verifyProof checks a proof as of a time.
func verifyProof(t *team, c door.Caller, u token.UnverifiedProof, act string, at time.Time) (token.VerifiedProof, error) {
	v, err := u.Verify(envelope.One(c.Device.Public), token.ExpectProof{
		Now: at, TeamFP: t.roster.TeamFP(), Audience: token.AudienceAPI, Act: act,
	})
	var mismatch *token.MismatchError
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, envelope.ErrSignature), errors.Is(err, envelope.ErrUnknownSigner):
		return v, door.Unauthenticated()
	case errors.As(err, &mismatch) && mismatch.Field == "team_fp":
		return v, door.NotFound()
	case errors.Is(err, token.ErrExpired):
		return v, wire.NewProblem(wire.KindExpired, "the operator's proof is too old", "sign a new one; check the clock")
	default:
		return v, door.Malformed(strings.TrimPrefix(err.Error(), "token: "), "sign a new proof; check the clock")
	}
}

// useProof uses a proof up: its id is spent and the chain of its device moves.
// It refuses one that does not follow the device's last.
func (s *Server) useProof(t *team, v token.VerifiedProof) (wire.Actor, error) {
	p := v.Body()
	err := t.tx.Replay.Use(p.Operator, "proof "+p.JTI.String(), s.now().Add(2*token.ProofLife))
	if errors.Is(err, store.ErrReplayed) {
		return wire.Actor{}, wire.NewProblem(wire.KindUsed, "this proof was used before", "sign a new one")
	}
	if err != nil {
		return wire.Actor{}, err
	}
	seq, last, err := t.tx.Audit.Chain(proofChain, p.Operator)
	if err != nil {
		return wire.Actor{}, err
	}
	next := wire.Actor{Seq: p.ActorSeq, Hash: v.Hash()}
	err = audit.Follow(t.tx.Audit, proofChain, p.Operator, len(t.roster.Restarts()), audit.Position{Seq: p.ActorSeq, Prev: p.ActorPrev}, v.Hash())
	if errors.Is(err, audit.ErrGap) || errors.Is(err, audit.ErrFork) {
		refusal := wire.NewProblem(wire.KindConflict, "the proof does not follow the last one of this device", "sign it again as the next after the given one")
		refusal.Actor = &wire.Actor{Seq: seq, Hash: last}
		return wire.Actor{}, refusal
	}
	return next, err
}

// current refuses a proof that was made on another roster or policy than the
// present one.
func (t *team) current(p token.Proof) error {
	head := t.roster.Head()
	if roster.Head(p.RosterHead) == head && p.PolicyHash == t.roster.PolicyHash() {
		return nil
	}
	detail, next := "the proof was made on an older roster", "fetch the roster and sign again"
	switch {
	case roster.Head(p.RosterHead) == head:
		detail = "the proof names another policy than the roster it was made on"
	case p.RosterHead.Seq > head.Seq:
		detail, next = "the proof was made on a newer roster than apid has", "send apid the statements that it lacks"
	case !t.roster.Knows(roster.Head(p.RosterHead)):
		detail, next = "the proof was made on a roster that is not this team's: someone tells two stories", "keep the roster as evidence and tell an admin of your team"
	}
	refusal := wire.NewProblem(wire.KindConflict, detail, next)
	h := wire.Head(head)
	refusal.Head = &h
	return refusal
}

// target gives the agent that a proof is about, by the team's own rows and
// roster.
func (s *Server) target(t *team, p token.Proof) (roster.Agent, error) {
	if _, err := t.tx.Targets.Get(p.Target); errors.Is(err, store.ErrNotFound) {
		return roster.Agent{}, door.NotFound()
	} else if err != nil {
		return roster.Agent{}, err
	}
	a, err := t.roster.Agent(p.Target, s.now())
	switch {
	case errors.Is(err, roster.ErrExpired):
		return roster.Agent{}, wire.NewProblem(wire.KindExpired, "this agent's place on the roster has expired", "an admin renews it")
	case err != nil:
		return roster.Agent{}, door.NotFound()
	}
	return a, nil
}

// judgement is what policy says to a request, in a form that entries take.
type judgement struct {
	verdict policy.Verdict
	proof   token.VerifiedProof
	agent   roster.Agent
	actor   wire.Actor
}

// judge evaluates what apid can see of a request: everything but the command.
func (s *Server) judge(t *team, c door.Caller, v token.VerifiedProof, a roster.Agent) judgement {
	p := v.Body()
	req := t.roster.Request(c.Device, a, policy.Kind(p.Kind), p.As, nil, s.now())
	return judgement{verdict: policy.Evaluate(req, t.roster.Snapshot()), proof: v, agent: a}
}

// entry is the record of a judgement, with the operator's proof in it.
func (j *judgement) entry(kind audit.Type, c door.Caller, r *roster.Roster) audit.Entry {
	p := j.proof.Body()
	return audit.Entry{
		Type: kind, Action: p.Kind, Actor: party(c), Target: audit.Party{Kid: j.agent.Kid, Name: j.agent.Name},
		SessionID: p.SessionID,
		Policy: audit.PolicyResult{
			Hash: r.PolicyHash(), Version: r.PolicyVersion(), Effect: j.verdict.Effect.String(), Rule: j.verdict.Rule,
		},
		Command: audit.CommandContext{Commitment: p.Commitment},
		Proof:   j.proof.Bytes(),
	}
}

// problem is the refusal of a judgement that is no yes. It was recorded: the
// chain of the device has moved.
func (j *judgement) problem() *wire.ProblemError {
	v := j.verdict
	var p *wire.ProblemError
	switch v.Effect {
	case policy.Hold:
		p = wire.NewProblem(wire.KindHeld, v.Reason, "ask for approval")
		p.Approvers, p.Quorum, p.Needs = v.Obligations.Approvers, v.Obligations.Quorum, v.Obligations.Needs.String()
		p.AskFor, p.UseFor = int64(v.Obligations.AskFor.Seconds()), int64(v.Obligations.UseFor.Seconds())
	case policy.Confirm:
		p = wire.NewProblem(wire.KindConfirm, v.Reason, "confirm, and sign a new proof that says so")
	default:
		p = door.Denied(v.Reason, "tucdesk policy explain shows every rule that was looked at")
	}
	p.Rule, p.Line = v.Rule, v.Line
	actor := j.actor
	p.Actor = &actor
	return p
}
