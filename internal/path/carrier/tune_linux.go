package carrier

import (
	"net"

	"golang.org/x/sys/unix"
)

// notSent bounds what waits in the system to be sent for the first time, in bytes:
// what is queued there can't be overtaken by a keystroke.
const notSent = 16 << 10

// Tune makes a TCP connection one for keystrokes: little waits in the system, and
// a lossy way costs less where the system has BBR. All of it is best effort.
func Tune(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
		unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
	})
}
