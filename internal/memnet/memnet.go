// Package memnet is a network in memory, for tests and benchmarks: a pipe of
// datagrams that loses, delays, reorders and duplicates them as told. It needs
// no port, no privilege and no kernel support, and with one seed it makes the
// same decisions every time.
//
// It imports nothing of this module and nothing imports it but tests.
package memnet

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// Options say how bad the network is. The zero value is a perfect one. The
// probabilities are from 0 to 1 and hold for each datagram on its own.
type Options struct {
	Loss    float64       // is dropped
	Dup     float64       // arrives twice
	Reorder float64       // arrives late, after ReorderBy more than the others
	Delay   time.Duration // one way

	ReorderBy time.Duration // 0: 2 ms
	Queue     int           // datagrams that wait to be read, per side; more are lost; 0: 4096
	Seed      uint64

	// Tap sees every datagram that is sent, before loss, with the name of the
	// sending side, "a" or "b". It must not keep or change the bytes.
	Tap func(side string, datagram []byte)
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
	if o.ReorderBy == 0 {
		o.ReorderBy = 2 * time.Millisecond
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	ea, eb := newEnd("a", &o, 1), newEnd("b", &o, 2)
	ea.peer, eb.peer = eb, ea
	return ea, eb
}

type end struct {
	addr  Addr
	o     *Options
	peer  *end
	inbox chan []byte
	read  deadline

	closing sync.Once
	closed  chan struct{}

	mu   sync.Mutex
	rand *rand.Rand
}

func newEnd(name Addr, o *Options, stream uint64) *end {
	return &end{
		addr: name, o: o,
		inbox:  make(chan []byte, o.Queue),
		closed: make(chan struct{}),
		rand:   rand.New(rand.NewPCG(o.Seed, stream)),
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
		return copy(p, d), e.peer.addr, nil
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
	if e.o.Tap != nil {
		e.o.Tap(string(e.addr), p)
	}
	e.mu.Lock()
	lost := e.rand.Float64() < e.o.Loss
	late := e.rand.Float64() < e.o.Reorder
	twice := e.rand.Float64() < e.o.Dup
	e.mu.Unlock()
	if lost {
		return len(p), nil
	}
	d := append([]byte(nil), p...)
	wait := e.o.Delay
	if late {
		wait += e.o.ReorderBy
	}
	e.peer.deliver(d, wait)
	if twice {
		e.peer.deliver(d, wait)
	}
	return len(p), nil
}

func (e *end) deliver(d []byte, wait time.Duration) {
	if wait > 0 {
		time.AfterFunc(wait, func() { e.deliver(d, 0) })
		return
	}
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
