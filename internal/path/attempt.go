package path

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/stun/v4"
)

// Errors of attempts at a direct path.
var (
	// ErrNoDirect means that there is no direct path, for now or at all. The
	// relay goes on.
	ErrNoDirect = errors.New("path: no direct path")
	// ErrAttempt means that an attempt is under way already.
	ErrAttempt = errors.New("path: one attempt at a time")
)

// times are those of ICE. A direct path is checked every second from both sides,
// and given up at the first check that finds this much silence: by then at least
// two requests and two answers are missing. A path given up without need costs an
// attempt, and no byte.
type times struct {
	keepAlive time.Duration // between two checks of the path in use
	silence   time.Duration // after which it is dead
	gather    time.Duration // to learn how the relay sees us
	connect   time.Duration // for the checks of one attempt
}

var usual = times{keepAlive: time.Second, silence: 2500 * time.Millisecond, gather: time.Second, connect: 5 * time.Second}

// maxChecks is how often a pair of candidates is tried before it counts as dead.
const maxChecks = 7

// maxRemotes bounds the addresses that one attempt has to do with.
const maxRemotes = 3 * MaxCandidates

// An Attempt is one try at a direct path: candidates, checks, and the path that
// comes of it, until it dies. ICE (RFC 8445) finds it. What ICE believes counts for
// availability alone: whoever breaks it can send datagrams, or swallow them, and a
// relay can do that too. Its credentials come sealed from the peer, all the same.
type Attempt struct {
	s     *Switch
	agent *ice.Agent
	local Description
	conn  *ice.Conn // of Connect

	admitted atomic.Int32 // remote addresses

	ending sync.Once
	lost   chan struct{}
}

// Gather begins an attempt: it opens sockets and asks the relay how it sees
// them. There is one attempt at a time, and the caller must Close it.
func (s *Switch) Gather(ctx context.Context) (*Attempt, error) {
	a := &Attempt{s: s, lost: make(chan struct{})}
	if err := s.enter(a); err != nil {
		return nil, err
	}
	if err := a.gather(ctx); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Attempt) gather(ctx context.Context) error {
	server := a.s.relay.now.Load().server
	f, err := newFence(a.s.loopback, server, a.s.listen)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	t := a.s.times
	options := []ice.AgentOption{
		ice.WithNet(f),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithRemoteIPFilter(a.admit),
		ice.WithKeepaliveInterval(t.keepAlive), ice.WithDisconnectedTimeout(t.silence), ice.WithFailedTimeout(t.connect),
		ice.WithSTUNGatherTimeout(t.gather), ice.WithMaxBindingRequests(maxChecks),
		// pion/ice logs addresses at every level.
		ice.WithLoggerFactory(&logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}),
	}
	if a.s.loopback {
		options = append(options, ice.WithIncludeLoopback())
	}
	if a.s.loopback || !server.IsValid() {
		options = append(options, ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}))
	} else {
		options = append(options,
			ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost, ice.CandidateTypeServerReflexive}),
			// The name is not looked up: the fence knows the one server.
			ice.WithUrls([]*stun.URI{{Scheme: stun.SchemeTypeSTUN, Host: "relay", Port: int(server.Port()), Proto: stun.ProtoTypeUDP}}))
	}
	agent, err := ice.NewAgentWithOptions(options...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	if !a.hold(agent) {
		agent.Close()
		return net.ErrClosed
	}
	return a.collect(ctx)
}

// admit judges an address before it is answered or contacted: each that the peer
// has named, and each from which a check came that knows our password, once. NATs
// add a few to the peer's; whoever forges senders could add any number.
func (a *Attempt) admit(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && reachable(addr.Unmap(), a.s.loopback) == nil && a.admitted.Add(1) <= maxRemotes
}

// hold makes agent that of a, unless a is over already.
func (a *Attempt) hold(agent *ice.Agent) bool {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	select {
	case <-a.lost:
		return false
	default:
		a.agent = agent
		return true
	}
}

// collect waits for the candidates of this side.
func (a *Attempt) collect(ctx context.Context) error {
	found := make(chan ice.Candidate, 4*MaxCandidates)
	err := a.agent.OnCandidate(func(c ice.Candidate) {
		select {
		case found <- c:
		default: // more than can be offered
		}
	})
	if err == nil {
		err = a.agent.GatherCandidates()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	for c := range more(ctx, a.lost, found) {
		ip, err := netip.ParseAddr(c.Address())
		if err != nil || reachable(ip.Unmap(), a.s.loopback) != nil || len(a.local.Candidates) == MaxCandidates {
			continue
		}
		a.local.Candidates = append(a.local.Candidates, Candidate{
			Addr:      netip.AddrPortFrom(ip.Unmap(), uint16(c.Port())),
			Reflexive: c.Type() == ice.CandidateTypeServerReflexive,
		})
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	select {
	case <-a.lost:
		return net.ErrClosed
	default:
	}
	if a.local.Fragment, a.local.Password, err = a.agent.GetLocalUserCredentials(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	if len(a.local.Candidates) == 0 {
		return fmt.Errorf("%w: this machine has no address to offer", ErrNoDirect)
	}
	return nil
}

// more yields candidates until ICE says, with a nil, that there are no others.
func more(ctx context.Context, lost <-chan struct{}, found <-chan ice.Candidate) func(func(ice.Candidate) bool) {
	return func(yield func(ice.Candidate) bool) {
		for {
			select {
			case c := <-found:
				if c == nil || !yield(c) {
					return
				}
			case <-lost:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// Local is what to tell the peer.
func (a *Attempt) Local() Description { return a.local }

// Connect checks the ways to the peer and takes the best that answers: when it
// returns nil, the switch sends there until the path is lost. One side leads, and
// it is the one that was first to gather. The peer's candidates are contacted with
// checks, a bounded number of them, and with nothing else before they answer.
func (a *Attempt) Connect(ctx context.Context, peer Description, lead bool) error {
	if err := peer.Check(a.s.loopback); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.s.times.connect, errors.New("no way to the peer has answered"))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err := a.agent.OnConnectionStateChange(func(st ice.ConnectionState) {
		switch st {
		case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed, ice.ConnectionStateClosed:
			fail(errors.New("the checks have failed"))
			a.end()
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	for _, c := range peer.Candidates {
		remote, err := c.remote()
		if err == nil {
			err = a.agent.AddRemoteCandidate(remote)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoDirect, err)
		}
	}
	start := a.agent.StartAccept
	if lead {
		start = a.agent.StartDial
	}
	if a.conn, err = start(peer.Fragment, peer.Password); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	if err := a.agent.AwaitConnect(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	return a.s.take(a)
}

// remote is c for pion/ice.
func (c Candidate) remote() (ice.Candidate, error) {
	address, port := c.Addr.Addr().String(), int(c.Addr.Port())
	if c.Reflexive {
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: address, Port: port, Component: ice.ComponentRTP,
		})
	}
	return ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: address, Port: port, Component: ice.ComponentRTP})
}

// Lost is closed when the attempt is over: its path has died, or it was closed.
func (a *Attempt) Lost() <-chan struct{} { return a.lost }

// end turns the switch back to the relay, once.
func (a *Attempt) end() { a.ending.Do(func() { a.s.leave(a) }) }

// Close ends the attempt and its path, and releases its sockets. It may be called
// more than once.
func (a *Attempt) Close() {
	a.end()
	if agent := a.s.free(a); agent != nil {
		agent.Close()
	}
}
