package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
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
	command token.Command
}

// Open opens a terminal. The order is: judge here; prove the request to apid,
// which may refuse and else grants; seal grant, proof and approvals to the
// agent; shake hands with it through the rendezvous; speak over the relay, and
// over a direct path once there is one.
func (b *Backend) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if b.isClosed() {
		return nil, backend.ErrClosed
	}
	go b.api.Greet(ctx, b.home.Profile.Rendezvous) // while apid is asked
	r, err := b.Sync(ctx)
	if err != nil && !errors.Is(err, backend.ErrUnavailable) {
		return nil, err
	}
	p, approvals, err := b.plan(r, req)
	if err != nil {
		return nil, err
	}
	t, err := b.open(ctx, p, approvals)
	if newer := (*newerRosterError)(nil); errors.As(err, &newer) {
		// apid judged by a newer roster or policy: fetch it and judge again.
		if r, err = b.syncNow(ctx); err != nil {
			return nil, err
		}
		if p, approvals, err = b.plan(r, req); err != nil {
			return nil, err
		}
		t, err = b.open(ctx, p, approvals)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// plan judges a request and gives what to sign. A request that uses an approval
// keeps the ask's session and command, which the approvers have signed.
func (b *Backend) plan(r *roster.Roster, req backend.OpenRequest) (*plan, *granted, error) {
	me, a, err := b.parties(r, req.Target)
	if err != nil {
		return nil, nil, err
	}
	v, err := b.judge(r, me, a, req)
	if err != nil {
		return nil, nil, err
	}
	p := &plan{req: req, roster: r, me: me, agent: a, verdict: v}
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
		g, err := b.take(req)
		if err != nil {
			return nil, nil, err
		}
		p.session, p.command = g.ask.SessionID, g.ask.Command
		return p, g, nil
	default:
		return nil, nil, shown(v).Err()
	}
	p.session = token.NewID()
	p.command = command(req, false)
	return p, nil, p.command.Check()
}

// command gives the Command of a request, with a fresh salt.
func command(req backend.OpenRequest, held bool) token.Command {
	c := token.Command{V: token.Version, Argv: slices.Clone(req.Argv), Salt: token.NewID(), Stdin: token.StdinStream}
	if c.Argv == nil {
		c.Argv = []string{}
	}
	c.Env = [][2]string{}
	switch {
	case req.Kind == backend.KindShell || req.TTY:
		c.Stdin = token.StdinTTY
		if req.Term != "" {
			c.Env = append(c.Env, [2]string{"TERM", req.Term})
		}
	case held:
		c.Stdin = token.StdinNone // what an approver did not see must not steer what it approved
	}
	return c
}

// prove signs the next proof of this device about p, and sends it with send.
func (b *Backend) prove(ctx context.Context, p *plan, act string, send func(ctx context.Context, proof []byte) (wire.Actor, error)) error {
	return b.home.Prove(ctx,
		func(l audit.Link) ([]byte, error) {
			now := b.now().Unix()
			return token.SignProof(b.home.Identity, token.Proof{
				JTI: token.NewID(), IAT: now, Exp: now + int64(token.ProofLife/time.Second),
				TeamFP: p.roster.TeamFP(), Operator: p.me.Kid, Act: act, Target: p.agent.Kid,
				SessionID: p.session, Kind: string(p.req.Kind), As: p.req.As,
				Commitment: p.command.Commitment(), Confirmed: p.req.Confirmed,
				PolicyHash: p.roster.PolicyHash(), RosterHead: token.Head(p.roster.Head()),
				Checkpoint: b.checkpoint(), ActorSeq: l.Seq + 1, ActorPrev: l.Hash,
			})
		},
		func(ctx context.Context, proof []byte) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, answerIn)
			defer cancel()
			actor, err := send(ctx, proof)
			var no *wire.ProblemError
			if errors.As(err, &no) && no.Actor != nil {
				actor = *no.Actor
			}
			return recorded(actor, proof), err
		},
		func(ctx context.Context, proof []byte) error {
			ctx, cancel := context.WithTimeout(ctx, answerIn)
			defer cancel()
			actor, err := b.api.RecordProof(ctx, proof)
			if err == nil && !recorded(actor, proof) {
				err = fmt.Errorf("apid says that this device's chain stands at %d, and this device has signed further: the audit log has lost entries, or this home is a copy; tell an auditor", actor.Seq)
			}
			return err
		})
}

// recorded reports whether the log's last proof of this device is the given one.
func recorded(actor wire.Actor, proof []byte) bool {
	u, err := envelope.Parse(proof)
	return err == nil && actor.Hash == envelope.Sum(u.InsecurePayload())
}

// newerRosterError says that apid knows a newer roster than the request names.
type newerRosterError struct{ err error }

func (e *newerRosterError) Error() string { return e.err.Error() }
func (e *newerRosterError) Unwrap() error { return e.err }

