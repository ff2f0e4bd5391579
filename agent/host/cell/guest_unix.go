//go:build unix

package cell

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	// helloTime is what somebody at the door has to say who it is, and maxGuests how
	// many may be saying it.
	helloTime = 10 * time.Second
	maxGuests = 64
)

// A Door is where session halves find a keeper that was started again.
type Door struct {
	c     *Config
	l     *net.UnixListener
	half  func(token.ID) *Half // nil: none
	guest chan struct{}        // a token for each
	all   sync.WaitGroup
}

// Open opens the door, a socket for this user alone. half gives the half of a session.
func (c *Config) Open(half func(token.ID) *Half) (*Door, error) {
	l, err := link.ListenLocal(c.Door)
	if err != nil {
		return nil, err
	}
	d := &Door{c: c, l: l, half: half, guest: make(chan struct{}, maxGuests)}
	d.all.Go(d.serve)
	return d, nil
}

// Close closes the door. Who is in stays.
func (d *Door) Close() {
	os.Remove(d.c.Door)
	d.l.Close()
	d.all.Wait()
}

func (d *Door) serve() {
	for {
		conn, err := d.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // too many open files
			continue
		}
		select {
		case d.guest <- struct{}{}:
			go d.welcome(conn)
		default:
			conn.Close()
		}
	}
}

// welcome serves somebody who came to the door, to the end.
func (d *Door) welcome(conn *net.UnixConn) {
	in := sync.OnceFunc(func() { <-d.guest })
	defer in()
	uid, pid, err := link.Peer(conn)
	if err != nil || uid != os.Geteuid() {
		d.c.Logger.Warn("somebody else came to the door of sessions", "uid", uid, "error", err)
		conn.Close()
		return
	}
	k := link.New(conn, options(true))
	g := &guest{door: d, k: k, pid: pid, in: in}
	late := time.AfterFunc(helloTime, func() {
		if g.who() == nil {
			k.End(link.ErrProtocol)
		}
	})
	err = k.Serve(g)
	late.Stop()
	if h := g.who(); h != nil {
		h.parted(k, err, g.wait)
	}
}

// A guest is one connection of a half.
type guest struct {
	door *Door // nil: it did not come by the door
	k    *link.Conn
	pid  int
	in   func()
	wait func() // for its process

	mu sync.Mutex
	h  *Half // nil until it has said who it is
}

func (g *guest) who() *Half {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.h
}

// hello lets a half in that knows its session's secret.
func (g *guest) hello(r link.Request) (link.Reply, error) {
	var m helloCall
	if err := link.Decode(r.Body, &m); err != nil {
		return link.Reply{}, err
	}
	if g.door == nil || g.who() != nil {
		return link.Reply{}, link.ErrProtocol
	}
	if m.Version != version && m.Version != oldVersion {
		return link.Reply{}, errVersion
	}
	h := g.door.half(m.Session)
	hash := secretHash(m.Secret)
	if h == nil || subtle.ConstantTimeCompare(hash[:], h.hash[:]) != 1 {
		return link.Reply{}, errOver
	}
	kill, wait := processOf(g.pid, g.k)
	if !h.enter(g.k, kill, m.Version) {
		return link.Reply{}, link.ErrBusy
	}
	g.mu.Lock()
	g.h, g.wait = h, wait
	g.mu.Unlock()
	g.in()
	h.c.Logger.Info("a session goes on", "session", m.Session)
	out, err := h.c.Program.listen(m.Session)
	if err != nil {
		return link.Reply{}, nil // its log is lost, and no more
	}
	return link.Reply{Files: []*os.File{out}}, nil
}

