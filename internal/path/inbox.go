package path

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"
)

// maxWaiting bounds the datagrams that were received and not yet read.
const maxWaiting = 256

// An inbox is where the datagrams of all ways of one path come together.
type inbox struct {
	received chan *datagram
	reads    *deadline.Deadline
}

type datagram struct {
	n int
	b [maxDatagram]byte
}

// maxDatagram is room for the longest datagram, in bytes: what is longer is cut,
// and then does not authenticate.
const maxDatagram = 2048

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

func newInbox() *inbox {
	return &inbox{received: make(chan *datagram, maxWaiting), reads: deadline.New()}
}

// fill moves datagrams from one way to the readers until read fails or over is
// closed. A full inbox makes the way wait, whose own buffers are bounded and drop.
func (q *inbox) fill(over <-chan struct{}, read func([]byte) (int, error)) {
	for {
		d := datagrams.Get().(*datagram)
		n, err := read(d.b[:])
		if err != nil {
			datagrams.Put(d)
			if errors.Is(err, io.ErrShortBuffer) {
				continue
			}
			return
		}
		d.n = n
		select {
		case q.received <- d:
		case <-over:
			return
		}
	}
}

// read gives the next datagram until over is closed. One that is longer than p is
// lost, with io.ErrShortBuffer.
func (q *inbox) read(p []byte, over <-chan struct{}) (int, error) {
	select {
	case <-over:
		return 0, net.ErrClosed
	case <-q.reads.Done():
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-q.received:
		defer datagrams.Put(d)
		if n := copy(p, d.b[:d.n]); n < d.n {
			return 0, io.ErrShortBuffer
		}
		return d.n, nil
	case <-over:
		return 0, net.ErrClosed
	case <-q.reads.Done():
		return 0, os.ErrDeadlineExceeded
	}
}

// setDeadline sets that of reads.
func (q *inbox) setDeadline(t time.Time, over <-chan struct{}) error {
	select {
	case <-over:
		return net.ErrClosed
	default:
	}
	q.reads.Set(t)
	return nil
}
