package execplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
)

// A served is a plugin's end of a terminal.
type served struct {
	s    *server
	id   uint32
	term backend.Terminal
	told backend.Assurance // by the one goroutine of assure

	mu      sync.Mutex
	turned  *sync.Cond // anything of the following has changed
	in      []byte     // was typed, and not taken by the program yet
	eof     bool       // after in
	out     int        // bytes that the console takes of each
	err     int
	size    sizeBody // to be told to the program; zero: nothing is
	signals []string // to be sent
	busy    bool     // it is being told, or sent
	closed  bool
}

// maxSignals bounds the signals that wait to be sent.
const maxSignals = 16

// open opens a terminal and answers with it. Its streams follow.
func (s *server) open(ctx context.Context, f frame) error {
	b, err := parse[requestBody](f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	full := len(s.terms) >= maxTerms
	s.mu.Unlock()
	if full {
		return fmt.Errorf("execplugin: %w: %d terminals are open already", backend.ErrUnavailable, maxTerms)
	}
	term, err := s.backend.Open(ctx, b.request())
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		_ = term.Close() // nobody waits for it
		return err
	}
	t := &served{s: s, id: f.id, term: term, told: term.Assurance(), out: window, err: window}
	t.turned = sync.NewCond(&t.mu)
	opened := openedBody{Assurance: bodyOfAssurance(t.told)}
	var stderr io.Reader
	if e, ok := backend.TerminalAs[backend.StderrTerminal](term); ok {
		stderr = e.Stderr()
	}
	opened.Stderr = stderr != nil
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.terms[f.id] = t
	}
	s.mu.Unlock()
	if ended {
		return errors.Join(backend.ErrClosed, term.Close())
	}
	s.link.send("opened", f.id, opened)

	var outputs sync.WaitGroup
	outputs.Go(func() { t.pump("out", term, &t.out) })
	if stderr != nil {
		outputs.Go(func() { t.pump("err", stderr, &t.err) })
	}
	s.all.Go(t.feed)
	s.all.Go(t.steer)
	s.all.Go(func() {
		outputs.Wait()
		exit, err := term.Wait()
		body := exitBody{Code: exit.Code, Signal: exit.Signal, Reason: exit.Reason}
		if err != nil {
			body.Error = brief(err.Error())
		}
		s.mu.Lock()
		delete(s.terms, f.id)
		s.mu.Unlock()
		s.link.send("exit", f.id, body)
		t.close()
	})
	return nil
}

// pump sends an output to its end, as far as the console takes it.
func (t *served) pump(word string, r io.Reader, credit *int) {
	buf := make([]byte, maxData)
	for {
		n, err := r.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			t.mu.Lock()
			for *credit == 0 && !t.closed {
				t.turned.Wait()
			}
			closed := t.closed
			part := b[:min(len(b), *credit)]
			*credit -= len(part)
			t.mu.Unlock()
			if closed {
				break
			}
			if t.s.link.sendData(word, t.id, part) != nil {
				break
			}
			b = b[len(part):]
		}
		if err != nil {
			return
		}
	}
}

// feed gives the program what was typed, after the sizes and signals that came before.
func (t *served) feed() {
	for {
		t.mu.Lock()
		for (len(t.in) == 0 && !t.eof || t.steers() || t.busy) && !t.closed {
			t.turned.Wait()
		}
		b, eof, closed := t.in, t.eof, t.closed
		t.in = nil
		t.mu.Unlock()
		if closed {
			return
		}
		if len(b) > 0 {
			if _, err := t.term.Write(b); err != nil {
				return // the program takes no more; how it ended is said elsewhere
			}
			t.s.link.send("more", t.id, moreBody{In: len(b)})
		} else if eof {
			if h, ok := backend.TerminalAs[backend.HalfCloser](t.term); ok {
				_ = h.CloseWrite() // as in Write
			}
			return
		}
	}
}

// steers says whether there is something for steer to do. The caller holds mu.
func (t *served) steers() bool { return t.size != (sizeBody{}) || len(t.signals) > 0 }

// steer does what the console asks for besides input, in its order.
func (t *served) steer() {
	for {
		t.mu.Lock()
		t.busy = false
		t.turned.Broadcast()
		for !t.steers() && !t.closed {
			t.turned.Wait()
		}
		size, signals, closed := t.size, t.signals, t.closed
		t.size, t.signals, t.busy = sizeBody{}, nil, true
		t.mu.Unlock()
		if closed {
			_ = t.term.Close() // its end is said by exit
			return
		}
		if size != (sizeBody{}) {
			_ = t.term.Resize(size.Cols, size.Rows) // the console has checked it
		}
		if sig, ok := backend.TerminalAs[backend.Signaler](t.term); ok {
			for _, name := range signals {
				_ = sig.Signal(name) // as above
			}
		}
	}
}

// take takes what the console says of the terminal.
func (t *served) take(f frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.turned.Broadcast()
	switch f.word {
	case "in":
		if t.eof || len(t.in)+len(f.body) > window {
			return errors.New("execplugin: the console sends input that it may not send")
		}
		t.in = append(t.in, f.body...)
	case "eof":
		t.eof = true
	case "more":
		b, err := parse[moreBody](f)
		if err != nil {
			return err
		}
		if b.Out < 0 || b.Err < 0 || b.Out > window-t.out || b.Err > window-t.err {
			return errors.New("execplugin: the console takes more output than it was sent")
		}
		t.out, t.err = t.out+b.Out, t.err+b.Err
	case "resize":
		b, err := parse[sizeBody](f)
		if err != nil {
			return err
		}
		t.size = b
	case "signal":
		b, err := parse[signalBody](f)
		if err != nil {
			return err
		}
		if len(t.signals) < maxSignals {
			t.signals = append(t.signals, b.Name)
		}
	case "close":
		t.closed = true
	}
	return nil
}

// close ends the terminal, and wakes what waits.
func (t *served) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.turned.Broadcast()
}

func (t *served) assure() {
	now := t.term.Assurance()
	if now == t.told {
		return
	}
	t.told = now
	body := bodyOfAssurance(now)
	if body == nil {
		body = new(assuranceBody)
	}
	t.s.link.send("assurance", t.id, body)
}
