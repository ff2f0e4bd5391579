//go:build unix

package cell

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/cgroup"
	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
)

const (
	// AdoptTime is how long a keeper waits for a session half that another one has
	// started.
	AdoptTime = 30 * time.Second
	// cutTime is what a half gets to end its session when it must.
	cutTime = 15 * time.Second
	// exitTime is what its process gets once it has hung up.
	exitTime = 2 * time.Second
	// attemptTime bounds the work on an attempt at a direct path.
	attemptTime = 25 * time.Second
	// maxAttempts bounds the attempts of one half that are not over.
	maxAttempts = 4
)

// A Way is a path as the keeper has it; see halves.Way.
type Way interface {
	Hand() ([]*os.File, error)
	Kept() halves.Kept
	Gather(ctx context.Context) (direct.Attempt, error)
	Done() <-chan struct{}
	Close() error
}

// Config is what the halves of one keeper share.
type Config struct {
	Program Program
	Door    string         // where halves find the next keeper: a name for a socket
	Away    time.Duration  // how long they look for it; 0: AwayTime
	Groups  *cgroup.Groups // control groups; nil: there are none
	Gate    []string       // arguments with which this program is the exec gate's shim; nil: no gate
	Errand  []string       // arguments that lead this program to errand.Main; nil: no copies and forwards
	// Adopt has a path kept that an earlier keeper had opened.
	Adopt  func(k halves.Kept, theirs, sock *os.File) (*halves.Way, error)
	Logger *slog.Logger
}

// A Half is a session half in a process of its own, as the keeper has it. It is safe
// for concurrent use.
type Half struct {
	c      *Config
	keeper live.Keeper
	facts  live.Facts
	hash   [32]byte // of its secret
	secret []byte   // nil in one that was adopted
	gone   func()   // called once, when nothing is left of it

	writing sync.Mutex // a recording's calls come one at a time

	mu       sync.Mutex
	k        *link.Conn // nil while it is not there
	kill     func()     // its process; nil while that is not known
	over     bool       // it ended, or is being ended
	left     bool       // this keeper ends, and it goes on
	way      Way
	nway     uint64 // number of the way, as the half has it
	next     Way    // that a resume goes over to; its number is nway+1
	sink     recorder.Sink
	attempts map[uint64]direct.Attempt
	adopt    *time.Timer
	cut      error // why it must end, said while it was not there
	lent     bool  // it has asked for rules
	version  uint64
}

// Start starts a process for a session. gone is called once, when nothing of it is left.
func (c *Config) Start(keeper live.Keeper, f live.Facts, gone func()) (*Half, error) {
	h := &Half{c: c, keeper: keeper, facts: f, gone: sync.OnceFunc(gone), secret: make([]byte, secretSize), attempts: map[uint64]direct.Attempt{}, version: version}
	if _, err := rand.Read(h.secret); err != nil {
		return nil, fmt.Errorf("cell: no randomness: %w", err)
	}
	h.hash = secretHash(h.secret)
	group, err := c.Groups.Make(f.ID)
	if err != nil {
		c.Logger.Warn("a session has no control group: what hides from its end is not found", "session", f.ID, "error", err)
	}
	conn, wait, kill, err := c.Program.start(c.Door, group)
	if group != nil {
		group.Close()
	}
	if err != nil {
		c.Groups.End(f.ID)
		return nil, err
	}
	h.kill = kill
	k := link.New(conn, options(true))
	h.k = k
	go func() {
		err := k.Serve(&guest{h: h})
		h.parted(k, err, wait)
	}()
	return h, nil
}

// Hash is what is to be remembered of the half, so that the next keeper knows it.
func (h *Half) Hash() [32]byte { return h.hash }

// Adopted gives the half of a session that an earlier keeper has started: hash is what
// that remembered. It is expected at the door within AdoptTime. sink is its recording
// so far, or nil.
func (c *Config) Adopted(keeper live.Keeper, f live.Facts, hash [32]byte, sink recorder.Sink, gone func()) *Half {
	h := &Half{c: c, keeper: keeper, facts: f, hash: hash, gone: sync.OnceFunc(gone), sink: sink, attempts: map[uint64]direct.Attempt{}}
	h.adopt = time.AfterFunc(AdoptTime, func() {
		h.mu.Lock()
		missing := h.k == nil && !h.over
		h.over = h.over || missing
		h.mu.Unlock()
		if missing {
			c.Logger.Warn("a session of an earlier run is not there any more", "session", f.ID)
			h.finish()
		}
	})
	return h
}

