package path

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/path/offload"
)

const (
	// maxHosts bounds the addresses of this machine that an attempt offers;
	// two more are how the relay sees it over IPv4 and IPv6.
	maxHosts = MaxCandidates - 2
	// checksPerSecond and checksAtOnce bound the checks that one attempt
	// sends, whatever the peer says. Two machines with two addresses each
	// need 20 a second.
	checksPerSecond = 100
	checksAtOnce    = 100
	// socketBuffer is asked from the system for each socket, in bytes.
	socketBuffer = 4 << 20
)

// fence is the machine's network as an attempt sees it: the addresses that may be
// offered, sockets for datagrams, one server that may be asked, and so many checks.
type fence struct {
	*stdnet.Net
	loopback bool
	server   netip.AddrPort // the relay's, for its STUN answers; may be invalid
	checks   *rate.Limiter
	listen   listen
}

// listen opens a socket; tests put faults into it.
type listen func(network string, local *net.UDPAddr) (socket, error)

// A socket is what an attempt needs of a [net.UDPConn].
type socket interface {
	transport.UDPConn
	ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
}

func newFence(loopback bool, server netip.AddrPort, l listen) (*fence, error) {
	std, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	if l == nil {
		l = func(network string, local *net.UDPAddr) (socket, error) { return net.ListenUDP(network, local) }
	}
	return &fence{Net: std, loopback: loopback, server: server, checks: rate.NewLimiter(checksPerSecond, checksAtOnce), listen: l}, nil
}

// Interfaces leaves out what is not offered, and what is too much.
func (f *fence) Interfaces() ([]*transport.Interface, error) {
	all, err := f.Net.Interfaces()
	if err != nil {
		return nil, err
	}
	var some []*transport.Interface
	n := 0
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		kept := transport.NewInterface(i.Interface)
		before := n
		for _, a := range addrs {
			ipnet, ok := a.(*net.IPNet)
			if !ok || n == maxHosts {
				continue
			}
			ip, ok := netip.AddrFromSlice(ipnet.IP)
			if ok && reachable(ip.Unmap(), f.loopback) == nil {
				kept.AddAddress(a)
				n++
			}
		}
		if n > before {
			some = append(some, kept)
		}
	}
	return some, nil
}

// ResolveUDPAddr asks no name server: there is one server, and it is known.
func (f *fence) ResolveUDPAddr(network, _ string) (*net.UDPAddr, error) {
	if !f.server.IsValid() || (network == "udp6") == f.server.Addr().Is4() {
		return nil, errors.New("path: no STUN server in this address family")
	}
	return net.UDPAddrFromAddrPort(f.server), nil
}

// ListenUDP opens a socket behind the fence.
func (f *fence) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	c, err := f.listen(network, local)
	if err != nil {
		return nil, err
	}
	c.SetReadBuffer(socketBuffer) // best effort: the system may give less
	c.SetWriteBuffer(socketBuffer)
	guarded := &fenced{socket: c, checks: f.checks, server: f.server.Port()}
	if udp, ok := c.(*net.UDPConn); ok {
		guarded.many = offload.New(udp)
	}
	return guarded, nil
}

// fenced is a socket whose checks are counted. Everything else goes to a pair
// that has answered one.
type fenced struct {
	socket
	checks *rate.Limiter
	server uint16        // the port of the relay
	many   *offload.Conn // nil: one datagram for each call
}

// Close implements [net.PacketConn].
func (c *fenced) Close() error {
	if c.many != nil {
		return c.many.Close()
	}
	return c.socket.Close()
}

// SetDeadline implements [net.PacketConn]: it bounds reads alone. ICE sets one that is
// over before it closes a socket, and what waits to be sent then, a session's goodbye
// last of all, would never go out.
func (c *fenced) SetDeadline(t time.Time) error { return c.socket.SetReadDeadline(t) }

// ReadFrom implements [net.PacketConn].
func (c *fenced) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(p)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// drops reports whether p does not go out: it is one check too many, and comes
// again, or it goes to a port that is no side's, which a forged sender can name.
func (c *fenced) drops(p []byte, port uint16) bool {
	return stun.IsMessage(p) && (port < minPort && port != c.server || !c.checks.Allow())
}

// WriteTo implements [net.PacketConn].
func (c *fenced) WriteTo(p []byte, to net.Addr) (int, error) {
	if udp, ok := to.(*net.UDPAddr); !ok || c.drops(p, uint16(udp.Port)) {
		return len(p), nil
	}
	return c.socket.WriteTo(p, to)
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter: reads that allocate no
// address.
func (c *fenced) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	if c.many != nil {
		return c.many.ReadFromAddrPort(p)
	}
	return c.ReadFromUDPAddrPort(p)
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (c *fenced) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if c.drops(p, to.Port()) {
		return len(p), nil
	}
	if c.many != nil && len(p) > 0 && !stun.IsMessage(p) {
		return c.many.WriteToAddrPort(p, to)
	}
	return c.WriteToUDPAddrPort(p, to)
}
