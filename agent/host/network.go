package host

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// refreshEvery bounds how often the roster is asked for, whoever wants it.
	refreshEvery = 250 * time.Millisecond
	// refreshTime bounds one refresh.
	refreshTime = 5 * time.Second
	// maxPages bounds the pages of statements that one refresh takes in.
	maxPages = 1024
	// redialFirst and redialMost bound the pause before the next attempt. The
	// pause is random, so that a restarted server is not met by all at once.
	redialFirst = 500 * time.Millisecond
	redialMost  = 30 * time.Second
	// lastUpload is how long a stopping agent tries to hand in what it owes.
	lastUpload = 2 * time.Second
)

// sessionHalf is what the network half may ask of the session half.
type sessionHalf interface {
	wire.Presence
	// Offer and Finish take what rendezvousd brings.
	Offer(context.Context, wire.SignalOffer) (wire.SignalAnswer, error)
	Finish(wire.SignalFinish)
	// Head is the newest roster statement known; false before the genesis.
	Head() (roster.Head, bool)
	// Genesis and Learn take what apid brings; both check all of it.
	Genesis([]byte) error
	Learn([][]byte) error
	// Confirm notes that apid knows nothing newer than this head.
	Confirm(roster.Head) error
	// Owed gives signed audit entries to hand in, More says when there are
	// some, Handed that they are in the log.
	Owed(n int) []ledger.Entry
	More() <-chan struct{}
	Handed(seq uint64) error
}

// api is the part of wire.Signed that an agent needs.
type api interface {
	Roster(ctx context.Context, team string, after uint64) (wire.RosterPage, error)
	PostEntries(ctx context.Context, team string, entries ...[]byte) (wire.EntriesAnswer, error)
}

// network is the network half: it keeps the agent reachable, its roster new and
// its entries delivered. It holds no key and decides nothing.
type network struct {
	team    string // team id, for routing
	api     api
	dial    func(context.Context, wire.AgentHandler) error // registers and serves until it ends
	inside  sessionHalf
	logger  *slog.Logger
	metrics *metrics
	poll    time.Duration
	online  func() // called at each welcome

	refreshing chan struct{} // a token: one refresh at a time
	wake       chan struct{} // ask the poll loop to refresh now
	// Of the last refresh; the token guards them.
	began, ended time.Time
	lastErr      error
}

func newNetwork(n network) *network {
	n.refreshing = make(chan struct{}, 1)
	n.wake = make(chan struct{}, 1)
	return &n
}