func (b *Backend) open(ctx context.Context, p *plan, g *granted) (*terminal, error) {
	var (
		answer wire.SessionAnswer
		proof  []byte
		ids    []token.ID
		held   [][]byte
	)
	if g != nil {
		ids, held = []token.ID{g.ask.ID}, g.approvals
	}
	err := b.prove(ctx, p, token.ActSession, func(ctx context.Context, pr []byte) (wire.Actor, error) {
		var err error
		proof = pr
		answer, err = b.api.OpenSession(ctx, wire.SessionRequest{Proof: pr, Approvals: ids})
		return answer.Actor, err
	})
	if err != nil {
		var no *wire.ProblemError
		if errors.As(err, &no) && no.Kind() == wire.KindConflict && no.Head != nil && no.Head.Seq > p.roster.Head().Seq {
			return nil, &newerRosterError{translate(err)}
		}
		return nil, translate(err)
	}
	return b.connect(ctx, p, proof, held, answer)
}

// connect reaches the agent with a grant in hand.
func (b *Backend) connect(ctx context.Context, p *plan, proof []byte, approvals [][]byte, answer wire.SessionAnswer) (*terminal, error) {
	// A server that could name any relay could make this device send packets
	// anywhere: only those that admins have signed are used.
	if !slices.Contains(p.roster.Relays(), answer.Relay.Addr) {
		return nil, fmt.Errorf("%w: apid names the relay %q, which the roster does not", backend.ErrDenied, answer.Relay.Addr)
	}
	sealed, hash, err := token.SealBundle(token.Bundle{
		Proof: proof, Grant: answer.Grant, Approvals: approvals, Statements: recent(p.roster),
		Relay: token.RelayAccess{Addr: answer.Relay.Addr, Username: answer.Relay.Agent.Username, Password: answer.Relay.Agent.Password},
	}, p.agent.Recipient)
	if err != nil {
		return nil, err
	}
	relayed, err := b.relays.Open(ctx, answer.Relay.Addr, cred.Credential{
		Username: answer.Relay.Operator.Username, Password: cred.Password(answer.Relay.Operator.Password),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the relay at %s: %w; tucdesk doctor tells which ways to it are open", backend.ErrUnavailable, answer.Relay.Addr, err)
	}
	way := path.NewSwitch(relayed, path.Options{Loopback: p.roster.Demo()})
	permitted := make(chan error, 1)
	est, peer, err := b.shake(ctx, p, sealed, hash, way.LocalRelayed().String(), func(peer net.Addr) {
		go func() { permitted <- way.Permit(ctx, peer) }()
	})
	if err == nil {
		if err = <-permitted; err != nil {
			est.Close()
		}
	}
	if err != nil {
		way.Close()
		return nil, err
	}
	mux, err := channel.Dial(ctx, way, peer, est, channel.Options{}) // owns path and session from here on
	if err != nil {
		return nil, fmt.Errorf("%w: %s answered, but no data path came up: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	t, err := b.begin(ctx, p, mux, way)
	if err != nil {
		mux.Close()
		return nil, err
	}
	return t, nil
}

// begin opens the terminal, and has a direct path looked for as b.path says.
func (b *Backend) begin(ctx context.Context, p *plan, mux *channel.Mux, way *path.Switch) (*terminal, error) {
	if b.path == DirectOnly {
		go b.steer(mux, way)
		ctx, cancel := context.WithTimeoutCause(ctx, directIn, errors.New("no direct path has been found"))
		defer cancel()
		if err := way.Await(ctx, path.Direct); err != nil {
			return nil, fmt.Errorf("%w: %s can't be reached directly: %w; the relay works: leave --path out", backend.ErrUnavailable, p.agent.Name, err)
		}
	}
	t, err := b.start(ctx, p, mux, way)
	if err != nil {
		return nil, err
	}
	if b.path == AnyPath {
		go func() {
			// A command that is over by then has not cost two machines a search.
			select {
			case <-time.After(steerAfter):
				b.steer(mux, way)
			case <-mux.Done():
			}
		}()
	}
	return t, nil
}

// steer looks for a direct path until the session ends. The relay does its work
// whatever comes of it.
func (b *Backend) steer(mux *channel.Mux, way *path.Switch) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-mux.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	ch, err := mux.Open(ctx, channel.OpenMessage{Kind: direct.Kind})
	if err != nil {
		return
	}
	defer ch.Close()
	if answer, err := ch.AwaitAnswer(ctx); err != nil || !answer.Allowed() {
		b.logger.Debug("the agent does not look for direct paths")
		return
	}
	err = direct.Lead(ctx, ch, direct.On(way))
	b.logger.Debug("no more attempts at a direct path", "error", err)
}

// shake does the handshake through the rendezvous, and gives the session and
// where on the relay the agent is. known is called with that as soon as the agent has
// proved itself, before the last message is on its way.
func (b *Backend) shake(ctx context.Context, p *plan, sealed []byte, hash envelope.Hash, candidate string, known func(net.Addr)) (*session.Established, net.Addr, error) {
	head := p.roster.Head()
	initiator, hs1, err := session.Initiate(session.InitiatorConfig{
		ID: session.ID(p.session), Self: b.home.Identity, Peer: p.agent.Public,
		TeamFP: p.roster.TeamFP(), BundleHash: hash,
		Evidence: session.Evidence{RosterSeq: head.Seq, RosterHash: head.Hash, Time: b.now(), Checkpoint: b.checkpoint()},
		MinSuite: session.Suite(p.verdict.Obligations.MinSuite),
	})
	if err != nil {
		return nil, nil, err
	}
	defer initiator.Abort()
	// The address of the rendezvous is the profile's: apid can't send the
	// bundle elsewhere.
	where := b.home.Profile.Rendezvous
	reply, err := b.offer(ctx, where, wire.Offer{
		SessionID: p.session, Agent: p.agent.Kid, Sealed: sealed, HS1: hs1, Candidate: candidate,
	})
	if err != nil {
		return nil, nil, b.offerError(p, err)
	}
	hs3, est, err := initiator.Consume(reply.HS2)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: what answered for %s is not the machine that the roster names: %w", backend.ErrDenied, p.agent.Name, err)
	}
	if err := b.compare(p, est.Peer); err != nil {
		est.Close()
		return nil, nil, err
	}
	b.meet(p.agent.Name, est.Peer)
	peer, err := net.ResolveUDPAddr("udp", reply.Candidate)
	if err != nil {
		est.Close()
		return nil, nil, fmt.Errorf("%w: the agent's candidate is no address", backend.ErrUnavailable)
	}
	known(peer)
	if err := b.api.Finish(ctx, where, p.session, wire.Finish{HS3: hs3}); err != nil {
		est.Close()
		return nil, nil, translate(err)
	}
	return est, peer, nil
}

// offer gives an offer to the rendezvous. While too many wait for this agent it
// is refused before anybody saw it, and tried again soon.
func (b *Backend) offer(ctx context.Context, where string, o wire.Offer) (wire.OfferAnswer, error) {
	const tries = 12
	for try := 1; ; try++ {
		reply, err := b.api.Offer(ctx, where, o)
		if !errors.Is(err, wire.ErrTooMany) || try == tries {
			return reply, err
		}
		// Between half and one and a half of a time that grows to a second.
		pause := min(time.Duration(try)*100*time.Millisecond, time.Second)
		if err := sleep(ctx, pause/2+rand.N(pause)); err != nil {
			return reply, err
		}
	}
}

// offerError says in words what the rendezvous's refusal of an offer means.
func (b *Backend) offerError(p *plan, err error) error {
	switch {
	case errors.Is(err, wire.ErrNotFound):
		return fmt.Errorf("%w: %s is not connected to the rendezvous right now; check its tucdesk-agent", backend.ErrUnavailable, p.agent.Name)
	case errors.Is(err, wire.ErrUnavailable):
		return fmt.Errorf("%w: %s did not answer the offer; its agent may have refused it, its log and the audit log say why: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	return translate(err)
}

// compare holds the agent's word about the roster against ours: at one number
// there can be only one hash.
func (b *Backend) compare(p *plan, peer session.Evidence) error {
	theirs := roster.Head{Seq: peer.RosterSeq, Hash: peer.RosterHash}
	if theirs.Seq <= p.roster.Head().Seq && !p.roster.Knows(theirs) {
		return fmt.Errorf("%w: %s holds another roster than this device under number %d: a server tells two stories; stop, and tell an admin", backend.ErrDenied, p.agent.Name, theirs.Seq)
	}
	if d := b.now().Sub(peer.Time); d > 2*time.Minute || d < -2*time.Minute {
		b.logger.Warn("clocks differ", "target", p.agent.Name, "by", d.Round(time.Second))
	}
	return nil
}

// start opens the one channel of a session and waits for the agent's word.
func (b *Backend) start(ctx context.Context, p *plan, mux *channel.Mux, way *path.Switch) (*terminal, error) {
	c := p.command
	msg := channel.OpenMessage{
		Kind: string(p.req.Kind), Argv: c.Argv, Cwd: c.Cwd, Env: c.Env, As: p.req.As, Stdin: c.Stdin, Salt: c.Salt,
	}
	if c.Stdin == token.StdinTTY {
		msg.TTY = &channel.TTY{Cols: max(p.req.Cols, 1), Rows: max(p.req.Rows, 1), Term: p.req.Term}
	}
	ch, err := mux.Open(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	answer, err := ch.AwaitAnswer(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s did not answer: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	if !answer.Allowed() {
		// The agent has the last word. Where it judges by another policy it
		// says so in its reason.
		v := backend.Verdict{Rule: answer.Rule, Line: answer.Line, Reason: p.agent.Name + " refused: " + answer.Reason}
		return nil, v.Err()
	}
	t := newTerminal(b, p, mux, way, ch, answer)
	t.starts = b.followStarts(p, mux, answer.Gate)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, backend.ErrClosed
	}
	b.terminals[t] = struct{}{}
	return t, nil
}
