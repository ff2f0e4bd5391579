package fleet

import (
	"errors"
	"io"
	"sync"
)

// ErrOutput means a command that was ended because it printed more than was wanted.
var ErrOutput = errors.New("fleet: the command printed more than --max-output, and was ended")

// A Spending bounds what is written to several writers together. What fits is written.
type Spending struct {
	Most int    // bytes; 0: any number
	Over func() // called once, when more is to be written; it must not block

	mu      sync.Mutex
	written int
	over    bool
}

// Writer gives a writer to w that counts.
func (l *Spending) Writer(w io.Writer) io.Writer {
	if l.Most == 0 {
		return w
	}
	return &limited{l, w}
}

// IsOver reports whether more was to be written than may be.
func (l *Spending) IsOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

type limited struct {
	limit *Spending
	w     io.Writer
}

func (w *limited) Write(b []byte) (int, error) {
	l := w.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	fits := min(len(b), l.Most-l.written)
	n, err := w.w.Write(b[:fits])
	l.written += n
	if err != nil || fits == len(b) {
		return n, err
	}
	if !l.over {
		l.over = true
		l.Over()
	}
	return n, ErrOutput
}
