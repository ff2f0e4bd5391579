package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
)

const (
	// roomyQueue is how many bytes may wait before whoever sends data is made to wait.
	roomyQueue = 1 << 18
	// maxQueue is how many may wait at all: the other side has not read for long.
	maxQueue = 16 << 20
	// greaseEvery: one of so many frames is followed by one that means nothing.
	greaseEvery = 8
)

var (
	errNotReading = errors.New("execplugin: the other side does not read")
	errGone       = errors.New("execplugin: the other side is gone")
)

// Left says whether an error is that the other side has left by itself.
func Left(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, fs.ErrClosed, errGone} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A Link is one end of a connection: frames in, and a queue of frames out.
type Link struct {
	r *bufio.Reader
	w io.WriteCloser

	mu    sync.Mutex
	room  *sync.Cond // the queue has become shorter, or err is set
	queue []byte
	err   error // why it has ended

	wake    chan struct{} // the queue is not empty, or err is set
	Done    chan struct{} // closed when err is set
	Written chan struct{} // closed when nothing is written any more
}

// NewLink begins to write to w, with the first line; Fail ends that. It reads nothing by itself.
func NewLink(r io.Reader, w io.WriteCloser) *Link {
	l := &Link{r: bufio.NewReaderSize(r, 64<<10), w: w, wake: make(chan struct{}, 1), Done: make(chan struct{}), Written: make(chan struct{})}
	l.room = sync.NewCond(&l.mu)
	l.queue = append(l.queue, VersionLine...)
	go l.write()
	l.stir()
	return l
}

func (l *Link) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends the queue until the link ends. It closes w.
func (l *Link) write() {
	defer close(l.Written)
	var spare []byte
	for {
		l.mu.Lock()
		b := l.queue
		if len(b) > 0 {
			l.queue, spare = spare[:0], nil
		}
		ended := l.err != nil
		l.room.Broadcast()
		l.mu.Unlock()
		if len(b) > 0 {
			if _, err := l.w.Write(b); err != nil {
				l.Fail(fmt.Errorf("%w: %w", errGone, err))
				ended = true
			}
			if cap(b) <= 1<<20 {
				spare = b
			}
			if !ended {
				continue // more may have come meanwhile
			}
		}
		if ended {
			_ = l.w.Close() // the link's own error says more
			return
		}
		<-l.wake
	}
}

// Fail ends the link. The first error stays; what is in the queue is still tried.
func (l *Link) Fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
		close(l.Done)
	}
	l.room.Broadcast()
	l.mu.Unlock()
	l.stir()
}

// Settle says better why a link that has ended did so.
func (l *Link) Settle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Why is the error of a link that has ended.
func (l *Link) Why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Send queues a frame. It never waits: a queue that is too long ends the link.
func (l *Link) Send(word string, id uint32, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		l.Fail(fmt.Errorf("execplugin: internal error: %w", err)) // the messages are structs of ours
		return
	}
	l.mu.Lock()
	l.put(Frame{word, id, b})
	full := len(l.queue) > maxQueue
	l.mu.Unlock()
	if full {
		l.Fail(errNotReading)
	}
	l.stir()
}

// SendData queues bytes of a stream, once there is room.
func (l *Link) SendData(word string, id uint32, b []byte) error {
	l.mu.Lock()
	for l.err == nil && len(l.queue) > roomyQueue {
		l.room.Wait()
	}
	err := l.err
	if err == nil {
		l.put(Frame{word, id, b})
	}
	l.mu.Unlock()
	l.stir()
	return err
}

// put adds to the queue of a link that has not ended. The caller holds mu.
func (l *Link) put(f Frame) {
	if l.err != nil {
		return
	}
	l.queue = AppendFrame(l.queue, f)
	if rand.IntN(greaseEvery) == 0 {
		l.queue = AppendFrame(l.queue, grease())
	}
}

// Version reads the first line.
func (l *Link) Version() error {
	line := make([]byte, len(VersionLine))
	n, err := io.ReadFull(l.r, line)
	switch {
	case err != nil && n == 0:
		return err
	case string(line[:n]) != VersionLine[:n]:
		return fmt.Errorf("execplugin: the first line is %q, not %q: this is no backend, or one of another version", line[:n], VersionLine)
	case err != nil:
		return fmt.Errorf("execplugin: the end came within the first line: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// Read reads a frame whose words are known; others are skipped.
func (l *Link) Read(known map[string]bool) (Frame, error) {
	for {
		f, err := ReadFrame(l.r)
		if err != nil || known[f.Word] {
			return f, err
		}
	}
}
