package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/onlooker"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A terminal is the one channel of one session. A goroutine reads its frames
// into two pipes; a reader that does not read stops that goroutine, and so the
// flow control reaches the program.
type terminal struct {
	*onlooker.Audience // nil: nobody can watch it
	b                  *Backend
	link               *link
	ch                 *channel.Channel
	tty                bool
	assure             backend.Assurance
	extra              bool // one more of a session that is another terminal's

	starts *starts       // nil: programs that start inside are not judged
	past   *backend.Past // nil: it is new

	stdout, stderr *io.PipeReader

	closing sync.Once
	left    atomic.Bool   // by Detach
	done    chan struct{} // closed when exit and err are set
	exit    backend.Exit
	err     error
}

var (
	_ backend.Terminal        = (*terminal)(nil)
	_ backend.StderrTerminal  = (*terminal)(nil)
	_ backend.HalfCloser      = (*terminal)(nil)
	_ backend.Signaler        = (*terminal)(nil)
	_ backend.GatedTerminal   = (*terminal)(nil)
	_ backend.LinkTerminal    = (*terminal)(nil)
	_ backend.Detacher        = (*terminal)(nil)
	_ backend.Repeater        = (*terminal)(nil)
	_ backend.WatchedTerminal = (*terminal)(nil)
)

func newTerminal(b *Backend, l *link, ch *channel.Channel, a channel.Answer, extra bool) *terminal {
	t := &terminal{
		extra: extra, b: b, link: l, ch: ch, tty: l.plan.command.Stdin == token.StdinTTY, done: make(chan struct{}),
		assure: backend.Assurance{
			E2EE: true, Peer: l.plan.agent.Kid.String(), Gate: a.Gate, Recording: a.Recording, Policy: true,
		},
	}
	var out, errs *io.PipeWriter
	t.stdout, out = io.Pipe()
	t.stderr, errs = io.Pipe()
	backend.Go(func() { t.read(out, errs) })
	return t
}

// read runs until the channel ends, by the program's exit or otherwise.
func (t *terminal) read(out, errs *io.PipeWriter) {
	err := t.pump(out, errs)
	t.err = err
	ended := err
	if ended == nil {
		ended = io.EOF
	}
	out.CloseWithError(ended)
	errs.CloseWithError(ended)
	close(t.done)
	t.shut()
}

// pump returns nil when the program's exit was told.
func (t *terminal) pump(out, errs *io.PipeWriter) error {
	for {
		f, err := t.ch.ReadFrame()
		if err != nil {
			return t.lost(err)
		}
		switch f.Type {
		case channel.FrameStdout:
			_, err = out.Write(f.Payload)
		case channel.FrameStderr:
			_, err = errs.Write(f.Payload)
		case channel.FrameEOF:
			out.Close() // the exit follows when the input has ended, too
		case channel.FrameExit:
			e, err := f.Exit()
			if err != nil {
				return t.lost(err)
			}
			t.exit = backend.Exit{Code: e.Code, Signal: e.Signal, Reason: e.Reason}
			return nil
		}
		if err != nil {
			return backend.ErrClosed // the reader's end was closed
		}
	}
}

// lost says why the channel ended before the program did.
func (t *terminal) lost(err error) error {
	if merr := t.link.mux.Err(); merr != nil && !errors.Is(err, channel.ErrProtocol) {
		err = merr
	}
	if errors.Is(err, channel.ErrLeft) && t.left.Load() {
		return backend.ErrClosed
	}
	if errors.Is(err, channel.ErrLeft) {
		return t.link.taken()
	}
	if gone := t.link.ended(); gone != nil {
		return &lostError{gone}
	}
	if gone := t.link.current().Err(); gone != nil && errors.Is(err, channel.ErrLost) {
		return &lostError{gone}
	}
	return fmt.Errorf("%w: the session ended before the program did: %w", backend.ErrUnavailable, err)
}

// A lostError is the end of a terminal whose path is gone. It is ErrUnavailable,
// and its text is short: the cause, and what to do, fit into a line of a screen.
type lostError struct{ gone error }

func (e *lostError) Error() string        { return strings.TrimPrefix(e.gone.Error(), "path: ") }
func (e *lostError) Unwrap() error        { return e.gone }
func (e *lostError) Is(target error) bool { return target == backend.ErrUnavailable }

// Read gives stdout, or the PTY.
func (t *terminal) Read(p []byte) (int, error) { return t.stdout.Read(p) }

// Stderr gives stderr apart from stdout; nil with a PTY.
func (t *terminal) Stderr() io.Reader {
	if t.tty {
		return nil
	}
	return t.stderr
}

// Write sends input.
func (t *terminal) Write(p []byte) (int, error) {
	n, err := t.ch.Write(p)
	return n, t.sent(err)
}

// CloseWrite ends the input.
func (t *terminal) CloseWrite() error { return t.sent(t.ch.CloseWrite()) }

// Resize tells the PTY its size.
func (t *terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return errors.New("control: a terminal has at least one column and one row")
	}
	if !t.tty {
		return nil
	}
	return t.sent(t.ch.Resize(cols, rows))
}

// Signal sends a signal to the program.
func (t *terminal) Signal(name string) error {
	switch name {
	case "HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "USR2":
		return t.sent(t.ch.Signal(name))
	}
	return fmt.Errorf("control: signal %q: %w", name, errors.ErrUnsupported)
}

// sent turns a failed write into the reason why the channel can't be written.
func (t *terminal) sent(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-t.done:
		return backend.ErrClosed
	default:
		return fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
}

// Wait returns how the program ended.
func (t *terminal) Wait() (backend.Exit, error) {
	<-t.done
	return t.exit, t.err
}

// Assurance says what protects this terminal, and which way it goes now.
func (t *terminal) Assurance() backend.Assurance {
	a := t.assure
	a.Path, a.RTT = t.link.current().Path(), t.link.mux.RTT()
	return a
}

// Link says whether the machine is reached now.
func (t *terminal) Link() backend.Link { return t.link.state() }

// Again implements backend.Repeater.
func (t *terminal) Again(ctx context.Context) (backend.Terminal, error) {
	return t.b.start(ctx, t.link, true)
}

// Close ends the session, and with it the program.
func (t *terminal) Close() error {
	t.stdout.CloseWithError(backend.ErrClosed)
	t.stderr.CloseWithError(backend.ErrClosed)
	t.shut()
	return nil
}

// Detach leaves the program to whoever of this member comes next.
func (t *terminal) Detach() (backend.SessionID, error) {
	p := t.link.plan
	if p.req.Kind != backend.KindShell || p.verdict.Obligations.Grace <= 0 {
		return "", fmt.Errorf("control: only a shell can be left, where policy gives it a grace time: %w", errors.ErrUnsupported)
	}
	t.closing.Do(func() {
		t.left.Store(true)
		t.link.mux.Leave()
		t.forget()
	})
	return backend.SessionID(p.session.String()), t.Close()
}

// Past is what the terminal had shown before.
func (t *terminal) Past() *backend.Past { return t.past }

// shut releases the session, once.
func (t *terminal) shut() {
	t.closing.Do(func() {
		t.ch.Close()
		if !t.extra {
			t.link.mux.Close()
		}
		t.forget()
	})
}

func (t *terminal) forget() {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	delete(t.b.terminals, t)
}
