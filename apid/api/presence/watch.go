package presence

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	watchEvery = 3 * time.Second // longer than what a Cache remembers
	passPages  = 32              // of all teams, in one pass
	teamPages  = 8               // of one team
)

// A Watch finds the agents whose state changed, for teams that somebody watches.
// It asks a bounded number of pages at a time, in turn, so that a large team is
// seen to change later, never at the cost of the others. All fields are required.
type Watch struct {
	Teams func() []string
	// Page gives a page of a team's agents, and where the next begins; empty: at
	// the beginning.
	Page func(ctx context.Context, team, after string) (states []wire.AgentState, next string, err error)
	// Changed is told of the agents of a team that changed since the last pass
	// over them.
	Changed func(team string, agents []wire.AgentState)

	teams map[string]*seen
	n     int // states in all of them
	turn  int
}

// seen is what one team looked like.
type seen struct {
	after  string
	states map[key.Kid]string
}

// Run watches until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.pass(ctx)
		}
	}
}

func (w *Watch) pass(ctx context.Context) {
	teams := w.Teams()
	maps.DeleteFunc(w.teams, func(team string, s *seen) bool {
		gone := !slices.Contains(teams, team)
		if gone {
			w.n -= len(s.states)
		}
		return gone
	})
	if len(teams) == 0 {
		return
	}
	if w.teams == nil {
		w.teams = make(map[string]*seen)
	}
	// Who was not reached for lack of pages comes first in the next pass.
	start := w.turn % len(teams)
	left := passPages
	for i := range teams {
		if left == 0 || ctx.Err() != nil {
			break
		}
		team := teams[(start+i)%len(teams)]
		if w.teams[team] == nil {
			w.teams[team] = &seen{states: make(map[key.Kid]string)}
		}
		left -= w.look(ctx, team, min(left, teamPages))
		w.turn = start + i + 1
	}
}

// look asks at most so many pages of a team, and says how many it asked.
func (w *Watch) look(ctx context.Context, team string, most int) (asked int) {
	s := w.teams[team]
	var changed []wire.AgentState
	for asked < most {
		page, next, err := w.Page(ctx, team, s.after)
		asked++
		if err != nil {
			break // what is known stays; the same page is asked again
		}
		for _, a := range page {
			before, known := s.states[a.Kid]
			switch {
			case a.State != wire.Online && a.State != wire.Offline:
			case known && before != a.State:
				changed = append(changed, a)
				s.states[a.Kid] = a.State
			case !known && w.n < maxKnown:
				s.states[a.Kid] = a.State
				w.n++
			}
		}
		if s.after = next; next == "" {
			break
		}
	}
	if len(changed) > 0 {
		w.Changed(team, changed)
	}
	return asked
}