// enter lets a half of a version in that came to the door; false if it is not wanted.
func (h *Half) enter(k *link.Conn, kill func(), version uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.k != nil || h.over || h.left {
		return false
	}
	h.k, h.kill, h.version = k, kill, version
	if h.adopt != nil {
		h.adopt.Stop()
	}
	if why := h.cut; why != nil {
		go h.Cut(why)
	}
	return true
}

// parted is called when a connection has ended; wait waits for the process.
func (h *Half) parted(k *link.Conn, why error, wait func()) {
	h.mu.Lock()
	if h.k != k || h.left {
		h.mu.Unlock()
		return
	}
	h.k, h.over = nil, true
	kill := h.kill
	h.mu.Unlock()
	if !errors.Is(why, link.ErrAway) {
		h.c.Logger.Error("a session half said what it must not; it is ended", "session", h.facts.ID, "error", why)
		kill()
	}
	late := time.AfterFunc(exitTime, kill)
	wait()
	late.Stop()
	h.finish()
}

// finish leaves nothing of a half whose process has ended.
func (h *Half) finish() {
	h.c.Groups.End(h.facts.ID)
	h.mu.Lock()
	sink, w, next, attempts := h.sink, h.way, h.next, h.attempts
	h.sink, h.way, h.next, h.attempts = nil, nil, nil, map[uint64]direct.Attempt{}
	h.mu.Unlock()
	for _, a := range attempts {
		a.Close()
	}
	if sink != nil {
		h.writing.Lock()
		defer h.writing.Unlock()
		if err := sink.Close(); err != nil {
			h.c.Logger.Error("a recording stays in the spool until the next start", "session", h.facts.ID, "error", err)
		}
	}
	for _, w := range []Way{w, next} {
		if w != nil {
			w.Close()
		}
	}
	h.gone()
}

// Leave lets the half go on without this keeper, which ends.
func (h *Half) Leave() {
	h.mu.Lock()
	h.left = true
	k := h.k
	if h.adopt != nil {
		h.adopt.Stop()
	}
	h.mu.Unlock()
	if k != nil {
		k.End(link.ErrAway)
	}
}

// now gives the connection, or nil.
func (h *Half) now() *link.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k
}

// Respond has the half answer an operator's first message. The path is the half's.
func (h *Half) Respond(ctx context.Context, m live.Handshake, w Way) ([]byte, error) {
	files, err := w.Hand()
	if err != nil {
		w.Close()
		return nil, err
	}
	defer link.CloseFiles(files)
	away := cmp.Or(h.c.Away, AwayTime)
	kept := w.Kept()
	kept.Peer = m.Peer
	h.setWay(1, w)
	k := h.now()
	if k == nil {
		return nil, link.ErrAway
	}
	var a respondAnswer
	_, err = k.Call(ctx, opRespond, respondCall{
		Session: h.facts.ID, TeamFP: h.facts.TeamFP, Title: h.facts.Title, Life: h.facts.Life.Milliseconds(), Grace: h.facts.Grace.Milliseconds(), Self: h.facts.Self,
		Agent: h.keeper.Public(), Door: h.c.Door, Secret: h.secret, Away: away.Milliseconds(), Gate: append([]string{}, h.c.Gate...), Errand: append([]string{}, h.c.Errand...),
		Operator: m.Operator, BundleHash: m.BundleHash, Evidence: evidenceOf(m.Evidence), MinSuite: uint64(m.MinSuite), HS1: m.HS1,
		Path: keepOf(1, kept),
	}, &a, files...)
	return a.HS2, err
}

// setWay notes the half's path, and tells the half when that is over.
func (h *Half) setWay(n uint64, w Way) {
	h.mu.Lock()
	before := h.way
	h.way, h.nway = w, n
	h.mu.Unlock()
	if before != nil {
		before.Close()
	}
	h.follow(n, w)
}

