// Package path opens what sealed datagrams travel on between the two sides of
// a session: a [Relayed] path, which works always, and a [Switch] that begins on
// one and goes over to a direct path while there is one.
//
// Invariants:
//   - whoever runs the path sees only what was sealed above it: nothing here
//     encrypts or retries, and what ICE authenticates counts for availability
//     alone;
//   - a relayed path reaches one peer, the one it was told to permit, and reads
//     from no other, whatever carries it;
//   - an address that a peer names is contacted with ICE's checks only, bounded
//     in number and rate, until it has answered one with a password of this
//     attempt; outside a demo it is never loopback or link-local, and in a demo
//     never anything but loopback;
//   - what is opened is released by Close, also on the relay, and what was written
//     last is sent before.
//
// The package must not import internal/session: it moves bytes, it never has
// their keys.
package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// MaxDatagram is the longest payload, in bytes, that a relayed path carries:
// the relay takes 1,600 bytes with a header of at most 64.
const MaxDatagram = 1500

// Errors that callers branch on.
var (
	// ErrRefused means that the relay answered and said no.
	ErrRefused = errors.New("path: relay refused")
	// ErrUnreachable means that the relay did not answer in time.
	ErrUnreachable = errors.New("path: relay does not answer")
	// ErrNotPermitted means a write to an address that Permit did not name.
	ErrNotPermitted = errors.New("path: no such peer on this path; call Permit first")
	// ErrTooLong means a datagram over MaxDatagram.
	ErrTooLong = errors.New("path: datagram too long")
)

// answerTime bounds an opening whose context has no deadline.
const answerTime = 15 * time.Second

// patience says when a relayed path looks for another way to its relay.
type patience struct {
	look   time.Duration // between two looks
	silent time.Duration // without a word from the relay, after which others are tried
	settle time.Duration // that a better way must have been heard, to be taken
	linger time.Duration // that a way is held after a better one was taken
	again  time.Duration // before the first try at a better way; each is twice as long
	most   time.Duration // at most
	forget time.Duration // without a word, after which a way that is not used is left
}

var ordinary = patience{
	look: time.Second, silent: 4 * time.Second, settle: 3 * time.Second, linger: 10 * time.Second,
	again: 30 * time.Second, most: 5 * time.Minute, forget: time.Minute,
}

// Relayed is a session's place on a relay, as a [net.PacketConn]. Datagrams may be
// lost, repeated and reordered, as on any network. What carries them to the relay
// is looked after as long as the path lives: when the relay falls silent, UDP from
// another socket, TCP and TLS are tried beside it, and the first that answers is
// taken; when a better one is heard again, that is. The address on the relay stays
// the same. It is safe for concurrent use.
type Relayed struct {
	dialer *Dialer
	at     carrier.Address // zero: there is no way but the first leg
	cred   cred.Credential
	inbox  *inbox
	local  net.Addr

	now  atomic.Pointer[leg] // that is written to
	kick chan struct{}       // has one when the keeper should look at once
	stop context.CancelFunc
	kept chan struct{} // closed when the keeper has ended
	done chan struct{} // closed when the path is over

	mu       sync.Mutex
	patience patience
	legs     []*leg
	peer     netip.AddrPort // invalid until Permit
	closed   bool
	lost     error  // why the path was closed, if its owner did not
	turned   func() // called when another leg is written to, and at the end
}

// newRelayed begins with one leg.
func newRelayed(d *Dialer, at carrier.Address, c cred.Credential, first *leg) *Relayed {
	ctx, stop := context.WithCancel(context.Background())
	r := &Relayed{
		dialer: d, at: at, cred: c, inbox: first.inbox, local: first.alloc.LocalAddr(), patience: ordinary,
		kick: make(chan struct{}, 1), stop: stop, kept: make(chan struct{}), done: make(chan struct{}),
		legs: []*leg{first}, turned: func() {},
	}
	r.now.Store(first)
	k := &keeper{r: r}
	go func() {
		defer close(r.kept)
		k.run(ctx)
	}()
	return r
}

