//go:build unix

package halves

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// A Way is a path to one peer that the network half has opened, as a
// [net.PacketConn]. It stands while the network half is started again: what is sent
// meanwhile is lost, or late. It is safe for concurrent use.
//
// The end that is read and written may be handed to another process; the Way then
// is what keeps the path. See [Way.Hand] and [Network.Adopt].
type Way struct {
	*link.Packets // this end; the network half forwards at the other

	n      *Network
	id     uint64
	theirs *os.File // the other end, for the next network half
	relay  string
	cred   cred.Credential
	done   chan struct{} // closed when it is over

	mu      sync.Mutex
	over    bool
	addr    net.UDPAddr
	sock    *os.File // to the relay over UDP, for the next network half; nil: none
	last    uint64   // number of the last attempt
	attempt *attempt // not over
}

func (w *Way) call(again bool) openCall {
	return openCall{Way: w.id, Again: again, Relay: w.relay, Username: w.cred.Username, Password: string(w.cred.Password)}
}

// opened notes that the path is there, with the socket to the relay if that can be
// handed on; false if it is not wanted any more.
func (w *Way) opened(addr netip.AddrPort, socks []*os.File) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		link.CloseFiles(socks)
		return false
	}
	w.addr = *net.UDPAddrFromAddrPort(addr)
	if len(socks) > 0 {
		w.sock = socks[0]
	}
	return true
}

// LocalRelayed is where the peer reaches this side by way of the relay.
func (w *Way) LocalRelayed() net.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.addr
	return &a
}

// LocalAddr is the same.
func (w *Way) LocalAddr() net.Addr { return w.LocalRelayed() }

// Permit lets the peer through. A way has one.
func (w *Way) Permit(ctx context.Context, peer net.Addr) error {
	udp, ok := peer.(*net.UDPAddr)
	if !ok {
		return path.ErrNotPermitted
	}
	want := netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), udp.AddrPort().Port())
	k, err := w.n.now()
	if err != nil {
		return err
	}
	if _, err := k.Call(ctx, opPermit, permitCall{w.id, want}, nil); err != nil {
		return err
	}
	w.SetPeer(net.UDPAddrFromAddrPort(want))
	return nil
}

// again has a new network half open the path on what the last one has left, as long
// as there are both.
func (w *Way) again(k *link.Conn) {
	wait := againFirst
	for {
		left, was := w.left()
		if left == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), openTime)
		var a openAnswer
		files, err := k.Call(ctx, opOpen, w.call(true), &a, left...)
		link.CloseFiles(left)
		link.CloseFiles(files)
		if err == nil && a.Addr != was {
			cancel()
			w.Close() // the peer can't find us there
			return
		}
		if peer := w.Peer(); err == nil && peer != nil {
			_, err = k.Call(ctx, opPermit, permitCall{w.id, peer.AddrPort()}, nil)
		}
		cancel()
		if err == nil {
			w.mu.Lock()
			over := w.over
			w.mu.Unlock()
			if over { // closed while it was opened again
				k.Tell(opClose, attemptCall{Way: w.id})
			}
			return
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, againMost)
		case <-k.Done():
			return
		}
	}
}

// left gives copies of the descriptors that a network half leaves, nil if the path
// is over or was never open; and what the path was.
func (w *Way) left() (files []*os.File, addr netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.addr.Port == 0 {
		return nil, addr
	}
	for _, f := range []*os.File{w.theirs, w.sock} {
		if f == nil {
			continue
		}
		c, err := link.Copy(f)
		if err != nil {
			link.CloseFiles(files)
			return nil, addr
		}
		files = append(files, c)
	}
	own := w.addr.AddrPort()
	return files, netip.AddrPortFrom(own.Addr().Unmap(), own.Port())
}

// Done is closed when the path is over.
func (w *Way) Done() <-chan struct{} { return w.done }

// Hand gives all that keeps the path, for another process: this end, which is not
// ours any more, the other end, and the socket to the relay. They are the caller's.
func (w *Way) Hand() ([]*os.File, error) {
	ours, err := link.Copy(w.UnixConn)
	if err != nil {
		return nil, err
	}
	left, _ := w.left()
	if left == nil {
		ours.Close()
		return nil, net.ErrClosed
	}
	w.UnixConn.Close()
	return append([]*os.File{ours}, left...), nil
}

// Close ends the path, and has it released.
func (w *Way) Close() error {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return nil
	}
	w.over = true
	close(w.done)
	w.theirs.Close()
	if w.sock != nil {
		w.sock.Close()
	}
	w.mu.Unlock()
	w.lose(0)
	w.n.mu.Lock()
	delete(w.n.ways, w.id)
	k := w.n.link
	w.n.mu.Unlock()
	if k != nil {
		k.Tell(opClose, attemptCall{Way: w.id})
	}
	if w.UnixConn == nil {
		return nil // adopted
	}
	return w.UnixConn.Close()
}

// attempt is one try at a direct path, which the network half makes.
type attempt struct {
	w     *Way
	k     *link.Conn
	id    uint64
	local path.Description
	once  sync.Once
	gone  chan struct{}
}

// Gather begins an attempt at a path without the relay.
func (w *Way) Gather(ctx context.Context) (direct.Attempt, error) {
	k, err := w.n.now()
	if err != nil {
		return nil, path.ErrNoDirect
	}
	w.mu.Lock()
	if w.over || w.attempt != nil {
		w.mu.Unlock()
		return nil, path.ErrAttempt
	}
	w.last++
	a := &attempt{w: w, k: k, id: w.last, gone: make(chan struct{})}
	w.attempt = a
	w.mu.Unlock()
	var got gatherAnswer
	_, err = k.Call(ctx, opGather, attemptCall{w.id, a.id}, &got)
	if err == nil {
		// What it names is told to the peer. Whether it may be is what an honest
		// side asks of itself, and the peer asks again.
		err = got.Description.Check(w.n.c.Demo)
	}
	switch {
	case err == nil:
		a.local = got.Description
		return a, nil
	case errors.Is(err, link.ErrAway), errors.Is(err, path.ErrCandidate):
		err = path.ErrNoDirect
	}
	a.Close()
	return nil, err
}

// Local implements direct.Attempt.
func (a *attempt) Local() path.Description { return a.local }

// Connect implements direct.Attempt.
func (a *attempt) Connect(ctx context.Context, peer path.Description, lead bool) error {
	// Refused here too: the network half is not what keeps this agent from being
	// made to contact an address.
	if err := peer.Check(a.w.n.c.Demo); err != nil {
		return err
	}
	_, err := a.k.Call(ctx, opConnect, connectCall{a.w.id, a.id, peer, lead}, nil)
	if errors.Is(err, link.ErrAway) {
		return path.ErrNoDirect
	}
	return err
}

// Lost implements direct.Attempt.
func (a *attempt) Lost() <-chan struct{} { return a.gone }

// Close implements direct.Attempt.
func (a *attempt) Close() {
	a.w.lose(a.id)
	a.k.Tell(opLeave, attemptCall{a.w.id, a.id})
}

// lose ends an attempt; 0: whatever it is.
func (w *Way) lose(id uint64) {
	w.mu.Lock()
	a := w.attempt
	if a != nil && (id == 0 || a.id == id) {
		w.attempt = nil
	} else {
		a = nil
	}
	w.mu.Unlock()
	if a != nil {
		a.once.Do(func() { close(a.gone) })
	}
}
