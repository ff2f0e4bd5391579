package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// headStart is what each transport has before the next one is tried beside it, as
// connections do that prefer one address family (RFC 8305).
const headStart = 300 * time.Millisecond

// maxWorked bounds the relays whose transport is remembered: a roster names fewer.
const maxWorked = 256

// A Dialer opens paths through relays, by whatever leads there: UDP first, then TCP,
// then TLS. It remembers what worked for each relay, and starts that together with
// UDP the next time; and what the relay wants to be authenticated with, which saves a
// round trip. The zero value is ready. It is safe for concurrent use and must
// not be copied.
type Dialer struct {
	// Carrier makes the connections.
	Carrier carrier.Dialer

	mu         sync.Mutex
	worked     map[carrier.Address]carrier.Transport
	challenges map[carrier.Address]challenge
}

// Open asks the relay at addr (see [carrier.Parse]) for an allocation. ctx bounds
// the opening, not the path's life. The allocation is refreshed until Close; the
// relay ends it when the credential expires.
func (d *Dialer) Open(ctx context.Context, addr string, c cred.Credential) (*Relayed, error) {
	return d.OpenFrom(ctx, addr, c, nil)
}

// OpenFrom is [Dialer.Open] with a UDP socket to the relay, on which a process that
// is gone may have an allocation: that one is released first. The path owns sock
// from the call on. Nil stands for a new socket.
func (d *Dialer) OpenFrom(ctx context.Context, addr string, c cred.Credential, sock *net.UDPConn) (*Relayed, error) {
	at, err := carrier.Parse(addr)
	if err != nil {
		if sock != nil {
			sock.Close()
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	l, err := d.race(ctx, at, at.Transports(), c, newInbox(), sock)
	if err != nil {
		return nil, err
	}
	d.note(at, l.transport)
	return newRelayed(d, at, c, l), nil
}

// OpenRelay is [Dialer.Open] with a Dialer of its own.
func OpenRelay(ctx context.Context, addr string, c cred.Credential) (*Relayed, error) {
	return new(Dialer).Open(ctx, addr, c)
}

// OpenRelayOn is [OpenRelay] on a datagram socket that the caller has opened, such as
// one in memory: no other way is ever looked for. The path owns conn from the call on.
func OpenRelayOn(ctx context.Context, conn net.PacketConn, relay net.Addr, c cred.Credential) (*Relayed, error) {
	l, err := openLeg(ctx, &carrier.Conn{PacketConn: conn, Transport: carrier.UDP, Relay: relay}, c, newInbox(), nil)
	if err != nil {
		return nil, err
	}
	return newRelayed(new(Dialer), carrier.Address{}, c, l), nil
}

// Probe asks the relay at at, over t alone, for an allocation under a name that no relay
// takes, and gives how long its no took to come.
func (d *Dialer) Probe(ctx context.Context, at carrier.Address, t carrier.Transport) (time.Duration, error) {
	began := time.Now()
	l, err := d.attempt(ctx, at, t, cred.Credential{Username: "probe", Password: "probe"}, newInbox(), nil)
	switch {
	case err == nil:
		l.close()
		return 0, fmt.Errorf("%w: what answers is no relay of TucDesk", ErrUnreachable)
	case !errors.Is(err, ErrRefused):
		return 0, err
	}
	return time.Since(began), nil
}

// note remembers what worked.
func (d *Dialer) note(at carrier.Address, t carrier.Transport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.worked == nil || len(d.worked) >= maxWorked {
		d.worked = map[carrier.Address]carrier.Transport{}
	}
	d.worked[at] = t
}

// race opens a leg over each transport, one after the other with a head start, and
// gives the first that is open. sock, if any, is the socket for UDP.
func (d *Dialer) race(ctx context.Context, at carrier.Address, over []carrier.Transport, c cred.Credential, q *inbox, sock *net.UDPConn) (*leg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	worked := d.worked[at]
	d.mu.Unlock()
	arrived := make(chan arrival, len(over))
	starts := make([]chan struct{}, 0, len(over)) // to begin before their time, in order
	var delay time.Duration
	for _, t := range over {
		early := make(chan struct{})
		starts = append(starts, early)
		wait := delay
		if t == worked {
			wait = 0
		}
		delay += headStart
		go func() {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-early:
			case <-ctx.Done():
			}
			var s *net.UDPConn
			if t == carrier.UDP {
				s = sock
			}
			l, err := d.attempt(ctx, at, t, c, q, s)
			arrived <- arrival{l, err}
		}()
	}
	var failed []error
	for n := range over {
		a := <-arrived
		if a.err == nil || errors.Is(a.err, ErrRefused) {
			cancel()
			go reap(arrived, len(over)-n-1)
			return a.leg, a.err
		}
		failed = append(failed, a.err)
		if len(starts) > n+1 {
			close(starts[n+1])
		}
	}
	return nil, errors.Join(failed...)
}

// attempt opens one leg.
func (d *Dialer) attempt(ctx context.Context, at carrier.Address, t carrier.Transport, c cred.Credential, q *inbox, sock *net.UDPConn) (*leg, error) {
	var conn *carrier.Conn
	err := context.Cause(ctx)
	switch {
	case sock != nil && err != nil:
		sock.Close()
	case sock != nil:
		conn = carrier.OnUDP(sock)
	case err == nil:
		conn, err = d.Carrier.Dial(ctx, at, t)
	}
	if err != nil {
		return nil, fmt.Errorf("%w over %s: %w", ErrUnreachable, t, err)
	}
	l, err := openLeg(ctx, conn, c, q, d.challengeOf(at))
	if err == nil {
		d.learn(at, l.challenge)
	}
	return l, err
}

// reap closes the legs that came too late.
func reap(arrived <-chan arrival, n int) {
	for range n {
		if a := <-arrived; a.err == nil {
			a.leg.close()
		}
	}
}