// LocalRelayed is the address at which the peer reaches this side, to be told
// to the peer.
func (r *Relayed) LocalRelayed() net.Addr { return r.local }

// LocalAddr is the same as [Relayed.LocalRelayed].
func (r *Relayed) LocalAddr() net.Addr { return r.local }

// Transport is what carries the path to its relay now.
func (r *Relayed) Transport() carrier.Transport { return r.now.Load().transport }

// UDP is the socket to the relay, nil if something else carries the path now. It
// belongs to the path.
func (r *Relayed) UDP() *net.UDPConn {
	return r.now.Load().sock.UDP()
}

// Permit opens the way to and from the peer at its relayed address. A path has
// one peer: a second call with another address is refused.
func (r *Relayed) Permit(ctx context.Context, peer net.Addr) error {
	udp, ok := peer.(*net.UDPAddr)
	if !ok {
		return fmt.Errorf("path: permit %T: want *net.UDPAddr", peer)
	}
	want := canonical(udp)
	r.mu.Lock()
	if r.peer.IsValid() && r.peer != want {
		r.mu.Unlock()
		return fmt.Errorf("%w: this path has its peer", ErrNotPermitted)
	}
	fresh := !r.peer.IsValid()
	r.peer = want
	r.mu.Unlock()
	err := r.now.Load().permit(ctx, want)
	if err != nil && fresh {
		r.mu.Lock()
		r.peer = netip.AddrPort{}
		r.mu.Unlock()
	}
	return err
}

// ReadFrom implements [net.PacketConn]. A datagram longer than p is an error,
// [io.ErrShortBuffer], and lost.
func (r *Relayed) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := r.inbox.read(p, r.done)
	if err != nil {
		return 0, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return n, net.UDPAddrFromAddrPort(r.peer), nil
}

// WriteTo implements [net.PacketConn]. Only the permitted peer is taken. It
// does not block beyond the local socket.
func (r *Relayed) WriteTo(p []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	r.mu.Lock()
	known := ok && r.peer.IsValid() && canonical(udp) == r.peer
	closed := r.closed
	r.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case !known:
		return 0, ErrNotPermitted
	case len(p) > MaxDatagram:
		return 0, ErrTooLong
	}
	n, err := r.now.Load().alloc.WriteTo(p, to)
	if err == nil {
		return n, nil
	}
	select {
	case r.kick <- struct{}{}: // the system may know that this way is gone
	default:
	}
	if r.isClosed() {
		return 0, net.ErrClosed
	}
	// Lost, as on any network. The error may say that a socket is closed, which
	// the path is not.
	return len(p), nil
}

func (r *Relayed) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Err says why the path has ended, if its owner has not closed it: it wraps
// ErrGone.
func (r *Relayed) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Close ends the path and releases what it has on the relay. It is idempotent.
func (r *Relayed) Close() error {
	r.stop()
	<-r.kept
	return r.end(nil)
}

// end is called by the keeper, or when there is none any more.
func (r *Relayed) end(why error) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed, r.lost = true, why
	legs := r.legs
	turned := r.turned
	r.mu.Unlock()
	close(r.done)
	turned()
	var err error
	for _, l := range legs {
		err = errors.Join(err, l.close())
	}
	return err
}

// use sends on l from now on.
func (r *Relayed) use(l *leg) {
	if r.now.Swap(l) == l {
		return
	}
	r.mu.Lock()
	turned := r.turned
	r.mu.Unlock()
	turned()
}

// SetDeadline implements [net.PacketConn].
func (r *Relayed) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements [net.PacketConn].
func (r *Relayed) SetReadDeadline(t time.Time) error { return r.inbox.setDeadline(t, r.done) }

// SetWriteDeadline implements [net.PacketConn]. Writes do not block, so it has
// nothing to do.
func (r *Relayed) SetWriteDeadline(time.Time) error {
	if r.isClosed() {
		return net.ErrClosed
	}
	return nil
}
