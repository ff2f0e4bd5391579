//go:build unix

package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Lookup finds the user that a session runs as. An agent that is not root can
// only run as itself. Users and groups come from the host's own files (and its
// directory service where the program is built with cgo).
func Lookup(name string) (User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return User{}, fmt.Errorf("%w: %q; add it, or change the agent's login user in the roster", ErrNoUser, name)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return User{}, fmt.Errorf("process: user %q: %w", name, err)
	}
	out := User{Name: u.Username, home: u.HomeDir, uid: uint32(uid), gid: uint32(gid), self: int(uid) == os.Geteuid()}
	out.shell = shellOf(u.Username, out.self)
	if out.self {
		return out, nil
	}
	if os.Geteuid() != 0 {
		return User{}, fmt.Errorf("%w: it runs as uid %d, the session wants %q", ErrNotRoot, os.Geteuid(), name)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("process: groups of %q: %w", name, err)
	}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return User{}, fmt.Errorf("process: groups of %q: %w", name, err)
		}
		out.groups = append(out.groups, uint32(n))
	}
	return out, nil
}

// Self gives the user that the agent itself runs as.
func Self() (User, error) {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return User{}, fmt.Errorf("%w: uid %d", ErrNoUser, os.Geteuid())
	}
	return Lookup(u.Username)
}

// IsRoot reports whether programs of u have all rights.
func (u User) IsRoot() bool { return u.uid == 0 }

// shellOf reads the login shell from /etc/passwd.
func shellOf(name string, self bool) string {
	b, err := os.ReadFile("/etc/passwd")
	if err == nil && len(b) < 1<<20 {
		for line := range strings.Lines(string(b)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) == 7 && f[0] == name && strings.HasPrefix(f[6], "/") {
				return f[6]
			}
		}
	}
	if s := os.Getenv("SHELL"); self && strings.HasPrefix(s, "/") {
		return s
	}
	return "/bin/sh"
}

// Find resolves argv[0] to a file: a name without a slash in Path, anything
// else from dir. Errors: ErrNoProgram.
func Find(name, dir string) (string, error) {
	if strings.Contains(name, "/") {
		p := name
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		if why := runnable(p); why != "" {
			return "", noProgram(name, why)
		}
		return p, nil
	}
	if name == "" || name == "." || name == ".." {
		return "", noProgram(name, "is not a name")
	}
	for _, d := range filepath.SplitList(Path) {
		if p := filepath.Join(d, name); runnable(p) == "" {
			return p, nil
		}
	}
	return "", noProgram(name, "is not in "+Path)
}

func runnable(path string) string {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case err != nil:
		return "can't be read"
	case st.IsDir():
		return "is a directory"
	case st.Mode().Perm()&0o111 == 0:
		return "is not executable"
	}
	return ""
}

type impl struct {
	cmd    *exec.Cmd
	pty    *os.File   // nil without a TTY
	out    []*os.File // what is read from the program
	exited chan struct{}
	exit   Exit

	mu    sync.Mutex // nothing is signalled after ended
	ended bool
}

// Folder gives where a program of u runs that is to run in dir; "" is its home, or /
// where it has none. Errors: ErrNoDir.
func (u User) Folder(dir string) (string, error) {
	if dir == "" {
		dir = u.home
		if st, err := os.Stat(dir); dir == "" || err != nil || !st.IsDir() {
			dir = "/"
		}
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() || !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%w: %q", ErrNoDir, dir)
	}
	return dir, nil
}

// Start runs s as u. The program is the leader of a session of its own.
func Start(s Spec, u User) (*Process, error) {
	dir, err := u.Folder(s.Dir)
	if err != nil {
		return nil, err
	}
	program, argv := u.shell, s.Argv
	if len(argv) == 0 {
		if why := runnable(program); why != "" {
			return nil, noProgram(program, why)
		}
		argv = loginArgv(program)
	} else if s.Program == nil {
		if program, err = Find(argv[0], dir); err != nil {
			return nil, err
		}
	} else {
		program = "/proc/self/fd/" + strconv.Itoa(firstFile)
	}
	cmd := &exec.Cmd{
		Path: program, Args: argv, Dir: dir,
		Env:         environ(u, u.shell, s, os.Environ()),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if !u.self {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: u.groups}
	}
	if s.Program != nil {
		cmd.ExtraFiles = append([]*os.File{s.Program}, s.Files...)
	}
	p := &Process{impl: impl{cmd: cmd, exited: make(chan struct{})}}
	var theirs []*os.File
	if s.TTY != nil {
		theirs, err = p.openTTY(s, u)
	} else {
		theirs, err = p.openPipes(s)
	}
	start := (*exec.Cmd).Start
	if s.Starter != nil {
		start = s.Starter
	}
	if err == nil {
		err = start(cmd)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.closeOurs()
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%w: %q may not be run in %q by %s", ErrNoProgram, argv[0], dir, u.Name)
		}
		return nil, fmt.Errorf("process: start: %w", err)
	}
	go p.reap()
	return p, nil
}

