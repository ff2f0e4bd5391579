//go:build unix

// Package typist is somebody at a terminal, for tests and benchmarks: it runs a
// program in a pseudo-terminal of its own, types, and sees when what it waits for
// has come back. So different programs are measured in the same way, from outside,
// as a person has them.
//
// It imports nothing of this module, and no program imports it.
package typist

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// ErrTimeout means that what was waited for did not come.
var ErrTimeout = errors.New("typist: it did not come in time")

// Keys are letters that no terminal's escape sequence ends with, so that they are
// seen in output only where they were typed.
const Keys = "qvwxyz"

// keep bounds what is kept of output that nobody has waited for, in bytes.
const keep = 1 << 20

// A Terminal is a program in a pseudo-terminal. One goroutine uses it.
type Terminal struct {
	cmd  *exec.Cmd
	file *os.File
	done chan struct{} // closed when the program's side is closed

	mu    sync.Mutex
	seen  []byte        // since the last Forget
	total int64         // bytes so far
	at    time.Time     // of the last one
	more  chan struct{} // closed with the next output
}

// Start runs cmd in a terminal of that size. Its standard streams must not be set.
func Start(cmd *exec.Cmd, cols, rows uint16) (*Terminal, error) {
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: cols, Rows: rows})
	if err != nil {
		return nil, fmt.Errorf("typist: %w", err)
	}
	t := &Terminal{cmd: cmd, file: f, done: make(chan struct{}), more: make(chan struct{})}
	go t.read()
	return t, nil
}

func (t *Terminal) read() {
	defer close(t.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := t.file.Read(buf)
		if n > 0 {
			t.mu.Lock()
			if len(t.seen) > keep {
				t.seen = t.seen[:copy(t.seen, t.seen[len(t.seen)-keep/2:])]
			}
			t.seen = append(t.seen, buf[:n]...)
			t.total += int64(n)
			t.at = time.Now()
			close(t.more)
			t.more = make(chan struct{})
			t.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Type sends keys.
func (t *Terminal) Type(keys string) error {
	_, err := t.file.WriteString(keys)
	return err
}

// Forget makes the next wait begin with what comes from now on.
func (t *Terminal) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = t.seen[:0]
}

// See waits until a text has come since the last Forget, and gives the time at
// which output that holds it came.
func (t *Terminal) See(text string, limit time.Duration) (time.Time, error) {
	return t.until(fmt.Sprintf("%q", text), limit, func() bool { return bytes.Contains(t.seen, []byte(text)) })
}

// until waits for a condition, which is asked under the lock.
func (t *Terminal) until(what string, limit time.Duration, ok func() bool) (time.Time, error) {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for ended := false; ; {
		t.mu.Lock()
		if ok() {
			defer t.mu.Unlock()
			return t.at, nil
		}
		more, tail := t.more, string(t.seen[max(0, len(t.seen)-200):])
		t.mu.Unlock()
		if ended {
			return time.Time{}, fmt.Errorf("typist: the program has ended before %s came; its last words: %q", what, tail)
		}
		select {
		case <-more:
		case <-t.done:
			ended = true
		case <-timeout.C:
			return time.Time{}, fmt.Errorf("%w: %s in %s; the last that came: %q", ErrTimeout, what, limit, tail)
		}
	}
}

// Echo types a key and gives how long it took to come back.
func (t *Terminal) Echo(key byte, limit time.Duration) (time.Duration, error) {
	t.Forget()
	begin := time.Now()
	if err := t.Type(string(key)); err != nil {
		return 0, err
	}
	at, err := t.until(fmt.Sprintf("%q", key), limit, func() bool { return bytes.IndexByte(t.seen, key) >= 0 })
	return at.Sub(begin), err
}

// Cat turns the shell that waits at the prompt into a program that gives back every
// key as it is.
func (t *Terminal) Cat(limit time.Duration) error {
	t.Forget()
	// The text is not in the line that is typed, and seen only from the program.
	if err := t.Type("stty raw -echo; printf 'ca%s\\n' tting; exec cat\r"); err != nil {
		return err
	}
	_, err := t.See("catting", limit)
	return err
}

// Total is how many bytes have come.
func (t *Terminal) Total() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// Received waits until so many bytes have come in all, and gives the time of the
// last.
func (t *Terminal) Received(n int64, limit time.Duration) (time.Time, error) {
	return t.until(fmt.Sprintf("%d bytes", n), limit, func() bool { return t.total >= n })
}

// Pid is the program's process.
func (t *Terminal) Pid() int { return t.cmd.Process.Pid }

// Close ends the program, at first by hanging up.
func (t *Terminal) Close() {
	_ = t.cmd.Process.Signal(syscall.SIGHUP)
	t.file.Close()
	ended := make(chan struct{})
	go func() {
		_ = t.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		_ = t.cmd.Process.Kill()
		<-ended
	}
}
