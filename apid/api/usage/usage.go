// Package usage is what apid keeps of the use of relays: how many bytes went through one
// for each session, and for how long. Relays say so; they know sessions by number, and
// apid whose they are. Admins and auditors of the team see it.
//
// Invariants:
//   - who reports shows that it has the secret of the relay, and learns nothing: every
//     report that can be read is answered alike, whatever it names;
//   - a use counts once, however often it is reported;
//   - a session's row does not grow by it, and nothing is decided by it.
//
// It must not import another service, tui or backend.
package usage

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// MaxKnown bounds the sessions whose team is remembered.
const MaxKnown = 1 << 16

// A Service is safe for concurrent use. Store is required.
type Service struct {
	Store store.Store

	mu    sync.Mutex
	known map[token.ID]string // teams of sessions
}

// Routes gives its part of apid's table.
func (s *Service) Routes() []door.Route {
	return []door.Route{
		door.Post("/v1/relay/usage", door.Relay, "What sessions have used of a relay.", s.report),
		door.Get("/v1/usage", door.Auditor, "What the team's sessions have used of relays, the newest first.", s.page).Query("before"),
	}
}

// Granted notes whose a session is, so that no report of it asks for every team.
func (s *Service) Granted(session token.ID, team string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= MaxKnown {
		s.known = make(map[token.ID]string)
	}
	s.known[session] = team
}

func (s *Service) team(session token.ID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[session]
}

func (s *Service) report(ctx context.Context, _ *door.Request, in wire.RelayReport) (wire.Nothing, error) {
	if len(in.Uses) > wire.MaxUses {
		return wire.Nothing{}, door.Malformed(fmt.Sprintf("%d uses in one report, at most %d", len(in.Uses), wire.MaxUses), "send them in several")
	}
	for i, u := range in.Uses {
		if u.Began <= 0 || u.Ended < u.Began || u.Ended > sessions.MaxMillis {
			return wire.Nothing{}, door.Malformed(fmt.Sprintf("use %d ends before it begins, or at no time", i), "times are Unix milliseconds")
		}
	}
	byTeam := map[string][]wire.RelayUse{}
	var unknown []wire.RelayUse
	for _, u := range in.Uses {
		if team := s.team(u.Session); team != "" {
			byTeam[team] = append(byTeam[team], u)
		} else {
			unknown = append(unknown, u)
		}
	}
	for team, uses := range byTeam {
		if _, err := s.count(ctx, team, uses); err != nil {
			return wire.Nothing{}, err
		}
	}
	// Granted before this process began: each team is asked.
	for after := ""; len(unknown) > 0; {
		teams, err := s.Store.Teams(ctx, after, store.MaxPage)
		if err != nil || len(teams) == 0 {
			return wire.Nothing{}, err
		}
		for _, team := range teams {
			if unknown, err = s.count(ctx, team, unknown); err != nil {
				return wire.Nothing{}, err
			}
		}
		after = teams[len(teams)-1]
	}
	return wire.Nothing{}, nil
}

// count notes those uses whose sessions are the team's, and gives the others.
func (s *Service) count(ctx context.Context, team string, uses []wire.RelayUse) (others []wire.RelayUse, err error) {
	own := false
	err = s.Store.View(ctx, team, func(tx store.Tx) error {
		for _, u := range uses {
			switch _, err := tx.Sessions.Get(u.Session); {
			case err == nil:
				own = true
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
		return nil
	})
	if err != nil || !own {
		return uses, err
	}
	err = s.Store.Tx(ctx, team, func(tx store.Tx) error {
		others = nil
		for _, u := range uses {
			switch err := sessions.Relayed(tx, u); {
			case errors.Is(err, store.ErrNotFound):
				others = append(others, u)
			case err != nil:
				return err
			}
		}
		return nil
	})
	return others, err
}

func (s *Service) page(ctx context.Context, r *door.Request) (page wire.UsagePage, err error) {
	before, err := r.Number("before", 0)
	if err != nil {
		return page, err
	}
	err = s.Store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		page, err = sessions.Usage(tx, before)
		return err
	})
	return page, err
}
