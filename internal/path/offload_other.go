//go:build !linux

package path

import (
	"errors"
	"net"
	"net/netip"
)

// An offload is there on Linux only.
type offload struct{ out *outbox }

func newOffload(*net.UDPConn) *offload { return nil }

func (*offload) read([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, errors.ErrUnsupported
}

func (*offload) close() {}
