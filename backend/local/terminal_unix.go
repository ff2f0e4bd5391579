//go:build unix

package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/backend"
)

// hangUpFor is how long a program has between SIGHUP and SIGKILL when its
// terminal is closed.
const hangUpFor = 2 * time.Second

// terminal is a process group on a PTY, or on three pipes.
type terminal struct {
	cmd   *exec.Cmd
	in    *os.File // the PTY, or the write end of stdin
	out   *os.File // the PTY, or the read end of stdout
	err   *os.File // the read end of stderr; nil with a PTY
	ended chan struct{}

	mu     sync.Mutex
	closed bool
	exit   backend.Exit // set before ended is closed
}

var (
	_ backend.StderrTerminal = (*terminal)(nil)
	_ backend.HalfCloser     = (*terminal)(nil)
	_ backend.Signaler       = (*terminal)(nil)
)

func start(req backend.OpenRequest) (*terminal, error) {
	t := &terminal{ended: make(chan struct{})}
	if req.Kind == backend.KindShell {
		shell := os.Getenv("SHELL")
		if shell == "" {
			shell = "/bin/sh"
		}
		// A leading dash makes it a login shell.
		t.cmd = &exec.Cmd{Path: shell, Args: []string{"-" + filepath.Base(shell)}}
		if home, err := os.UserHomeDir(); err == nil {
			t.cmd.Dir = home
		}
	} else {
		t.cmd = exec.Command(req.Argv[0], req.Argv[1:]...)
	}
	var err error
	if req.Kind == backend.KindShell || req.TTY {
		err = t.startPTY(req)
	} else {
		err = t.startPipes()
	}
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no such command: %w", err)
	case err != nil:
		return nil, err
	}
	backend.Go(t.wait)
	return t, nil
}

func (t *terminal) startPTY(req backend.OpenRequest) error {
	term := req.Term
	if term == "" {
		term = "xterm-256color"
	}
	t.cmd.Env = append(os.Environ(), "TERM="+term)
	size := &pty.Winsize{Cols: req.Cols, Rows: req.Rows}
	if size.Cols == 0 || size.Rows == 0 {
		size = &pty.Winsize{Cols: 80, Rows: 24}
	}
	f, err := pty.StartWithSize(t.cmd, size)
	if err != nil {
		return err
	}
	p, err := pollable(f)
	if err != nil {
		_ = t.cmd.Process.Kill()
		_ = t.cmd.Wait()
		return err
	}
	t.in, t.out = p, p
	return nil
}

// pollable returns f with its descriptor in Go's poller, and closes f. The
// pty package leaves it in blocking mode, where Close waits for a Read to
// return instead of ending it.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	syscall.ForkLock.RLock()
	fd, err := syscall.Dup(int(f.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("setnonblock", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// startPipes makes the pipes itself: those of exec.Cmd are closed by Wait,
// whether they were read to the end or not.
func (t *terminal) startPipes() error {
	var files [6]*os.File
	for i := 0; i < len(files); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(files[:]...)
			return err
		}
		files[i], files[i+1] = r, w
	}
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = files[0], files[3], files[5]
	t.in, t.out, t.err = files[1], files[2], files[4]
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := t.cmd.Start(); err != nil {
		closeAll(files[:]...)
		return err
	}
	closeAll(files[0], files[3], files[5])
	return nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

func (t *terminal) wait() {
	// The error repeats what ProcessState says.
	_ = t.cmd.Wait()
	status, _ := t.cmd.ProcessState.Sys().(syscall.WaitStatus)
	exit := backend.Exit{Code: t.cmd.ProcessState.ExitCode()}
	if status.Signaled() {
		exit.Code = 128 + int(status.Signal())
		exit.Signal = signalName(status.Signal())
	}
	t.mu.Lock()
	if t.closed {
		exit.Reason = "closed"
	}
	t.exit = exit
	t.mu.Unlock()
	close(t.ended)
}

func (t *terminal) Read(p []byte) (int, error) {
	n, err := t.out.Read(p)
	// Linux answers EIO once the last program has left the PTY.
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

func (t *terminal) Write(p []byte) (int, error) {
	n, err := t.in.Write(p)
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EIO) {
		err = fmt.Errorf("local: %w", backend.ErrClosed)
	}
	return n, err
}

// Stderr implements backend.StderrTerminal.
func (t *terminal) Stderr() io.Reader {
	if t.err == nil {
		return nil
	}
	return t.err
}

// CloseWrite implements backend.HalfCloser. On a PTY it sends ctrl+d, which
// is what ends the input there.
func (t *terminal) CloseWrite() error {
	if t.err == nil {
		_, err := t.Write([]byte{4})
		return err
	}
	return t.in.Close()
}

// signals are the names of RFC 4254, 6.10 that a Signaler must know.
var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

func signalName(s syscall.Signal) string {
	for name, known := range signals {
		if s == known {
			return name
		}
	}
	return s.String()
}

// Signal implements backend.Signaler: the whole process group gets it.
func (t *terminal) Signal(name string) error {
	s, ok := signals[name]
	if !ok {
		return fmt.Errorf("local: signal %+.20q: %w", name, errors.ErrUnsupported)
	}
	return t.kill(s)
}

func (t *terminal) kill(s syscall.Signal) error {
	select {
	case <-t.ended: // the number may belong to another process by now
		return nil
	default:
	}
	if err := syscall.Kill(-t.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("local: %w", err)
	}
	return nil
}

func (t *terminal) Resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return fmt.Errorf("local: a terminal can't be %d by %d cells", cols, rows)
	}
	if t.err != nil {
		return nil
	}
	// Not pty.Setsize: it puts the PTY back into blocking mode.
	conn, err := t.out.SyscallConn()
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	var ioctlErr error
	err = conn.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows})
	})
	if err = errors.Join(err, ioctlErr); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("local: %w", err)
	}
	return nil
}

func (t *terminal) Wait() (backend.Exit, error) {
	<-t.ended
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit, nil
}

// Assurance implements backend.Terminal: nothing protects a local terminal.
func (t *terminal) Assurance() backend.Assurance { return backend.Assurance{} }

// Close hangs up, and kills what does not listen.
func (t *terminal) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if !first {
		return nil
	}
	err := t.kill(syscall.SIGHUP)
	closeAll(t.in, t.out, t.err)
	backend.Go(func() {
		timer := time.NewTimer(hangUpFor)
		defer timer.Stop()
		select {
		case <-t.ended:
		case <-timer.C:
			_ = t.kill(syscall.SIGKILL)
		}
	})
	return err
}
