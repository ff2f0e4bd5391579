// Package uplink is the agent's network half: it keeps the agent reachable by
// way of a rendezvous, its roster new, its audit entries delivered, and opens
// paths through relays.
//
// It forwards signed and sealed bytes, holds no key, and decides nothing. What it
// may ask of the session half is Inside. So that this stays a fact, it must not
// import internal/session, internal/channel, agent/ledger or agent/host.
package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/token"
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

// ErrHopeless marks an error of Inside that no later attempt can mend: the agent
// gives up.
var ErrHopeless = errors.New("uplink: this can't work")

// errLost: apid names a head, and serves statements that do not lead there.
var errLost = errors.New("uplink: apid's roster does not lead to the head that it names")

// An Entry is a signed audit entry, and its number among this agent's.
type Entry struct {
	Seq   uint64
	Bytes []byte
}

// A Segment is a sealed piece of a session's recording, and its signed manifest.
type Segment struct {
	Session         token.ID
	N               uint64
	Manifest, Bytes []byte
}

// Inside is what the network half may ask of the session half, which holds the
// keys and checks all that it is given.
type Inside interface {
	// Presence and RequestSigner are all that is signed for the network half.
	wire.Presence
	wire.RequestSigner
	// Offer and Finish take what rendezvousd brings.
	Offer(context.Context, wire.SignalOffer) (wire.SignalAnswer, error)
	Finish(wire.SignalFinish)
	// Head is the newest roster statement known; false before the genesis.
	Head() (wire.Head, bool)
	// Genesis and Learn take what apid brings.
	Genesis([]byte) error
	Learn(statements [][]byte) error
	// Confirm notes that apid knows nothing newer than this head.
	Confirm(wire.Head) error
	// Owed gives up to n signed audit entries to hand in, More receives when
	// there may be some, Handed says that they are in the log.
	Owed(n int) []Entry
	More() <-chan struct{}
	Handed(seq uint64) error
	// Recorded gives the oldest signed and sealed segment of a recording that
	// is to be uploaded, false if there is none; MoreRecorded receives when
	// there may be some. Uploaded says that apid has it, Refused that apid does
	// not want it and no later attempt will change that.
	Recorded() (Segment, bool)
	MoreRecorded() <-chan struct{}
	Uploaded(Segment) error
	Refused(Segment, error)
}

// API is the part of wire.Signed that an agent needs.
type API interface {
	Roster(ctx context.Context, team string, after uint64) (wire.RosterPage, error)
	Consistency(ctx context.Context, team string, older, newer int64) (tlog.TreeProof, error)
	PostEntries(ctx context.Context, team string, entries ...[]byte) (wire.EntriesAnswer, error)
	PostManifest(ctx context.Context, team string, session token.ID, manifest []byte) (wire.SegmentAnswer, error)
	PutSegment(ctx context.Context, team string, session token.ID, manifest, segment []byte) (wire.SegmentAnswer, error)
	Upload(ctx context.Context, url string, segment []byte) error
}

// Config is what an Uplink is made of. All of it is required.
type Config struct {
	Team   string // team id, for routing
	API    API
	Inside Inside
	// Dial registers with the rendezvous and serves what comes until that ends.
	Dial    func(context.Context, wire.AgentHandler) error
	Online  func() // called at each welcome
	Logger  *slog.Logger
	Metrics Metrics
	Poll    time.Duration // mean time between two questions for the roster
	Paths   path.Options  // of sessions
	TLS     *tls.Config   // for relays; nil asks the system's authorities
	Stores  []string      // hosts, with a port where the URL has one, that recordings may be uploaded to
}

// Metrics say how the uplink does, each in a number that is set.
type Metrics struct {
	Online func(float64) // 1 while rendezvousd has us
	Owed   func(float64) // audit entries that are being handed in
	Head   func(float64) // number of the newest roster statement
}

// An Uplink is safe for concurrent use.
type Uplink struct {
	Config

	relays     path.Dialer
	refreshing chan struct{} // a token: one refresh at a time
	wake       chan struct{} // ask the poll loop to refresh now
	// Of the last refresh; the token guards them.
	began, ended time.Time
	lastErr      error
}

