package api

import (
	"context"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/store"
)

const (
	sweepEvery  = 10 * time.Second
	pruneEvery  = 60  // sweeps
	sweepLimit  = 100 // rows of each kind, of one team, in one pass
	replayGrace = time.Hour
)

// sweep expires what nobody decided or used, ends sessions whose time is over,
// and forgets old proof ids, until ctx is done. Readers do not depend on it:
// they compute expiry by themselves.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.marks.Save(); err != nil {
			s.logger.Error("what was signed is not remembered over a restart", "err", err)
		}
		after := ""
		for {
			teams, err := s.store.Teams(ctx, after, store.MaxPage)
			if err != nil || len(teams) == 0 {
				break
			}
			for _, name := range teams {
				if err := s.sweepTeam(ctx, name, n%pruneEvery == 0); err != nil && ctx.Err() == nil {
					s.logger.Error("sweep failed", "team", name, "err", err)
				}
			}
			after = teams[len(teams)-1]
		}
	}
}

// sweepTeam does one pass over one team. It takes the team's writer only if
// there is something to do.
func (s *Server) sweepTeam(ctx context.Context, name string, prune bool) error {
	now := s.now()
	busy := prune
	err := s.store.View(ctx, name, func(tx store.Tx) error {
		for _, state := range []approval.State{approval.Pending, approval.Approved} {
			due, err := tx.Approvals.Due(string(state), now, 1)
			if err != nil {
				return err
			}
			busy = busy || len(due) > 0
		}
		for _, state := range []string{sessions.Granted, sessions.Started} {
			due, err := tx.Sessions.Due(state, now, 1)
			if err != nil {
				return err
			}
			busy = busy || len(due) > 0
		}
		return nil
	})
	if err != nil || !busy {
		return err
	}
	return s.transact(ctx, name, func(t *team) error {
		for _, state := range []approval.State{approval.Pending, approval.Approved} {
			due, err := t.tx.Approvals.Due(string(state), now, sweepLimit)
			if err != nil {
				return err
			}
			for _, stored := range due {
				a, err := ask.Read(stored)
				if err != nil {
					return err
				}
				if a.Record = a.Record.At(now); a.Record.State != approval.Expired {
					continue
				}
				if err := s.record(t, a.Entry(t.roster, "expire", t.own())); err != nil {
					return err
				}
				if err := t.keep(a); err != nil {
					return err
				}
			}
		}
		if err := endSessions(t, now); err != nil {
			return err
		}
		_, err := t.tx.Replay.Prune(now.Add(-replayGrace), store.MaxPage)
		return err
	})
}

func endSessions(t *team, now time.Time) error {
	for _, state := range []string{sessions.Granted, sessions.Started} {
		due, err := t.tx.Sessions.Due(state, now, sweepLimit)
		if err != nil {
			return err
		}
		for _, row := range due {
			row.State = sessions.Ended
			if err := t.move(row); err != nil {
				return err
			}
		}
	}
	return nil
}
