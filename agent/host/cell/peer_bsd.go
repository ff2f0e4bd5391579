//go:build darwin || freebsd || dragonfly

package cell

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf says who is at the other end of a local socket; the process is not known here.
func peerOf(c *net.UnixConn) (uid, pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Xucred
	var gerr error
	if err := raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED) }); err != nil {
		return 0, 0, err
	}
	if gerr != nil {
		return 0, 0, gerr
	}
	return int(cred.Uid), 0, nil
}

func harden() error { return nil }

// redirect makes a file the standard error.
func redirect(f *os.File) { unix.Dup2(int(f.Fd()), 2) }
