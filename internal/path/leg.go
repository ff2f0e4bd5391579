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
	"syscall"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// A leg is one allocation on a relay, by one carrier. It lives until it is closed or
// lost; the relay ends it when the credential expires.
type leg struct {
	transport carrier.Transport
	client    *turn.Client
	alloc     net.PacketConn // the allocation
	sock      *carrier.Conn  // to the relay
	server    netip.AddrPort // the relay's address; invalid where that is not known, or none of IP
	inbox     *inbox
	read      chan struct{} // closed when the read loop has ended
	challenge *challenge    // that it was opened with; nil: it is not known

	heard   atomic.Int64  // when the relay was heard last, in Unix nanoseconds
	refused chan struct{} // has one when its host has said that nobody listens there
	unwatch context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	peer  netip.AddrPort // invalid until permit
	over  bool
	why   error         // why it is lost, if it was not closed
	ended chan struct{} // closed then
}

// openLeg asks the relay at the other end of c for an allocation. What comes goes to
// q. known is the relay's challenge; nil: it is asked for. The leg has the one that it
// was opened with. ctx bounds the opening. The leg owns c from the call on.
func openLeg(ctx context.Context, c *carrier.Conn, cr cred.Credential, q *inbox, known *challenge) (*leg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	door := &doorway{PacketConn: c, known: known}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: c.Relay.String(),
		Username:       cr.Username,
		Password:       string(cr.Password),
		Conn:           door,
		// The relay's addresses are IPv4 whatever the way to it is.
		RequestedAddressFamily: turn.RequestedAddressFamilyIPv4,
		// pion/turn logs addresses at every level.
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("path: %w", err)
	}
	door.hear = func(b []byte) { client.HandleInbound(b, c.Relay) }
	l := &leg{
		transport: c.Transport, client: client, sock: c, inbox: q, read: make(chan struct{}),
		refused: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if udp, ok := c.Relay.(*net.UDPAddr); ok {
		l.server = canonical(udp)
	}
	go l.readLoop(fail)
	w := &watch{l: l, username: cr.Username, password: string(cr.Password)}
	l.alloc, err = client.AllocateWithContext(ctx)
	if door.stale(err) {
		l.alloc, err = client.AllocateWithContext(ctx)
	}
	if taken(err) {
		if err = w.forget(ctx); err == nil {
			l.alloc, err = client.AllocateWithContext(ctx)
		}
	}
	if err != nil {
		l.release()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, openError(err)
	}
	l.challenge = door.passed()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.mu.Lock()
	l.unwatch = stop
	l.mu.Unlock()
	l.running.Go(func() { w.run(watching) })
	l.running.Go(l.receive)
	select {
	case <-l.read: // a stream that has ended meanwhile
		l.lose(fmt.Errorf("%w: the connection has ended", ErrGone))
	default:
	}
	return l, nil
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
		return "this side has all the paths that it may, or the relay is full"
	}
	return "the relay can't serve this request"
}

// readLoop feeds what arrives to the TURN client until the socket is closed. It
// tells other errors to fail, which ends an opening at once when nobody listens at
// the relay's address. Over UDP the relay may come back; the end of a stream is the
// end of the leg.
func (l *leg) readLoop(fail context.CancelCauseFunc) {
	defer close(l.read)
	buf := make([]byte, 2048)
	for {
		n, from, err := l.sock.ReadFrom(buf)
		switch {
		case err == nil:
			l.heard.Store(time.Now().UnixNano())
			// An error here is about one datagram, and anyone can send those.
			l.client.HandleInbound(buf[:n], from)
		case l.isOver():
			return
		case l.transport != carrier.UDP:
			fail(err)
			go l.lose(fmt.Errorf("%w: the connection has ended", ErrGone))
			return
		case errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF):
			return
		default:
			fail(err)
			if errors.Is(err, syscall.ECONNREFUSED) {
				select {
				case l.refused <- struct{}{}:
				default:
				}
			}
			time.Sleep(10 * time.Millisecond) // errors must not cost a core
		}
	}
}

// receive moves what the peer has sent to the inbox until the leg ends.
func (l *leg) receive() {
	l.inbox.fill(l.ended, func(b []byte) (int, error) {
		for {
			n, from, err := l.alloc.ReadFrom(b)
			if err != nil {
				if !l.isOver() {
					go l.lose(fmt.Errorf("%w: the allocation has ended", ErrGone))
				}
				return 0, err
			}
			if udp, ok := from.(*net.UDPAddr); ok && l.isPeer(canonical(udp)) {
				return n, nil
			}
		}
	})
}

// permit opens the way to and from the peer at its relayed address.
func (l *leg) permit(ctx context.Context, peer netip.AddrPort) error {
	l.mu.Lock()
	was := l.peer
	l.peer = peer
	l.mu.Unlock()
	// pion/turn makes the permission on the first write, keeps it refreshed
	// and binds a channel. The relay drops an empty datagram.
	done := make(chan error, 1)
	go func() {
		_, err := l.alloc.WriteTo(nil, net.UDPAddrFromAddrPort(peer))
		done <- err
	}()
	var err error
	select {
	case err = <-done:
		if err != nil {
			err = openError(err)
		}
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
	case <-l.ended:
		err = fmt.Errorf("%w: %w", ErrUnreachable, net.ErrClosed)
	}
	if err != nil {
		l.mu.Lock()
		l.peer = was
		l.mu.Unlock()
	}
	return err
}

func (l *leg) isPeer(a netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.IsValid() && a == l.peer
}

func (l *leg) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// silence is how long the relay has not been heard on this leg.
func (l *leg) silence() time.Duration { return time.Since(time.Unix(0, l.heard.Load())) }

// err says why the leg is lost, if it was not closed.
func (l *leg) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// close ends the leg and releases the allocation. It may be called more than once.
func (l *leg) close() error {
	err := l.end(nil)
	l.running.Wait()
	return err
}

// lose ends a leg that leads nowhere any more.
func (l *leg) lose(why error) { _ = l.end(why) }

func (l *leg) end(why error) error {
	l.mu.Lock()
	if l.over || l.unwatch == nil { // while it is being opened, openLeg looks after it
		l.mu.Unlock()
		return nil
	}
	l.over, l.why = true, why
	l.mu.Unlock()
	l.unwatch()
	close(l.ended)
	err := l.alloc.Close() // tells the relay, without waiting for its answer
	l.release()
	if err != nil && l.transport == carrier.UDP {
		return fmt.Errorf("path: close: %w", err)
	}
	return nil
}

// release closes the socket and waits for the read loop.
func (l *leg) release() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.client.Close()
	l.sock.Close()
	<-l.read
}

// canonical makes addresses comparable: an IPv4 address has two forms.
func canonical(a *net.UDPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