// OpenWay implements outside.
func (n *network) OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error) {
	r, err := path.OpenRelay(ctx, relay, c)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Refresh implements outside: it brings the roster up to what apid has.
func (n *network) Refresh(ctx context.Context) error {
	asked := time.Now()
	select {
	case n.refreshing <- struct{}{}:
		defer func() { <-n.refreshing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if n.began.After(asked) {
		return n.lastErr // somebody else's refresh answers this question too
	}
	if !sleep(ctx, time.Until(n.ended.Add(refreshEvery))) {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	n.began = time.Now()
	n.lastErr = n.refresh(ctx)
	n.ended = time.Now()
	return n.lastErr
}

func (n *network) refresh(ctx context.Context) error {
	for range maxPages {
		h, known := n.inside.Head()
		page, err := n.api.Roster(ctx, n.team, h.Seq)
		if err != nil {
			return err
		}
		if !known {
			if err := n.inside.Genesis(page.Genesis); err != nil {
				return err
			}
		}
		if len(page.Statements) > 0 {
			if err := n.inside.Learn(page.Statements); err != nil {
				return err
			}
		}
		now, _ := n.inside.Head()
		n.metrics.head.Set(float64(now.Seq))
		if page.More && now.Seq > h.Seq {
			continue
		}
		// Only a server that says that it has nothing newer than we have
		// confirms what we have.
		if page.More || roster.Head(page.Head) != now {
			return errors.New("host: apid's roster does not lead to the head that it names")
		}
		return n.inside.Confirm(now)
	}
	return errors.New("host: the roster has too many pages")
}

// join waits until the roster is there. It gives up only when ctx ends, or for
// good reason: a demo's team, or another team than the pinned one.
func (n *network) join(ctx context.Context) error {
	for wait := redialFirst; ; wait = longer(wait) {
		err := n.Refresh(ctx)
		if _, known := n.inside.Head(); known || errors.Is(err, ErrDemo) {
			if errors.Is(err, ErrDemo) {
				return err
			}
			return nil // whatever is missing comes with the next poll
		}
		n.logger.Warn("the team's roster can't be had yet", "error", err)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// run keeps everything going until ctx ends, then hands in what is owed.
func (n *network) run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { n.keepReachable(ctx) })
	loops.Go(func() { n.keepCurrent(ctx) })
	loops.Go(func() { n.keepDelivering(ctx) })
	loops.Wait()
}

func (n *network) keepReachable(ctx context.Context) {
	wait := redialFirst
	h := &handler{network: n, welcomed: func() { wait = redialFirst }}
	for {
		err := n.dial(ctx, h)
		n.metrics.online.Set(0)
		if ctx.Err() != nil {
			return
		}
		n.logger.Warn("not reachable by way of rendezvous", "error", err, "again_within", wait)
		if !pause(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// handler is what rendezvousd's messages come to.
type handler struct {
	*network
	welcomed func()
}

func (h *handler) Welcome(w wire.SignalWelcome) {
	h.welcomed()
	h.metrics.online.Set(1)
	h.logger.Info("reachable by way of rendezvous", "heartbeat_s", w.Heartbeat)
	if ours, _ := h.inside.Head(); w.HeadSeq > ours.Seq {
		h.refreshSoon()
	}
	h.online()
}

func (h *handler) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	return h.inside.Offer(ctx, o)
}

func (h *handler) Finish(f wire.SignalFinish) { h.inside.Finish(f) }

func (n *network) refreshSoon() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *network) keepCurrent(ctx context.Context) {
	for {
		every := time.NewTimer(n.poll/2 + rand.N(n.poll))
		select {
		case <-ctx.Done():
			every.Stop()
			return
		case <-n.wake:
			every.Stop()
		case <-every.C:
		}
		if err := n.Refresh(ctx); err != nil && ctx.Err() == nil {
			n.logger.Warn("the roster could not be refreshed", "error", err)
		}
	}
}

func (n *network) keepDelivering(ctx context.Context) {
	wait := redialFirst
	for {
		if len(n.inside.Owed(1)) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-n.inside.More():
			}
		}
		if err := n.deliver(ctx); err == nil {
			wait = redialFirst
			continue
		} else if ctx.Err() == nil {
			n.logger.Warn("audit entries could not be handed in; they are kept", "error", err)
		}
		if !pause(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// deliver hands in one batch. apid takes a repeated entry as the one it has.
func (n *network) deliver(ctx context.Context) error {
	batch := n.inside.Owed(wire.MaxPost)
	n.metrics.owed.Set(float64(len(batch)))
	if len(batch) == 0 {
		return nil
	}
	entries := make([][]byte, len(batch))
	for i, e := range batch {
		entries[i] = e.Bytes
	}
	if _, err := n.api.PostEntries(ctx, n.team, entries...); err != nil {
		return err
	}
	return n.inside.Handed(batch[len(batch)-1].Seq)
}

// last hands in what a stopping agent owes, if it can be done at once.
func (n *network) last() {
	ctx, cancel := context.WithTimeout(context.Background(), lastUpload)
	defer cancel()
	for len(n.inside.Owed(1)) > 0 {
		if err := n.deliver(ctx); err != nil {
			n.logger.Info("some audit entries wait for the next start", "error", err)
			return
		}
	}
}

// longer doubles a pause up to redialMost.
func longer(wait time.Duration) time.Duration { return min(2*wait, redialMost) }

// pause sleeps a random time between half of wait and wait; false if ctx ends.
func pause(ctx context.Context, wait time.Duration) bool {
	return sleep(ctx, wait/2+rand.N(wait/2+1))
}

// sleep waits; false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
