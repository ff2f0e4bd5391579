//go:build unix

package cell

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/cage"
	"github.com/tucdesk/tucdesk/agent/host/cgroup"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/ruling"
	"github.com/tucdesk/tucdesk/internal/session"
)

const (
	// AwayTime is how long a session goes on without a keeper, who alone hears that
	// it must end.
	AwayTime = 2 * time.Minute
	// againFirst and againMost bound the pause before the keeper is looked for again.
	againFirst = 20 * time.Millisecond
	againMost  = time.Second
	// callTime bounds a keeper's answer, but for the work on an attempt at a path.
	callTime = 30 * time.Second
	// secretSize is what a half is known by, in bytes.
	secretSize = 32
)

var (
	errAway = errors.New("the agent is being started again, and nothing is opened meanwhile; try again in a moment")
	errLeft = errors.New("the agent has not come back")
	errTerm = errors.New("the session's process was told to end")
)

// Main is the process of one session half. It returns when the session is over.
func Main() error {
	if kind, err := unix.GetsockoptInt(cage.Socket, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return errors.New("cell: the agent starts a session's process by itself; this is not for the command line")
	}
	unix.CloseOnExec(cage.Socket)
	if err := harden(); err != nil {
		return fmt.Errorf("cell: %w", err)
	}
	// Whoever reads our log may go: that is an error of a write, and no end. Neither
	// is inherited by what a session runs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	conn, err := link.Unix(os.NewFile(cage.Socket, "keeper"))
	if err != nil {
		return err
	}
	return run(conn, cage.NewLogger(os.Stderr), term, redirect)
}

// run serves one session. redirect takes where the log goes from a keeper that is new.
func run(conn *net.UnixConn, logger *slog.Logger, term <-chan os.Signal, redirect func(*os.File)) error {
	h := newInmate(logger, redirect)
	lost := make(chan error, 1)
	go func() { lost <- h.stay(conn) }()
	select {
	case err := <-lost:
		return err
	case <-h.begun:
	}
	for {
		select {
		case <-h.session.Done():
			if g := h.session.Gate; g != nil {
				g.Close()
			}
			h.end()
			if lost == nil {
				cgroup.EndOwn()
			}
			return nil
		case <-term:
			h.session.Cut(errTerm)
		case err := <-lost:
			h.leave()
			h.session.Abort()
			h.session.Cut(err)
			lost = nil
		}
	}
}

// An inmate is the session's process. It is the session's live.Keeper, and answers the
// keeper as a link.Side.
type inmate struct {
	logger   *slog.Logger
	redirect func(*os.File)
	begun    chan struct{} // closed when session is there
	left     chan struct{} // closed when no keeper comes any more
	judging  chan struct{} // a token for each program start that is asked about
	lease    ruling.Lease  // of the keeper's rules about program starts

	// Set before begun is closed.
	session *live.Session
	setup   respondCall

	mu   sync.Mutex
	k    *link.Conn    // nil while there is no keeper
	back chan struct{} // closed when there is one
	way  *way
	next *way // that a resume goes over to
	over bool
}

var _ live.Keeper = (*inmate)(nil)

func newInmate(logger *slog.Logger, redirect func(*os.File)) *inmate {
	return &inmate{
		logger: logger, redirect: redirect, begun: make(chan struct{}), back: make(chan struct{}), left: make(chan struct{}),
		judging: make(chan struct{}, maxJudged),
	}
}

// stay serves a keeper, and the next ones; its error is why there is none any more.
func (h *inmate) stay(conn *net.UnixConn) error {
	k := link.New(conn, options(false))
	h.attach(k)
	err := k.Serve(h)
	for {
		h.detach()
		select {
		case <-h.begun:
		default:
			return err // nothing to go on with
		}
		if h.isOver() {
			return err
		}
		h.logger.Info("the agent is gone; looking for it", "session", h.setup.Session)
		ended, err := h.find()
		if err != nil {
			return err
		}
		<-ended
	}
}

// find looks for the keeper at its door. ended receives when that one is gone again.
func (h *inmate) find() (ended <-chan error, err error) {
	wait := againFirst
	for until := time.Now().Add(time.Duration(h.setup.Away) * time.Millisecond); time.Now().Before(until) && !h.isOver(); {
		ended, err := h.knock()
		switch {
		case err == nil:
			return ended, nil
		case errors.Is(err, errOver), errors.Is(err, errVersion):
			return nil, err
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, againMost)
		case <-h.session.Done():
		}
	}
	return nil, errLeft
}

