//go:build unix

package halves

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// restartFirst and restartMost bound the pause before the network half is
	// started again; goodLife is how long it must hold for the first one to count.
	restartFirst = 50 * time.Millisecond
	restartMost  = 30 * time.Second
	goodLife     = 10 * time.Second
	// setupTime, openTime and refreshTime bound the answers of a network half.
	setupTime   = 10 * time.Second
	openTime    = 20 * time.Second
	refreshTime = 10 * time.Second
	// restTime and lastTime bound its end.
	restTime = 2 * time.Second
	lastTime = 3 * time.Second
	// againFirst and againMost bound the pause before a path is opened again on
	// the socket that a network half has left.
	againFirst = 100 * time.Millisecond
	againMost  = 5 * time.Second
)

// Config is what a Network is made of.
type Config struct {
	Team          string          // team id, for routing
	APIURL        string          // of apid
	RendezvousURL string          // of rendezvousd
	Pins          []envelope.Hash // of their TLS keys
	Demo          bool
	Poll          time.Duration // mean time between two questions for the roster
	Stores        []string      // hosts that recordings may be uploaded to

	Inside  uplink.Inside
	Metrics uplink.Metrics
	Online  func()      // called at each welcome
	Fail    func(error) // ends the agent: what no other network half can mend
	Logger  *slog.Logger

	// Start starts the network half on its end of a socket; wait gives how it
	// ended, and kill ends it.
	Start func(socket *os.File) (wait func() error, kill func(), err error)
}

// A Network is the network half as the privileged side has it. It is safe for
// concurrent use.
type Network struct {
	c Config

	mu   sync.Mutex
	link *link.Conn // nil while the network half is not there
	ways map[uint64]*Way
	next uint64
	over bool // Last was called
	kill func()

	rest sync.WaitGroup
}

// New makes a Network. It starts nothing.
func New(c Config) *Network {
	return &Network{c: c, ways: map[uint64]*Way{}}
}

// Run keeps a network half running until ctx ends; then it takes no more offers, and
// its paths go on until [Network.Last].
func (n *Network) Run(ctx context.Context) {
	wait := restartFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := n.once(ctx)
		if ctx.Err() != nil || n.isOver() {
			return
		}
		if time.Since(began) > goodLife {
			wait = restartFirst
		}
		n.c.Logger.Warn("the network half has ended; starting it again", "error", err, "again_within", wait)
		t := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
		wait = min(2*wait, restartMost)
	}
}

// once runs one network half: to its end, or until ctx ends and it rests.
func (n *Network) once(ctx context.Context) error {
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	wait, kill, err := n.c.Start(theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	k := link.New(ours, options(true))
	ended := make(chan error, 1)
	n.rest.Go(func() {
		err := k.Serve(&inner{n: n})
		n.gone(k)
		kill()
		if werr := wait(); werr != nil && errors.Is(err, link.ErrAway) {
			err = werr
		}
		ended <- err
	})
	if err := n.setup(ctx, k, kill); err != nil {
		k.End(err)
		return <-ended
	}
	n.rest.Go(func() { n.remind(k) })
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), restTime)
	defer cancel()
	if _, err := k.Call(ctx, opRest, nil, nil); err != nil {
		k.End(err)
	}
	n.c.Metrics.Online(0)
	return nil
}

// setup tells a new network half what it works for, and has it open again the paths
// that the last one has left.
func (n *Network) setup(ctx context.Context, k *link.Conn, kill func()) error {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	pins := n.c.Pins
	if pins == nil {
		pins = []envelope.Hash{}
	}
	stores := n.c.Stores
	if stores == nil {
		stores = []string{}
	}
	if _, err := k.Call(ctx, opSetup, setupCall{
		Team: n.c.Team, API: n.c.APIURL, Rendezvous: n.c.RendezvousURL, Pins: pins,
		Poll: uint64(n.c.Poll.Milliseconds()), Demo: n.c.Demo, Stores: stores,
	}, nil); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link, n.kill = k, kill
	for _, w := range n.ways {
		n.rest.Go(func() { w.again(k) })
	}
	return nil
}

