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
	// farewell is how long a stream that is closed may take for what waits: a
	// session says goodbye in its last datagram.
	farewell = 200 * time.Millisecond
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
	ended   chan struct{} // closed when nothing is written any more
}

// OnStream makes datagrams of a stream to a relay, which it owns from here on.
func OnStream(c net.Conn) net.PacketConn { return newStream(c) }

var frames = sync.Pool{New: func() any { return new([maxFrame]byte) }}

func newStream(c net.Conn) *stream {
	s := &stream{Conn: c, in: bufio.NewReaderSize(c, readBuffer), out: make(chan []byte, queueLen), done: make(chan struct{}), ended: make(chan struct{})}
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

// write writes what is queued, until the stream ends, and closes it.
func (s *stream) write() {
	defer close(s.ended)
	defer s.Conn.Close()
	defer s.closing.Do(func() { close(s.done) })
	batch := make([]byte, 0, queueLen*maxFrame/2)
	for {
		batch = batch[:0]
		limit := stuck
		select {
		case f := <-s.out:
			batch = take(batch, f)
		case <-s.done:
			limit = farewell
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
		if len(batch) == 0 {
			return
		}
		s.SetWriteDeadline(time.Now().Add(limit))
		select {
		case <-s.done:
			s.SetWriteDeadline(time.Now().Add(farewell))
		default:
		}
		if _, err := s.Write(batch); err != nil {
			return // half a frame may have gone
		}
	}
}

// take appends a frame and gives its buffer back.
func take(batch, f []byte) []byte {
	batch = append(batch, f...)
	frames.Put((*[maxFrame]byte)(f[:maxFrame]))
	return batch
}

// Close ends the stream, once what waits has been written or that takes too long.
func (s *stream) Close() error {
	err := net.ErrClosed
	s.closing.Do(func() {
		close(s.done)
		err = s.SetWriteDeadline(time.Now().Add(farewell))
	})
	<-s.ended
	return err
}