// knock tries once.
func (h *inmate) knock() (<-chan error, error) {
	conn, err := link.DialLocal(h.setup.Door)
	if err != nil {
		return nil, err
	}
	if uid, _, err := link.Peer(conn); err != nil || uid != os.Geteuid() {
		conn.Close()
		return nil, errors.Join(errors.New("cell: somebody else is at the agent's door"), err)
	}
	k := link.New(conn, options(false))
	ended := make(chan error, 1)
	go func() { ended <- k.Serve(h) }()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	log, err := k.Call(ctx, opHello, helloCall{Version: version, Session: h.setup.Session, Secret: h.setup.Secret}, nil)
	if err == nil && len(log) == 1 {
		h.redirect(log[0])
	}
	link.CloseFiles(log)
	if err == nil {
		err = h.keep(ctx, k)
	}
	if err != nil {
		k.End(err)
		<-ended
		return nil, err
	}
	h.attach(k)
	return ended, nil
}

// keep hands the path on, if there is one still.
func (h *inmate) keep(ctx context.Context, k *link.Conn) error {
	h.mu.Lock()
	w := h.way
	h.mu.Unlock()
	if w == nil {
		return nil
	}
	files, err := w.left()
	if err != nil {
		return nil // it is closed, or a stream's: the operator comes back on another
	}
	defer link.CloseFiles(files)
	_, err = k.Call(ctx, opKeep, keepOf(w.id, w.kept), nil, files...)
	return err
}

func (h *inmate) attach(k *link.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.k = k
	close(h.back)
}

func (h *inmate) detach() {
	h.lease.Withdraw()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.k != nil {
		h.k = nil
		h.back = make(chan struct{})
	}
	for _, w := range []*way{h.way, h.next} {
		if w != nil {
			w.lose(0)
		}
	}
}

// end says goodbye: the session is over.
func (h *inmate) end() {
	h.mu.Lock()
	h.over = true
	k := h.k
	h.mu.Unlock()
	if k != nil {
		k.End(link.ErrAway)
	}
}

func (h *inmate) isOver() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over
}

// leave gives up on a keeper.
func (h *inmate) leave() { close(h.left) }

// now gives the keeper, if there is one.
func (h *inmate) now() *link.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k
}

// ask is a call to the keeper who is there now. Without one it fails.
func (h *inmate) ask(ctx context.Context, op link.Op, in, out any) error {
	k := h.now()
	if k == nil {
		return errAway
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	files, err := k.Call(ctx, op, in, out)
	link.CloseFiles(files)
	if errors.Is(err, link.ErrAway) {
		return errAway
	}
	return err
}

// awaitKeeper waits until there is a keeper.
func (h *inmate) awaitKeeper(ctx context.Context) error {
	h.mu.Lock()
	back := h.back
	h.mu.Unlock()
	select {
	case <-back:
		return nil
	case <-h.left:
		return errLeft
	case <-ctx.Done():
		return ctx.Err()
	}
}

// insist is a call that must be done, by this keeper or the next one. It may be done
// twice: once by each.
func (h *inmate) insist(op link.Op, in, out any) error {
	for {
		if err := h.awaitKeeper(context.Background()); err != nil {
			return err
		}
		if err := h.ask(context.Background(), op, in, out); !errors.Is(err, errAway) {
			return err
		}
		select {
		case <-time.After(againFirst):
		case <-h.left:
		}
	}
}

// Call implements [link.Side].
func (h *inmate) Call(_ context.Context, r link.Request) (link.Reply, error) {
	select {
	case <-h.begun:
		return h.again(r)
	default:
	}
	if r.Op != opRespond || !pathFiles(r.Files) {
		link.CloseFiles(r.Files)
		return link.Reply{}, link.ErrProtocol
	}
	var m respondCall
	if err := link.Decode(r.Body, &m); err != nil {
		link.CloseFiles(r.Files)
		return link.Reply{}, err
	}
	hs2, err := h.respond(m, r.Files)
	return link.Reply{Body: respondAnswer{hs2}}, err
}

// again answers what comes while the session stands: a resume, or who comes back.
func (h *inmate) again(r link.Request) (link.Reply, error) {
	switch {
	case r.Op == opResume && len(r.Files) == 0:
		var m resumeCall
		if err := link.Decode(r.Body, &m); err != nil {
			return link.Reply{}, err
		}
		rs2, err := h.session.Resume(m.RS1, m.Evidence.evidence())
		return link.Reply{Body: resumeAnswer{rs2}}, err
	case r.Op == opMove && pathFiles(r.Files):
		var m moveCall
		if err := link.Decode(r.Body, &m); err != nil {
			link.CloseFiles(r.Files)
			return link.Reply{}, err
		}
		w, err := h.nextWay(m.Path, r.Files)
		if err != nil {
			return link.Reply{}, err
		}
		return link.Reply{}, h.session.Move(w, m.Path.Peer)
	case r.Op == opReturn && pathFiles(r.Files):
		var m returnCall
		if err := link.Decode(r.Body, &m); err != nil {
			link.CloseFiles(r.Files)
			return link.Reply{}, err
		}
		w, err := h.nextWay(m.Path, r.Files)
		if err != nil {
			return link.Reply{}, err
		}
		hs2, err := h.session.Attach(m.handshake(), w)
		return link.Reply{Body: respondAnswer{hs2}}, err
	case r.Op == opWatch && len(r.Files) == 1:
		return link.Reply{}, h.watched(r)
	}
	link.CloseFiles(r.Files)
	return link.Reply{}, link.ErrProtocol
}

// nextWay makes the path that the session is about to go over to. It owns the files.
func (h *inmate) nextWay(m keepCall, files []*os.File) (*way, error) {
	w, err := newWay(h, m, files)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.way == nil {
		h.way = w
	} else {
		h.next = w
	}
	return w, nil
}

// moved notes that a path is closed: the next one takes its place.
func (h *inmate) moved(w *way) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case w == h.next:
		h.next = nil
	case w == h.way:
		h.way, h.next = h.next, nil
	}
}

