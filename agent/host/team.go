package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/rosterfile"
	"github.com/tucdesk/tucdesk/internal/token"
)

var (
	// ErrDemo means a demo's team, which an agent joins only when its own
	// configuration says that it is part of a demo.
	ErrDemo = fmt.Errorf("host: this is the team of a demo; a real agent does not join it: %w", uplink.ErrHopeless)
	// errNoRoster: the genesis is not there yet.
	errNoRoster = errors.New("host: the team's roster has not been received yet; try again in a moment")
	// errBehind: we knew a newer roster before.
	errBehind = errors.New("host: this agent's roster is older than one it has seen; it must catch up first")
	// errStale: nobody has confirmed the roster for too long.
	errStale = errors.New("host: this agent's roster was not confirmed for too long; it must reach apid first")
)

// team is the roster as this agent knows it: on disk, never going back.
type team struct {
	fp       envelope.Hash
	dir      string
	demo     bool        // a demo's genesis is accepted
	floor    roster.Head // of the agent's first contact; zero: none
	maxStale time.Duration
	now      func() time.Time
	head     *ledger.HeadFile
	logger   *slog.Logger
	changed  func(*roster.Roster) // called after a change, outside the lock
	fail     func(error)          // ends the agent: its disk has failed

	mu        sync.Mutex
	file      *rosterfile.File // nil before the genesis
	confirmed time.Time        // newer than what head has, within persistEvery
}

// open reads the roster of an earlier run. None is no error.
func (t *team) open() error {
	if t.floor.Seq > t.head.Get().Seq {
		if err := t.persist(t.floor, time.Time{}); err != nil {
			return err
		}
	}
	t.confirmed = t.head.Get().Confirmed
	f, err := rosterfile.Open(t.folder(), t.fp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.use(f)
}

func (t *team) folder() string { return filepath.Join(t.dir, "roster") }

// found takes the genesis, whose hash must be the pinned one.
func (t *team) found(genesis []byte) error {
	r, err := roster.Open(genesis)
	if err != nil {
		return err
	}
	if r.TeamFP() != t.fp {
		return fmt.Errorf("host: apid serves team %s, this agent belongs to %s; check the address and team_fp", r.TeamFP(), t.fp)
	}
	if r.Demo() && !t.demo {
		return ErrDemo
	}
	f, err := rosterfile.Create(t.folder(), t.fp, genesis)
	if err != nil {
		return err
	}
	return t.use(f)
}

func (t *team) use(f *rosterfile.File) error {
	r := f.Roster()
	if r.Demo() && !t.demo {
		return ErrDemo
	}
	if err := t.advance(r); err != nil && !errors.Is(err, errBehind) {
		return err
	}
	t.mu.Lock()
	t.file = f
	t.mu.Unlock()
	return nil
}

// newest gives the roster, or nil before the genesis is there.
func (t *team) newest() *roster.Roster {
	t.mu.Lock()
	f := t.file
	t.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.Roster()
}

// at gives the roster as it was at a number that it has passed.
func (t *team) at(seq uint64) (*roster.Roster, error) {
	now := t.newest()
	switch {
	case now == nil:
		return nil, errNoRoster
	case seq > now.Head().Seq:
		return nil, errBehind
	case seq == now.Head().Seq:
		return now, nil
	}
	r, err := roster.Open(now.Genesis())
	if err != nil {
		return nil, err
	}
	first := r.Head().Seq
	if seq < first {
		return nil, errBehind
	}
	return r.Apply(now.Statements(first)[:seq-first]...)
}

// fresh gives the roster if sessions may rest on it: not older than any seen
// before, and confirmed within maxStale.
func (t *team) fresh(maxStale time.Duration) (*roster.Roster, error) {
	r := t.newest()
	if r == nil {
		return nil, errNoRoster
	}
	if err := t.behind(r); err != nil {
		return nil, err
	}
	t.mu.Lock()
	age := t.now().Sub(t.confirmed)
	t.mu.Unlock()
	if age > min(maxStale, t.maxStale) {
		return nil, errStale
	}
	return r, nil
}

// behind answers errBehind if a newer head than r's is in the ledger.
func (t *team) behind(r *roster.Roster) error {
	seen := t.head.Get()
	if seen.Seq > r.Head().Seq || seen.Hash != [32]byte{} && !r.Knows(roster.Head{Seq: seen.Seq, Hash: seen.Hash}) {
		return fmt.Errorf("%w (%d, seen before: %d)", errBehind, r.Head().Seq, seen.Seq)
	}
	return nil
}

// learn takes statements from anywhere: apid, a bundle, a handshake. What is
// known is passed over; what follows is stored; a fork is evidence and an alarm.
func (t *team) learn(statements [][]byte) error {
	t.mu.Lock()
	f := t.file
	t.mu.Unlock()
	if f == nil {
		return errNoRoster
	}
	before := f.Roster().Head()
	r, err := f.Learn(statements)
	var fork *roster.ForkError
	if errors.As(err, &fork) {
		t.logger.Error("two rosters are signed under one number: evidence is kept; tell an admin of the team", "seq", fork.Seq, "folder", t.folder())
	}
	if r.Head() != before {
		if aerr := t.advance(r); aerr != nil && !errors.Is(aerr, errBehind) {
			return aerr
		}
		t.logger.Info("roster", "seq", r.Head().Seq, "hash", r.Head().Hash)
		if t.changed != nil {
			t.changed(r)
		}
	}
	return err
}

// advance makes r's head the newest in the ledger.
func (t *team) advance(r *roster.Roster) error {
	if err := t.behind(r); err != nil {
		return err
	}
	return t.persist(r.Head(), t.head.Get().Confirmed)
}

func (t *team) persist(h roster.Head, confirmed time.Time) error {
	err := t.head.Advance(ledger.Head{Seq: h.Seq, Hash: h.Hash, Confirmed: confirmed})
	if err != nil && !errors.Is(err, ledger.ErrLower) {
		t.fail(err)
	}
	return err
}

// confirm notes that apid knows no newer roster than ours. It reaches the disk
// a few times in each maxStale.
func (t *team) confirm(head roster.Head) error {
	r := t.newest()
	if r == nil || r.Head() != head || t.behind(r) != nil {
		return nil
	}
	now := t.now()
	t.mu.Lock()
	if now.After(t.confirmed) {
		t.confirmed = now
	}
	t.mu.Unlock()
	if now.Sub(t.head.Get().Confirmed) < t.maxStale/16 {
		return nil
	}
	return t.persist(head, now)
}

// head gives a roster's head as signed objects name it.
func head(r *roster.Roster) token.Head { return token.Head(r.Head()) }
