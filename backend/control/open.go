package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/onlooker"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A plan is one request as this device is about to sign it.
type plan struct {
	req     backend.OpenRequest
	roster  *roster.Roster
	me      roster.Device
	agent   roster.Agent
	verdict policy.Verdict
	session token.ID
	act     string // what the proof asks for; empty: the session
	command token.Command
	look    []token.Bound // the words that are asked about; nil: it runs
}

// Open opens a terminal. The order is: judge here; prove the request to apid,
// which may refuse and else grants; seal grant, proof and approvals to the
// agent; shake hands with it through the rendezvous; speak over the relay, and
// over a direct path once there is one.
func (b *Backend) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if b.isClosed() {
		return nil, backend.ErrClosed
	}
	b.greet(ctx)
	// What this device knows of the roster is good enough to ask with: apid grants
	// nothing to a proof that names another head than the newest. But a no may be an
	// old one, and an approval is used once.
	p, approvals, err := b.plan(b.home.Roster(), req, nil)
	if err != nil || approvals != nil {
		r, err := b.Sync(ctx)
		if err != nil && !errors.Is(err, backend.ErrUnavailable) {
			return nil, err
		}
		if p, approvals, err = b.plan(r, req, approvals); err != nil {
			return nil, err
		}
	}
	t, err := b.open(ctx, p, approvals)
	if newer := (*newerRosterError)(nil); errors.As(err, &newer) {
		// apid judged by a newer roster or policy: fetch it and judge again. It has
		// used up no approval.
		r, serr := b.syncNow(ctx)
		if serr != nil {
			return nil, serr
		}
		if p, approvals, err = b.plan(r, req, approvals); err != nil {
			return nil, err
		}
		t, err = b.open(ctx, p, approvals)
	}
	return t, err
}

// knocked bounds the relays that are asked early: a roster names few, and apid chooses.
const knocked = 2

// greet has rendezvous and relay know of this device while apid is asked, so that they
// need fewer round trips then.
func (b *Backend) greet(ctx context.Context) {
	backend.Go(func() { b.api.Greet(ctx, b.home.Profile.Rendezvous) })
	relays := b.home.Roster().Relays()
	for _, addr := range relays[:min(len(relays), knocked)] {
		backend.Go(func() { b.relays.Knock(ctx, addr) })
	}
}

// plan judges a request and gives what to sign. A request that uses an approval
// keeps the ask's session and command, which the approvers have signed; g is what was
// taken for it before, nil the first time.
func (b *Backend) plan(r *roster.Roster, req backend.OpenRequest, g *granted) (*plan, *granted, error) {
	me, a, err := b.parties(r, req.Target)
	if err != nil {
		return nil, nil, err
	}
	v, err := b.judge(r, me, a, req)
	if err != nil {
		return nil, nil, err
	}
	p := &plan{req: req, roster: r, me: me, agent: a, verdict: v}
	if req.Session != "" && !req.Kind.Watches() && v.Effect != policy.Deny {
		// Whom it was held for, or who confirmed it, is not asked again.
		p.act, p.req.Confirmed = token.ActResume, true
		if p.session, err = token.ParseID(string(req.Session)); err != nil {
			return nil, nil, fmt.Errorf("%w: %q is no session; `tucdesk ps` lists them", backend.ErrNotFound, req.Session)
		}
		p.command = review.Command(req, false)
		return p, nil, p.command.Check()
	}
	switch v.Effect {
	case policy.Allow:
	case policy.Confirm:
		if !req.Confirmed {
			return nil, nil, shown(v).Err()
		}
	case policy.Hold:
		if req.Approval == "" {
			return nil, nil, shown(v).Err()
		}
		if g == nil {
			if g, err = b.take(req); err != nil {
				return nil, nil, err
			}
		}
		p.session, p.command = g.ask.SessionID, g.ask.Command
		return p, g, nil
	default:
		return nil, nil, shown(v).Err()
	}
	p.session, p.command = token.NewID(), review.Command(req, false)
	return p, nil, p.command.Check()
}

// proof signs a proof about p that follows a link of this device's chain.
func (b *Backend) proof(p *plan, act string) func(audit.Link) ([]byte, error) {
	return func(l audit.Link) ([]byte, error) {
		now := b.now().Unix()
		return token.SignProof(b.home.Identity, token.Proof{
			JTI: token.NewID(), IAT: now, Exp: now + int64(token.ProofLife/time.Second),
			TeamFP: p.roster.TeamFP(), Operator: p.me.Kid, Act: act, Target: p.agent.Kid,
			SessionID: p.session, Kind: string(p.req.Kind), As: p.req.As,
			Commitment: p.command.Commitment(), Confirmed: p.req.Confirmed,
			PolicyHash: p.roster.PolicyHash(), RosterHead: token.Head(p.roster.Head()),
			Checkpoint: b.lookout.Checkpoint(p.roster), ActorSeq: l.Seq + 1, ActorPrev: l.Hash,
		})
	}
}