// gone notes that a network half is not there any more.
func (n *Network) gone(k *link.Conn) {
	n.c.Metrics.Online(0)
	n.mu.Lock()
	if n.link == k {
		n.link = nil
	}
	ways := make([]*Way, 0, len(n.ways))
	for _, w := range n.ways {
		ways = append(ways, w)
	}
	n.mu.Unlock()
	for _, w := range ways {
		w.lose(0)
	}
}

// remind passes on that there is something to hand in.
func (n *Network) remind(k *link.Conn) {
	for {
		select {
		case <-n.c.Inside.More():
			k.Tell(opMore, nil)
		case <-n.c.Inside.MoreRecorded():
			k.Tell(opMoreRecorded, nil)
		case <-k.Done():
			return
		}
	}
}

// now gives the connection to the network half.
func (n *Network) now() (*link.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == nil {
		return nil, link.ErrAway
	}
	return n.link, nil
}

func (n *Network) isOver() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over
}

// Join returns at once: the network half joins by itself.
func (n *Network) Join(context.Context) error { return nil }

// Refresh brings the newest roster.
func (n *Network) Refresh(ctx context.Context) error {
	k, err := n.now()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	_, err = k.Call(ctx, opRefresh, nil, nil)
	return err
}

// Consistency gives apid's proof that the audit log of newer entries extends that of
// older. It proves itself: what the network half may do is not to bring it.
func (n *Network) Consistency(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
	k, err := n.now()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	var a proveAnswer
	if _, err := k.Call(ctx, opProve, proveCall{uint64(older), uint64(newer)}, &a); err != nil {
		return nil, err
	}
	if len(a.Proof) > wire.MaxConsistency {
		k.End(fmt.Errorf("%w: the answer to prove", link.ErrProtocol))
		return nil, link.ErrAway
	}
	proof := make(tlog.TreeProof, len(a.Proof))
	for i, h := range a.Proof {
		proof[i] = tlog.Hash(h)
	}
	return proof, nil
}

// Last has the network half hand in what is owed, if that can be done at once, and
// ends it.
func (n *Network) Last() {
	n.mu.Lock()
	n.over = true
	k, kill := n.link, n.kill
	n.mu.Unlock()
	if k != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastTime)
		defer cancel()
		if _, err := k.Call(ctx, opLast, nil, nil); err != nil {
			n.c.Logger.Info("what is owed waits for the next start", "error", err)
		}
		k.End(link.ErrAway)
		kill()
	}
	n.rest.Wait()
}

