//go:build !linux

package offload

import (
	"errors"
	"net"
	"net/netip"
)

// A Conn is there on Linux only.
type Conn struct{ *net.UDPConn }

// New gives nil: the system can't do it.
func New(*net.UDPConn) *Conn { return nil }

// ReadFromAddrPort is never called.
func (*Conn) ReadFromAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, errors.ErrUnsupported
}

// WriteToAddrPort is never called.
func (*Conn) WriteToAddrPort([]byte, netip.AddrPort) (int, error) { return 0, errors.ErrUnsupported }
