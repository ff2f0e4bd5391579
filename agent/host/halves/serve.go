//go:build unix

package halves

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// callTime bounds what the privileged side may take for an answer; an offer
	// takes longer.
	callTime = 10 * time.Second
	// maxWays bounds the paths of one network half.
	maxWays = 4096
	// maxLearn bounds the statements of one call, in bytes.
	maxLearn = maxInward / 2
)

// errSetup means a call before the setup, or a second setup.
var errSetup = errors.New("halves: not set up, or set up twice")

// Serve is the network half: it works for the privileged side at the other end of
// the socket until that is gone. Then its process must end at once: the paths are left
// as they are, for the next network half, which may have them already.
func Serve(socket *os.File, logger *slog.Logger) error {
	c, err := link.Unix(socket)
	if err != nil {
		return err
	}
	o := newOuter(c, logger)
	go o.k.Serve(o)
	<-o.k.Done()
	return o.k.Err()
}

func newOuter(c *net.UnixConn, logger *slog.Logger) *outer {
	o := &outer{
		k: link.New(c, options(false)), logger: logger, ways: map[uint64]*forward{},
		more: make(chan struct{}, 1), moreRecorded: make(chan struct{}, 1),
	}
	o.ctx, o.stop = context.WithCancel(context.Background())
	return o
}

// close ends what is left of a network half that is no process of its own.
func (o *outer) close() {
	o.stop()
	o.running.Wait()
	o.mu.Lock()
	ways := o.ways
	o.ways = nil
	o.mu.Unlock()
	var closing sync.WaitGroup
	for _, f := range ways {
		closing.Go(f.close)
	}
	closing.Wait()
}

// outer is the network half. It implements link.Side and, for its uplink, uplink.Inside.
type outer struct {
	k       *link.Conn
	logger  *slog.Logger
	ctx     context.Context // of the uplink's loops
	stop    context.CancelFunc
	running sync.WaitGroup

	more, moreRecorded chan struct{}

	mu     sync.Mutex
	uplink *uplink.Uplink
	ways   map[uint64]*forward // nil value: being opened; nil map: over
}

// setup makes the uplink, and starts it.
func (o *outer) setup(s setupCall) error {
	pinned := func() *http.Client { return wire.Pinned(s.Pins) }
	api, err := wire.NewSigned(wire.SignedOptions{URL: s.API, Signer: o, HTTP: pinned()})
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uplink != nil {
		return errSetup
	}
	gauge := func(which uint64) func(float64) {
		return func(v float64) { o.k.Tell(opGauge, gaugeNote{which, uint64(v)}) }
	}
	o.uplink = uplink.New(uplink.Config{
		Team: s.Team, API: api, Inside: o, Online: func() {}, Logger: o.logger,
		Metrics: uplink.Metrics{Online: gauge(gaugeOnline), Owed: gauge(gaugeOwed), Head: gauge(gaugeHead)},
		Poll:    time.Duration(s.Poll) * time.Millisecond,
		Paths:   path.Options{Loopback: s.Demo},
		TLS:     wire.PinnedTLS(s.Pins),
		Stores:  s.Stores,
		Dial: func(ctx context.Context, h wire.AgentHandler) error {
			return wire.DialAgent(ctx, wire.AgentOptions{URL: s.Rendezvous, Presence: o, HTTP: pinned()}, h)
		},
	})
	o.running.Go(func() {
		if o.uplink.Join(o.ctx) == nil {
			o.uplink.Run(o.ctx)
		}
	})
	return nil
}

// ready gives the uplink.
func (o *outer) ready() (*uplink.Uplink, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uplink == nil {
		return nil, errSetup
	}
	return o.uplink, nil
}

