package link

import "golang.org/x/sys/unix"

// Datagrams keeps the bounds of datagrams, and says when the other end is closed.
const Datagrams = unix.SOCK_SEQPACKET
