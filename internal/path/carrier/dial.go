package carrier

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"github.com/tucdesk/tucdesk/internal/path/offload"
)

// A Dialer makes connections to relays. The zero value takes proxies from the
// environment and trusts the system's authorities. It is safe for concurrent use
// and must not be changed once in use.
type Dialer struct {
	// TLS judges relays, and proxies whose URL is https. Nil asks the system's
	// authorities for the name. The version is 1.3 whatever it says.
	TLS *tls.Config
	// Proxy gives the proxy for a URL such as https://relay.example.com:443, nil
	// where there is none. If it is nil itself, HTTPS_PROXY and NO_PROXY say so.
	Proxy func(*url.URL) (*url.URL, error)
}

// A Conn is a connection to one relay.
type Conn struct {
	net.PacketConn
	Transport Transport
	Relay     net.Addr // the next hop: the relay, or the proxy before it
}

// UDP is the socket of a connection over UDP, nil for all others.
func (c *Conn) UDP() *net.UDPConn {
	if u, ok := c.PacketConn.(connected); ok {
		return u.UDPConn
	}
	return nil
}

// Dial connects to the relay at a. ctx bounds that, not the connection's life.
// Over UDP nothing is sent.
func (d *Dialer) Dial(ctx context.Context, a Address, t Transport) (*Conn, error) {
	if t == UDP {
		c, err := DialUDP(ctx, a)
		if err != nil {
			return nil, err
		}
		return OnUDP(c), nil
	}
	if t == TLS && a.TLS == 0 {
		return nil, fmt.Errorf("%w: %s has no port for TLS", ErrAddress, a)
	}
	c, err := d.tcp(ctx, a.at(t))
	if err != nil {
		return nil, err
	}
	if t == TLS {
		if c, err = d.secure(ctx, c, a.Host); err != nil {
			return nil, err
		}
	}
	return &Conn{newStream(c), t, c.RemoteAddr()}, nil
}

// DialUDP makes a socket that is connected to the relay at a.
func DialUDP(ctx context.Context, a Address) (*net.UDPConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", a.at(UDP))
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	return c.(*net.UDPConn), nil
}

// OnUDP is the connection on a socket of [DialUDP].
func OnUDP(c *net.UDPConn) *Conn {
	return &Conn{connected{c, c.RemoteAddr(), offload.New(c)}, UDP, c.RemoteAddr()}
}

// tcp opens a stream to a host and port, through the proxy if there is one for it.
func (d *Dialer) tcp(ctx context.Context, hostPort string) (net.Conn, error) {
	find := d.Proxy
	if find == nil {
		find = httpproxy.FromEnvironment().ProxyFunc()
	}
	proxy, err := find(&url.URL{Scheme: "https", Host: hostPort})
	if err != nil {
		// The text would hold the variable, and with it a password.
		return nil, fmt.Errorf("%w: HTTPS_PROXY is no URL", ErrProxy)
	}
	if proxy != nil {
		return d.through(ctx, proxy, hostPort)
	}
	return dialTCP(ctx, hostPort)
}

func dialTCP(ctx context.Context, hostPort string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", hostPort)
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	Tune(c)
	return c, nil
}

// secure puts TLS on c, and closes c if that fails.
func (d *Dialer) secure(ctx context.Context, c net.Conn, host string) (net.Conn, error) {
	config := new(tls.Config)
	if d.TLS != nil {
		config = d.TLS.Clone()
	}
	config.MinVersion = tls.VersionTLS13
	config.ServerName = host
	s := tls.Client(c, config)
	if err := s.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("carrier: TLS with %s: %w", host, err)
	}
	return s, nil
}

// connected is a connected UDP socket as a PacketConn: the system then drops
// what comes from anyone but the relay, and says when nobody listens there.
type connected struct {
	*net.UDPConn
	relay net.Addr
	many  *offload.Conn // nil: one datagram for each call
}

func (c connected) ReadFrom(p []byte) (int, net.Addr, error) {
	if c.many != nil {
		n, _, err := c.many.ReadFromAddrPort(p)
		return n, c.relay, err
	}
	n, err := c.Read(p)
	return n, c.relay, err
}

func (c connected) WriteTo(p []byte, _ net.Addr) (int, error) {
	if c.many != nil {
		return c.many.WriteToAddrPort(p, netip.AddrPort{})
	}
	return c.Write(p)
}

func (c connected) Close() error {
	if c.many != nil {
		return c.many.Close()
	}
	return c.UDPConn.Close()
}
