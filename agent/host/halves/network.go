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

	"golang.org/x/sys/unix"

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
	link *conn // nil while the network half is not there
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
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	wait, kill, err := n.c.Start(theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	k := newConn(ours, true)
	ended := make(chan error, 1)
	n.rest.Go(func() {
		err := k.serve(&inner{n: n})
		n.gone(k)
		kill()
		if werr := wait(); werr != nil && errors.Is(err, ErrAway) {
			err = werr
		}
		ended <- err
	})
	if err := n.setup(ctx, k, kill); err != nil {
		k.end(err)
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
	if _, err := k.call(ctx, opRest, nil, nil); err != nil {
		k.end(err)
	}
	n.c.Metrics.Online(0)
	return nil
}

// setup tells a new network half what it works for, and has it open again the paths
// that the last one has left.
func (n *Network) setup(ctx context.Context, k *conn, kill func()) error {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	pins := n.c.Pins
	if pins == nil {
		pins = []envelope.Hash{}
	}
	if _, err := k.call(ctx, opSetup, setupCall{
		Team: n.c.Team, API: n.c.APIURL, Rendezvous: n.c.RendezvousURL, Pins: pins,
		Poll: uint64(n.c.Poll.Milliseconds()), Demo: n.c.Demo,
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
func (n *Network) gone(k *conn) {
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
func (n *Network) remind(k *conn) {
	for {
		select {
		case <-n.c.Inside.More():
			k.tell(opMore, nil)
		case <-n.c.Inside.MoreRecorded():
			k.tell(opMoreRecorded, nil)
		case <-k.done:
			return
		}
	}
}

// now gives the connection to the network half.
func (n *Network) now() (*conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == nil {
		return nil, ErrAway
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
	_, err = k.call(ctx, opRefresh, nil, nil)
	return err
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
		if _, err := k.call(ctx, opLast, nil, nil); err != nil {
			n.c.Logger.Info("what is owed waits for the next start", "error", err)
		}
		k.end(ErrAway)
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
	ours, theirs, err := pair(wayKind)
	if err != nil {
		return nil, err
	}
	w := &Way{UnixConn: ours, n: n, theirs: theirs, relay: relay, cred: c}
	n.mu.Lock()
	n.next++
	w.id = n.next
	n.ways[w.id] = w
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var a openAnswer
	files, err := k.call(ctx, opOpen, w.call(false), &a, theirs)
	switch {
	case err != nil:
	case len(files) != 1 || !isDatagram(files[0]) || !good(a.Addr):
		closeFiles(files)
		k.end(fmt.Errorf("%w: the answer to open", ErrProtocol))
		err = ErrAway
	case !w.opened(a.Addr, files[0]):
		err = net.ErrClosed
	}
	if err != nil {
		w.Close()
		return nil, err
	}
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

// call implements side.
func (i *inner) call(ctx context.Context, r request) (reply, error) {
	if len(r.files) > 0 {
		closeFiles(r.files)
		return reply{}, ErrProtocol
	}
	in := i.n.c.Inside
	switch r.op {
	case opRegister:
		if err := decode(r.body, nil); err != nil {
			return reply{}, err
		}
		b, err := in.Register()
		return reply{body: signedAnswer{b}}, err
	case opHeartbeat:
		return with(r, func(m heartbeatCall) (any, error) {
			b, err := in.Heartbeat(m.Registration, m.Seq)
			return signedAnswer{b}, err
		})
	case opRequest:
		return with(r, func(m requestCall) (any, error) {
			h, err := in.SignRequest(m.Method, m.URL, m.BodySHA256)
			return requestAnswer{h}, err
		})
	case opOffer:
		return with(r, func(m wire.SignalOffer) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, offerTime)
			defer cancel()
			// It is checked as if it had come from the network: so it has.
			if _, err := wire.EncodeSignal(m); err != nil {
				return nil, ErrProtocol
			}
			return in.Offer(ctx, m)
		})
	case opHead:
		if err := decode(r.body, nil); err != nil {
			return reply{}, err
		}
		h, known := in.Head()
		return reply{body: headMessage{known, h.Seq, h.Hash}}, nil
	case opGenesis:
		return with(r, func(m genesisCall) (any, error) { return nil, i.n.hopeless(in.Genesis(m.Genesis)) })
	case opLearn:
		return with(r, func(m learnCall) (any, error) {
			if len(m.Statements) > wire.MaxStatements {
				return nil, ErrProtocol
			}
			return nil, in.Learn(m.Statements)
		})
	case opConfirm:
		return with(r, func(m headMessage) (any, error) { return nil, in.Confirm(wire.Head{Seq: m.Seq, Hash: m.Hash}) })
	}
	return i.deliveries(r)
}

// offerTime bounds the work on one offer.
const offerTime = 15 * time.Second

// deliveries are the calls about entries and recordings.
func (i *inner) deliveries(r request) (reply, error) {
	in := i.n.c.Inside
	switch r.op {
	case opOwed:
		return with(r, func(m owedCall) (any, error) {
			a := owedAnswer{Entries: []owedEntry{}}
			for _, e := range in.Owed(int(min(m.N, wire.MaxPost))) {
				a.Entries = append(a.Entries, owedEntry{e.Seq, e.Bytes})
			}
			return a, nil
		})
	case opHanded:
		return with(r, func(m handedCall) (any, error) {
			if !owes(in.Owed(wire.MaxPost), m.Seq) {
				return nil, ErrProtocol
			}
			return nil, in.Handed(m.Seq)
		})
	case opRecorded:
		if err := decode(r.body, nil); err != nil {
			return reply{}, err
		}
		// They are long: one at a time.
		i.segment.Lock()
		s, ok := in.Recorded()
		a := recordedAnswer{Found: ok, Session: s.Session, N: s.N, Manifest: s.Manifest, Segment: s.Bytes}
		if !ok {
			a.Manifest, a.Segment = []byte{}, []byte{}
		}
		return reply{body: a, sent: i.segment.Unlock}, nil
	case opUploaded:
		return with(r, func(m segmentCall) (any, error) {
			return nil, in.Uploaded(uplink.Segment{Session: m.Session, N: m.N})
		})
	case opRefused:
		return with(r, func(m segmentCall) (any, error) {
			in.Refused(uplink.Segment{Session: m.Session, N: m.N}, byCode(m.Code))
			return nil, nil
		})
	}
	return reply{}, ErrProtocol
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

// with decodes a call's body, and answers with what f gives.
func with[M any](r request, f func(M) (any, error)) (reply, error) {
	var m M
	if err := decode(r.body, &m); err != nil {
		return reply{}, err
	}
	v, err := f(m)
	return reply{body: v}, err
}

// hopeless ends the agent when the team is one that it must not join.
func (n *Network) hopeless(err error) error {
	if errors.Is(err, uplink.ErrHopeless) {
		n.c.Fail(err)
	}
	return err
}

// note implements side.
func (i *inner) note(r request) error {
	if len(r.files) > 0 {
		closeFiles(r.files)
		return ErrProtocol
	}
	switch r.op {
	case opFinish:
		var f wire.SignalFinish
		if err := decode(r.body, &f); err != nil {
			return err
		}
		if _, err := wire.EncodeSignal(f); err != nil {
			return ErrProtocol
		}
		i.n.c.Inside.Finish(f)
		return nil
	case opGauge:
		var g gaugeNote
		if err := decode(r.body, &g); err != nil {
			return err
		}
		return i.gauge(g)
	case opLost:
		var a attemptCall
		if err := decode(r.body, &a); err != nil {
			return err
		}
		i.n.lost(a)
		return nil
	}
	return ErrProtocol
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
		return ErrProtocol
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
