package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A link is the connection of one session to its machine, and what it is made of
// again when the path is lost.
type link struct {
	b      *Backend
	plan   *plan
	config session.InitiatorConfig // but for the evidence
	relay  wire.Relay
	knock  door
	where  string // of the door
	mux    *channel.Mux

	mu   sync.Mutex
	way  *path.Switch // that is used now
	gone error        // why the machine has the session no more, if it has said so
	why  error        // what the last attempt to resume has met
}

// A door is a rendezvous, or a team's side of it: where is its address, or the team.
type door interface {
	Offer(ctx context.Context, where string, o wire.Offer) (wire.OfferAnswer, error)
	Finish(ctx context.Context, where string, id token.ID, f wire.Finish) error
}

// connect reaches the agent with a grant in hand, or what stands in for one.
func (b *Backend) connect(ctx context.Context, p *plan, bundle token.Bundle, relay wire.Relay, knock door, where string) (backend.Terminal, error) {
	sealed, hash, err := p.seal(bundle, relay)
	if err != nil {
		return nil, err
	}
	l := &link{b: b, plan: p, relay: relay, knock: knock, where: where, config: session.InitiatorConfig{
		ID: session.ID(p.session), Self: b.home.Identity, Peer: p.agent.Public, TeamFP: p.roster.TeamFP(), BundleHash: hash,
		MinSuite: session.Suite(p.verdict.Obligations.MinSuite),
	}}
	est, way, peer, err := l.meet(ctx, session.Initiate, sealed, true)
	if err != nil {
		return nil, err
	}
	l.way = way
	l.mux, err = channel.Dial(ctx, way, peer, est, channel.Options{Grace: p.verdict.Obligations.Grace}) // owns path and session from here on
	if err != nil {
		return nil, fmt.Errorf("%w: %s answered, but no data path came up: %w", backend.ErrUnavailable, p.agent.Name, err)
	}
	t, err := b.begin(ctx, l)
	if err != nil {
		l.mux.Close()
		return nil, err
	}
	backend.Go(l.keep)
	return t, nil
}

// begin opens the terminal, and has a direct path looked for as b.path says.
func (b *Backend) begin(ctx context.Context, l *link) (backend.Terminal, error) {
	if b.path == DirectOnly {
		way := l.way
		backend.Go(func() { l.steer(way) })
		ctx, cancel := context.WithTimeoutCause(ctx, directIn, errors.New("no direct path has been found"))
		defer cancel()
		if err := l.way.Await(ctx, path.Direct); err != nil {
			return nil, fmt.Errorf("%w: %s can't be reached directly: %w; the relay works: leave --path out", backend.ErrUnavailable, l.plan.agent.Name, err)
		}
	}
	t, err := b.start(ctx, l, false)
	if err != nil {
		return nil, err
	}
	if b.path == AnyPath {
		backend.Go(func() {
			// A command that is over by then has not cost two machines a search.
			select {
			case <-time.After(steerAfter):
				l.steer(l.current())
			case <-l.mux.Done():
			}
		})
	}
	return t, nil
}

// current is the path that is used now.
func (l *link) current() *path.Switch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.way
}

