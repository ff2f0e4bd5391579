package channel

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/session"
)

// path is the net.PacketConn that QUIC sees: each of its datagrams is a sealed
// record on the real one, which may be replaced.
type path struct {
	chain *session.Chain
	keep  atomic.Bool // a lost conn is waited for, until Close

	mu     sync.Mutex
	conn   net.PacketConn
	peer   net.Addr
	lost   bool          // conn can't be read any more
	moved  bool          // conn was replaced, and nothing heard since
	change chan struct{} // closed when conn is replaced
	closed bool

	heardOnce sync.Once
	first     chan struct{} // closed at the first authentic record
	partOnce  sync.Once
	parted    chan struct{} // closed when the peer has heard our goodbye
	heard     atomic.Int64  // when the peer was heard last, Unix nanoseconds by the wall clock
	address   atomic.Uint64 // of the peer, as QUIC sees it

	rbuf []byte // only the reader's

	wmu  sync.Mutex
	wbuf []byte
	last []byte // what QUIC has sent last

	loss   loss
	spares spares
}

// maxDatagram is what a path may deliver at most, in bytes. Longer ones are cut
// and then don't authenticate.
const maxDatagram = 2048

func newPath(conn net.PacketConn, peer net.Addr, chain *session.Chain) *path {
	p := &path{
		conn: conn, peer: peer, chain: chain,
		first: make(chan struct{}), parted: make(chan struct{}), change: make(chan struct{}), rbuf: make([]byte, maxDatagram),
	}
	p.heard.Store(time.Now().UnixNano())
	return p
}

// quiet is for how long the peer has not been heard. Time in which this machine
// slept counts.
func (p *path) quiet() time.Duration {
	return time.Duration(time.Now().UnixNano() - p.heard.Load())
}

// next appends to dst the payload of the next authentic record, from whatever
// address it came.
func (p *path) next(dst []byte) ([]byte, session.Kind, error) {
	for {
		p.mu.Lock()
		conn, change, closed := p.conn, p.change, p.closed
		p.mu.Unlock()
		if closed {
			return nil, 0, net.ErrClosed
		}
		n, _, err := conn.ReadFrom(p.rbuf)
		if err != nil {
			if !p.keep.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, 0, err
			}
			p.strand(conn)
			<-change
			continue
		}
		out, kind, err := p.chain.Open(dst, p.rbuf[:n])
		if errors.Is(err, session.ErrRecord) {
			continue // noise, a replay, or a forgery
		}
		if err != nil {
			return nil, 0, err
		}
		p.loss.heard(session.Place(p.rbuf[:n]))
		p.hear(conn)
		return out, kind, nil
	}
}

// hear notes that the peer is there. After a silence, or on a new path, it has a new
// address as far as QUIC knows: what was measured on the way before, and what waits
// for it, counts no more (RFC 9000, section 9.4).
func (p *path) hear(conn net.PacketConn) {
	p.mu.Lock()
	moved := p.moved && conn == p.conn
	if moved {
		p.moved = false
	}
	p.mu.Unlock()
	if moved || p.quiet() > silence {
		p.address.Add(1)
	}
	p.heard.Store(time.Now().UnixNano())
	p.heardOnce.Do(func() { close(p.first) })
}

// strand notes that conn can't be read any more.
func (p *path) strand(conn net.PacketConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == conn {
		p.lost = true
	}
}

// stranded reports whether there is no conn to read from.
func (p *path) stranded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// replace goes on with another conn, and closes the one before.
func (p *path) replace(conn net.PacketConn, peer net.Addr) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return net.ErrClosed
	}
	old := p.conn
	p.conn, p.peer, p.lost, p.moved = conn, peer, false, true
	close(p.change)
	p.change = make(chan struct{})
	p.mu.Unlock()
	return old.Close()
}