// prove signs the next proof of this device about p, and sends it with send.
func (b *Backend) prove(ctx context.Context, p *plan, act string, send func(ctx context.Context, proof []byte) (wire.Actor, error)) error {
	return b.home.Prove(ctx, b.proof(p, act),
		func(ctx context.Context, proof []byte) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, answerIn)
			defer cancel()
			actor, err := send(ctx, proof)
			var no *wire.ProblemError
			if errors.As(err, &no) && no.Actor != nil {
				actor = *no.Actor
			}
			return review.Recorded(actor, proof), err
		},
		func(ctx context.Context, proof []byte) error {
			ctx, cancel := context.WithTimeout(ctx, answerIn)
			defer cancel()
			actor, err := b.api.RecordProof(ctx, proof)
			if err == nil && !review.Recorded(actor, proof) {
				err = fmt.Errorf("apid says that this device's chain stands at %d, and this device has signed further: the audit log has lost entries, or this home is a copy; tell an auditor", actor.Seq)
			}
			return err
		})
}

// newerRosterError says that apid knows a newer roster than the request names.
type newerRosterError struct{ err error }

func (e *newerRosterError) Error() string { return e.err.Error() }
func (e *newerRosterError) Unwrap() error { return e.err }

func (b *Backend) open(ctx context.Context, p *plan, g *granted) (backend.Terminal, error) {
	hints := b.hinted()
	proof, approvals, answer, err := b.grant(ctx, p, g)
	if err == nil {
		b.compared(hints) // the proof's head is the newest, says the grant
	}
	if err != nil {
		var no *wire.ProblemError
		if errors.As(err, &no) && no.Kind() == wire.KindConflict && no.Head != nil && no.Head.Seq > p.roster.Head().Seq {
			return nil, &newerRosterError{translate(err)}
		}
		return nil, translate(err)
	}
	return b.connect(ctx, p, token.Bundle{Proof: proof, Grant: answer.Grant, Approvals: approvals}, answer.Relay, b.api, b.home.Profile.Rendezvous)
}

// grant proves the request to apid, and gives what it grants, with the proof and the
// approvals that the agent wants to see beside it. g is nil where nobody had to approve.
func (b *Backend) grant(ctx context.Context, p *plan, g *granted) (proof []byte, approvals [][]byte, answer wire.SessionAnswer, err error) {
	var ids []token.ID
	if g != nil {
		ids, approvals = []token.ID{g.ask.ID}, g.approvals
	}
	err = b.prove(ctx, p, cmp.Or(p.act, token.ActSession), func(ctx context.Context, pr []byte) (wire.Actor, error) {
		var err error
		proof = pr
		answer, err = b.api.OpenSession(ctx, wire.SessionRequest{Proof: pr, Approvals: ids})
		return answer.Actor, err
	})
	return proof, approvals, answer, err
}

// seal seals a bundle to the agent. A server that could name any relay could
// make this device, and the agent, send packets anywhere: only those that admins have
// signed are used.
func (p *plan) seal(bundle token.Bundle, relay wire.Relay) ([]byte, envelope.Hash, error) {
	if !slices.Contains(p.roster.Relays(), relay.Addr) {
		return nil, envelope.Hash{}, fmt.Errorf("%w: apid names the relay %q, which the roster does not", backend.ErrDenied, relay.Addr)
	}
	bundle.Statements = p.roster.Recent()
	bundle.Relay = token.RelayAccess{Addr: relay.Addr, Username: relay.Agent.Username, Password: relay.Agent.Password}
	return token.SealBundle(bundle, p.agent.Recipient)
}

// start opens the channel of a session, the first or an extra one, and waits for the
// agent's word.
func (b *Backend) start(ctx context.Context, l *link, extra bool) (backend.Terminal, error) {
	p := l.plan
	c := p.command
	msg := channel.OpenMessage{
		Kind: string(p.req.Kind), Argv: c.Argv, Cwd: c.Cwd, Env: c.Env, As: p.req.As, Stdin: c.Stdin, Salt: c.Salt, Bound: c.Bound, Runbook: c.Runbook,
	}
	if p.look != nil {
		msg.Bound = p.look
	}
	if c.Stdin == token.StdinTTY {
		msg.TTY = &channel.TTY{Cols: max(p.req.Cols, 1), Rows: max(p.req.Rows, 1), Term: p.req.Term}
	}
	ch, err := l.mux.Open(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	answer, err := ch.AwaitAnswer(ctx)
	if err != nil {
		ch.Close()
		return nil, fmt.Errorf("%w: %s did not answer: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	if !answer.Allowed() {
		ch.Close()
		// The agent has the last word. Where it judges by another policy it
		// says so in its reason.
		v := backend.Verdict{Rule: answer.Rule, Line: answer.Line, Reason: p.agent.Name + " refused: " + answer.Reason}
		return nil, v.Err()
	}
	if err := onlooker.Whose(p.req, answer.Owner); err != nil {
		ch.Close()
		return nil, err
	}
	past, err := ch.ReadPast(ctx, answer)
	if err != nil {
		return nil, fmt.Errorf("%w: %s did not say what the terminal had shown: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	t := newTerminal(b, l, ch, answer, extra)
	if a := answer.Past; a != nil {
		t.past = &backend.Past{Output: past, Lost: a.Lost, Cols: a.Cols, Rows: a.Rows}
	}
	t.starts = b.followStarts(p, l.mux, answer.Gate)
	if p.req.Kind == backend.KindShell && !extra {
		t.Audience = onlooker.Follow(l.mux)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, backend.ErrClosed
	}
	b.terminals[t] = struct{}{}
	if p.req.Kind.Watches() {
		return onlooker.New(t, p.req), nil
	}
	return t, nil
}
