package execplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
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
	size    protocol.Size // to be told to the program; zero: nothing is
	signals []string      // to be sent
	busy    bool          // it is being told, or sent
	closed  bool
}

// maxSignals bounds the signals that wait to be sent.
const maxSignals = 16

// open opens a terminal and answers with it. Its streams follow.
func (s *server) open(ctx context.Context, f protocol.Frame) error {
	b, err := protocol.Parse[protocol.Request](f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	full := len(s.terms) >= maxTerms
	s.mu.Unlock()
	if full {
		return fmt.Errorf("execplugin: %w: %d terminals are open already", backend.ErrUnavailable, maxTerms)
	}
	term, err := s.backend.Open(ctx, b.OpenRequest())
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		_ = term.Close() // nobody waits for it
		return err
	}
	t := &served{s: s, id: f.ID, term: term, told: term.Assurance(), out: protocol.Window, err: protocol.Window}
	t.turned = sync.NewCond(&t.mu)
	opened := protocol.Opened{Assurance: protocol.OfAssurance(t.told)}
	var stderr io.Reader
	if e, ok := backend.TerminalAs[backend.StderrTerminal](term); ok {
		stderr = e.Stderr()
	}
	opened.Stderr = stderr != nil
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.terms[f.ID] = t
	}
	s.mu.Unlock()
	if ended {
		return errors.Join(backend.ErrClosed, term.Close())
	}
	s.link.Send("opened", f.ID, opened)

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
		body := protocol.Exit{Code: exit.Code, Signal: exit.Signal, Reason: exit.Reason}
		if err != nil {
			body.Error = protocol.Brief(err.Error())
		}
		s.mu.Lock()
		delete(s.terms, f.ID)
		s.mu.Unlock()
		s.link.Send("exit", f.ID, body)
		t.close()
	})
	return nil
}

// pump sends an output to its end, as far as the console takes it.
func (t *served) pump(word string, r io.Reader, credit *int) {
	buf := make([]byte, protocol.MaxData)
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
			if t.s.link.SendData(word, t.id, part) != nil {
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
			t.s.link.Send("more", t.id, protocol.More{In: len(b)})
		} else if eof {
			if h, ok := backend.TerminalAs[backend.HalfCloser](t.term); ok {
				_ = h.CloseWrite() // as in Write
			}
			return
		}
	}
}

// steers says whether there is something for steer to do. The caller holds mu.
func (t *served) steers() bool { return t.size != (protocol.Size{}) || len(t.signals) > 0 }

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
		t.size, t.signals, t.busy = protocol.Size{}, nil, true
		t.mu.Unlock()
		if closed {
			_ = t.term.Close() // its end is said by exit
			return
		}
		if size != (protocol.Size{}) {
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
func (t *served) take(f protocol.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.turned.Broadcast()
	switch f.Word {
	case "in":
		if t.eof || len(t.in)+len(f.Body) > protocol.Window {
			return errors.New("execplugin: the console sends input that it may not send")
		}
		t.in = append(t.in, f.Body...)
	case "eof":
		t.eof = true
	case "more":
		b, err := protocol.Parse[protocol.More](f)
		if err != nil {
			return err
		}
		if b.Out < 0 || b.Err < 0 || b.Out > protocol.Window-t.out || b.Err > protocol.Window-t.err {
			return errors.New("execplugin: the console takes more output than it was sent")
		}
		t.out, t.err = t.out+b.Out, t.err+b.Err
	case "resize":
		b, err := protocol.Parse[protocol.Size](f)
		if err != nil {
			return err
		}
		t.size = b
	case "signal":
		b, err := protocol.Parse[protocol.Signal](f)
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
	body := protocol.OfAssurance(now)
	if body == nil {
		body = new(protocol.Assurance)
	}
	t.s.link.Send("assurance", t.id, body)
}
