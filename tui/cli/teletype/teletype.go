// Package teletype is a terminal whose program is a function of this process: it asks
// and answers line by line, as a command of the command line would, and the console
// shows it as it shows any terminal.
//
// Invariants: the program sees whole lines, and nothing of how they were typed; it can't
// write a control to the terminal that it does not mean, because what it prints is the
// command line's own, which is clean; a program that nobody reads waits.
package teletype

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/backend"
)

// maxLine bounds a line that is being typed, in bytes.
const maxLine = 4096

// A Program reads lines and writes text. Its error is printed; its code is the exit
// code.
type Program func(ctx context.Context, in io.Reader, out io.Writer) (code int, err error)

// A Terminal is a program that runs. It implements backend.Terminal.
type Terminal struct {
	cancel context.CancelFunc
	out    *io.PipeReader
	show   *io.PipeWriter
	input  *io.PipeWriter
	done   chan struct{}
	exit   backend.Exit

	mu   sync.Mutex
	line []byte
}

// Start runs a program until it returns, or ctx or the terminal ends.
func Start(ctx context.Context, run Program) *Terminal {
	ctx, cancel := context.WithCancel(ctx)
	t := &Terminal{cancel: cancel, done: make(chan struct{})}
	t.out, t.show = io.Pipe()
	in, input := io.Pipe()
	t.input = input
	backend.Go(func() {
		defer close(t.done)
		code, err := run(ctx, in, lines{t.show})
		if err != nil {
			_, _ = io.WriteString(lines{t.show}, err.Error()+"\n")
		}
		t.exit.Code = code
		cancel()
		_ = in.CloseWithError(io.ErrClosedPipe)
		_ = t.show.Close()
	})
	context.AfterFunc(ctx, func() { _ = input.CloseWithError(context.Canceled) })
	return t
}

// lines ends lines as a terminal does.
type lines struct{ w io.Writer }

func (l lines) Write(b []byte) (int, error) {
	if _, err := l.w.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read implements backend.Terminal.
func (t *Terminal) Read(b []byte) (int, error) { return t.out.Read(b) }

// Write takes what is typed: enter gives the line to the program, backspace and Ctrl-U
// take back, Ctrl-C ends the program, Ctrl-D its input.
func (t *Terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		key := b[:size]
		b = b[size:]
		switch {
		case r == '\r' || r == '\n':
			t.echo("\r\n")
			line := append(t.line, '\n')
			t.line = nil
			if _, err := t.input.Write(line); err != nil {
				return n, nil // nobody reads any more: what is typed is typed in vain
			}
		case r == 0x7f || r == 0x08:
			if len(t.line) > 0 {
				_, last := utf8.DecodeLastRune(t.line)
				t.line = t.line[:len(t.line)-last]
				t.echo("\b \b")
			}
		case r == 0x15:
			for range utf8.RuneCount(t.line) {
				t.echo("\b \b")
			}
			t.line = nil
		case r == 0x03:
			t.echo("^C\r\n")
			t.cancel()
		case r == 0x04:
			_ = t.input.Close()
		case r < 0x20 || r == utf8.RuneError || len(t.line)+size > maxLine:
		default:
			t.line = append(t.line, key...)
			t.echo(string(key))
		}
	}
	return n, nil
}

func (t *Terminal) echo(s string) { _, _ = io.WriteString(t.show, s) }

// Resize implements backend.Terminal: lines know no size.
func (t *Terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return errors.New("teletype: a terminal has at least one row and one column")
	}
	return nil
}

// Wait implements backend.Terminal.
func (t *Terminal) Wait() (backend.Exit, error) {
	<-t.done
	return t.exit, nil
}

// Close ends the program.
func (t *Terminal) Close() error {
	t.cancel()
	_ = t.out.Close()
	return nil
}

// Assurance says nothing: what the program opens has its own.
func (t *Terminal) Assurance() backend.Assurance { return backend.Assurance{} }