// Call implements [link.Side].
func (o *outer) Call(ctx context.Context, r link.Request) (link.Reply, error) {
	if r.Op == opSetup {
		return link.With(r, func(m setupCall) (any, error) { return nil, o.setup(m) })
	}
	u, err := o.ready()
	if err != nil {
		link.CloseFiles(r.Files)
		return link.Reply{}, err
	}
	switch r.Op {
	case opOpen:
		return o.open(ctx, u, r)
	case opPermit:
		return link.With(r, func(m permitCall) (any, error) {
			f, err := o.way(m.Way)
			if err != nil {
				return nil, err
			}
			return nil, f.permit(ctx, m.Peer)
		})
	case opGather:
		return link.With(r, func(m attemptCall) (any, error) {
			f, err := o.way(m.Way)
			if err != nil {
				return nil, err
			}
			d, err := f.gather(ctx, m.Attempt)
			return gatherAnswer{d}, err
		})
	case opConnect:
		return link.With(r, func(m connectCall) (any, error) {
			f, err := o.way(m.Way)
			if err != nil {
				return nil, err
			}
			return nil, f.connect(ctx, m)
		})
	case opRefresh:
		return link.Reply{}, u.Refresh(ctx)
	case opProve:
		return link.With(r, func(m proveCall) (any, error) {
			proof, err := u.Consistency(ctx, int64(m.Older), int64(m.Newer))
			a := proveAnswer{Proof: make([]envelope.Hash, len(proof))}
			for i, h := range proof {
				a.Proof[i] = envelope.Hash(h)
			}
			return a, err
		})
	case opRest:
		o.stop()
		o.running.Wait()
		return link.Reply{}, nil
	case opLast:
		u.Last()
		return link.Reply{}, nil
	}
	link.CloseFiles(r.Files)
	return link.Reply{}, link.ErrProtocol
}

// Note implements [link.Side].
func (o *outer) Note(r link.Request) error {
	link.CloseFiles(r.Files)
	switch r.Op {
	case opMore:
		wake(o.more)
		return link.Decode(r.Body, nil)
	case opMoreRecorded:
		wake(o.moreRecorded)
		return link.Decode(r.Body, nil)
	}
	var a attemptCall
	if err := link.Decode(r.Body, &a); err != nil {
		return err
	}
	o.mu.Lock()
	f := o.ways[a.Way]
	if r.Op == opClose && o.ways != nil {
		delete(o.ways, a.Way)
	}
	o.mu.Unlock()
	switch {
	case r.Op != opClose && r.Op != opLeave:
		return link.ErrProtocol
	case f == nil:
	case r.Op == opClose:
		go f.close()
	default:
		go f.leave(a.Attempt)
	}
	return nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (o *outer) way(id uint64) (*forward, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.ways[id]
	if f == nil {
		return nil, net.ErrClosed
	}
	return f, nil
}

// open opens a path through a relay, or again the one that another network half has
// left, and forwards between it and the session's socket.
func (o *outer) open(ctx context.Context, u *uplink.Uplink, r link.Request) (link.Reply, error) {
	var m openCall
	if err := link.Decode(r.Body, &m); err != nil || len(r.Files) == 0 || len(r.Files) == 2 && !m.Again || len(r.Files) > 2 {
		link.CloseFiles(r.Files)
		return link.Reply{}, link.ErrProtocol
	}
	session, err := link.Unix(r.Files[0])
	if err != nil {
		link.CloseFiles(r.Files[1:])
		return link.Reply{}, err
	}
	if !o.reserve(m.Way) {
		session.Close()
		link.CloseFiles(r.Files[1:])
		return link.Reply{}, link.ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var sock *net.UDPConn
	if len(r.Files) == 2 {
		sock, err = link.UDP(r.Files[1])
	}
	var relayed *path.Relayed
	var s *path.Switch
	if err == nil {
		relayed, s, err = u.OpenPath(ctx, m.Relay, cred.Credential{Username: m.Username, Password: cred.Password(m.Password)}, sock)
	}
	if err != nil {
		o.release(m.Way)
		session.Close()
		return link.Reply{}, err
	}
	var kept *os.File // streams can't be handed on: what TLS knows is in this process
	if udp := relayed.UDP(); udp != nil && !m.Again {
		kept, _ = link.Copy(udp) // without it, the next network half makes another
	}
	f := newForward(o.k, m.Way, session, s)
	if !o.keep(m.Way, f) {
		session.Close()
		s.Close()
		link.CloseFiles([]*os.File{kept})
		return link.Reply{}, net.ErrClosed
	}
	f.start()
	a := openAnswer{Addr: s.LocalRelayed().(*net.UDPAddr).AddrPort()}
	if kept == nil {
		return link.Reply{Body: a}, nil
	}
	return link.Reply{Body: a, Files: []*os.File{kept}}, nil
}

// reserve makes sure that a way is opened once.
func (o *outer) reserve(id uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.ways[id]; o.ways == nil || known || len(o.ways) >= maxWays {
		return false
	}
	o.ways[id] = nil
	return true
}

func (o *outer) release(id uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ways, id)
}

// keep notes an open way; false if it was closed meanwhile.
func (o *outer) keep(id uint64, f *forward) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, wanted := o.ways[id]; !wanted {
		return false
	}
	o.ways[id] = f
	return true
}

