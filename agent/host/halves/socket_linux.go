package halves

import "golang.org/x/sys/unix"

// wayKind keeps the bounds of datagrams, and says when the other end is closed.
const wayKind = unix.SOCK_SEQPACKET
