package api

import (
	"context"
	"errors"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// getAgents gives a page of agents with their states, in the order of names.
func (s *Server) getAgents(ctx context.Context, r *door.Request) (wire.AgentsPage, error) {
	var rows []store.Target
	err := s.store.View(ctx, r.Caller.Team, func(tx store.Tx) (err error) {
		rows, err = tx.Targets.List(r.Text("after"), wire.MaxAgents)
		return err
	})
	if errors.Is(err, store.ErrInvalid) {
		return wire.AgentsPage{}, door.Malformed("after is not a name", "take next of the page before")
	}
	if err != nil {
		return wire.AgentsPage{}, err
	}
	kids := make([]key.Kid, len(rows))
	for i := range rows {
		kids[i] = rows[i].Kid
	}
	states, err := s.presence.States(ctx, r.Caller.Team, kids)
	if err != nil {
		s.logger.Warn("rendezvous does not say who is online", "err", err)
	}
	page := wire.AgentsPage{Agents: states}
	if len(rows) == wire.MaxAgents {
		page.Next = rows[len(rows)-1].Name
	}
	return page, nil
}

// reachable refuses a session with an agent that is not connected.
func reachable(state wire.AgentState, name string) error {
	switch state.State {
	case wire.Online:
		return nil
	case wire.Offline:
		return wire.NewProblem(wire.KindUnavailable, name+" is not connected now", "try again when its agent is up")
	}
	return wire.NewProblem(wire.KindUnavailable, "rendezvous does not say whether "+name+" is connected", "try again; tucdesk doctor tells more")
}
