package cell

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf says who is at the other end of a local socket.
func peerOf(c *net.UnixConn) (uid, pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var gerr error
	if err := raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, 0, err
	}
	if gerr != nil {
		return 0, 0, gerr
	}
	return int(cred.Uid), int(cred.Pid), nil
}

// harden keeps other processes of the same user out of this one: it has a session's
// keys. What it runs is not concerned.
func harden() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// redirect makes a file the standard error.
func redirect(f *os.File) { unix.Dup3(int(f.Fd()), 2, 0) }
