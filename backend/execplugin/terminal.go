package execplugin

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/execplugin/protocol"
)

// signals are those that a plugin which declares "signal" passes on, RFC 4254, 6.10.
var signals = []string{"HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "USR2"}

// A terminal is the console's end of a program that a plugin runs.
type terminal struct {
	c         *client
	id        uint32
	tty       bool
	hasStderr bool
	out, err  stream
	exited    chan struct{} // closed after exit and exitErr are set

	mu        sync.Mutex
	more      *sync.Cond // credit has come, or the input has ended
	credit    int        // bytes that the plugin still takes
	inputOver bool
	closed    bool
	assurance backend.Assurance
	exit      backend.Exit
	exitErr   error
}

func newTerminal(c *client, id uint32, tty bool, b protocol.Opened) *terminal {
	t := &terminal{
		c: c, id: id, tty: tty, hasStderr: b.Stderr && !tty, exited: make(chan struct{}), credit: protocol.Window,
		assurance: b.Assurance.Assurance(),
	}
	t.more = sync.NewCond(&t.mu)
	t.out.init(func(n int) { c.link.Send("more", id, protocol.More{Out: n}) })
	t.err.init(func(n int) { c.link.Send("more", id, protocol.More{Err: n}) })
	return t
}

// able gives the terminal with the capabilities that the plugin has declared.
func (t *terminal) able() (b backend.Terminal) {
	b = t
	if t.c.has(protocol.CanEOF) {
		b = halfCloser{b, t}
	}
	if t.c.has(protocol.CanSignal) {
		b = signaler{b, t}
	}
	return b
}

type (
	halfCloser struct {
		backend.Terminal
		t *terminal
	}
	signaler struct {
		backend.Terminal
		t *terminal
	}
)

// Unwrap implements backend.TerminalUnwrapper.
func (h halfCloser) Unwrap() backend.Terminal { return h.Terminal }

// Unwrap implements backend.TerminalUnwrapper.
func (s signaler) Unwrap() backend.Terminal { return s.Terminal }

// CloseWrite implements backend.HalfCloser.
func (h halfCloser) CloseWrite() error {
	h.t.mu.Lock()
	defer h.t.mu.Unlock()
	if !h.t.inputOver {
		h.t.inputOver = true
		h.t.more.Broadcast()
		h.t.c.link.Send("eof", h.t.id, protocol.Empty{})
	}
	return nil
}

// Signal implements backend.Signaler.
func (s signaler) Signal(name string) error {
	if !slices.Contains(signals, name) {
		return fmt.Errorf("execplugin: signal %+.20q: %w", name, errors.ErrUnsupported)
	}
	s.t.c.link.Send("signal", s.t.id, protocol.Signal{Name: name})
	return nil
}

// take takes what the plugin says of the terminal. An error is against the protocol.
func (t *terminal) take(f protocol.Frame) error {
	switch f.Word {
	case "out":
		return t.out.put(f.Body)
	case "err":
		if !t.hasStderr {
			return errors.New("execplugin: it sends standard error of a terminal that has none")
		}
		return t.err.put(f.Body)
	case "more":
		b, err := protocol.Parse[protocol.More](f)
		if err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if b.In < 0 || b.In > protocol.Window-t.credit {
			return fmt.Errorf("execplugin: it takes back %d bytes of input that it was not given", b.In)
		}
		t.credit += b.In
		t.more.Broadcast()
	case "assurance":
		b, err := protocol.Parse[protocol.Assurance](f)
		if err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.assurance = b.Assurance()
	case "exit":
		b, err := protocol.Parse[protocol.Exit](f)
		if err != nil {
			return err
		}
		t.c.forget(t)
		t.end(b, nil)
	}
	return nil
}

// end ends the terminal: with how its program ended, or with why that is not known.
func (t *terminal) end(b protocol.Exit, err error) {
	exit := backend.Exit{Code: b.Code, Signal: protocol.Brief(b.Signal), Reason: protocol.Brief(b.Reason)}
	switch {
	case err != nil:
	case b.Error != "":
		err = fmt.Errorf("execplugin: the plugin says: %s", protocol.Clean(b.Error))
	case b.Code < 0 || b.Code > 255:
		err = fmt.Errorf("execplugin: the plugin gives an exit code of %d; 0 to 255 are possible", b.Code)
	}
	t.mu.Lock()
	t.inputOver = true
	t.more.Broadcast()
	t.exit, t.exitErr = exit, err
	t.mu.Unlock()
	t.out.end(io.EOF)
	t.err.end(io.EOF)
	close(t.exited)
}

func (t *terminal) Read(p []byte) (int, error) { return t.out.Read(p) }

// Write implements backend.Terminal. It waits while the plugin takes no more.
func (t *terminal) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		t.mu.Lock()
		for t.credit == 0 && !t.inputOver {
			t.more.Wait()
		}
		if t.inputOver {
			t.mu.Unlock()
			return n, fmt.Errorf("execplugin: %w", backend.ErrClosed)
		}
		part := p[:min(len(p), t.credit, protocol.MaxData)]
		t.credit -= len(part)
		t.mu.Unlock()
		if err := t.c.link.SendData("in", t.id, part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// Stderr implements backend.StderrTerminal.
func (t *terminal) Stderr() io.Reader {
	if !t.hasStderr {
		return nil
	}
	return &t.err
}

// Resize implements backend.Terminal.
func (t *terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return fmt.Errorf("execplugin: a terminal can't be %d by %d cells", cols, rows)
	}
	if t.tty {
		t.c.link.Send("resize", t.id, protocol.Size{Cols: cols, Rows: rows})
	}
	return nil
}

// Wait implements backend.Terminal.
func (t *terminal) Wait() (backend.Exit, error) {
	<-t.exited
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit, t.exitErr
}

// Assurance implements backend.Terminal: what the plugin says, and nothing where it says
// nothing.
func (t *terminal) Assurance() backend.Assurance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.assurance
}