// steer looks for a direct path beside way until way is closed. The relay does its
// work whatever comes of it.
func (l *link) steer(way *path.Switch) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	backend.Go(func() {
		select {
		case <-l.mux.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	ch, err := l.mux.Open(ctx, channel.OpenMessage{Kind: direct.Kind})
	if err != nil {
		return
	}
	defer ch.Close()
	if answer, err := ch.AwaitAnswer(ctx); err != nil || !answer.Allowed() {
		l.b.logger.Debug("the agent does not look for direct paths")
		return
	}
	err = direct.Lead(ctx, ch, direct.On(way))
	l.b.logger.Debug("no more attempts at a direct path", "error", err)
}

// open opens this side's end of a path through the session's relay.
func (l *link) open(ctx context.Context) (*path.Switch, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	relayed, err := l.b.relays.Open(ctx, l.relay.Addr, cred.Credential{
		Username: l.relay.Operator.Username, Password: cred.Password(l.relay.Operator.Password),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the relay at %s: %w; tucdesk doctor tells which ways to it are open", backend.ErrUnavailable, l.relay.Addr, err)
	}
	if relayed.LocalRelayed().String() != cred.Operator.RelayedAddr().String() {
		relayed.Close()
		return nil, fmt.Errorf("%w: the relay at %s has this device where no relay of TucDesk would: the machine can't find it there; tell whoever runs it", backend.ErrUnavailable, l.relay.Addr)
	}
	return path.NewSwitch(relayed, path.Options{Loopback: l.plan.roster.Demo()}), nil
}

// A starter begins a handshake: the first one, or a resume.
type starter func(session.InitiatorConfig) (*session.Initiator, []byte, error)

// meet does a handshake through the rendezvous, for a session on a path of its own,
// or for new keys without a path. It gives where on the path the agent is.
//
// The path is opened while the agent is asked, who is told where on the relay this side
// is going to be; it has its last message when this side is there. A resume waits for
// the path first: a relay that is away must not cost the agent a handshake each time.
func (l *link) meet(ctx context.Context, start starter, sealed []byte, fresh bool) (*session.Established, *path.Switch, net.Addr, error) {
	if !fresh {
		est, err := l.shake(ctx, start, sealed, "", func(string) error { return nil })
		return est, nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opening := make(chan opened, 1)
	backend.Go(func() {
		way, err := l.open(ctx)
		opening <- opened{way, err}
	})
	var o opened
	if sealed == nil {
		if o = <-opening; o.err != nil {
			return nil, nil, nil, o.err
		}
		opening <- o
	}
	var peer *net.UDPAddr
	permitted := make(chan error, 1)
	est, err := l.shake(ctx, start, sealed, cred.Operator.RelayedAddr().String(), func(candidate string) error {
		// It comes by the rendezvous, which could have this device ask for any name.
		at, err := netip.ParseAddrPort(candidate)
		if err != nil {
			return fmt.Errorf("%w: the agent's candidate is no address", backend.ErrUnavailable)
		}
		peer = net.UDPAddrFromAddrPort(at)
		if o = <-opening; o.err != nil {
			return o.err
		}
		backend.Go(func() { permitted <- o.way.Permit(ctx, peer) })
		return nil
	})
	if err == nil {
		if err = <-permitted; err != nil {
			est.Close()
		}
	}
	if err != nil {
		cancel()
		if o.way == nil && o.err == nil {
			o = <-opening
		}
		if o.way != nil {
			o.way.Close()
		}
		return nil, nil, nil, err
	}
	return est, o.way, peer, nil
}

// opened is what comes of opening a path.
type opened struct {
	way *path.Switch
	err error
}

// shake is the handshake of meet. known is called with what the agent says of where it
// is as soon as the agent has proved itself, before the last message is on its way.
func (l *link) shake(ctx context.Context, start starter, sealed []byte, candidate string, known func(candidate string) error) (*session.Established, error) {
	b, p, config := l.b, l.plan, l.config
	head := p.roster.Head()
	config.Evidence = session.Evidence{RosterSeq: head.Seq, RosterHash: head.Hash, Time: b.now(), Checkpoint: b.lookout.Checkpoint(p.roster)}
	initiator, hs1, err := start(config)
	if err != nil {
		return nil, err
	}
	defer initiator.Abort()
	// The address of the rendezvous is the profile's: apid can't send the
	// bundle elsewhere.
	reply, err := offer(ctx, l.knock, l.where, wire.Offer{
		SessionID: p.session, Agent: p.agent.Kid, Sealed: sealed, HS1: hs1, Candidate: candidate,
	})
	if wire.IsGone(err, wire.ReasonGone) {
		return nil, err
	}
	if err != nil {
		return nil, b.offerError(p, err)
	}
	hs3, est, err := initiator.Consume(reply.HS2)
	if err != nil {
		return nil, fmt.Errorf("%w: what answered for %s is not the machine that the roster names: %w", backend.ErrDenied, p.agent.Name, err)
	}
	if err := b.compare(p, est.Peer); err != nil {
		est.Close()
		return nil, err
	}
	b.lookout.Meet(p.agent.Name, est.Peer)
	if err := known(reply.Candidate); err != nil {
		est.Close()
		return nil, err
	}
	if err := l.knock.Finish(ctx, l.where, p.session, wire.Finish{HS3: hs3}); err != nil {
		est.Close()
		return nil, translate(err)
	}
	return est, nil
}

// offer gives an offer to the rendezvous. While too many wait for this agent it
// is refused before anybody saw it, and tried again soon.
func offer(ctx context.Context, knock door, where string, o wire.Offer) (wire.OfferAnswer, error) {
	const tries = 12
	for try := 1; ; try++ {
		reply, err := knock.Offer(ctx, where, o)
		if !errors.Is(err, wire.ErrTooMany) || try == tries {
			return reply, err
		}
		// Between half and one and a half of a time that grows to a second.
		pause := min(time.Duration(try)*100*time.Millisecond, time.Second)
		if err := review.Pause(ctx, pause/2+rand.N(pause)); err != nil {
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
