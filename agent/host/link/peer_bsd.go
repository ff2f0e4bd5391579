//go:build darwin || freebsd || dragonfly

package link

import (
	"net"

	"golang.org/x/sys/unix"
)

// Peer says who is at the other end of a local socket; the process is not known here.
func Peer(c *net.UnixConn) (uid, pid int, err error) {
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
