//go:build unix

package halves

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/internal/path"
)

// A forward moves datagrams between a session's socket and the path that the
// network half has opened for it.
type forward struct {
	k       *link.Conn
	id      uint64
	session *net.UnixConn
	path    *path.Switch
	running sync.WaitGroup
	sent    chan struct{} // closed when nothing comes from the session any more

	mu      sync.Mutex
	peer    net.Addr // of permit; nil until then
	attempt *path.Attempt
	number  uint64 // of attempt
	left    uint64 // the last attempt that is not wanted any more
}

func newForward(k *link.Conn, id uint64, session *net.UnixConn, s *path.Switch) *forward {
	return &forward{k: k, id: id, session: session, path: s, sent: make(chan struct{})}
}

func (f *forward) start() {
	f.running.Go(f.in)
	f.running.Go(f.out)
}

// in forwards what comes from the peer.
func (f *forward) in() {
	b := make([]byte, 2048)
	for {
		n, _, err := f.path.ReadFrom(b)
		if err != nil {
			f.k.Tell(opLost, attemptCall{Way: f.id})
			return
		}
		if n == 0 {
			continue // it would look like an end
		}
		// A session that does not read loses datagrams, as on any network.
		if f.session.SetWriteDeadline(time.Now().Add(link.Patience)) != nil {
			return
		}
		if _, err := f.session.Write(b[:n]); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// out forwards what goes to the peer.
func (f *forward) out() {
	defer close(f.sent)
	b := make([]byte, 2048)
	for {
		n, err := f.session.Read(b)
		if err != nil {
			return
		}
		f.mu.Lock()
		peer := f.peer
		f.mu.Unlock()
		if peer != nil {
			f.path.WriteTo(b[:n], peer) // what can't go is lost
		}
	}
}

func (f *forward) permit(ctx context.Context, peer netip.AddrPort) error {
	to := net.UDPAddrFromAddrPort(peer)
	if err := f.path.Permit(ctx, to); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peer = to
	return nil
}

func (f *forward) gather(ctx context.Context, number uint64) (path.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	a, err := f.path.Gather(ctx)
	if err != nil {
		return path.Description{}, err
	}
	f.mu.Lock()
	late := number <= f.left
	if !late {
		f.attempt, f.number = a, number
	}
	f.mu.Unlock()
	if late {
		a.Close()
		return path.Description{}, path.ErrNoDirect
	}
	f.running.Go(func() {
		<-a.Lost()
		f.k.Tell(opLost, attemptCall{f.id, number})
	})
	return a.Local(), nil
}

func (f *forward) connect(ctx context.Context, m connectCall) error {
	f.mu.Lock()
	a, number := f.attempt, f.number
	f.mu.Unlock()
	if a == nil || number != m.Attempt {
		return path.ErrNoDirect
	}
	return a.Connect(ctx, m.Description, m.Lead)
}

// leave ends an attempt.
func (f *forward) leave(number uint64) {
	f.mu.Lock()
	a := f.attempt
	f.left = max(f.left, number)
	if f.number != number {
		a = nil
	} else {
		f.attempt = nil
	}
	f.mu.Unlock()
	if a != nil {
		a.Close()
	}
}

// farewell is how long a session's last datagrams, which say goodbye, may take to be
// forwarded.
const farewell = 100 * time.Millisecond

// close ends the path, once what the session has sent has gone out, and releases it on
// the relay.
func (f *forward) close() {
	_ = f.session.SetReadDeadline(time.Now().Add(farewell))
	<-f.sent
	f.mu.Lock()
	a := f.attempt
	f.attempt = nil
	f.mu.Unlock()
	if a != nil {
		a.Close()
	}
	f.session.Close()
	f.path.Close()
	f.running.Wait()
}