// numbered gives a path by its number; nil if it is not there any more.
func (h *inmate) numbered(n uint64) *way {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range []*way{h.way, h.next} {
		if w != nil && w.id == n {
			return w
		}
	}
	return nil
}

// respond makes the session. It owns the files.
func (h *inmate) respond(m respondCall, files []*os.File) ([]byte, error) {
	h.mu.Lock()
	again := h.session != nil
	h.mu.Unlock()
	if again {
		link.CloseFiles(files)
		return nil, link.ErrProtocol
	}
	w, err := newWay(h, m.Path, files)
	if err != nil {
		return nil, err
	}
	var g *gate.Gate
	if len(m.Gate) > 0 {
		if g, err = gate.New(m.Gate...); err != nil {
			// What must be gated does not run then.
			h.logger.Error("the exec gate can't be had", "session", m.Session, "error", err)
		}
	}
	s := live.New(context.Background(), live.Facts{
		ID: m.Session, TeamFP: m.TeamFP, Title: m.Title, Life: time.Duration(m.Life) * time.Millisecond,
		Grace: time.Duration(m.Grace) * time.Millisecond, Self: m.Self, Gate: g, Errand: m.Errand,
	}, h, h.logger)
	h.mu.Lock()
	h.session, h.setup, h.way = s, m, w
	h.mu.Unlock()
	hs2, err := s.Respond(live.Handshake{
		Operator: m.Operator, BundleHash: m.BundleHash, Evidence: m.Evidence.evidence(), MinSuite: session.Suite(m.MinSuite),
		Peer: m.Path.Peer, HS1: m.HS1,
	}, w)
	if err != nil {
		return nil, err
	}
	close(h.begun)
	return hs2, nil
}

// Note implements [link.Side].
func (h *inmate) Note(r link.Request) error {
	link.CloseFiles(r.Files)
	select {
	case <-h.begun:
	default:
		if r.Op == opLost {
			return nil // before there is anything to lose it on: the operator finds out
		}
		return link.ErrProtocol
	}
	switch r.Op {
	case opFinish:
		var m finishNote
		if err := link.Decode(r.Body, &m); err != nil {
			return err
		}
		h.session.Finish(m.HS3)
	case opCut:
		var m cutNote
		if err := link.Decode(r.Body, &m); err != nil {
			return err
		}
		h.session.Cut(errors.New(m.Reason))
	case opWithdraw:
		if err := link.Decode(r.Body, nil); err != nil {
			return err
		}
		h.lease.Withdraw()
	case opLost:
		var m attemptCall
		if err := link.Decode(r.Body, &m); err != nil {
			return err
		}
		if w := h.numbered(m.Way); w != nil {
			w.lose(m.Attempt)
			if m.Attempt == 0 {
				w.Packets.Close()
			}
		}
	default:
		return link.ErrProtocol
	}
	return nil
}

// secretHash is what the keeper keeps of a secret.
func secretHash(secret []byte) [32]byte { return sha256.Sum256(secret) }
