package shim

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Launcher is the agent's side of one shim.
type Launcher struct {
	launch launch
	conn   *os.File // ours
	theirs *os.File
}

// patience bounds each step of a shim, which is this program's own code.
const patience = 30 * time.Second

// Wrap turns a command that is ready to be started into one that starts it under
// the filter: args lead this program to Main. Whom cmd was to run as, its folder,
// environment and arguments go to the shim; terminal, descriptors 0 to 2, session
// and control group stay with cmd. cmd must have no other open files to inherit.
func Wrap(cmd *exec.Cmd, args ...string) (*Launcher, error) {
	if len(cmd.ExtraFiles) > 0 {
		return nil, fmt.Errorf("%w: it inherits descriptors 0 to 2 only", ErrShim)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: socket: %w", ErrShim, err)
	}
	l := &Launcher{
		launch: launch{Path: cmd.Path, Argv: cmd.Args, Env: slices.Concat(cmd.Env), Dir: cmd.Dir},
		conn:   os.NewFile(uintptr(pair[0]), "shim"), theirs: os.NewFile(uintptr(pair[1]), "agent"),
	}
	if c := cmd.SysProcAttr.Credential; c != nil {
		l.launch.User, l.launch.UID, l.launch.GID, l.launch.Groups = true, c.Uid, c.Gid, c.Groups
		cmd.SysProcAttr.Credential = nil
	}
	cmd.Path = "/proc/self/exe"
	cmd.Args = append([]string{"tucdesk-agent"}, args...)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = []*os.File{l.theirs}
	return l, nil
}

// Listen tells the shim, which cmd.Start has started, what to run, and takes its
// listener. The caller closes it. The program does not run before Run.
func (l *Launcher) Listen() (listener int, f Features, err error) {
	l.theirs.Close()
	l.conn.SetDeadline(time.Now().Add(patience))
	if err := gob.NewEncoder(l.conn).Encode(l.launch); err != nil {
		return -1, f, fmt.Errorf("%w: %w", ErrShim, l.reason(err))
	}
	c, err := l.conn.SyscallConn()
	if err != nil {
		return -1, f, fmt.Errorf("%w: %w", ErrShim, err)
	}
	var n, oobn int
	flags, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	cerr := c.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), flags, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = errors.Join(cerr, err); err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return -1, f, fmt.Errorf("%w: %w", ErrShim, err)
	}
	if listener, err = descriptor(oob[:oobn]); err != nil {
		// It said why in place of it.
		rest, _ := io.ReadAll(io.LimitReader(l.conn, maxReason))
		return -1, f, fmt.Errorf("%w: %s", ErrShim, append(flags, rest...))
	}
	return listener, Features{Killable: flags[0]&hasKillable != 0, Landlock: flags[0]&hasLandlock != 0}, nil
}

// descriptor takes the one descriptor of a control message.
func descriptor(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, errors.New("no descriptor")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("no descriptor")
	}
	return fds[0], nil
}

// maxReason bounds what a shim says in words.
const maxReason = 4 << 10

// Run lets the program start: somebody must be answering at the listener. nil means
// that the kernel has loaded it, or that it was killed. An error that wraps a
// syscall.Errno is what the kernel, or the gate, answered.
func (l *Launcher) Run() error {
	l.conn.SetDeadline(time.Time{}) // its start may be held
	if _, err := l.conn.Write([]byte{1}); err != nil {
		return fmt.Errorf("%w: %w", ErrShim, l.reason(err))
	}
	return l.reason(nil)
}

// reason reads why the shim gave up; def where it said nothing.
func (l *Launcher) reason(def error) error {
	b, err := io.ReadAll(io.LimitReader(l.conn, maxReason))
	if err != nil || len(b) < 2 {
		return def
	}
	return fmt.Errorf("%w: %s: %w", ErrShim, b[2:], syscall.Errno(int(b[0])|int(b[1])<<8))
}

// Close gives back the socket. A shim that still waits ends.
func (l *Launcher) Close() {
	l.conn.Close()
	l.theirs.Close()
}