// Call implements [link.Side].
func (g *guest) Call(ctx context.Context, r link.Request) (link.Reply, error) {
	h := g.who()
	switch {
	case r.Op == opHello && len(r.Files) == 0:
		return g.hello(r)
	case h != nil && r.Op == opKeep && len(r.Files) == 2:
		return link.Reply{}, h.keep(r)
	case h == nil, len(r.Files) > 0:
		link.CloseFiles(r.Files)
		return link.Reply{}, link.ErrProtocol
	}
	switch r.Op {
	case opSign:
		return link.With(r, func(m signCall) (any, error) {
			sig := h.keeper.Sign(m.Context, m.Parts...)
			return signAnswer{sig[:]}, nil
		})
	case opStart:
		return link.With(r, func(m evidenceMessage) (any, error) {
			return verdictOf(h.keeper.Start(ctx, m.evidence()))
		})
	case opDecide:
		return link.With(r, func(m channel.OpenMessage) (any, error) {
			t, err := h.keeper.Decide(ctx, m)
			if err != nil {
				v, err := verdictOf(err)
				return taskOf(live.Task{Answer: v.Answer}), err
			}
			return taskOf(t), nil
		})
	case opAttach:
		return link.With(r, func(m attachCall) (any, error) {
			a, err := h.keeper.Attach(ctx, m.BundleHash, m.Said.evidence(), m.Open)
			if err != nil {
				return verdictOf(err)
			}
			return verdict{a}, nil
		})
	case opGuide:
		return h.guide(ctx, r)
	case opAway:
		return link.With(r, func(m awayCall) (any, error) {
			return nil, kept(h.keeper.Away(ctx, m.Away))
		})
	case opCommit:
		return link.With(r, func(m taskCall) (any, error) {
			return verdictOf(h.keeper.Commit(ctx, live.Task{ID: m.Task}))
		})
	case opRefuse:
		return link.With(r, func(m refuseCall) (any, error) {
			h.keeper.Refuse(live.Task{ID: m.Task}, m.Code, bounded(m.Reason))
			return nil, nil
		})
	case opOutcome:
		return link.With(r, func(m outcomeCall) (any, error) {
			x, err := exitOf(m.Code, m.Signal)
			if err != nil {
				return nil, err
			}
			if len(m.Report) > maxReport {
				return nil, link.ErrProtocol
			}
			return nil, kept(h.keeper.Outcome(live.Task{ID: m.Task, Facts: m.Facts}, x, bounded(m.Reason), m.Report))
		})
	case opEnd:
		return link.With(r, func(m endCall) (any, error) {
			x, err := exitOf(m.Code, m.Signal)
			if err == nil {
				h.keeper.End(x, bounded(m.Reason), m.Recording)
			}
			return nil, err
		})
	}
	return h.more(ctx, r)
}

// more are the calls about recordings and paths.
func (h *Half) more(ctx context.Context, r link.Request) (link.Reply, error) {
	switch r.Op {
	case opCreate:
		if err := link.Decode(r.Body, nil); err != nil {
			return link.Reply{}, err
		}
		return link.Reply{}, h.create()
	case opAppend:
		return link.With(r, func(m appendCall) (any, error) { return nil, h.append(m) })
	case opSegment:
		return link.With(r, func(m segmentCall) (any, error) {
			h.writing.Lock()
			defer h.writing.Unlock()
			s := h.recording()
			if s == nil {
				return nil, link.ErrProtocol
			}
			hash, err := s.Sign(m.Manifest)
			return segmentAnswer{hash}, err
		})
	case opClosed:
		if err := link.Decode(r.Body, nil); err != nil {
			return link.Reply{}, err
		}
		h.writing.Lock()
		defer h.writing.Unlock()
		h.mu.Lock()
		s := h.sink
		h.sink = nil
		h.mu.Unlock()
		if s == nil {
			return link.Reply{}, nil // it was closed, and the answer lost
		}
		return link.Reply{}, kept(s.Close())
	case opGather:
		return link.With(r, func(m attemptCall) (any, error) { return h.gather(ctx, m) })
	case opConnect:
		return link.With(r, func(m connectCall) (any, error) { return nil, h.connect(ctx, m) })
	}
	return h.gated(ctx, r)
}

// Note implements [link.Side].
func (g *guest) Note(r link.Request) error {
	h := g.who()
	if h == nil || len(r.Files) > 0 || r.Op != opLeave && r.Op != opClose {
		link.CloseFiles(r.Files)
		return link.ErrProtocol
	}
	var m attemptCall
	if err := link.Decode(r.Body, &m); err != nil {
		return err
	}
	if r.Op == opClose {
		if w := h.closed(m.Way); w != nil {
			go w.Close()
		}
		return nil
	}
	h.mu.Lock()
	a := h.attempts[m.Attempt]
	if h.nway != m.Way {
		a = nil
	}
	if a != nil {
		delete(h.attempts, m.Attempt)
	}
	h.mu.Unlock()
	if a != nil {
		go a.Close()
	}
	return nil
}

