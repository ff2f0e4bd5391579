package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"

	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// reserved is the IP of every relayed address: the IPv4 dummy address of RFC
// 7600, which no host has and no router forwards.
var reserved = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// queueLen bounds the datagrams that wait for one side, at most 400 KB.
const queueLen = 256

var (
	errFull    = errors.New("relay: no room for another allocation")
	errTaken   = errors.New("relay: this side of the session has its allocation")
	errNoTCP   = errors.New("relay: TCP allocations are not offered")
	errForeign = errors.New("relay: an allocation reaches only the other side of its session")
)

// relayed is the address at which a side is reached by the other one. The port
// is the side's letter: all that matters is that the two differ.
func relayed(s cred.Side) *net.UDPAddr {
	return &net.UDPAddr{IP: reserved.AsSlice(), Port: int(s)}
}

func other(s cred.Side) cred.Side {
	if s == cred.Operator {
		return cred.Agent
	}
	return cred.Operator
}

// hub pairs the allocations of each session. It is pion/turn's generator of
// relayed addresses. Safe for concurrent use.
type hub struct {
	max     int
	metrics *metrics

	mu     sync.Mutex
	pairs  map[[16]byte]*pair
	legs   int
	closed bool
}

// pair is one session: two legs at most. Guarded by hub.mu for writing; legs
// read their peer without the lock.
type pair struct{ operator, agent atomic.Pointer[leg] }

func (p *pair) side(s cred.Side) *atomic.Pointer[leg] {
	if s == cred.Operator {
		return &p.operator
	}
	return &p.agent
}

func newHub(limit int, m *metrics) *hub {
	return &hub{max: limit, metrics: m, pairs: make(map[[16]byte]*pair)}
}

// Validate implements [turn.RelayAddressGenerator].
func (h *hub) Validate() error { return nil }

// AllocatePacketConn implements [turn.RelayAddressGenerator]: it gives the side
// that the user name speaks for its leg.
func (h *hub) AllocatePacketConn(req turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	// The name is empty and the port set when pion/turn probes for a pair of
	// ports (EVEN-PORT), which no TucDesk client asks for.
	name, err := cred.ParseName(req.UserID)
	if err != nil {
		return nil, nil, err
	}
	if req.Network != "udp4" || req.RequestedPort != 0 {
		return nil, nil, errors.New("relay: relayed addresses can't be chosen")
	}
	l, err := h.open(name)
	if err != nil {
		return nil, nil, err
	}
	return l, l.LocalAddr(), nil
}

// AllocateListener implements [turn.RelayAddressGenerator].
func (h *hub) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocateConn implements [turn.RelayAddressGenerator].
func (h *hub) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// hasRoom reports whether open would find room for n.
func (h *hub) hasRoom(n cred.Name) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room(n) == nil
}

// room is the quota. The caller holds mu.
func (h *hub) room(n cred.Name) error {
	if h.closed || h.legs >= h.max {
		return errFull
	}
	if p := h.pairs[n.Session]; p != nil && p.side(n.Side).Load() != nil {
		return errTaken
	}
	return nil
}

func (h *hub) open(n cred.Name) (*leg, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.room(n); err != nil {
		h.metrics.refused.WithLabelValues("quota").Inc()
		return nil, err
	}
	p := h.pairs[n.Session]
	if p == nil {
		p = new(pair)
		h.pairs[n.Session] = p
	}
	l := &leg{
		hub: h, pair: p, name: n, peer: relayed(other(n.Side)),
		bytes:   h.metrics.bytes.WithLabelValues(n.Side.String()),
		packets: h.metrics.packets.WithLabelValues(n.Side.String()),
		inbox:   make(chan []byte, queueLen),
		done:    make(chan struct{}),
	}
	// An allocation ends with its credential, whatever its refreshes ask for.
	l.expiry = time.AfterFunc(time.Until(n.Expiry), func() { l.Close() })
	p.side(n.Side).Store(l)
	h.legs++
	h.metrics.allocations.Inc()
	h.metrics.opened.Inc()
	return l, nil
}

// remove forgets a leg that has been closed.
func (h *hub) remove(l *leg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !l.pair.side(l.name.Side).CompareAndSwap(l, nil) {
		return
	}
	h.legs--
	h.metrics.allocations.Dec()
	if l.pair.operator.Load() == nil && l.pair.agent.Load() == nil {
		delete(h.pairs, l.name.Session)
	}
}

// drop ends the allocation of n, if it has one.
func (h *hub) drop(n cred.Name) {
	h.mu.Lock()
	p := h.pairs[n.Session]
	h.mu.Unlock()
	if p != nil && n.Side.Valid() {
		if l := p.side(n.Side).Load(); l != nil {
			l.Close()
		}
	}
}

// close ends every allocation and admits none afterwards.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	var all []*leg
	for _, p := range h.pairs {
		for _, l := range []*leg{p.operator.Load(), p.agent.Load()} {
			if l != nil {
				all = append(all, l)
			}
		}
	}
	h.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
}

// leg is the relayed end of one allocation. To pion/turn it looks like the
// socket of the relayed address: what it writes goes to the other side of the
// session, and what it reads came from there.
type leg struct {
	hub            *hub
	pair           *pair
	name           cred.Name
	peer           *net.UDPAddr // the other side's address; never changed
	bytes, packets counter
	inbox          chan []byte // buffers of the pool, cut to the datagram
	expiry         *time.Timer
	once           sync.Once
	done           chan struct{}
}

// counter is a Prometheus counter, resolved once for each leg.
type counter interface{ Add(float64) }

var buffers = sync.Pool{New: func() any { return new([inboundMTU]byte) }}

// ReadFrom waits for a datagram of the other side.
func (l *leg) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-l.done:
		return 0, nil, net.ErrClosed
	default:
	}
	select {
	case b := <-l.inbox:
		n := copy(p, b)
		buffers.Put((*[inboundMTU]byte)(b[:inboundMTU]))
		return n, l.peer, nil
	case <-l.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo hands a datagram over, or drops it when the other side is absent or
// slow, as a network would. It never blocks. Any other address is refused.
func (l *leg) WriteTo(p []byte, to net.Addr) (int, error) {
	if a, ok := to.(*net.UDPAddr); !ok || a.Port != l.peer.Port || !permit(nil, a.IP) {
		l.hub.metrics.dropped.WithLabelValues("foreign peer").Inc()
		return 0, errForeign
	}
	if len(p) == 0 || len(p) > inboundMTU {
		return len(p), nil // an empty datagram only opens the path
	}
	peer := l.pair.side(other(l.name.Side)).Load()
	if peer == nil {
		l.hub.metrics.dropped.WithLabelValues("absent").Inc()
		return len(p), nil
	}
	b := buffers.Get().(*[inboundMTU]byte)
	select {
	case peer.inbox <- b[:copy(b[:], p)]:
		l.bytes.Add(float64(len(p)))
		l.packets.Add(1)
	default:
		buffers.Put(b)
		l.hub.metrics.dropped.WithLabelValues("slow").Inc()
	}
	return len(p), nil
}

// Close ends the allocation: pion/turn forgets it when its read fails.
func (l *leg) Close() error {
	l.once.Do(func() {
		l.expiry.Stop()
		close(l.done)
		l.hub.remove(l)
	})
	return nil
}

// LocalAddr is the relayed address.
func (l *leg) LocalAddr() net.Addr { return relayed(l.name.Side) }

// Deadlines are not used by pion/turn; the promise of [net.PacketConn] can't
// be kept without them, so they are refused.
func (*leg) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (*leg) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (*leg) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
