package line

import (
	"bytes"
	"io"
	"sync"
)

// The keys that mean something while a line waits or runs.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyQuit      = 0x1c // Ctrl-\
)

// clearLine is what Ctrl-C is to the editor: to the line's end, and erase to its begin.
const clearLine = "\x05\x15"

// maxAhead bounds what is typed ahead, in bytes. More is dropped.
const maxAhead = 64 << 10

// keys are what was typed and nobody has read yet.
type keys struct {
	mu     sync.Mutex
	more   sync.Cond
	ahead  []byte
	closed bool
	end    func(kill bool) // of what waits or runs; nil: a line is being typed
}

func newKeys() *keys {
	k := &keys{}
	k.more.L = &k.mu
	return k
}

// during says how Ctrl-C, and Ctrl-\, which kills, end what begins now; nil: it is over.
func (k *keys) during(end func(kill bool)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end = end
}

// Write takes what is typed. It does not wait.
func (k *keys) Write(b []byte) (int, error) {
	var end func(bool)
	kill := false
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	for _, c := range b {
		switch {
		case (c == keyInterrupt || c == keyQuit) && k.end != nil:
			// What was typed ahead goes, too, as on every terminal.
			end, kill, k.ahead = k.end, kill || c == keyQuit, k.ahead[:0]
		case c == keyInterrupt:
			k.push(clearLine)
		case c != keyQuit:
			k.push(string([]byte{c}))
		}
	}
	k.more.Signal()
	k.mu.Unlock()
	if end != nil {
		end(kill)
	}
	return len(b), nil
}

func (k *keys) push(s string) {
	if len(k.ahead)+len(s) <= maxAhead {
		k.ahead = append(k.ahead, s...)
	}
}

// Read waits for what is typed, and gives no more than one line of it, so that the
// others can still be taken back; io.EOF after the last one before Close.
func (k *keys) Read(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.ahead) == 0 && !k.closed {
		k.more.Wait()
	}
	if len(k.ahead) == 0 {
		return 0, io.EOF
	}
	line := len(k.ahead)
	if end := bytes.IndexAny(k.ahead, "\r\n"); end >= 0 {
		line = end + 1
	}
	n := copy(b, k.ahead[:line])
	k.ahead = append(k.ahead[:0], k.ahead[n:]...)
	return n, nil
}

// Close ends the input.
func (k *keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.more.Broadcast()
	return nil
}
