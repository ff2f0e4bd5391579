package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/reach"
)

const (
	connect   = 1 // the operator's first byte
	connected = 0 // the agent's

	dialTime = 15 * time.Second // names, and all addresses together
	maxAddrs = 16               // that one name is tried at
)

var (
	// ErrProtocol: the other side does not do as SPEC.md says.
	ErrProtocol = errors.New("tunnel: the other side does not speak as it must")
	// ErrSpecial: the destination turned out to be what must be spelled out.
	ErrSpecial = errors.New("tunnel: it leads to this machine itself, its link or a metadata service, which policy must name by its address (or as localhost)")
)

// A Dialer finds and connects. The zero value uses the system.
type Dialer struct {
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, address string) (net.Conn, error)
}

// Open connects to d. Names are looked up once, and what is connected to is what was
// looked at.
func (o Dialer) Open(ctx context.Context, d reach.Dest) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	addrs := []netip.Addr{}
	if a, ok := d.Addr(); ok {
		addrs = append(addrs, a)
	} else {
		var err error
		if addrs, err = o.Lookup(ctx, d.Host); err != nil {
			return nil, fmt.Errorf("tunnel: %s is not found: %w", d.Host, err)
		}
	}
	err := errors.New("tunnel: no address")
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		if !d.MayBeAt(a) {
			return nil, ErrSpecial // a name that leads to several must lead to none of these
		}
	}
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		var conn net.Conn
		if conn, err = o.Dial(ctx, net.JoinHostPort(a.Unmap().String(), strconv.Itoa(int(d.Port)))); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("tunnel: %w", err)
}

// Serve is the target's end of one connection, on the stream in and out. It returns
// once both directions have ended.
func Serve(ctx context.Context, in io.Reader, out io.WriteCloser, d reach.Dest, o Dialer) error {
	first := make([]byte, 1)
	if _, err := io.ReadFull(in, first); err == io.EOF {
		return nil // it was not needed
	} else if err != nil || first[0] != connect {
		return ErrProtocol
	}
	conn, err := o.Open(ctx, d)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := out.Write([]byte{connected}); err != nil {
		return err
	}
	return Pump(conn, struct {
		io.Reader
		io.Writer
	}{in, out}, out.Close)
}

// Pump carries bytes between a connection and a stream until both directions have
// ended, or one has failed. end says on the stream that no more come.
func Pump(conn net.Conn, stream io.ReadWriter, end func() error) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		if c, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = c.CloseWrite()
		}
		if err != nil {
			conn.Close() // no answer is wanted any more
		}
		sent <- err
	}()
	_, err := io.Copy(stream, conn)
	if err != nil {
		conn.Close()
	}
	if eerr := end(); err == nil {
		err = eerr
	}
	if serr := <-sent; err == nil {
		err = serr
	}
	return err
}

// Connect has the target's end connect. After it the stream carries the connection. It
// fails with the stream's end where the connection could not be made.
func Connect(stream io.ReadWriter) error {
	if _, err := stream.Write([]byte{connect}); err != nil {
		return err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(stream, first); err != nil {
		return err
	}
	if first[0] != connected {
		return ErrProtocol
	}
	return nil
}

// SSH looks at the bytes of one direction as they pass, without the first, which is the
// tunnel's own.
type SSH struct {
	seen int
	no   bool // nothing more is to be told
}

const version = "SSH-"

// Seen takes what passes, and reports whether the direction begins as SSH does.
func (s *SSH) Seen(p []byte) bool {
	for _, b := range p {
		switch {
		case s.no:
			return false
		case s.seen == 0: // connect or connected
		case b != version[s.seen-1]:
			s.no = true
			return false
		}
		if s.seen++; s.seen > len(version) {
			s.no = true // told once
			return true
		}
	}
	return false
}
