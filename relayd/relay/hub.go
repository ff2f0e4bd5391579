package relay

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// reserved is the IP of every relayed address, which no host has and no router
// forwards.
var reserved = cred.Operator.RelayedAddr().Addr()

const (
	// queueLen bounds the datagrams that wait for one leg, at most 400 KB.
	queueLen = 256
	// maxLegs bounds the allocations of one side: UDP, TCP and TLS, and what a
	// change of address has left behind. See internal/decisions/0012.
	maxLegs = 6
	// behind is how much longer ago than on its side's newest leg something may
	// have come on a leg that still gets what is for the side.
	behind = 3 * time.Second
)

var (
	errFull    = errors.New("relay: no room for another allocation")
	errTaken   = errors.New("relay: this side of the session has its allocations")
	errNoTCP   = errors.New("relay: TCP allocations are not offered")
	errForeign = errors.New("relay: an allocation reaches only the other side of its session")
)

// relayed is the address at which a side is reached by the other one.
func relayed(s cred.Side) *net.UDPAddr { return net.UDPAddrFromAddrPort(s.RelayedAddr()) }

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
	rate    rate.Limit // bytes each second, of one leg
	usage   func(Usage)
	metrics *metrics

	mu     sync.Mutex
	pairs  map[[16]byte]*pair
	legs   int
	closed bool
}

// pair is one session.
type pair struct {
	operator, agent side
	began           time.Time
}

// A side is one end of a session, with the legs that it has now. Guarded by hub.mu
// for writing; the other side's legs read it without the lock.
type side struct {
	legs  atomic.Pointer[[]*leg] // never changed in place
	bytes atomic.Uint64          // that it has sent and the relay has handed over
}

// all gives the legs, not to be changed.
func (s *side) all() []*leg {
	if p := s.legs.Load(); p != nil {
		return *p
	}
	return nil
}

func (p *pair) side(s cred.Side) *side {
	if s == cred.Operator {
		return &p.operator
	}
	return &p.agent
}

// Usage is what one session has used, from its first allocation to its last one's
// end.
type Usage struct {
	Session      [16]byte
	Began, Ended time.Time
	// Bytes of payload that were handed over, by the side that sent them.
	Operator, Agent uint64
}

func newHub(c Config, m *metrics) *hub {
	return &hub{max: c.MaxAllocations, rate: rate.Limit(c.MaxRate), usage: c.Usage, metrics: m, pairs: make(map[[16]byte]*pair)}
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
	if p := h.pairs[n.Session]; p != nil && len(p.side(n.Side).all()) >= maxLegs {
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
		p = &pair{began: time.Now()}
		h.pairs[n.Session] = p
	}
	l := &leg{
		hub: h, pair: p, name: n, peer: relayed(other(n.Side)),
		bytes:   h.metrics.bytes.WithLabelValues(n.Side.String()),
		packets: h.metrics.packets.WithLabelValues(n.Side.String()),
		rate:    rate.NewLimiter(h.rate, int(max(h.rate/8, 64<<10))),
		inbox:   make(chan []byte, queueLen),
		done:    make(chan struct{}),
	}
	// An allocation ends with its credential, whatever its refreshes ask for.
	l.expiry = time.AfterFunc(time.Until(n.Expiry), func() { l.Close() })
	l.came.Store(time.Now().UnixNano())
	own := p.side(n.Side)
	legs := append(slices.Clone(own.all()), l)
	own.legs.Store(&legs)
	h.legs++
	h.metrics.allocations.Inc()
	h.metrics.opened.Inc()
	return l, nil
}

// remove forgets a leg that has been closed.
func (h *hub) remove(l *leg) {
	h.mu.Lock()
	own := l.pair.side(l.name.Side)
	legs := slices.Clone(own.all())
	i := slices.Index(legs, l)
	if i < 0 {
		h.mu.Unlock()
		return
	}
	legs = slices.Delete(legs, i, i+1)
	own.legs.Store(&legs)
	h.legs--
	h.metrics.allocations.Dec()
	p := l.pair
	last := len(p.operator.all()) == 0 && len(p.agent.all()) == 0
	if last {
		delete(h.pairs, l.name.Session)
	}
	h.mu.Unlock()
	if last {
		h.usage(Usage{l.name.Session, p.began, time.Now(), p.operator.bytes.Load(), p.agent.bytes.Load()})
	}
}

// drop ends the allocations of n's side.
func (h *hub) drop(n cred.Name) {
	h.mu.Lock()
	p := h.pairs[n.Session]
	h.mu.Unlock()
	if p != nil && n.Side.Valid() {
		for _, l := range p.side(n.Side).all() {
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
		all = append(append(all, p.operator.all()...), p.agent.all()...)
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
	rate           *rate.Limiter
	came           atomic.Int64 // when something came on it last, in Unix nanoseconds
	inbox          chan []byte  // buffers of the pool, cut to the datagram
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
// slow, or this one too fast, as a network would. Where the other side has several
// legs, those get it on which something came lately: while a side goes over from one
// to another nothing is lost, and nobody who has repeated a captured request takes
// the traffic away. It never blocks. Any other address is refused.
func (l *leg) WriteTo(p []byte, to net.Addr) (int, error) {
	if a, ok := to.(*net.UDPAddr); !ok || a.Port != l.peer.Port || !permit(nil, a.IP) {
		l.hub.metrics.dropped.WithLabelValues("foreign peer").Inc()
		return 0, errForeign
	}
	now := time.Now()
	l.came.Store(now.UnixNano())
	if len(p) == 0 || len(p) > inboundMTU {
		return len(p), nil // an empty datagram only opens the path, or says that it is used
	}
	peers := l.pair.side(other(l.name.Side)).all()
	switch {
	case len(peers) == 0:
		l.hub.metrics.dropped.WithLabelValues("absent").Inc()
		return len(p), nil
	case !l.rate.AllowN(now, len(p)):
		l.hub.metrics.dropped.WithLabelValues("rate").Inc()
		return len(p), nil
	}
	// What counts is what came in, not how often it goes out.
	l.bytes.Add(float64(len(p)))
	l.packets.Add(1)
	l.pair.side(l.name.Side).bytes.Add(uint64(len(p)))
	newest := peers[0].came.Load()
	for _, peer := range peers[1:] {
		newest = max(newest, peer.came.Load())
	}
	for _, peer := range peers {
		if newest-peer.came.Load() <= int64(behind) {
			peer.take(p)
		}
	}
	return len(p), nil
}

// take queues a copy of a datagram for the client of l, or drops it.
func (l *leg) take(p []byte) {
	b := buffers.Get().(*[inboundMTU]byte)
	select {
	case l.inbox <- b[:copy(b[:], p)]:
	default:
		buffers.Put(b)
		l.hub.metrics.dropped.WithLabelValues("slow").Inc()
	}
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
