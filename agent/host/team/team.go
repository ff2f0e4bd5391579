// Package team is the roster as one agent knows it: on disk, and never going back. What
// an earlier run has seen is in the ledger; an older roster than that is refused, also
// when somebody restores the whole folder but not the ledger.
//
// It decides nothing about sessions and must not import what does (agent/host).
package team

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
	"github.com/tucdesk/tucdesk/internal/wire"
)

var (
	// ErrDemo means a demo's team, which an agent joins only when its own
	// configuration says that it is part of a demo.
	ErrDemo = fmt.Errorf("team: this is the team of a demo; a real agent does not join it: %w", uplink.ErrHopeless)
	// ErrNone: the genesis is not there yet.
	ErrNone = errors.New("team: the team's roster has not been received yet; try again in a moment")
	// ErrBehind: we knew a newer roster before.
	ErrBehind = errors.New("team: this agent's roster is older than one it has seen; it must catch up first")
	// ErrStale: nobody has confirmed the roster for too long.
	ErrStale = errors.New("team: this agent's roster was not confirmed for too long; it must reach apid first")
)

// Config says which team, and where it is kept.
type Config struct {
	FP       envelope.Hash
	Dir      string
	Demo     bool          // a demo's genesis is accepted
	Floor    roster.Head   // of the agent's first contact; zero: none
	MaxStale time.Duration // how long a roster holds that apid has not confirmed
	Now      func() time.Time
	Head     *ledger.HeadFile
	Logger   *slog.Logger
	Changed  func(*roster.Roster) // called after a change, outside the lock
	Fail     func(error)          // ends the agent: its disk has failed
}

// A Team is safe for concurrent use.
type Team struct {
	c Config

	mu        sync.Mutex
	file      *rosterfile.File // nil before the genesis
	confirmed time.Time        // newer than what head has, within persistEvery
}

