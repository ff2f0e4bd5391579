package channel

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/session"
)

// path is the net.PacketConn that QUIC sees: each of its datagrams is a sealed
// record on the real one. To QUIC the peer has one address that never changes.
type path struct {
	conn    net.PacketConn
	peer    net.Addr
	records *session.Records

	heardOnce sync.Once
	heard     chan struct{} // closed at the first authentic record

	rbuf []byte // only the reader's

	wmu  sync.Mutex
	wbuf []byte
}

// maxDatagram is what a path may deliver at most, in bytes. Longer ones are cut
// and then don't authenticate.
const maxDatagram = 2048

func newPath(conn net.PacketConn, peer net.Addr, records *session.Records) *path {
	return &path{conn: conn, peer: peer, records: records, heard: make(chan struct{}), rbuf: make([]byte, maxDatagram)}
}

// next appends to dst the payload of the next authentic record, from whatever
// address it came.
func (p *path) next(dst []byte) ([]byte, session.Kind, error) {
	for {
		n, _, err := p.conn.ReadFrom(p.rbuf)
		if err != nil {
			return nil, 0, err
		}
		out, kind, err := p.records.Open(dst, p.rbuf[:n])
		if errors.Is(err, session.ErrRecord) {
			continue // noise, a replay, or a forgery
		}
		if err != nil {
			return nil, 0, err
		}
		p.heardOnce.Do(func() { close(p.heard) })
		return out, kind, nil
	}
}

// awaitAccept reads until the agent's ACCEPT has come.
func (p *path) awaitAccept(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.conn.SetReadDeadline(time.Unix(1, 0)) })
	_, _, err := p.next(nil) // the first authentic record is ACCEPT, or an error
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// sendAccept sends ACCEPT again and again, ever more slowly, until the operator
// is heard or ctx ends. Each is a record of its own.
func (p *path) sendAccept(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		p.wmu.Lock()
		var err error
		p.wbuf, err = p.records.Accept(p.wbuf[:0])
		if err == nil {
			err = p.send()
		}
		p.wmu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-p.heard:
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
	if _, err := p.conn.WriteTo(p.wbuf, p.peer); errors.Is(err, net.ErrClosed) {
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
		if kind == session.KindData {
			return copy(b, out), peerAddr{}, nil // out is in b, unless it was too long
		}
	}
}

func (p *path) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	var err error
	if p.wbuf, err = p.records.Seal(p.wbuf[:0], b); err != nil {
		return 0, err
	}
	return len(b), p.send()
}

// repeat sends the last datagram twice more, as it is: if it has arrived, the
// replay window drops the copies. It is for the one that says goodbye, which
// nobody acknowledges.
func (p *path) repeat() {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	for range 2 {
		_ = p.send()
	}
}

// Close is called by the Mux alone.
func (p *path) Close() error                       { return p.conn.Close() }
func (p *path) LocalAddr() net.Addr                { return peerAddr{} }
func (p *path) SetDeadline(t time.Time) error      { return p.conn.SetDeadline(t) }
func (p *path) SetReadDeadline(t time.Time) error  { return p.conn.SetReadDeadline(t) }
func (p *path) SetWriteDeadline(t time.Time) error { return p.conn.SetWriteDeadline(t) }

// SetReadBuffer and SetWriteBuffer pass quic-go's wish for large socket buffers
// on to a path that has such, and otherwise take it as fulfilled: quic-go
// writes to the process's standard error when it is refused.
func (p *path) SetReadBuffer(n int) error {
	if c, ok := p.conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(n)
	}
	return nil
}

// SetWriteBuffer: see SetReadBuffer.
func (p *path) SetWriteBuffer(n int) error {
	if c, ok := p.conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(n)
	}
	return nil
}

// peerAddr is the only address that QUIC ever sees.
type peerAddr struct{}

func (peerAddr) Network() string { return "session" }
func (peerAddr) String() string  { return "session" }
