// Package path opens what sealed datagrams travel on between the two sides of
// a session: a [Relayed] path, which works always, and a [Switch] that begins on
// one and goes over to a direct path while there is one.
//
// Invariants:
//   - whoever runs the path sees only what was sealed above it: nothing here
//     encrypts or retries, and what ICE authenticates counts for availability
//     alone;
//   - a relayed path reaches one peer, the one it was told to permit, and reads
//     from no other;
//   - an address that a peer names is contacted with ICE's checks only, bounded
//     in number and rate, until it has answered one with a password of this
//     attempt; outside a demo it is never loopback or link-local, and in a demo
//     never anything but loopback;
//   - what is opened is released by Close, also on the relay.
//
// The package must not import internal/session: it moves bytes, it never has
// their keys.
package path

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

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

// Relayed is an allocation on a relay, as a [net.PacketConn]. Datagrams may be
// lost, repeated and reordered, as on any network. It is safe for concurrent
// use.
type Relayed struct {
	client *turn.Client
	alloc  net.PacketConn // the allocation
	sock   net.PacketConn // to the relay
	server netip.AddrPort // the relay's address; invalid where that is none of IP
	read   chan struct{}  // closed when the read loop has ended

	heard   atomic.Int64  // when the relay was heard last, in Unix nanoseconds
	refused chan struct{} // has one when its host has said that nobody listens there
	unwatch context.CancelFunc
	watched chan struct{} // closed when nobody looks after the relay any more

	mu       sync.Mutex
	lost     error          // why the path was closed, if its owner did not
	peer     netip.AddrPort // invalid until Permit
	deadline time.Time      // of reads
	closed   bool
}

// OpenRelay asks the relay at addr ("host:port", UDP) for an allocation. ctx
// bounds the opening, not the path's life. The allocation is refreshed until
// Close; the relay ends it when the credential expires.
func OpenRelay(ctx context.Context, addr string, c cred.Credential) (*Relayed, error) {
	conn, err := DialRelay(ctx, addr)
	if err != nil {
		return nil, err
	}
	return OpenRelayFrom(ctx, conn, c)
}

// DialRelay makes the socket of a path through the relay at addr. Nothing is sent.
func DialRelay(ctx context.Context, addr string) (*net.UDPConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return conn.(*net.UDPConn), nil
}

// OpenRelayFrom is [OpenRelay] on the socket of [DialRelay], which may be one on
// which a process that is gone had an allocation: that one is released first. The
// path owns conn from here on and closes it.
func OpenRelayFrom(ctx context.Context, conn *net.UDPConn, c cred.Credential) (*Relayed, error) {
	return OpenRelayOn(ctx, connected{conn}, conn.RemoteAddr(), c)
}

// OpenRelayOn is [OpenRelay] on a socket that the caller has opened, such as
// one in memory. The path owns conn from here on and closes it.
func OpenRelayOn(ctx context.Context, conn net.PacketConn, relay net.Addr, c cred.Credential) (*Relayed, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: relay.String(),
		Username:       c.Username,
		Password:       string(c.Password),
		Conn:           conn,
		// The relay's addresses are IPv4 whatever the way to it is.
		RequestedAddressFamily: turn.RequestedAddressFamilyIPv4,
		// pion/turn logs addresses at every level.
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("path: %w", err)
	}
	r := &Relayed{client: client, sock: conn, read: make(chan struct{}), refused: make(chan struct{}, 1), watched: make(chan struct{})}
	if udp, ok := relay.(*net.UDPAddr); ok {
		r.server = canonical(udp)
	}
	go r.readLoop(fail)
	w := &watch{r: r, username: c.Username, password: string(c.Password)}
	r.alloc, err = client.AllocateWithContext(ctx)
	if taken(err) {
		if err = w.forget(ctx); err == nil {
			r.alloc, err = client.AllocateWithContext(ctx)
		}
	}
	if err != nil {
		r.release()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, openError(err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.unwatch = stop
	go func() {
		defer close(r.watched)
		w.run(watching)
	}()
	return r, nil
}

// taken reports whether the relay has an allocation for this socket already.
func taken(err error) bool {
	var answer *stun.TurnError
	return errors.As(err, &answer) && answer.ErrorCodeAttr.Code == stun.CodeAllocMismatch
}

// openError sorts the errors of an exchange with the relay.
func openError(err error) error {
	var answer *stun.TurnError
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %d %s", ErrRefused, answer.ErrorCodeAttr.Code, reason(answer.ErrorCodeAttr.Code))
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// reason is what a code of RFC 8656 means on our relay. The text that came
// with it is not shown: it came from a network.
func reason(code stun.ErrorCode) string {
	switch code {
	case stun.CodeUnauthorized:
		return "the credential is forged or has expired; ask for a new session"
	case stun.CodeForbidden:
		return "the peer is not of this session"
	case stun.CodeAllocQuotaReached:
		return "this side already has a path, or the relay is full"
	}
	return "the relay can't serve this request"
}

// readLoop feeds what arrives to the TURN client until the socket is closed.
// It tells other errors to fail, which ends an opening at once when nobody
// listens at the relay's address; later the relay may come back.
func (r *Relayed) readLoop(fail context.CancelCauseFunc) {
	defer close(r.read)
	buf := make([]byte, 2048)
	for {
		n, from, err := r.sock.ReadFrom(buf)
		switch {
		case err == nil:
			r.heard.Store(time.Now().UnixNano())
			// An error here is about one datagram, and anyone can send those.
			r.client.HandleInbound(buf[:n], from)
		case r.isClosed() || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF):
			return
		default:
			fail(err)
			if errors.Is(err, syscall.ECONNREFUSED) {
				select {
				case r.refused <- struct{}{}:
				default:
				}
			}
			time.Sleep(10 * time.Millisecond) // errors must not cost a core
		}
	}
}

// LocalRelayed is the address at which the peer reaches this side, to be told
// to the peer.
func (r *Relayed) LocalRelayed() net.Addr { return r.alloc.LocalAddr() }

// LocalAddr is the same as [Relayed.LocalRelayed].
func (r *Relayed) LocalAddr() net.Addr { return r.alloc.LocalAddr() }

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
	err := r.permit(ctx, want)
	if err != nil && fresh {
		r.mu.Lock()
		r.peer = netip.AddrPort{}
		r.mu.Unlock()
	}
	return err
}