// Open reads the roster of an earlier run. None is no error.
func Open(c Config) (*Team, error) {
	t := &Team{c: c}
	if err := t.open(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Team) open() error {
	if t.c.Floor.Seq > t.c.Head.Get().Seq {
		if err := t.persist(t.c.Floor, time.Time{}); err != nil {
			return err
		}
	}
	t.confirmed = t.c.Head.Get().Confirmed
	f, err := rosterfile.Open(t.folder(), t.c.FP)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.use(f)
}

func (t *Team) folder() string { return filepath.Join(t.c.Dir, "roster") }

// Genesis takes the genesis, whose hash must be the pinned one.
func (t *Team) Genesis(genesis []byte) error {
	r, err := roster.Open(genesis)
	if err != nil {
		return err
	}
	if r.TeamFP() != t.c.FP {
		return fmt.Errorf("team: apid serves team %s, this agent belongs to %s; check the address and team_fp", r.TeamFP(), t.c.FP)
	}
	if r.Demo() && !t.c.Demo {
		return ErrDemo
	}
	f, err := rosterfile.Create(t.folder(), t.c.FP, genesis)
	if err != nil {
		return err
	}
	return t.use(f)
}

func (t *Team) use(f *rosterfile.File) error {
	r := f.Roster()
	if r.Demo() && !t.c.Demo {
		return ErrDemo
	}
	if err := t.advance(r); err != nil && !errors.Is(err, ErrBehind) {
		return err
	}
	t.mu.Lock()
	t.file = f
	t.mu.Unlock()
	return nil
}

// Newest gives the roster, or nil before the genesis is there.
func (t *Team) Newest() *roster.Roster {
	t.mu.Lock()
	f := t.file
	t.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.Roster()
}

// At gives the roster as it was at a number that it has passed.
func (t *Team) At(seq uint64) (*roster.Roster, error) {
	now := t.Newest()
	switch {
	case now == nil:
		return nil, ErrNone
	case seq > now.Head().Seq:
		return nil, ErrBehind
	case seq == now.Head().Seq:
		return now, nil
	}
	r, err := roster.Open(now.Genesis())
	if err != nil {
		return nil, err
	}
	first := r.Head().Seq
	if seq < first {
		return nil, ErrBehind
	}
	return r.Apply(now.Statements(first)[:seq-first]...)
}

// Fresh gives the roster if sessions may rest on it: not older than any seen
// before, and confirmed within the time that the agent is configured with.
func (t *Team) Fresh() (*roster.Roster, error) { return t.FreshWithin(t.c.MaxStale) }

// FreshWithin is Fresh for what wants a roster that was confirmed more lately.
func (t *Team) FreshWithin(limit time.Duration) (*roster.Roster, error) {
	r := t.Newest()
	if r == nil {
		return nil, ErrNone
	}
	if err := t.behind(r); err != nil {
		return nil, err
	}
	t.mu.Lock()
	age := t.c.Now().Sub(t.confirmed)
	t.mu.Unlock()
	// What a clock that was ahead has noted says nothing now: it is not taken for fresh.
	if age > min(limit, t.c.MaxStale) || age < -token.Skew {
		return nil, ErrStale
	}
	return r, nil
}

// behind answers ErrBehind if a newer head than r's is in the ledger.
func (t *Team) behind(r *roster.Roster) error {
	seen := t.c.Head.Get()
	if seen.Seq > r.Head().Seq || seen.Hash != [32]byte{} && !r.Knows(roster.Head{Seq: seen.Seq, Hash: seen.Hash}) {
		return fmt.Errorf("%w (%d, seen before: %d)", ErrBehind, r.Head().Seq, seen.Seq)
	}
	return nil
}

// Learn takes statements from anywhere: apid, a bundle, a handshake. What is
// known is passed over; what follows is stored; a fork is evidence and an alarm.
func (t *Team) Learn(statements [][]byte) error {
	t.mu.Lock()
	f := t.file
	t.mu.Unlock()
	if f == nil {
		return ErrNone
	}
	before := f.Roster().Head()
	r, err := f.Learn(t.c.Now(), statements)
	var fork *roster.ForkError
	if errors.As(err, &fork) {
		t.c.Logger.Error("two rosters are signed under one number: evidence is kept; tell an admin of the team", "seq", fork.Seq, "folder", t.folder())
	}
	if r.Head() != before {
		if aerr := t.advance(r); aerr != nil && !errors.Is(aerr, ErrBehind) {
			return aerr
		}
		t.c.Logger.Info("roster", "seq", r.Head().Seq, "hash", r.Head().Hash)
		if t.c.Changed != nil {
			t.c.Changed(r)
		}
	}
	return err
}

// advance makes r's head the newest in the ledger.
func (t *Team) advance(r *roster.Roster) error {
	if err := t.behind(r); err != nil {
		return err
	}
	return t.persist(r.Head(), t.c.Head.Get().Confirmed)
}

func (t *Team) persist(h roster.Head, confirmed time.Time) error {
	err := t.c.Head.Advance(ledger.Head{Seq: h.Seq, Hash: h.Hash, Confirmed: confirmed})
	if err != nil && !errors.Is(err, ledger.ErrLower) {
		t.c.Fail(err)
	}
	return err
}

// Confirm notes that apid knows no newer roster than ours. It reaches the disk
// a few times in each maxStale.
func (t *Team) Confirm(said wire.Head) error {
	r, head := t.Newest(), roster.Head(said)
	if r == nil || r.Head() != head || t.behind(r) != nil {
		return nil
	}
	now := t.c.Now()
	t.mu.Lock()
	if now.After(t.confirmed) || t.confirmed.Sub(now) > token.Skew {
		t.confirmed = now
	}
	t.mu.Unlock()
	if now.Sub(t.c.Head.Get().Confirmed) < t.c.MaxStale/16 {
		return nil
	}
	return t.persist(head, now)
}

// Head gives the newest roster's, as servers are told it; false without a roster.
func (t *Team) Head() (wire.Head, bool) {
	r := t.Newest()
	if r == nil {
		return wire.Head{}, false
	}
	return wire.Head(r.Head()), true
}