// New makes an Uplink. It does not touch the network.
func New(c Config) *Uplink {
	u := &Uplink{Config: c, refreshing: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	u.relays.Carrier.TLS = c.TLS
	return u
}

// OpenPath opens a path through a relay, that can go over to a direct one. sock, which
// it owns from here on, is a UDP socket to the relay that another process has left; nil
// if there is none.
func (u *Uplink) OpenPath(ctx context.Context, relay string, c cred.Credential, sock *net.UDPConn) (*path.Relayed, *path.Switch, error) {
	r, err := u.relays.OpenFrom(ctx, relay, c, sock)
	if err != nil {
		return nil, nil, err
	}
	return r, path.NewSwitch(r, u.Paths), nil
}

// Refresh brings the roster up to what apid has. It is rate limited, and those
// who ask at the same time share one answer.
func (u *Uplink) Refresh(ctx context.Context) error {
	asked := time.Now()
	select {
	case u.refreshing <- struct{}{}:
		defer func() { <-u.refreshing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if u.began.After(asked) {
		return u.lastErr // somebody else's refresh answers this question too
	}
	if !sleep(ctx, time.Until(u.ended.Add(refreshEvery))) {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	u.began = time.Now()
	u.lastErr = u.refresh(ctx)
	u.ended = time.Now()
	return u.lastErr
}

func (u *Uplink) refresh(ctx context.Context) error {
	for range maxPages {
		h, known := u.Inside.Head()
		page, err := u.API.Roster(ctx, u.Team, h.Seq)
		if err != nil {
			return err
		}
		if !known {
			if err := u.Inside.Genesis(page.Genesis); err != nil {
				return err
			}
		}
		if len(page.Statements) > 0 {
			if err := u.Inside.Learn(page.Statements); err != nil {
				return err
			}
		}
		now, _ := u.Inside.Head()
		u.Metrics.Head(float64(now.Seq))
		if page.More && now.Seq > h.Seq {
			continue
		}
		// Only a server that says that it has nothing newer than we have
		// confirms what we have.
		if page.More || page.Head != now {
			return errLost
		}
		return u.Inside.Confirm(now)
	}
	return errors.New("uplink: the roster has too many pages")
}

// Consistency gives apid's proof that the audit log of newer entries extends that of
// older.
func (u *Uplink) Consistency(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
	return u.API.Consistency(ctx, u.Team, older, newer)
}

// Join waits until a roster is there: whatever is missing of it comes with the
// next poll. It gives up only when ctx ends or the error is ErrHopeless.
func (u *Uplink) Join(ctx context.Context) error {
	for wait := redialFirst; ; wait = longer(wait) {
		err := u.Refresh(ctx)
		if errors.Is(err, ErrHopeless) {
			return err
		}
		if _, known := u.Inside.Head(); known {
			return nil
		}
		u.Logger.Warn("the team's roster can't be had yet", "error", err)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// Run keeps everything going until ctx ends.
func (u *Uplink) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { u.keepReachable(ctx) })
	loops.Go(func() { u.keepCurrent(ctx) })
	loops.Go(func() { u.keepDelivering(ctx) })
	loops.Go(func() { u.keepUploading(ctx) })
	loops.Wait()
}

func (u *Uplink) keepReachable(ctx context.Context) {
	wait := redialFirst
	h := &handler{Uplink: u, welcomed: func() { wait = redialFirst }}
	for {
		err := u.Dial(ctx, h)
		u.Metrics.Online(0)
		if ctx.Err() != nil {
			return
		}
		u.Logger.Warn("not reachable by way of rendezvous", "error", err, "again_within", wait)
		if !pause(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// handler is what rendezvousd's messages come to.
type handler struct {
	*Uplink
	welcomed func()
}

func (h *handler) Welcome(w wire.SignalWelcome) {
	h.welcomed()
	h.Metrics.Online(1)
	h.Logger.Info("reachable by way of rendezvous", "heartbeat_s", w.Heartbeat)
	if ours, _ := h.Inside.Head(); w.HeadSeq > ours.Seq {
		h.refreshSoon()
	}
	h.Online()
}

func (h *handler) Offer(ctx context.Context, o wire.SignalOffer) (wire.SignalAnswer, error) {
	return h.Inside.Offer(ctx, o)
}

func (h *handler) Finish(f wire.SignalFinish) { h.Inside.Finish(f) }

// Roster takes statements that rendezvousd passes on: what they revoke ends now,
// whatever apid says or withholds.
func (h *handler) Roster(ctx context.Context, r wire.SignalRoster) {
	if len(r.Statements) > 0 {
		if err := h.Inside.Learn(r.Statements); err != nil {
			h.Logger.Info("statements from rendezvous do not follow; asking apid", "error", err)
		}
	}
	if ours, _ := h.Inside.Head(); ours.Seq >= r.HeadSeq {
		return
	}
	if err := h.Refresh(ctx); err != nil && ctx.Err() == nil {
		h.Logger.Warn("the roster could not be refreshed", "error", err)
	}
}

func (u *Uplink) refreshSoon() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *Uplink) keepCurrent(ctx context.Context) {
	for {
		every := time.NewTimer(u.Poll/2 + rand.N(u.Poll))
		select {
		case <-ctx.Done():
			every.Stop()
			return
		case <-u.wake:
			every.Stop()
		case <-every.C:
		}
		if err := u.Refresh(ctx); err != nil && ctx.Err() == nil {
			u.Logger.Warn("the roster could not be refreshed", "error", err)
		}
	}
}

func (u *Uplink) keepDelivering(ctx context.Context) {
	wait := redialFirst
	for {
		if len(u.Inside.Owed(1)) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-u.Inside.More():
			}
		}
		if err := u.deliver(ctx); err == nil {
			wait = redialFirst
			continue
		} else if ctx.Err() == nil {
			u.Logger.Warn("audit entries could not be handed in; they are kept", "error", err)
		}
		if !pause(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// deliver hands in one batch. apid takes a repeated entry as the one it has.
func (u *Uplink) deliver(ctx context.Context) error {
	batch := u.Inside.Owed(wire.MaxPost)
	u.Metrics.Owed(float64(len(batch)))
	if len(batch) == 0 {
		return nil
	}
	entries := make([][]byte, len(batch))
	for i, e := range batch {
		entries[i] = e.Bytes
	}
	if _, err := u.API.PostEntries(ctx, u.Team, entries...); err != nil {
		return err
	}
	return u.Inside.Handed(batch[len(batch)-1].Seq)
}

// Last hands in what a stopping agent owes, if it can be done at once.
func (u *Uplink) Last() {
	ctx, cancel := context.WithTimeout(context.Background(), lastUpload)
	defer cancel()
	for len(u.Inside.Owed(1)) > 0 {
		if err := u.deliver(ctx); err != nil {
			u.Logger.Info("some audit entries wait for the next start", "error", err)
			return
		}
	}
	for {
		s, ok := u.Inside.Recorded()
		if !ok {
			return
		}
		if err := u.upload(ctx, s); err != nil {
			u.Logger.Info("some recordings wait for the next start", "error", err)
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
