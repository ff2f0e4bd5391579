package mem

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
)

// A command is a program: it runs in a terminal and returns its exit code. It
// ends when its
// reads and writes fail.
type command func(p *process) int

// A process is what a command sees of its terminal.
type process struct {
	Argv           []string
	Member, Target string
	TTY            bool
	Stdin          io.Reader
	Stdout         io.Writer
	Stderr         io.Writer // Stdout where there is a PTY

	term *terminal
}

// Size returns the size of the PTY in cells.
func (p *process) Size() (cols, rows uint16) {
	p.term.mu.Lock()
	defer p.term.mu.Unlock()
	return p.term.cols, p.term.rows
}

// terminal joins a command with its reader by pipes without buffers: a reader
// that does not read makes the program wait.
type terminal struct {
	process   process
	main      command
	tty       bool
	assurance backend.Assurance
	link      func() backend.Link
	onEnd     func(*terminal)
	stage     *stage // nil: nobody can watch it

	stdinR            *io.PipeReader
	stdinW            *io.PipeWriter
	stdoutR, stderrR  *io.PipeReader
	stdoutW, stderrW  *io.PipeWriter
	ended             chan struct{} // closed after exit is set
	mu                sync.Mutex
	cols, rows        uint16
	signal, endReason string
	exit              backend.Exit
}

func newTerminal(t *Target, member string, req backend.OpenRequest, run command, link func() backend.Link, onEnd func(*terminal)) *terminal {
	term := &terminal{
		main:      run,
		tty:       req.TTY || req.Kind == backend.KindShell,
		assurance: t.Assurance,
		link:      link,
		onEnd:     onEnd,
		ended:     make(chan struct{}),
		cols:      req.Cols,
		rows:      req.Rows,
	}
	term.stdinR, term.stdinW = io.Pipe()
	term.stdoutR, term.stdoutW = io.Pipe()
	term.process = process{
		Argv: req.Argv, Member: member, Target: t.Name, TTY: term.tty,
		Stdin: term.stdinR, Stdout: term.stdoutW, Stderr: term.stdoutW,
		term: term,
	}
	if !term.tty {
		term.stderrR, term.stderrW = io.Pipe()
		term.process.Stderr = term.stderrW
	}
	return term
}

func (t *terminal) run() {
	code := t.main(&t.process)
	t.mu.Lock()
	t.exit = backend.Exit{Code: code, Signal: t.signal, Reason: t.endReason}
	if t.signal != "" {
		t.exit.Code = 128 + signals[t.signal]
	}
	t.mu.Unlock()
	t.closePipes(io.EOF)
	close(t.ended)
	t.onEnd(t)
}

// closePipes ends all three streams. The reader of the output sees err; a
// pipe that is closed already keeps what it had.
func (t *terminal) closePipes(err error) {
	t.stdinR.CloseWithError(fmt.Errorf("mem: %w", backend.ErrClosed))
	t.stdinW.Close()
	t.stdoutW.CloseWithError(err)
	if t.stderrW != nil {
		t.stderrW.CloseWithError(err)
	}
}

func (t *terminal) Read(p []byte) (int, error)  { return t.stdoutR.Read(p) }
func (t *terminal) Write(p []byte) (int, error) { return t.stdinW.Write(p) }

// Stderr implements backend.StderrTerminal.
func (t *terminal) Stderr() io.Reader {
	if t.stderrR == nil {
		return nil
	}
	return t.stderrR
}

// CloseWrite implements backend.HalfCloser.
func (t *terminal) CloseWrite() error { return t.stdinW.Close() }

// signals are the names of RFC 4254, 6.10 that the programs obey, with their
// usual numbers.
var signals = map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}

// Signal implements backend.Signaler: every signal ends the program.
func (t *terminal) Signal(name string) error {
	if signals[name] == 0 {
		return fmt.Errorf("mem: signal %+.20q: %w", name, errors.ErrUnsupported)
	}
	t.mu.Lock()
	if t.signal == "" {
		t.signal = name
	}
	t.mu.Unlock()
	t.closePipes(io.EOF)
	return nil
}

func (t *terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return fmt.Errorf("mem: a terminal can't be %d by %d cells", cols, rows)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cols, t.rows = cols, rows
	return nil
}

func (t *terminal) Wait() (backend.Exit, error) {
	<-t.ended
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit, nil
}

func (t *terminal) Assurance() backend.Assurance { return t.assurance }

// Link implements backend.LinkTerminal.
func (t *terminal) Link() backend.Link { return t.link() }

func (t *terminal) Close() error {
	t.mu.Lock()
	if t.endReason == "" {
		t.endReason = "closed"
	}
	t.mu.Unlock()
	t.closePipes(fmt.Errorf("mem: %w", backend.ErrClosed))
	t.stdoutR.Close()
	if t.stderrR != nil {
		t.stderrR.Close()
	}
	return nil
}
