//go:build unix

package cell

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/cage"
	"github.com/tucdesk/tucdesk/agent/host/cgroup"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A Program is how this program is started again as a session half: the arguments after
// its name lead to Main.
type Program struct {
	Args   []string
	Logger *slog.Logger
}

// start starts it in the folder of door, in a control group if there is one.
func (p Program) start(door string, group *os.File) (conn *net.UnixConn, wait, kill func(), err error) {
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, nil, err
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			ours.Close()
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("cell: %w", err)
	}
	defer null.Close()
	said, out, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("cell: %w", err)
	}
	defer out.Close()
	exe, err := cage.Self()
	if err != nil {
		said.Close()
		return nil, nil, nil, fmt.Errorf("cell: which program is this? %w", err)
	}
	cmd := &exec.Cmd{
		Path: exe, Args: append([]string{os.Args[0]}, p.Args...), Dir: filepath.Dir(door),
		Env: os.Environ(), Stdin: null, Stdout: null, Stderr: out, ExtraFiles: []*os.File{theirs},
		// A session of its own: no terminal's signals, and no end with the keeper.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	cgroup.Into(cmd.SysProcAttr, group)
	if err = cmd.Start(); err != nil {
		said.Close()
		return nil, nil, nil, fmt.Errorf("cell: start a session's process: %w", err)
	}
	go cage.Listen(said, p.Logger, "session half")
	return ours, func() { cmd.Wait() }, func() { cmd.Process.Kill() }, nil
}

// listen gives what a half that another keeper has started may log to.
func (p Program) listen(id token.ID) (*os.File, error) {
	said, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go cage.Listen(said, p.Logger.With("session", id), "session half")
	return out, nil
}
