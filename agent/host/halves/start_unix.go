//go:build unix

package halves

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

// socketFD is the descriptor at which the network half finds its socket.
const socketFD = 3

const (
	// maxLine bounds a line that the network half logs, in bytes.
	maxLine = 4 << 10
	// linesPerSecond and linesAtOnce bound how many.
	linesPerSecond = 20
	linesAtOnce    = 200
)

// ErrRoot means that the network half was started with the rights of root.
var ErrRoot = errors.New("halves: the network half does not run as root")

// A Program is how the network half is started: this program again, with arguments
// that make it call [Main].
type Program struct {
	Args   []string // after the program's name
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
		return nil, fmt.Errorf("halves: no user %q for the network half; add it, or name another one", p.User)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("halves: user %q: %w", p.User, err)
	}
	if uid == 0 || gid == 0 {
		return nil, fmt.Errorf("%w: %q is root, or of its group", ErrRoot, p.User)
	}
	// No supplementary groups: this empties them.
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}, nil
}

// Start is Config.Start. The process gains no rights by running programs, whatever
// it runs, and has no open file of this one but its socket.
func (p Program) Start(socket *os.File) (wait func() error, kill func(), err error) {
	as, err := p.credential()
	if err != nil {
		return nil, nil, err
	}
	exe, err := self()
	if err != nil {
		return nil, nil, fmt.Errorf("halves: which program is this? %w", err)
	}
	said, out, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("halves: %w", err)
	}
	cmd := &exec.Cmd{
		Path: exe, Args: append([]string{os.Args[0]}, p.Args...), Dir: "/",
		Env: os.Environ(), Stderr: out, ExtraFiles: []*os.File{socket},
		// A group of its own: Ctrl-C is for the privileged side, which ends it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: as},
	}
	err = startBound(cmd)
	out.Close()
	if err != nil {
		said.Close()
		return nil, nil, fmt.Errorf("halves: start the network half: %w", err)
	}
	go p.listen(said)
	return cmd.Wait, func() { cmd.Process.Kill() }, nil
}

// startBound starts a program on a thread that can't gain rights, which ends with
// it: programs that sessions run are started elsewhere.
func startBound(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends here
		err := bind()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	return <-started
}

// listen passes on what the network half logs: a bounded number of lines, each
// bounded and made harmless.
func (p Program) listen(said *os.File) {
	defer said.Close()
	limit := rate.NewLimiter(linesPerSecond, linesAtOnce)
	r := bufio.NewReaderSize(said, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && limit.Allow() {
			level, text := levelOf(strings.TrimSuffix(string(line), "\n"))
			p.Logger.Log(context.Background(), level, "network half", "says", sanitize.Clean(text).String())
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// levelOf cuts what newLogger puts first.
func levelOf(line string) (slog.Level, string) {
	var level slog.Level
	word, text, ok := strings.Cut(line, " ")
	if name, is := strings.CutPrefix(word, "level="); ok && is && level.UnmarshalText([]byte(name)) == nil {
		return level, text
	}
	return slog.LevelWarn, line // a panic, or what else is not logged
}

// newLogger writes what listen reads.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// Main is the network half's process. It returns when the privileged side is gone.
func Main() error {
	if os.Geteuid() == 0 {
		return ErrRoot
	}
	socket := os.NewFile(socketFD, "socket")
	if kind, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return errors.New("halves: the agent starts its network half by itself; this is not for the command line")
	}
	unix.CloseOnExec(socketFD)
	if err := harden(); err != nil {
		return fmt.Errorf("halves: %w", err)
	}
	err := Serve(socket, newLogger(os.Stderr))
	if errors.Is(err, ErrAway) {
		return nil
	}
	return err
}