func (r *Relayed) permit(ctx context.Context, peer netip.AddrPort) error {
	// pion/turn makes the permission on the first write, keeps it refreshed
	// and binds a channel. The relay drops an empty datagram.
	done := make(chan error, 1)
	go func() {
		_, err := r.alloc.WriteTo(nil, net.UDPAddrFromAddrPort(peer))
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return openError(err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
	}
}

// ReadFrom implements [net.PacketConn]. A datagram longer than p is an error,
// [io.ErrShortBuffer], and lost.
func (r *Relayed) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if err := r.readable(); err != nil {
			return 0, nil, err
		}
		n, from, err := r.alloc.ReadFrom(p)
		if err == nil {
			udp, ok := from.(*net.UDPAddr)
			if ok && r.isPeer(udp) {
				return n, from, nil
			}
			continue
		}
		if errors.Is(err, io.ErrShortBuffer) || r.isClosed() {
			return 0, nil, r.closedOr(err)
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			return 0, nil, net.ErrClosed // the allocation is gone
		}
		// pion/turn wakes one reader for a deadline; wake the next as well.
		r.rearm()
	}
}

func (r *Relayed) rearm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alloc.SetReadDeadline(r.deadline)
}

// readable reports why a read can't begin, if so.
func (r *Relayed) readable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return net.ErrClosed
	case !r.deadline.IsZero() && !time.Now().Before(r.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// WriteTo implements [net.PacketConn]. Only the permitted peer is taken. It
// does not block beyond the local socket.
func (r *Relayed) WriteTo(p []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	switch {
	case r.isClosed():
		return 0, net.ErrClosed
	case !ok || !r.isPeer(udp):
		return 0, ErrNotPermitted
	case len(p) > MaxDatagram:
		return 0, ErrTooLong
	}
	n, err := r.alloc.WriteTo(p, to)
	if err != nil {
		return n, r.closedOr(err)
	}
	return n, nil
}

func (r *Relayed) isPeer(a *net.UDPAddr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peer.IsValid() && canonical(a) == r.peer
}

func (r *Relayed) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *Relayed) closedOr(err error) error {
	if r.isClosed() {
		return net.ErrClosed
	}
	return fmt.Errorf("path: %w", err)
}

// canonical makes addresses comparable: an IPv4 address has two forms.
func canonical(a *net.UDPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Err says why the path has ended, if its owner has not closed it: it wraps
// ErrGone.
func (r *Relayed) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Close ends the path and releases the allocation. It is idempotent.
func (r *Relayed) Close() error {
	r.unwatch()
	err := r.end(nil)
	<-r.watched
	return err
}

// lose ends a path that leads nowhere any more.
func (r *Relayed) lose(why error) { _ = r.end(why) }

func (r *Relayed) end(why error) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed, r.lost = true, why
	r.mu.Unlock()
	err := r.alloc.Close() // tells the relay, without waiting for its answer
	r.release()
	if err != nil {
		return fmt.Errorf("path: close: %w", err)
	}
	return nil
}

// release closes the socket and waits for the read loop.
func (r *Relayed) release() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.client.Close()
	r.sock.Close()
	<-r.read
}

// SetDeadline implements [net.PacketConn].
func (r *Relayed) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements [net.PacketConn].
func (r *Relayed) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	r.deadline = t
	return r.alloc.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.PacketConn]. Writes do not block, so it has
// nothing to do.
func (r *Relayed) SetWriteDeadline(time.Time) error {
	if r.isClosed() {
		return net.ErrClosed
	}
	return nil
}

// connected is a connected UDP socket as a PacketConn: the system then drops
// what comes from anyone but the relay, and says when nobody listens there.
type connected struct{ *net.UDPConn }

func (c connected) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.Read(p)
	return n, c.RemoteAddr(), err
}

func (c connected) WriteTo(p []byte, _ net.Addr) (int, error) { return c.Write(p) }
