package program

import (
	"io"
	"sync"
	"time"
)

// An outbox writes to a terminal from a goroutine of its own. It holds one write:
// while the terminal has not taken that, the loop paints nothing new.
type outbox struct {
	writes chan []byte
	idle   chan struct{} // holds a token while the writer has nothing to do
	ended  chan struct{}
	once   sync.Once

	mu  sync.Mutex
	err error
}

func newOutbox(w io.Writer) *outbox {
	o := &outbox{writes: make(chan []byte), idle: make(chan struct{}, 1), ended: make(chan struct{})}
	o.idle <- struct{}{}
	go func() {
		defer close(o.ended)
		for b := range o.writes {
			if _, err := w.Write(b); err != nil {
				o.mu.Lock()
				o.err = err
				o.mu.Unlock()
			}
			o.idle <- struct{}{}
		}
	}()
	return o
}

// send hands over what the caller has taken the idle token for.
func (o *outbox) send(b []byte) { o.writes <- b }

// failed gives the first error of a write.
func (o *outbox) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// await takes the idle token, if the terminal takes what it has within d.
func (o *outbox) await(d time.Duration) bool {
	select {
	case <-o.idle:
		return true
	case <-time.After(d):
		return false
	}
}

// close ends the writer once it is done. A terminal that never reads keeps it, and
// the program that ends then does not wait for that.
func (o *outbox) close() { o.once.Do(func() { close(o.writes) }) }
