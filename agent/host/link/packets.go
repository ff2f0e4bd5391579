//go:build unix

package link

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
)

// Patience is how long a datagram waits for room in a socket before it is lost, as on
// any network.
const Patience = 20 * time.Millisecond

// Packets are one end of a socket pair of datagrams, as a [net.PacketConn] to one
// peer. It is safe for concurrent use.
type Packets struct {
	*net.UnixConn
	peer atomic.Pointer[net.UDPAddr] // nil until it is known
}

// NewPackets makes one of an end of a Pair of Datagrams, which it owns.
func NewPackets(c *net.UnixConn) *Packets { return &Packets{UnixConn: c} }

// SetPeer says who is at the other end of the path. Nothing is read before.
func (p *Packets) SetPeer(to *net.UDPAddr) { p.peer.Store(to) }

// Peer gives who it is, or nil.
func (p *Packets) Peer() *net.UDPAddr { return p.peer.Load() }

// ReadFrom implements [net.PacketConn]. Every datagram comes from the peer, as far
// as is told here: only what is sealed above tells who sent it.
func (p *Packets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.UnixConn.Read(b)
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			err = net.ErrClosed
		}
		return 0, nil, err
	}
	from := p.peer.Load()
	if from == nil {
		return 0, nil, net.ErrClosed // nothing was to come before
	}
	return n, from, nil
}

// WriteTo implements [net.PacketConn]. It goes to the one peer, and waits no longer
// than Patience for a process that does not read.
func (p *Packets) WriteTo(b []byte, _ net.Addr) (int, error) {
	if len(b) > path.MaxDatagram {
		return 0, path.ErrTooLong
	}
	if err := p.UnixConn.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
		return 0, net.ErrClosed
	}
	_, err := p.UnixConn.Write(b)
	if errors.Is(err, net.ErrClosed) {
		return 0, net.ErrClosed
	}
	return len(b), nil // lost, if so
}

// SetDeadline implements [net.PacketConn].
func (p *Packets) SetDeadline(t time.Time) error { return p.UnixConn.SetReadDeadline(t) }

// SetWriteDeadline implements [net.PacketConn]: writes have their own.
func (p *Packets) SetWriteDeadline(time.Time) error { return nil }
