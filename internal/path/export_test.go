package path

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
)

// Hurry makes s check and give up sooner, so that tests need not wait.
func (s *Switch) Hurry() {
	s.times.keepAlive = 100 * time.Millisecond
	s.times.silence = 500 * time.Millisecond
	s.times.connect = 2 * time.Second
}

// Faults are what befalls the sockets of a switch's attempts.
type Faults struct {
	dead atomic.Bool // nothing passes

	mu    sync.Mutex
	moved []*movable
}

// Fault makes f befall the attempts of s from now on.
func (s *Switch) Fault(f *Faults) {
	s.listen = func(network string, local *net.UDPAddr) (socket, error) {
		c, err := net.ListenUDP(network, local)
		if err != nil {
			return nil, err
		}
		m := &movable{f: f, network: network, UDPConn: c, local: c.LocalAddr()}
		m.now.Store(c)
		f.mu.Lock()
		f.moved = append(f.moved, m)
		f.mu.Unlock()
		return m, nil
	}
}

// Die makes the sockets swallow everything; Live undoes it.
func (f *Faults) Die()  { f.dead.Store(true) }
func (f *Faults) Live() { f.dead.Store(false) }

// Move does what a NAT does that forgets its table: what the sockets send comes
// from other ports, and what is sent to the old ones is lost.
func (f *Faults) Move() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.moved {
		if err := m.move(); err != nil {
			return err
		}
	}
	return nil
}

// movable is a socket whose place in the world changes.
type movable struct {
	*net.UDPConn // as it was opened
	f            *Faults
	network      string
	local        net.Addr
	now          atomic.Pointer[net.UDPConn]
}

func (m *movable) move() error {
	at := *m.local.(*net.UDPAddr)
	at.Port = 0
	c, err := net.ListenUDP(m.network, &at)
	if err != nil {
		return err
	}
	if m.now.Swap(c).Close() != nil {
		return c.Close() // it was of an attempt that is over
	}
	return nil
}

func (m *movable) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	for {
		c := m.now.Load()
		n, from, err := c.ReadFromUDPAddrPort(p)
		if err != nil && m.now.Load() == c {
			return n, from, err
		}
		if err == nil && !m.f.dead.Load() {
			return n, from, nil
		}
	}
}

func (m *movable) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := m.ReadFromUDPAddrPort(p)
	return n, net.UDPAddrFromAddrPort(from), err
}

func (m *movable) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if m.f.dead.Load() {
		return len(p), nil
	}
	return m.now.Load().WriteToUDPAddrPort(p, to)
}

func (m *movable) WriteTo(p []byte, to net.Addr) (int, error) {
	return m.WriteToUDPAddrPort(p, to.(*net.UDPAddr).AddrPort())
}

func (m *movable) LocalAddr() net.Addr           { return m.local }
func (m *movable) SetDeadline(t time.Time) error { return m.now.Load().SetDeadline(t) }
func (m *movable) Close() error                  { return m.now.Load().Close() }

// Hurry makes r look for other ways sooner, so that tests need not wait.
func (r *Relayed) Hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.patience = patience{
		look: 50 * time.Millisecond, silent: 2500 * time.Millisecond, settle: 200 * time.Millisecond, linger: 500 * time.Millisecond,
		again: 500 * time.Millisecond, most: time.Second, forget: 20 * time.Second,
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Worked is the transport that d remembers for a relay.
func (d *Dialer) Worked(addr string) carrier.Transport {
	at, _ := carrier.Parse(addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.worked[at]
}