// Close implements backend.Terminal.
func (t *terminal) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed, t.inputOver = true, true
	t.more.Broadcast()
	t.mu.Unlock()
	if !first {
		return nil
	}
	t.c.link.Send("close", t.id, protocol.Empty{})
	err := fmt.Errorf("execplugin: %w", backend.ErrClosed)
	t.out.drop(err)
	t.err.drop(err)
	return nil
}

// A stream is output that has come and was not read yet: at most window bytes, since the
// plugin sends no more before it is told to.
type stream struct {
	credit func(int) // gives the plugin so many bytes more

	mu    sync.Mutex
	come  *sync.Cond
	buf   []byte
	taken int   // bytes that were read, and that the plugin was not told of
	open  int   // bytes that the plugin may send
	over  error // what Read returns after the last byte
}

func (s *stream) init(credit func(int)) {
	s.credit, s.open = credit, protocol.Window
	s.come = sync.NewCond(&s.mu)
}

func (s *stream) put(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) > s.open {
		return fmt.Errorf("execplugin: it sends %d bytes of output where it may send %d", len(b), s.open)
	}
	s.open -= len(b)
	if s.over == nil {
		s.buf = append(s.buf, b...)
		s.come.Broadcast()
	}
	return nil
}

// end lets what is there be read, and nothing after it.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil {
		s.over = err
	}
	s.come.Broadcast()
}

// drop ends the stream with what is in it.
func (s *stream) drop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf, s.over = nil, err
	s.come.Broadcast()
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) == 0 && s.over == nil {
		s.come.Wait()
	}
	if len(s.buf) == 0 {
		return 0, s.over
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	if len(s.buf) == 0 {
		s.buf = nil
	}
	// Half of the window at a time: one word for many reads.
	if s.taken += n; s.taken >= protocol.Window/2 && s.over == nil {
		s.open += s.taken
		s.credit(s.taken)
		s.taken = 0
	}
	return n, nil
}
