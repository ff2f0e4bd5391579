//go:build unix

package link

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// datagramBuffer is what a session's socket holds each way, in bytes of the kernel's
// count: some hundred datagrams.
const datagramBuffer = 512 << 10

// Pair makes a socket pair: ours as a connection, theirs as a file to be handed over.
func Pair(kind int) (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // no program that starts now inherits them
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("link: socketpair: %w", err)
	}
	for _, fd := range fds {
		if kind != unix.SOCK_STREAM {
			// Less is slower, no more.
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, datagramBuffer)
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, datagramBuffer)
		}
	}
	theirs = os.NewFile(uintptr(fds[1]), "other half")
	if ours, err = Unix(os.NewFile(uintptr(fds[0]), "this half")); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Unix makes a connection of a socket that was inherited or received, and
// closes the file.
func Unix(f *os.File) (*net.UnixConn, error) {
	c, err := fileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("link: the socket is of another kind (%s)", c.LocalAddr().Network())
	}
	return u, nil
}

// UDP is likewise, for a socket to a relay.
func UDP(f *os.File) (*net.UDPConn, error) {
	c, err := fileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok || u.RemoteAddr() == nil {
		c.Close()
		return nil, fmt.Errorf("link: no connected UDP socket")
	}
	return u, nil
}

func fileConn(f *os.File) (net.Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return c, nil
}

// IsUDP reports whether a descriptor that the network half has sent is a
// socket for datagrams of an IP network. It is kept, never read or written.
func IsUDP(f *os.File) bool {
	fd := int(f.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return false
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch sa.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		return true
	}
	return false
}

// Copy duplicates a descriptor.
func Copy(f interface {
	SyscallConn() (syscall.RawConn, error)
}) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var derr error
	if err := raw.Control(func(own uintptr) {
		fd, derr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if derr != nil {
		return nil, derr
	}
	return os.NewFile(uintptr(fd), "copy"), nil
}

// Hand gives the descriptor of a unix socket, to be handed over, and closes the socket.
func Hand(c net.Conn) (*os.File, error) {
	defer c.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("link: a %T can't be handed to another process", c)
	}
	return Copy(u)
}

// Between makes a stream between two other processes, to be handed over to both.
func Between() (one, other net.Conn, err error) {
	ours, theirs, err := Pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, err
	}
	if other, err = Unix(theirs); err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, other, nil
}