// OpenWay opens a path through a relay.
func (n *Network) OpenWay(ctx context.Context, relay string, c cred.Credential) (*Way, error) {
	k, err := n.now()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := link.Pair(link.Datagrams)
	if err != nil {
		return nil, err
	}
	w := &Way{Packets: link.NewPackets(ours), n: n, theirs: theirs, relay: relay, cred: c, done: make(chan struct{})}
	n.mu.Lock()
	n.next++
	w.id = n.next
	n.ways[w.id] = w
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var a openAnswer
	files, err := k.Call(ctx, opOpen, w.call(false), &a, theirs)
	switch {
	case err != nil:
	case len(files) > 1 || len(files) == 1 && !link.IsUDP(files[0]) || !good(a.Addr):
		link.CloseFiles(files)
		k.End(fmt.Errorf("%w: the answer to open", link.ErrProtocol))
		err = link.ErrAway
	case !w.opened(a.Addr, files):
		err = net.ErrClosed
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// A Kept is a path that outlives the process which had it opened. Credentials print
// redacted.
type Kept struct {
	Relay string // host:port
	Cred  cred.Credential
	Addr  netip.AddrPort // where the peer reaches this side
	Peer  netip.AddrPort
}

// Kept gives what another process needs to know of the path to have it kept.
func (w *Way) Kept() Kept {
	w.mu.Lock()
	a := w.addr.AddrPort()
	w.mu.Unlock()
	k := Kept{Relay: w.relay, Cred: w.cred, Addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
	if p := w.Peer(); p != nil {
		k.Peer = p.AddrPort()
	}
	return k
}

// Adopt keeps a path that an earlier process has had opened and handed on, whose end
// is somebody else's: a network half opens it again on what it was. It owns the files:
// the other end of the path's socket, and the socket to the relay.
func (n *Network) Adopt(k Kept, theirs, sock *os.File) (*Way, error) {
	if !good(k.Addr) || !good(k.Peer) || !link.IsUDP(sock) {
		theirs.Close()
		sock.Close()
		return nil, fmt.Errorf("%w: a path that is none", link.ErrProtocol)
	}
	w := &Way{
		Packets: link.NewPackets(nil), n: n, theirs: theirs, sock: sock, relay: k.Relay, cred: k.Cred,
		addr: *net.UDPAddrFromAddrPort(k.Addr), done: make(chan struct{}),
	}
	w.SetPeer(net.UDPAddrFromAddrPort(k.Peer))
	n.mu.Lock()
	n.next++
	w.id = n.next
	n.ways[w.id] = w
	now := n.link
	if now != nil {
		n.rest.Go(func() { w.again(now) })
	}
	n.mu.Unlock()
	return w, nil
}

// good reports whether an address can be told to a peer.
func good(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && a.Addr().Zone() == "" && !a.Addr().Is4In6()
}

// inner answers one network half.
type inner struct {
	n       *Network
	segment sync.Mutex // held while a recording's segment is on its way
}

// Call implements [link.Side].
func (i *inner) Call(ctx context.Context, r link.Request) (link.Reply, error) {
	if len(r.Files) > 0 {
		link.CloseFiles(r.Files)
		return link.Reply{}, link.ErrProtocol
	}
	in := i.n.c.Inside
	switch r.Op {
	case opRegister:
		if err := link.Decode(r.Body, nil); err != nil {
			return link.Reply{}, err
		}
		b, err := in.Register()
		return link.Reply{Body: signedAnswer{b}}, err
	case opHeartbeat:
		return link.With(r, func(m heartbeatCall) (any, error) {
			b, err := in.Heartbeat(m.Registration, m.Seq)
			return signedAnswer{b}, err
		})
	case opRequest:
		return link.With(r, func(m requestCall) (any, error) {
			h, err := in.SignRequest(m.Method, m.URL, m.BodySHA256)
			return requestAnswer{h}, err
		})
	case opOffer:
		return link.With(r, func(m wire.SignalOffer) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, offerTime)
			defer cancel()
			// It is checked as if it had come from the network: so it has.
			if _, err := wire.EncodeSignal(m); err != nil {
				return nil, link.ErrProtocol
			}
			return in.Offer(ctx, m)
		})
	case opHead:
		if err := link.Decode(r.Body, nil); err != nil {
			return link.Reply{}, err
		}
		h, known := in.Head()
		return link.Reply{Body: headMessage{known, h.Seq, h.Hash}}, nil
	case opGenesis:
		return link.With(r, func(m genesisCall) (any, error) { return nil, i.n.hopeless(in.Genesis(m.Genesis)) })
	case opLearn:
		return link.With(r, func(m learnCall) (any, error) {
			if len(m.Statements) > wire.MaxStatements {
				return nil, link.ErrProtocol
			}
			return nil, in.Learn(m.Statements)
		})
	case opConfirm:
		return link.With(r, func(m headMessage) (any, error) { return nil, in.Confirm(wire.Head{Seq: m.Seq, Hash: m.Hash}) })
	}
	return i.deliveries(r)
}

// offerTime bounds the work on one offer.
const offerTime = 15 * time.Second

// deliveries are the calls about entries and recordings.
func (i *inner) deliveries(r link.Request) (link.Reply, error) {
	in := i.n.c.Inside
	switch r.Op {
	case opOwed:
		return link.With(r, func(m owedCall) (any, error) {
			a := owedAnswer{Entries: []owedEntry{}}
			for _, e := range in.Owed(int(min(m.N, wire.MaxPost))) {
				a.Entries = append(a.Entries, owedEntry{e.Seq, e.Bytes})
			}
			return a, nil
		})
	case opHanded:
		return link.With(r, func(m handedCall) (any, error) {
			if !owes(in.Owed(wire.MaxPost), m.Seq) {
				return nil, link.ErrProtocol
			}
			return nil, in.Handed(m.Seq)
		})
	case opRecorded:
		if err := link.Decode(r.Body, nil); err != nil {
			return link.Reply{}, err
		}
		// They are long: one at a time.
		i.segment.Lock()
		s, ok := in.Recorded()
		a := recordedAnswer{Found: ok, Session: s.Session, N: s.N, Manifest: s.Manifest, Segment: s.Bytes}
		if !ok {
			a.Manifest, a.Segment = []byte{}, []byte{}
		}
		return link.Reply{Body: a, Sent: i.segment.Unlock}, nil
	case opUploaded:
		return link.With(r, func(m segmentCall) (any, error) {
			return nil, in.Uploaded(uplink.Segment{Session: m.Session, N: m.N})
		})
	case opRefused:
		return link.With(r, func(m segmentCall) (any, error) {
			in.Refused(uplink.Segment{Session: m.Session, N: m.N}, byCode(m.Code))
			return nil, nil
		})
	}
	return link.Reply{}, link.ErrProtocol
}

// owes reports whether a number is among the entries that a batch can hold: what
// was never given out can't have been handed in.
func owes(batch []uplink.Entry, seq uint64) bool {
	for _, e := range batch {
		if e.Seq == seq {
			return true
		}
	}
	return false
}

// hopeless ends the agent when the team is one that it must not join.
func (n *Network) hopeless(err error) error {
	if errors.Is(err, uplink.ErrHopeless) {
		n.c.Fail(err)
	}
	return err
}

// Note implements [link.Side].
func (i *inner) Note(r link.Request) error {
	if len(r.Files) > 0 {
		link.CloseFiles(r.Files)
		return link.ErrProtocol
	}
	switch r.Op {
	case opFinish:
		var f wire.SignalFinish
		if err := link.Decode(r.Body, &f); err != nil {
			return err
		}
		if _, err := wire.EncodeSignal(f); err != nil {
			return link.ErrProtocol
		}
		i.n.c.Inside.Finish(f)
		return nil
	case opGauge:
		var g gaugeNote
		if err := link.Decode(r.Body, &g); err != nil {
			return err
		}
		return i.gauge(g)
	case opLost:
		var a attemptCall
		if err := link.Decode(r.Body, &a); err != nil {
			return err
		}
		i.n.lost(a)
		return nil
	}
	return link.ErrProtocol
}

func (i *inner) gauge(g gaugeNote) error {
	m := i.n.c.Metrics
	switch {
	case g.Gauge == gaugeOnline && g.Value <= 1:
		m.Online(float64(g.Value))
		if g.Value == 1 {
			i.n.c.Online()
		}
	case g.Gauge == gaugeOwed:
		m.Owed(float64(g.Value))
	case g.Gauge == gaugeHead:
		m.Head(float64(g.Value))
	default:
		return link.ErrProtocol
	}
	return nil
}

// lost ends an attempt, or a way whose relay has ended it. What is not there any
// more is nothing: a note and a close cross.
func (n *Network) lost(a attemptCall) {
	n.mu.Lock()
	w := n.ways[a.Way]
	n.mu.Unlock()
	switch {
	case w == nil:
	case a.Attempt == 0:
		go w.Close()
	default:
		w.lose(a.Attempt)
	}
}