func (p *Process) openTTY(s Spec, u User) ([]*os.File, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return nil, err
	}
	p.pty, p.Stdin, p.Stdout, p.out = ours, ours, output{ours}, []*os.File{ours}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, theirs
	p.cmd.SysProcAttr.Setctty = true // on descriptor 0 of the child
	if !u.self {
		err = theirs.Chown(int(u.uid), -1)
	}
	if err == nil {
		err = p.Resize(s.TTY.Size)
	}
	return []*os.File{theirs}, err
}

func (p *Process) openPipes(s Spec) (theirs []*os.File, err error) {
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	if s.Stdin {
		if r, w := pipe(); err == nil {
			p.cmd.Stdin, p.Stdin = r, w
			theirs = append(theirs, r)
		}
	}
	if r, w := pipe(); err == nil {
		p.cmd.Stdout, p.Stdout = w, output{r}
		theirs, p.out = append(theirs, w), append(p.out, r)
	}
	if r, w := pipe(); err == nil {
		p.cmd.Stderr, p.Stderr = w, output{r}
		theirs, p.out = append(theirs, w), append(p.out, r)
	}
	return theirs, err
}

func (p *Process) closeOurs() {
	for _, f := range p.out {
		f.Close()
	}
	if p.Stdin != nil {
		p.Stdin.Close()
	}
}

// output reads what a program writes. Its end has several names: the closed pipe,
// EIO on Linux when the last program has closed the terminal, and the deadline
// that reap sets when something outside the session holds it open.
type output struct{ f *os.File }

func (r output) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, fs.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// reap waits for the leader, ends what it left behind, and lets readers of the
// output come to an end.
func (p *Process) reap() {
	pid := p.cmd.Process.Pid
	finish := awaitEnd(p.cmd)
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	if others(pid) {
		signalSession(pid, unix.SIGHUP)
		signalSession(pid, unix.SIGCONT)
		for until := time.Now().Add(drain); others(pid) && time.Now().Before(until); {
			time.Sleep(drain / 100)
		}
		signalSession(pid, unix.SIGKILL)
	}
	finish()
	for _, f := range p.out {
		f.SetReadDeadline(time.Now().Add(drain))
	}
	p.exit = exitOf(p.cmd.ProcessState)
	close(p.exited)
}

func exitOf(s *os.ProcessState) Exit {
	ws, ok := s.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return Exit{Code: 128 + int(ws.Signal()), Signal: strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")}
	}
	return Exit{Code: s.ExitCode()}
}

// Done is closed when the program has ended. Its output may still hold bytes.
func (p *Process) Done() <-chan struct{} { return p.exited }

// Exit waits for the end and tells it.
func (p *Process) Exit() Exit {
	<-p.exited
	return p.exit
}

// Close gives back the streams. The program, if it runs, is killed first.
func (p *Process) Close() {
	p.Kill(0)
	<-p.exited
	p.closeOurs()
}

// Resize sets the terminal's size. Without a TTY, or with a size of nothing, it
// does nothing.
func (p *Process) Resize(s Size) error {
	if p.pty == nil || s.Cols == 0 || s.Rows == 0 {
		return nil
	}
	return pty.Setsize(p.pty, &pty.Winsize{Cols: s.Cols, Rows: s.Rows})
}

// foreground gives the process group in the foreground of a terminal, or 0.
func foreground(f *os.File) (group int) {
	c, err := f.SyscallConn() // not Fd, which would make reads blocking
	if err != nil {
		return 0
	}
	c.Control(func(fd uintptr) {
		if g, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil {
			group = g
		}
	})
	return group
}

// CloseInput says that no more input comes: with a TTY by its end-of-file
// character, which the program's line discipline may have changed.
func (p *Process) CloseInput() {
	switch {
	case p.pty != nil:
		p.pty.Write([]byte{4})
	case p.Stdin != nil:
		p.Stdin.Close()
	}
}

// signals are the names that Signal takes.
var signals = map[string]syscall.Signal{
	"HUP": unix.SIGHUP, "INT": unix.SIGINT, "QUIT": unix.SIGQUIT, "TERM": unix.SIGTERM, "KILL": unix.SIGKILL,
	"USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "TSTP": unix.SIGTSTP, "CONT": unix.SIGCONT, "WINCH": unix.SIGWINCH,
}

// Signal sends a signal, named without SIG, to the program's process group;
// with a TTY to the one in the foreground.
func (p *Process) Signal(name string) error {
	sig, ok := signals[name]
	if !ok {
		return fmt.Errorf("%w: %q", ErrSignal, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil // it has ended
	}
	group := p.cmd.Process.Pid
	if p.pty != nil {
		if fg := foreground(p.pty); fg > 1 {
			group = fg
		}
	}
	return unix.Kill(-group, sig)
}

// Kill ends the whole session: SIGHUP (and SIGCONT, so that stopped jobs see
// it), then SIGKILL to what is left after the grace. It does not wait.
func (p *Process) Kill(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	pid := p.cmd.Process.Pid
	if grace <= 0 {
		signalSession(pid, unix.SIGKILL)
		return
	}
	signalSession(pid, unix.SIGHUP)
	signalSession(pid, unix.SIGCONT)
	time.AfterFunc(grace, func() { p.Kill(0) })
}
