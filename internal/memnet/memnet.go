// Package memnet is a network in memory, for tests and benchmarks: a [Link] that
// loses, delays, reorders, doubles and slows datagrams as told, and a pipe of two.
// It needs no port, no privilege and no kernel support, works under
// testing/synctest, and with one seed it makes the same decisions every time.
//
// It imports nothing of this module, and no program imports it.
package memnet

import (
	"cmp"
	"net"
	"os"
	"sync"
	"time"
)

// Options say how bad the network is, in each direction. The zero value is a
// perfect one. The probabilities are from 0 to 1 and hold for each datagram on its
// own.
type Options struct {
	Loss    float64       // is dropped
	Dup     float64       // arrives twice
	Reorder float64       // arrives late, after ReorderBy more than the others
	Delay   time.Duration // one way
	Jitter  time.Duration // up to so much more delay; what Reorder does not pick keeps its order

	// Rate is how much the wire takes, in bytes a second with the headers of IPv4
	// and UDP; 0: anything. Buffer is what may wait for it, in bytes; more is lost;
	// 0: 256 KiB.
	Rate   int
	Buffer int
	// MTU is the longest packet, in bytes with those headers; 0: any. What is
	// longer travels in fragments, and is lost when one of them is.
	MTU int

	ReorderBy time.Duration // 0: 2 ms
	Queue     int           // datagrams that are under way, and that wait to be read; more are lost; 0: 4096
	Seed      uint64

	// Tap sees every datagram that is sent on a pipe, before loss, with the name of
	// the sending side, "a" or "b". It must not keep or change the bytes.
	Tap func(side string, datagram []byte)
}

// filled is o with its defaults.
func (o Options) filled() Options {
	o.ReorderBy = cmp.Or(o.ReorderBy, 2*time.Millisecond)
	o.Queue = cmp.Or(o.Queue, 4096)
	o.Buffer = cmp.Or(o.Buffer, 256<<10)
	return o
}

// pieces is in how many packets a datagram of n bytes travels.
func (o Options) pieces(n int) int {
	if o.MTU == 0 || n+headers <= o.MTU {
		return 1
	}
	each := max((o.MTU-fragment)&^7, 8) // all but the last carry a multiple of 8
	return (n + headers - fragment + each - 1) / each
}

// wire is how long the wire is busy with n bytes.
func (o Options) wire(n int) time.Duration {
	return time.Duration(float64(n) / float64(o.Rate) * float64(time.Second))
}

// Addr is the address of a side of a pipe.
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return "mem" }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }

// PacketPipe gives the two ends of a datagram pipe. Whatever address is written
// to, the datagram goes to the other end. Closing one end makes its own reads
// and writes fail with net.ErrClosed; the other end notices nothing, as with UDP.
func PacketPipe(o Options) (a, b net.PacketConn) {
	o = o.filled()
	ea, eb := newEnd("a", o), newEnd("b", o)
	ea.peer, eb.peer = eb.addr, ea.addr
	ea.out, eb.out = NewLink(o, 1, eb.arrive), NewLink(o, 2, ea.arrive)
	return ea, eb
}

type end struct {
	addr, peer Addr
	tap        func(string, []byte)
	out        *Link
	inbox      chan []byte
	read       deadline

	closing sync.Once
	closed  chan struct{}
}

func newEnd(name Addr, o Options) *end {
	return &end{
		addr: name, tap: o.Tap,
		inbox:  make(chan []byte, o.Queue),
		closed: make(chan struct{}),
		read:   deadline{expired: make(chan struct{})},
	}
}

func (e *end) ReadFrom(p []byte) (int, net.Addr, error) {
	expired := e.read.wait()
	select {
	case <-e.closed:
		return 0, nil, e.fail("read", net.ErrClosed)
	default:
	}
	select {
	case <-expired:
		return 0, nil, e.fail("read", os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-e.inbox:
		return copy(p, d), e.peer, nil
	case <-e.closed:
		return 0, nil, e.fail("read", net.ErrClosed)
	case <-expired:
		return 0, nil, e.fail("read", os.ErrDeadlineExceeded)
	}
}

func (e *end) WriteTo(p []byte, _ net.Addr) (int, error) {
	select {
	case <-e.closed:
		return 0, e.fail("write", net.ErrClosed)
	default:
	}
	if e.tap != nil {
		e.tap(string(e.addr), p)
	}
	e.out.Send(p)
	return len(p), nil
}

func (e *end) arrive(d []byte) {
	select {
	case <-e.closed:
	case e.inbox <- d:
	default: // full: lost, as in a router
	}
}

func (e *end) Close() error {
	e.closing.Do(func() { close(e.closed) })
	return nil
}

func (e *end) LocalAddr() net.Addr { return e.addr }

func (e *end) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

func (e *end) SetReadDeadline(t time.Time) error {
	e.read.set(t)
	return nil
}

// SetWriteDeadline does nothing: writes never block.
func (e *end) SetWriteDeadline(time.Time) error { return nil }

func (e *end) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: e.addr, Err: err}
}

// deadline is a channel that is closed while the deadline is in the past.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	expired := d.expired
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.expired == expired {
				select {
				case <-expired:
				default:
					close(expired)
				}
			}
		})
	} else {
		close(expired)
	}
}
