//go:build unix && !linux && !darwin && !freebsd && !dragonfly

package cell

import (
	"errors"
	"net"
	"os"
)

// peerOf knows nobody here.
func peerOf(*net.UnixConn) (uid, pid int, err error) {
	return 0, 0, errors.New("cell: this system does not say who is at the other end")
}

func harden() error { return nil }

func redirect(*os.File) {}