// verdictOf makes an answer of what a keeper says.
func verdictOf(err error) (verdict, error) {
	var no *live.Refusal
	switch {
	case err == nil:
		return verdict{channel.Answer{Effect: channel.Allow}}, nil
	case errors.As(err, &no) && !no.Answer.Allowed():
		return verdict{no.Answer}, nil
	}
	return verdict{}, err
}

// kept hides why something could not be kept: it is logged where it happened.
func kept(err error) error {
	if err == nil || errors.Is(err, recording.ErrFull) {
		return err
	}
	return errNoDisk
}

// exitOf reads how a program ended.
func exitOf(code int64, signal string) (process.Exit, error) {
	if code < 0 || code > 255 || len(signal) > 16 {
		return process.Exit{}, link.ErrProtocol
	}
	return process.Exit{Code: int(code), Signal: signal}, nil
}

// keep takes over a path that was opened for an earlier keeper.
func (h *Half) keep(r link.Request) error {
	var m keepCall
	if err := link.Decode(r.Body, &m); err != nil {
		link.CloseFiles(r.Files)
		return err
	}
	w, err := h.c.Adopt(m.kept(), r.Files[0], r.Files[1])
	if err != nil {
		return err
	}
	h.setWay(m.Way, w)
	return nil
}

// create makes room for the recording, once.
func (h *Half) create() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sink != nil {
		return link.ErrProtocol
	}
	s, err := h.keeper.Create()
	if err != nil {
		return kept(err)
	}
	h.sink = s
	return nil
}

// appender is a sink that can tell what was done from what was not.
type appender interface {
	AppendAt(n uint64, at int64, b []byte) error
}

func (h *Half) append(m appendCall) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	s, ok := h.recording().(appender)
	if !ok || m.At > recording.MaxSegment {
		return link.ErrProtocol
	}
	return kept(s.AppendAt(m.N, int64(m.At), m.Bytes))
}

func (h *Half) recording() interface {
	Sign(recording.Manifest) (envelope.Hash, error)
} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sink == nil {
		return nil
	}
	return h.sink
}

func (h *Half) gather(ctx context.Context, m attemptCall) (any, error) {
	h.mu.Lock()
	w := h.way
	bad := w == nil || m.Way != h.nway || m.Attempt == 0 || h.attempts[m.Attempt] != nil || len(h.attempts) >= maxAttempts
	h.mu.Unlock()
	if bad {
		return nil, errOther
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	a, err := w.Gather(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.attempts[m.Attempt] = a
	h.mu.Unlock()
	go func() {
		<-a.Lost()
		h.mu.Lock()
		if h.attempts[m.Attempt] == a {
			delete(h.attempts, m.Attempt)
		}
		h.mu.Unlock()
		h.tell(opLost, m)
	}()
	return gatherAnswer{a.Local()}, nil
}

func (h *Half) connect(ctx context.Context, m connectCall) error {
	h.mu.Lock()
	a := h.attempts[m.Attempt]
	h.mu.Unlock()
	if a == nil {
		return errOther
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return a.Connect(ctx, m.Description, m.Lead)
}

// processOf gives what kills the process at the other end of a connection, and what
// waits for it: it is no child of this one. A half that is this very process, as in tests,
// is not killed.
func processOf(pid int, k *link.Conn) (kill, wait func()) {
	kill = func() { k.End(link.ErrProtocol) }
	wait = func() {}
	if pid <= 1 || pid == os.Getpid() {
		return kill, wait
	}
	// It is at the other end now, so the number is its own.
	p, err := os.FindProcess(pid)
	if err != nil {
		return kill, wait
	}
	kill = func() {
		p.Signal(unix.SIGKILL)
		k.End(link.ErrAway)
	}
	wait = func() {
		for until := time.Now().Add(2 * exitTime); time.Now().Before(until) && p.Signal(unix.Signal(0)) == nil; {
			time.Sleep(exitTime / 100)
		}
	}
	return kill, wait
}
