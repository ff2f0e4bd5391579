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
	states, next, err := s.agentStates(ctx, r.Caller.Team, r.Text("after"))
	if errors.Is(err, store.ErrInvalid) {
		return wire.AgentsPage{}, door.Malformed("after is not a name", "take next of the page before")
	}
	return wire.AgentsPage{Agents: states, Next: next}, err
}

// agentStates gives the states of a page of agents, and where the next page
// begins. While rendezvous can't be asked, they are not known.
func (s *Server) agentStates(ctx context.Context, team, after string) (states []wire.AgentState, next string, err error) {
	var rows []store.Target
	err = s.store.View(ctx, team, func(tx store.Tx) (err error) {
		rows, err = tx.Targets.List(after, wire.MaxAgents)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	kids := make([]key.Kid, len(rows))
	for i := range rows {
		kids[i] = rows[i].Kid
	}
	if states, err = s.presence.States(ctx, team, kids); err != nil {
		s.logger.Warn("rendezvous does not say who is online", "err", err)
	}
	if len(rows) == wire.MaxAgents {
		next = rows[len(rows)-1].Name
	}
	return states, next, nil
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
