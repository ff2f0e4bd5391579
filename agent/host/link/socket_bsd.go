//go:build unix && !linux

package link

import "golang.org/x/sys/unix"

// Datagrams keeps the bounds of datagrams; these systems have no SOCK_SEQPACKET here.
const Datagrams = unix.SOCK_DGRAM