// ask is a call to the privileged side.
func (o *outer) ask(ctx context.Context, op link.Op, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	files, err := o.k.Call(ctx, op, in, out)
	link.CloseFiles(files)
	return err
}

// do is ask without a caller who may go away.
func (o *outer) do(op link.Op, in, out any) error { return o.ask(context.Background(), op, in, out) }

// Register implements uplink.Inside.
func (o *outer) Register() ([]byte, error) {
	var a signedAnswer
	err := o.do(opRegister, nil, &a)
	return a.Envelope, err
}

// Heartbeat implements uplink.Inside.
func (o *outer) Heartbeat(registration envelope.Hash, seq uint64) ([]byte, error) {
	var a signedAnswer
	err := o.do(opHeartbeat, heartbeatCall{registration, seq}, &a)
	return a.Envelope, err
}

// SignRequest implements uplink.Inside.
func (o *outer) SignRequest(method, url string, body [32]byte) (string, error) {
	var a requestAnswer
	err := o.do(opRequest, requestCall{method, url, body}, &a)
	return a.Header, err
}

// Offer implements uplink.Inside.
func (o *outer) Offer(ctx context.Context, m wire.SignalOffer) (a wire.SignalAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	_, err = o.k.Call(ctx, opOffer, m, &a)
	return a, err
}

// Finish implements uplink.Inside.
func (o *outer) Finish(f wire.SignalFinish) { o.k.Tell(opFinish, f) }

// Head implements uplink.Inside.
func (o *outer) Head() (wire.Head, bool) {
	var h headMessage
	if o.do(opHead, nil, &h) != nil {
		return wire.Head{}, false
	}
	return wire.Head{Seq: h.Seq, Hash: h.Hash}, h.Known
}

// Genesis implements uplink.Inside.
func (o *outer) Genesis(b []byte) error { return o.do(opGenesis, genesisCall{b}, nil) }

// Learn implements uplink.Inside.
func (o *outer) Learn(statements [][]byte) error {
	for len(statements) > 0 {
		n, size := 0, 0
		for n < len(statements) && (n == 0 || size+len(statements[n]) <= maxLearn) {
			size += len(statements[n])
			n++
		}
		if err := o.do(opLearn, learnCall{statements[:n]}, nil); err != nil {
			return err
		}
		statements = statements[n:]
	}
	return nil
}

// Confirm implements uplink.Inside.
func (o *outer) Confirm(h wire.Head) error {
	return o.do(opConfirm, headMessage{true, h.Seq, h.Hash}, nil)
}

// Owed implements uplink.Inside.
func (o *outer) Owed(n int) (owed []uplink.Entry) {
	var a owedAnswer
	if o.do(opOwed, owedCall{uint64(n)}, &a) != nil {
		return nil
	}
	for _, e := range a.Entries {
		owed = append(owed, uplink.Entry{Seq: e.Seq, Bytes: e.Entry})
	}
	return owed
}

// More implements uplink.Inside.
func (o *outer) More() <-chan struct{} { return o.more }

// Handed implements uplink.Inside.
func (o *outer) Handed(seq uint64) error { return o.do(opHanded, handedCall{seq}, nil) }

// Recorded implements uplink.Inside.
func (o *outer) Recorded() (uplink.Segment, bool) {
	var a recordedAnswer
	if o.do(opRecorded, nil, &a) != nil || !a.Found {
		return uplink.Segment{}, false
	}
	return uplink.Segment{Session: a.Session, N: a.N, Manifest: a.Manifest, Bytes: a.Segment}, true
}

// MoreRecorded implements uplink.Inside.
func (o *outer) MoreRecorded() <-chan struct{} { return o.moreRecorded }

// Uploaded implements uplink.Inside.
func (o *outer) Uploaded(s uplink.Segment) error {
	return o.do(opUploaded, segmentCall{Session: s.Session, N: s.N}, nil)
}

// Refused implements uplink.Inside.
func (o *outer) Refused(s uplink.Segment, why error) {
	_ = o.do(opRefused, segmentCall{s.Session, s.N, failureOf(why, false).Code}, nil)
}
