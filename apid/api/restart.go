package api

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// postRestart says how a team's log was set back, to the device of an admin, and takes the
// restart that admins have signed, with the statements that the database has lost before it.
// Nobody can sign in to such a team: the device proves its key, and the statements prove
// themselves. What is wrong with team or device is not told.
func (s *Server) postRestart(ctx context.Context, r *door.Request, in wire.RestartRequest) (out wire.RestartAnswer, err error) {
	if len(in.Statements) > wire.MaxStatements {
		return out, door.Malformed(fmt.Sprintf("%d statements, at most %d", len(in.Statements), wire.MaxStatements), "restore a newer backup")
	}
	on, err := s.roster(ctx, in.TeamID)
	if errors.Is(err, door.ErrNotNow) {
		return out, err
	}
	if err != nil {
		return out, door.Unauthenticated()
	}
	c := r.Caller
	c.Team, c.Roster = in.TeamID, on
	if c.Device, err = on.Device(c.Kid, s.now()); err != nil || !c.Device.Admin {
		return out, door.Unauthenticated()
	}
	if len(in.Statements) > 0 {
		err = s.commit(ctx, c.Team, func(tx store.Tx) (*team, error) {
			t, err := s.begin(tx, c.Team)
			if err != nil {
				return nil, err
			}
			return t, s.restart(t, c, in.Statements)
		})
	}
	if err == nil {
		err = s.store.View(ctx, c.Team, func(tx store.Tx) error { return s.setBack(tx, c.Team, &out) })
	}
	return out, err
}

// restart appends the statements if they end with the restart of just this log.
func (s *Server) restart(t *team, c door.Caller, statements [][]byte) error {
	before, runs := t.roster, len(t.roster.Restarts())
	size, err := t.tx.Audit.Size()
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(size, t.tx.Audit)
	if err != nil {
		return err
	}
	if err := s.appendStatements(t, c, statements); err != nil {
		return err
	}
	all := t.roster.Restarts()
	if len(all) != runs+1 {
		return door.Malformed("this is not one restart of the log", "tucdesk audit restart makes it")
	}
	last := all[runs]
	if last.Size != uint64(size) || last.Root != envelope.Hash(root) || last.Lost < uint64(s.marks.Largest(t.roster.TeamFP())) {
		return wire.NewProblem(wire.KindConflict, "the restart is for another state of the log than this database has", "make it again: tucdesk audit restart")
	}
	return mirrorTargets(t.tx, before, t.roster)
}

// setBack says how a log stands against what was signed for it.
func (s *Server) setBack(tx store.Tx, team string, out *wire.RestartAnswer) error {
	r, err := s.rosters.At(tx, team)
	if err != nil {
		return err
	}
	size, err := tx.Audit.Size()
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(size, tx.Audit)
	if err != nil {
		return err
	}
	*out = wire.RestartAnswer{Size: uint64(size), Root: envelope.Hash(root), Lost: uint64(s.marks.Largest(r.TeamFP())), RosterHead: wire.Head(r.Head())}
	err = s.marks.Check(r.TeamFP(), audit.Restarts(r), tx.Audit)
	out.SetBack = errors.Is(err, marks.ErrSetBack)
	if out.SetBack {
		return nil
	}
	return err
}
