package path

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

// The paths that a Switch can be on. A relay's stand with what carries it behind:
// "relay/udp", "relay/tcp", "relay/tls".
const (
	Relay  = "relay"
	Direct = "direct"
)

// Options of a Switch. The zero value is for everything but a demo.
type Options struct {
	// Loopback says that this is a demo: direct paths are on loopback and
	// nowhere else.
	Loopback bool
}

// A Switch is the one path of a session, as a [net.PacketConn]. It begins on a
// relay, so that a session waits for nothing. Attempts (see [Switch.Gather]) find a
// direct path beside it; while there is one, the switch sends there, and it turns
// back by itself when that dies. It receives on both at any time. What is under
// way at a turn may arrive late, twice or never: what is above must be fit for
// datagrams.
//
// It is safe for concurrent use.
type Switch struct {
	relay    *Relayed
	loopback bool
	times    times
	listen   listen // nil: the system's

	direct atomic.Pointer[Attempt]  // that is sent on; nil: the relay
	peer   atomic.Pointer[net.Addr] // of Permit; until then this side's own

	inbox   *inbox
	readers sync.WaitGroup
	done    chan struct{} // closed by Close, or when no path is left

	mu      sync.Mutex
	attempt *Attempt      // not closed
	ways    int           // that are not lost
	gone    bool          // the relay is one of those
	over    bool          // done is closed
	turned  chan struct{} // closed at the next turn
}

// NewSwitch begins on the relay. It owns r from here on.
func NewSwitch(r *Relayed, o Options) *Switch {
	s := &Switch{
		relay: r, loopback: o.Loopback, times: usual,
		inbox: r.inbox, done: make(chan struct{}), turned: make(chan struct{}), ways: 1,
	}
	own := r.LocalAddr()
	s.peer.Store(&own)
	r.mu.Lock()
	r.turned = s.relayTurned
	over := r.closed
	r.mu.Unlock()
	if over {
		s.relayTurned()
	}
	return s
}

// relayTurned notes that something else carries the relayed path, or nothing.
func (s *Switch) relayTurned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay.isClosed() && !s.gone {
		s.gone = true
		s.lose()
	}
	s.turn()
}

// LocalRelayed is the address at which the peer reaches this side by way of the
// relay.
func (s *Switch) LocalRelayed() net.Addr { return s.relay.LocalAddr() }

// LocalAddr is the same as [Switch.LocalRelayed], whatever the path.
func (s *Switch) LocalAddr() net.Addr { return s.relay.LocalAddr() }

// Permit opens the way to and from the peer at its relayed address, as
// [Relayed.Permit] does.
func (s *Switch) Permit(ctx context.Context, peer net.Addr) error {
	err := s.relay.Permit(ctx, peer)
	if err == nil {
		s.peer.Store(&peer)
	}
	return err
}

// Path is what the switch sends on now: [Direct], or [Relay] with a slash and what
// carries that.
func (s *Switch) Path() string {
	if s.direct.Load() != nil {
		return Direct
	}
	return Relay + "/" + string(s.relay.Transport())
}

// Err says why no path is left, if its owner has not closed the switch and that is
// known: it wraps [ErrGone].
func (s *Switch) Err() error { return s.relay.Err() }

// Await waits until the switch sends on the given path; [Relay] stands for any
// transport.
func (s *Switch) Await(ctx context.Context, path string) error {
	for {
		s.mu.Lock()
		turned := s.turned
		s.mu.Unlock()
		if now := s.Path(); now == path || strings.HasPrefix(now, path+"/") {
			return nil
		}
		select {
		case <-turned:
		case <-s.done:
			return net.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lose counts a way that is lost. Without any the switch is over. s.mu is held.
func (s *Switch) lose() {
	if s.ways--; s.ways == 0 && !s.over {
		s.over = true
		close(s.done)
	}
}

// enter makes a the one attempt.
func (s *Switch) enter(a *Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return net.ErrClosed
	case s.attempt != nil:
		return ErrAttempt
	}
	s.attempt = a
	return nil
}

// free lets the next attempt begin, and gives what a has to release.
func (s *Switch) free(a *Attempt) *ice.Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt == a {
		s.attempt = nil
	}
	return a.agent
}

// take turns the switch to the path of a, unless a is lost already.
func (s *Switch) take(a *Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-a.lost:
		return ErrNoDirect
	default:
	}
	if s.over || s.attempt != a {
		return ErrNoDirect
	}
	s.ways++
	s.readers.Go(func() { s.inbox.fill(s.done, a.conn.Read) })
	s.direct.Store(a)
	s.turn()
	return nil
}

// leave says that a is lost, and turns the switch back to the relay if a is its
// path. It is called once.
func (s *Switch) leave(a *Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(a.lost)
	if s.direct.CompareAndSwap(a, nil) {
		s.turn()
		s.lose()
	}
}

// turn wakes who waits for a path. s.mu is held.
func (s *Switch) turn() {
	close(s.turned)
	s.turned = make(chan struct{})
}

// ReadFrom implements [net.PacketConn]. Every datagram comes from the peer's
// address on the relay, as far as is told here: only what is sealed above tells who
// sent it.
func (s *Switch) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := s.inbox.read(p, s.done)
	if err != nil {
		return 0, nil, err
	}
	return n, *s.peer.Load(), nil
}

// WriteTo implements [net.PacketConn]: to is the peer's address on the relay,
// whatever the path. It does not block beyond the local socket.
func (s *Switch) WriteTo(p []byte, to net.Addr) (int, error) {
	select {
	case <-s.done:
		return 0, net.ErrClosed
	default:
	}
	if a := s.direct.Load(); a != nil {
		// What can't go this way goes the other: the system has no route any
		// more, or the datagram looks like a check.
		if n, err := a.conn.Write(p); err == nil && n == len(p) {
			return n, nil
		}
	}
	return s.relay.WriteTo(p, to)
}

// Close ends all paths and releases them, on the relay too. It is idempotent.
func (s *Switch) Close() error {
	s.mu.Lock()
	a, first := s.attempt, !s.over
	if first {
		s.over = true
		close(s.done)
	}
	s.mu.Unlock()
	if a != nil {
		a.Close()
	}
	err := s.relay.Close()
	s.readers.Wait()
	return err
}

// SetDeadline implements [net.PacketConn].
func (s *Switch) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline implements [net.PacketConn].
func (s *Switch) SetReadDeadline(t time.Time) error { return s.inbox.setDeadline(t, s.done) }

// SetWriteDeadline implements [net.PacketConn]. Writes do not block, so it has
// nothing to do.
func (s *Switch) SetWriteDeadline(time.Time) error { return nil }