// Relay is what the newest path goes by. A keeper that has taken the session over has it
// of nobody else: a password is not kept on disk.
func (h *Half) Relay() (r token.RelayAccess) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.way != nil {
		k := h.way.Kept()
		r = token.RelayAccess{Addr: k.Relay, Username: k.Cred.Username, Password: string(k.Cred.Password)}
	}
	return r
}

// follow tells the half when a path is over.
func (h *Half) follow(n uint64, w Way) {
	go func() { <-w.Done(); h.tell(opLost, attemptCall{Way: n}) }()
}

// Resume has the half answer the first message of a resume.
func (h *Half) Resume(ctx context.Context, rs1 []byte, evidence session.Evidence) ([]byte, error) {
	k := h.now()
	if k == nil {
		return nil, link.ErrAway
	}
	var a resumeAnswer
	_, err := k.Call(ctx, opResume, resumeCall{evidenceOf(evidence), rs1}, &a)
	return a.RS2, err
}

// Move gives the half the path that the resume which is on goes over to. The one before
// stays until the half closes it. The path is the half's.
func (h *Half) Move(ctx context.Context, w Way, peer netip.AddrPort) error {
	return h.pass(w, peer, func(k *link.Conn, path keepCall, files []*os.File) error {
		_, err := k.Call(ctx, opMove, moveCall{path}, nil, files...)
		return err
	})
}

// Attach has the half answer the first message of an operator who comes back, on a path
// of its own, as Move.
func (h *Half) Attach(ctx context.Context, m live.Handshake, w Way) (hs2 []byte, err error) {
	var a respondAnswer
	if !h.comes(ctx) {
		w.Close()
		return nil, link.ErrAway
	}
	err = h.pass(w, m.Peer, func(k *link.Conn, path keepCall, files []*os.File) error {
		_, err := k.Call(ctx, opReturn, returnCall{
			Operator: m.Operator, BundleHash: m.BundleHash, Evidence: evidenceOf(m.Evidence), MinSuite: uint64(m.MinSuite), HS1: m.HS1, Path: path,
		}, &a, files...)
		return err
	})
	return a.HS2, err
}

// comingBack is how long an operator's offer waits for a half whose keeper was started
// again. Both come back by themselves, and at about the same time.
const comingBack = 5 * time.Second

// comes waits for the half to be there, and says whether it is.
func (h *Half) comes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, comingBack)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for h.now() == nil {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// pass gives the half its next path, with call.
func (h *Half) pass(w Way, peer netip.AddrPort, call func(k *link.Conn, path keepCall, files []*os.File) error) error {
	files, err := w.Hand()
	if err != nil {
		w.Close()
		return err
	}
	defer link.CloseFiles(files)
	kept := w.Kept()
	kept.Peer = peer
	h.mu.Lock()
	k, n, given := h.k, h.nway+1, h.next
	if h.way == nil { // closed before, or with an earlier keeper
		h.way, h.nway = w, n
	} else {
		h.next = w
	}
	h.mu.Unlock()
	if given != nil {
		given.Close() // of a resume that has come to nothing
	}
	h.follow(n, w)
	if k == nil {
		return link.ErrAway
	}
	return call(k, keepOf(n, kept), files)
}

// closed notes that the half has closed a path, and gives what is to be released.
func (h *Half) closed(n uint64) (w Way) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case n == h.nway && h.next != nil:
		w, h.way, h.next, h.nway = h.way, h.next, nil, h.nway+1
	case n == h.nway:
		w, h.way = h.way, nil
	case n == h.nway+1:
		w, h.next = h.next, nil
	}
	return w
}

func (h *Half) tell(op link.Op, in any) {
	if k := h.now(); k != nil {
		k.Tell(op, in)
	}
}

// Finish passes on an operator's third message.
func (h *Half) Finish(hs3 []byte) { h.tell(opFinish, finishNote{hs3}) }

// Cut has the half end its session, for a reason that the operator may read. One that
// does not is killed.
func (h *Half) Cut(why error) {
	h.mu.Lock()
	h.cut = why
	h.mu.Unlock()
	h.tell(opCut, cutNote{bounded(why.Error())})
	time.AfterFunc(cutTime, h.Kill)
}

// Kill ends the half's process.
func (h *Half) Kill() {
	h.mu.Lock()
	kill, left := h.kill, h.left
	h.mu.Unlock()
	if kill != nil && !left {
		kill()
	}
}
