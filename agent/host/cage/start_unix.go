//go:build unix

package cage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Socket is the descriptor at which the program finds its socket.
const Socket = 3

const (
	// maxLine bounds a line that a process logs, in bytes.
	maxLine = 4 << 10
	// linesPerSecond and linesAtOnce bound how many.
	linesPerSecond = 20
	linesAtOnce    = 200
)

// ErrRoot means that the program has, or would have, the rights of root.
var ErrRoot = errors.New("cage: the network half does not run as root")

// A Program is how this program is started again, confined, with other arguments.
type Program struct {
	Args   []string // after the program's name; what they lead to calls Enter first
	User   string   // whom it runs as, if this process is root; not root
	Logger *slog.Logger
}

// Check finds the user.
func (p Program) Check() error {
	_, err := p.credential()
	return err
}

// credential gives what the network half runs as; nil: as this process, which is
// not root.
func (p Program) credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(p.User)
	if err != nil {
		return nil, fmt.Errorf("cage: no user %q for the network half; add it, or name another one", p.User)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("cage: user %q: %w", p.User, err)
	}
	if uid == 0 || gid == 0 {
		return nil, fmt.Errorf("%w: %q is root, or of its group", ErrRoot, p.User)
	}
	// No supplementary groups: this empties them.
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}, nil
}

// Start starts it on one end of a socket; wait gives how it ended, and kill ends it.
// The process gains no rights by running programs, and has no
// open file of this one but its socket. On Linux with Landlock it runs no other
// program, writes no file, and reads what name resolution and TLS need.
func (p Program) Start(socket *os.File) (wait func() error, kill func(), err error) {
	as, err := p.credential()
	if err != nil {
		return nil, nil, err
	}
	exe, err := Self()
	if err != nil {
		return nil, nil, fmt.Errorf("cage: which program is this? %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cage: %w", err)
	}
	defer null.Close()
	said, out, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cage: %w", err)
	}
	cmd := &exec.Cmd{
		Path: exe, Args: append([]string{os.Args[0]}, p.Args...), Dir: "/",
		Env: os.Environ(), Stdin: null, Stdout: null, Stderr: out, ExtraFiles: []*os.File{socket},
		// A group of its own: Ctrl-C is for the privileged side, which ends it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: as},
	}
	err = startBound(cmd)
	out.Close()
	if err != nil {
		said.Close()
		return nil, nil, fmt.Errorf("cage: start the network half: %w", err)
	}
	go Listen(said, p.Logger, "network half")
	return cmd.Wait, func() { cmd.Process.Kill() }, nil
}

// startBound starts a program on a thread that can't gain rights, which ends with
// it: programs that sessions run are started elsewhere.
func startBound(cmd *exec.Cmd) error {
	bound, err := bind(cmd.Path)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends here
		err := bound()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	return <-started
}

// Listen passes on what a process of this agent logs with NewLogger, to the end: a
// bounded number of lines, each bounded and made harmless. who says whose they are.
func Listen(said *os.File, logger *slog.Logger, who string) {
	defer said.Close()
	limit := rate.NewLimiter(linesPerSecond, linesAtOnce)
	r := bufio.NewReaderSize(said, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && limit.Allow() {
			level, text := levelOf(strings.TrimSuffix(string(line), "\n"))
			logger.Log(context.Background(), level, who, "says", sanitize.Clean(text).String())
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// levelOf cuts what NewLogger puts first.
func levelOf(line string) (slog.Level, string) {
	var level slog.Level
	word, text, ok := strings.Cut(line, " ")
	if name, is := strings.CutPrefix(word, "level="); ok && is && level.UnmarshalText([]byte(name)) == nil {
		return level, text
	}
	return slog.LevelWarn, line // a panic, or what else comes there
}

// NewLogger makes the program's logger, on its standard error: it writes what Listen
// reads.
func NewLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// Enter completes the confinement from within: it is the program's first act. It
// gives the socket.
func Enter() (*os.File, error) {
	if os.Geteuid() == 0 {
		return nil, ErrRoot
	}
	socket := os.NewFile(Socket, "socket")
	if kind, err := unix.GetsockoptInt(Socket, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, errors.New("cage: the agent starts its network half by itself; this is not for the command line")
	}
	unix.CloseOnExec(Socket)
	if err := harden(); err != nil {
		return nil, fmt.Errorf("cage: %w", err)
	}
	return socket, nil
}