// awaitAccept reads until the agent's ACCEPT has come.
func (p *path) awaitAccept(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.SetReadDeadline(time.Unix(1, 0)) })
	_, _, err := p.next(nil) // the first authentic record is ACCEPT, or an error
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// sendAccept sends ACCEPT again and again, ever more slowly, until the operator
// is heard or ctx ends. Each is a record of its own.
func (p *path) sendAccept(ctx context.Context, heard <-chan struct{}) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		p.wmu.Lock()
		var err error
		p.wbuf, err = p.chain.Accept(p.wbuf[:0])
		if err == nil {
			err = p.send()
		}
		p.wmu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-heard:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// send writes wbuf. A path that refuses one datagram has lost it, like any
// other: QUIC sends the content again. Only a closed path is an error.
func (p *path) send() error {
	p.mu.Lock()
	conn, peer, closed := p.conn, p.peer, p.closed
	p.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if _, err := conn.WriteTo(p.wbuf, peer); errors.Is(err, net.ErrClosed) && !p.keep.Load() {
		return err
	}
	return nil
}

func (p *path) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		out, kind, err := p.next(b[:0])
		if err != nil {
			return 0, nil, err
		}
		if kind == session.KindData && len(out) == 0 {
			p.partOnce.Do(func() { close(p.parted) })
			continue
		}
		if kind == session.KindData {
			return copy(b, out), peerAddr(p.address.Load()), nil // out is in b, unless it was too long
		}
	}
}

func (p *path) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	p.last = append(p.last[:0], b...)
	err := p.seal(b)
	if err == nil {
		p.spare(b)
	}
	return len(b), err
}

func (p *path) seal(b []byte) (err error) {
	if p.wbuf, err = p.chain.Seal(p.wbuf[:0], b); err != nil {
		return err
	}
	return p.send()
}

// again sends once more, as a new record, what QUIC has sent last. If it had arrived
// QUIC drops it. If not it is acknowledged, which tells QUIC of everything else that
// did not arrive.
func (p *path) again() error {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	return p.seal(p.last)
}

// partTimes are the pauses after each time that a goodbye is said: it is lost with
// whatever else is lost at that moment, so they grow.
var partTimes = []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond, 160 * time.Millisecond}

// part sees to it that the peer hears our goodbye, which is what QUIC has sent last and
// never repeats: it is sent again until the peer has said that it heard it, or after
// some tries. A peer that is lost is not waited for.
func (p *path) part() {
	lost := p.quiet() > silence || p.stranded()
	for i, wait := range partTimes {
		if i > 0 && p.again() != nil {
			return
		}
		if lost {
			continue
		}
		select {
		case <-p.parted:
			return
		case <-time.After(wait):
		}
	}
}

// parting says that the peer's goodbye was heard: an empty datagram, which QUIC never
// sends, twice.
func (p *path) parting() {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	for range 2 {
		_ = p.seal(nil)
	}
}

// Close is called by the Mux alone.
func (p *path) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	close(p.change)
	return p.conn.Close()
}

func (p *path) LocalAddr() net.Addr              { return peerAddr(0) }
func (p *path) SetDeadline(t time.Time) error    { return p.SetReadDeadline(t) }
func (p *path) SetWriteDeadline(time.Time) error { return nil }
func (p *path) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn.SetReadDeadline(t)
}

// SetReadBuffer and SetWriteBuffer pass quic-go's wish for large socket buffers
// on to a path that has such, and otherwise take it as fulfilled: quic-go
// writes to the process's standard error when it is refused.
func (p *path) SetReadBuffer(n int) error {
	if c, ok := p.under().(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(n)
	}
	return nil
}

// SetWriteBuffer: see SetReadBuffer.
func (p *path) SetWriteBuffer(n int) error {
	if c, ok := p.under().(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(n)
	}
	return nil
}

func (p *path) under() net.PacketConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// A peerAddr is the only kind of address that QUIC ever sees: it counts the ways that
// the peer has come.
type peerAddr uint64

func (peerAddr) Network() string  { return "session" }
func (a peerAddr) String() string { return strconv.FormatUint(uint64(a), 10) }
