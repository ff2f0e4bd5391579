package execplugin

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

// left says whether an error is that the other side has left by itself.
func left(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, fs.ErrClosed, errGone} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A link is one end of a connection: frames in, and a queue of frames out.
type link struct {
	r *bufio.Reader
	w io.WriteCloser

	mu    sync.Mutex
	room  *sync.Cond // the queue has become shorter, or err is set
	queue []byte
	err   error // why it has ended

	wake    chan struct{} // the queue is not empty, or err is set
	done    chan struct{} // closed when err is set
	written chan struct{} // closed when nothing is written any more
}

func newLink(r io.Reader, w io.WriteCloser) *link {
	l := &link{r: bufio.NewReaderSize(r, 64<<10), w: w, wake: make(chan struct{}, 1), done: make(chan struct{}), written: make(chan struct{})}
	l.room = sync.NewCond(&l.mu)
	l.queue = append(l.queue, versionLine...)
	go l.write()
	l.stir()
	return l
}

func (l *link) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends the queue until the link ends. It closes w.
func (l *link) write() {
	defer close(l.written)
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
				l.fail(fmt.Errorf("%w: %w", errGone, err))
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

// fail ends the link. The first error stays; what is in the queue is still tried.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
		close(l.done)
	}
	l.room.Broadcast()
	l.mu.Unlock()
	l.stir()
}

// why is the error of a link that has ended.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// send queues a frame. It never waits: a queue that is too long ends the link.
func (l *link) send(word string, id uint32, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		l.fail(fmt.Errorf("execplugin: internal error: %w", err)) // the messages are structs of ours
		return
	}
	l.mu.Lock()
	l.put(frame{word, id, b})
	full := len(l.queue) > maxQueue
	l.mu.Unlock()
	if full {
		l.fail(errNotReading)
	}
	l.stir()
}

// sendData queues bytes of a stream, once there is room.
func (l *link) sendData(word string, id uint32, b []byte) error {
	l.mu.Lock()
	for l.err == nil && len(l.queue) > roomyQueue {
		l.room.Wait()
	}
	err := l.err
	if err == nil {
		l.put(frame{word, id, b})
	}
	l.mu.Unlock()
	l.stir()
	return err
}

// put adds to the queue of a link that has not ended. The caller holds mu.
func (l *link) put(f frame) {
	if l.err != nil {
		return
	}
	l.queue = appendFrame(l.queue, f)
	if rand.IntN(greaseEvery) == 0 {
		l.queue = appendFrame(l.queue, grease())
	}
}

// version reads the first line.
func (l *link) version() error {
	line := make([]byte, len(versionLine))
	n, err := io.ReadFull(l.r, line)
	switch {
	case err != nil && n == 0:
		return err
	case string(line[:n]) != versionLine[:n]:
		return fmt.Errorf("execplugin: the first line is %q, not %q: this is no backend, or one of another version", line[:n], versionLine)
	case err != nil:
		return fmt.Errorf("execplugin: the end came within the first line: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// read reads a frame whose words are known; others are skipped.
func (l *link) read(known map[string]bool) (frame, error) {
	for {
		f, err := readFrame(l.r)
		if err != nil || known[f.word] {
			return f, err
		}
	}
}
