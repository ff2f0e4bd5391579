package channel

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// A ticket is a session of QUIC's TLS that both ends of our session can know: the agent
// can open it, for its key is the exporter's, and the operator makes it by a handshake
// with itself. So the first packets can carry a channel: what TLS calls 0-RTT data. All
// that 0-RTT lacks, the records below have: each is authenticated, taken once, and under
// keys that both ends have agreed on for this session alone.
//
// It is the cache of the TLS client, too, and holds nothing else.
type ticket struct {
	mu    sync.Mutex
	state *tls.ClientSessionState // nil: not there yet
	made  chan struct{}           // closed when it is
}

// Get implements [tls.ClientSessionCache].
func (t *ticket) Get(string) (*tls.ClientSessionState, bool) { return t.session() }

// session gives the session, if there is one; a nil ticket has none.
func (t *ticket) session() (*tls.ClientSessionState, bool) {
	if t == nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.state != nil
}

// Put implements [tls.ClientSessionCache]: the first counts.
func (t *ticket) Put(_ string, s *tls.ClientSessionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil && s != nil {
		t.state = s
		close(t.made)
	}
}

// mint makes a ticket of the two sides' configurations, over no network. It returns
// when the ticket is there, or ctx ends; then there may be none.
func mint(ctx context.Context, operator, agent *tls.Config, o Options) *ticket {
	t := &ticket{made: make(chan struct{})}
	o.MaxChannels = 1 // a ticket promises no more than any agent has (RFC 9000, section 7.4.1)
	operator = operator.Clone()
	operator.ClientSessionCache = t
	a, b := newTube()
	server, client := &quic.Transport{Conn: b}, &quic.Transport{Conn: a}
	defer server.Close()
	defer client.Close()
	defer a.Close()
	ln, err := server.ListenEarly(agent, o.quic(false))
	if err != nil {
		return t
	}
	defer ln.Close()
	conn, err := client.Dial(ctx, peerAddr(0), operator, o.quic(true))
	if err != nil {
		return t
	}
	defer conn.CloseWithError(codeClosed, "")
	select {
	case <-t.made:
	case <-conn.Context().Done():
	case <-ctx.Done():
	}
	return t
}

// A tube is one end of a path within this process. It drops what is too much.
type tube struct {
	in, out chan []byte
	over    chan struct{} // closed for both ends
	close   func()

	mu   sync.Mutex
	late chan struct{} // closed when the read deadline has passed
}

const tubeLength = 64 // datagrams

func newTube() (a, b *tube) {
	there, back, over := make(chan []byte, tubeLength), make(chan []byte, tubeLength), make(chan struct{})
	end := sync.OnceFunc(func() { close(over) })
	return &tube{in: back, out: there, over: over, close: end, late: make(chan struct{})},
		&tube{in: there, out: back, over: over, close: end, late: make(chan struct{})}
}

func (t *tube) ReadFrom(p []byte) (int, net.Addr, error) {
	t.mu.Lock()
	late := t.late
	t.mu.Unlock()
	select {
	case b := <-t.in:
		return copy(p, b), peerAddr(0), nil
	case <-late:
		return 0, nil, os.ErrDeadlineExceeded
	case <-t.over:
		return 0, nil, net.ErrClosed
	}
}

func (t *tube) WriteTo(p []byte, _ net.Addr) (int, error) {
	select {
	case t.out <- append([]byte(nil), p...):
	case <-t.over:
		return 0, net.ErrClosed
	default:
	}
	return len(p), nil
}

// SetReadDeadline knows what quic-go uses: now, to have a reader return, and never.
func (t *tube) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.late:
		if at.IsZero() {
			t.late = make(chan struct{})
		}
	default:
		if !at.IsZero() {
			close(t.late)
		}
	}
	return nil
}

func (t *tube) Close() error                     { t.close(); return nil }
func (t *tube) LocalAddr() net.Addr              { return peerAddr(0) }
func (t *tube) SetDeadline(at time.Time) error   { return t.SetReadDeadline(at) }
func (t *tube) SetWriteDeadline(time.Time) error { return nil }
func (t *tube) SetReadBuffer(int) error          { return nil } // see path
func (t *tube) SetWriteBuffer(int) error         { return nil }
