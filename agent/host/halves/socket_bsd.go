//go:build unix && !linux

package halves

import "golang.org/x/sys/unix"

// wayKind keeps the bounds of datagrams; these systems have no SOCK_SEQPACKET here.
const wayKind = unix.SOCK_DGRAM
