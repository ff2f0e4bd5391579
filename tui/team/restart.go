package team

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// ErrNotSetBack means a log that lacks nothing which is known to have been signed.
var ErrNotSetBack = errors.New("team: the audit log lacks nothing that apid or this device has seen signed; there is nothing to restart")

// Restart signs that the audit log goes on from the older state that apid's database has,
// after a restore: what was signed beyond it is lost for good. confirm shows that to a person.
// apid lets nobody sign in until k admins have signed.
func (a *Admin) Restart(ctx context.Context, reason string, confirm func(Pending) (bool, error)) (*roster.Roster, error) {
	state, err := a.Client().Restart(ctx)
	if err != nil {
		return nil, err
	}
	lost := max(state.Lost, a.seen())
	if !state.SetBack && lost <= state.Size {
		return nil, ErrNotSetBack
	}
	r := a.Home().Roster()
	p, err := r.Propose(time.Now(), a.Home().Identity, roster.Change{Kind: roster.KindRestart, Body: roster.Restart{
		Size: state.Size, Root: state.Root, Lost: lost, Reason: reason,
	}})
	if err != nil {
		return nil, err
	}
	pending, err := a.judge(r, p)
	if err != nil {
		return nil, err
	}
	if yes, err := confirm(pending); err != nil || !yes {
		return nil, errors.Join(ErrNotConfirmed, err)
	}
	if !roster.Enough(pending.Tallies) {
		return nil, a.propose(ctx, r, p, roster.ErrThreshold)
	}
	return a.restart(ctx, p)
}

// seen gives how many entries of the log this device has seen signed.
func (a *Admin) seen() uint64 {
	f, err := a.Home().Checkpoints()
	if err != nil {
		return 0
	}
	note, _, err := f.Newest()
	if err != nil || note == nil {
		return 0
	}
	c, err := audit.InsecureCheckpoint(note) // what is kept was verified
	if err != nil {
		return 0
	}
	return uint64(c.Size)
}

// restart gives a restart to apid, with the statements that its database has lost.
func (a *Admin) restart(ctx context.Context, p roster.Proposal) (*roster.Roster, error) {
	state, err := a.Client().Restart(ctx)
	if err != nil {
		return nil, err
	}
	r := a.Home().Roster()
	if !r.Knows(roster.Head(state.RosterHead)) {
		return nil, fmt.Errorf("team: apid has another roster than this device (statement %d): the log can't be restarted from here", state.RosterHead.Seq)
	}
	lost := r.Statements(state.RosterHead.Seq)
	if n := len(lost) + len(p.Statements); n > wire.MaxStatements {
		return nil, fmt.Errorf("team: the database has lost %d statements of the roster, more than one request takes (%d): restore a newer backup", n, wire.MaxStatements)
	}
	if _, err := a.Client().Restart(ctx, append(lost, p.Statements...)...); err != nil {
		return nil, err
	}
	return a.Home().Learn(p.Statements)
}

// under gives the roster that a proposal is judged by: the newest, but for a restart of the
// log this home's, since apid has lost its own.
func (a *Admin) under(ctx context.Context, p roster.Proposal) (*roster.Roster, error) {
	if p.Restarts() {
		return a.Home().Roster(), nil
	}
	return a.newest(ctx)
}
