package offload

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxRun bounds the datagrams that one system call sends (the system takes
	// 64), and maxRunBytes their bytes.
	maxRun      = 48
	maxRunBytes = 60 << 10
	// maxQueued bounds the datagrams that wait to be sent on one socket.
	maxQueued = 2 * maxRun
)

// An outbox sends the datagrams of one socket: what waits is sent with as few system
// calls as the system allows. While nothing waits, a datagram goes at once. It is
// safe for concurrent use.
type outbox struct {
	send  func(p []byte, size int, to netip.AddrPort) error // datagrams of size bytes, the last perhaps shorter
	queue chan outgoing

	failed atomic.Pointer[failure] // of the last call, until somebody was told
	once   sync.Once
	done   chan struct{}
	ended  chan struct{} // closed when nothing is sent any more
}

// farewell is how long a socket that is closed may take to send what waits: a session
// says goodbye in its last datagram.
const farewell = 100 * time.Millisecond

type failure struct {
	to  netip.AddrPort
	err error
}

// MaxDatagram is the longest datagram, in bytes.
const MaxDatagram = 2048

// ErrTooLong means an empty datagram, or one over MaxDatagram.
var ErrTooLong = errors.New("offload: datagram empty or too long")

type datagram struct {
	n int
	b [MaxDatagram]byte
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

type outgoing struct {
	d  *datagram
	to netip.AddrPort
}

func newOutbox(send func(p []byte, size int, to netip.AddrPort) error) *outbox {
	o := &outbox{send: send, queue: make(chan outgoing, maxQueued), done: make(chan struct{}), ended: make(chan struct{})}
	go o.run()
	return o
}

// write queues a datagram. Its error is that of an earlier one to the same address:
// the system has no way there any more, and what is above may know another.
func (o *outbox) write(p []byte, to netip.AddrPort) (int, error) {
	if f := o.failed.Load(); f != nil && f.to == to && o.failed.CompareAndSwap(f, nil) {
		return 0, f.err
	}
	if len(p) == 0 || len(p) > MaxDatagram {
		return 0, ErrTooLong
	}
	select {
	case <-o.done:
		return 0, net.ErrClosed
	default:
	}
	d := datagrams.Get().(*datagram)
	d.n = copy(d.b[:], p)
	select {
	case o.queue <- outgoing{d, to}:
		return len(p), nil
	case <-o.done:
		datagrams.Put(d)
		return 0, net.ErrClosed
	}
}

func (o *outbox) run() {
	defer close(o.ended)
	run := make([]byte, 0, MaxDatagram)
	var next *outgoing // taken, and not of the last run
	for {
		var first outgoing
		if next != nil {
			first, next = *next, nil
		} else {
			select {
			case first = <-o.queue:
			case <-o.done:
				select {
				case first = <-o.queue:
				default:
					return
				}
			}
		}
		run = append(run[:0], first.d.b[:first.d.n]...)
		size := first.d.n
		datagrams.Put(first.d)
		for n := 1; n < maxRun && next == nil && len(run)%size == 0; n++ {
			select {
			case g := <-o.queue:
				if g.to != first.to || g.d.n > size || g.d.n == 0 || len(run)+g.d.n > maxRunBytes {
					next = &g
					continue
				}
				run = append(run, g.d.b[:g.d.n]...)
				datagrams.Put(g.d)
				continue
			default:
			}
			break
		}
		if err := o.send(run, size, first.to); err != nil {
			o.failed.Store(&failure{first.to, err})
		}
		if cap(run) > MaxDatagram && len(o.queue) == 0 {
			run = make([]byte, 0, MaxDatagram) // an idle session keeps no large buffer
		}
	}
}

// close has what waits sent, and ends.
func (o *outbox) close() {
	o.once.Do(func() { close(o.done) })
	select {
	case <-o.ended:
	case <-time.After(farewell):
	}
}
