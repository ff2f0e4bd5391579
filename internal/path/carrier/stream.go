package carrier

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// queueLen bounds the datagrams that wait to be written.
	queueLen = 64
	// maxFrame bounds one datagram, in bytes: more than any path carries.
	maxFrame = 2048
	// patience is how long a writer waits for room in the queue before its
	// datagram is lost. It slows a sender down to what the stream takes.
	patience = 100 * time.Millisecond
	// stuck is how long a stream may take nothing at all before it ends.
	stuck = 15 * time.Second
	// readBuffer is for what comes, in bytes.
	readBuffer = 32 << 10
)

// ErrFrame means a stream that is not one of STUN messages and ChannelData.
var ErrFrame = errors.New("carrier: the relay does not speak TURN on this stream")

// A stream is a [net.PacketConn] on a stream: each datagram is a STUN message or
// ChannelData, padded to four bytes (RFC 8656, section 12.5). One goroutine
// writes, whatever is waiting at once.
type stream struct {
	net.Conn
	in  *bufio.Reader // the reader's
	out chan []byte   // of frames

	closing sync.Once
	done    chan struct{}
}

// OnStream makes datagrams of a stream to a relay, which it owns from here on.
func OnStream(c net.Conn) net.PacketConn { return newStream(c) }

var frames = sync.Pool{New: func() any { return new([maxFrame]byte) }}

func newStream(c net.Conn) *stream {
	s := &stream{Conn: c, in: bufio.NewReaderSize(c, readBuffer), out: make(chan []byte, queueLen), done: make(chan struct{})}
	go s.write()
	return s
}

// ReadFrom gives the next datagram. One that is longer than p, or that is none,
// ends the stream: where the next begins is not known.
func (s *stream) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := ReadFrame(s.in, p)
	return n, s.RemoteAddr(), err
}

// ReadFrame reads one STUN message or ChannelData from a stream into p, with its
// padding.
func ReadFrame(r *bufio.Reader, p []byte) (int, error) {
	h, err := r.Peek(4)
	if err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	switch h[0] >> 6 {
	case 0: // a STUN message: its length is that of what follows the header
		n += 20
	case 1: // ChannelData
		n = 4 + (n+3)&^3
	default:
		return 0, ErrFrame
	}
	if n > len(p) {
		return 0, ErrFrame
	}
	for read := 0; read < n; {
		m, err := r.Read(p[read:n])
		if err != nil {
			return 0, err
		}
		read += m
	}
	return n, nil
}

// WriteTo queues a datagram. It waits no longer than patience.
func (s *stream) WriteTo(p []byte, _ net.Addr) (int, error) {
	if len(p) > maxFrame {
		return 0, ErrFrame
	}
	b := frames.Get().(*[maxFrame]byte)
	f := b[:copy(b[:], p)]
	select {
	case s.out <- f:
		return len(p), nil
	case <-s.done:
		return 0, net.ErrClosed
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case s.out <- f:
	case <-s.done:
		return 0, net.ErrClosed
	case <-t.C:
		frames.Put(b) // lost
	}
	return len(p), nil
}

// write writes what is queued, until the stream ends.
func (s *stream) write() {
	batch := make([]byte, 0, queueLen*maxFrame/2)
	for {
		batch = batch[:0]
		select {
		case f := <-s.out:
			batch = take(batch, f)
		case <-s.done:
			return
		}
	more:
		for len(batch)+maxFrame <= cap(batch) {
			select {
			case f := <-s.out:
				batch = take(batch, f)
			default:
				break more
			}
		}
		err := s.SetWriteDeadline(time.Now().Add(stuck))
		if err == nil {
			_, err = s.Write(batch)
		}
		if err != nil {
			s.Close() // half a frame may have gone
			return
		}
	}
}

// take appends a frame and gives its buffer back.
func take(batch, f []byte) []byte {
	batch = append(batch, f...)
	frames.Put((*[maxFrame]byte)(f[:maxFrame]))
	return batch
}

// Close ends the stream. What waits is lost.
func (s *stream) Close() error {
	err := net.ErrClosed
	s.closing.Do(func() {
		close(s.done)
		err = s.Conn.Close()
	})
	return err
}
