package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	presenceLife = 2 * time.Second
	maxPresence  = 256 << 10 // states in the cache, of all teams together
)

// registryClient asks rendezvousd over HTTP, as apid.
type registryClient struct{ signed *wire.Signed }

func newRegistryClient(cfg *Config) (Presence, error) {
	if cfg.RendezvousURL == "" {
		return nil, errors.New("api: a rendezvous url is needed: sessions need to know which agents are online")
	}
	c, err := wire.NewSigned(wire.SignedOptions{URL: cfg.RendezvousURL, Identity: cfg.GrantKey, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	return registryClient{c}, nil
}

// States implements Presence.
func (c registryClient) States(ctx context.Context, team string, kids []key.Kid) ([]wire.AgentState, error) {
	answer, err := c.signed.Registry(ctx, team, kids)
	return answer.Agents, err
}

// presenceCache remembers for presenceLife what rendezvousd said.
type presenceCache struct {
	ask Presence
	now func() time.Time

	mu    sync.Mutex
	known map[presenceKey]knownState
}

type presenceKey struct {
	team string
	kid  key.Kid
}

type knownState struct {
	state wire.AgentState
	at    time.Time
}

func newPresenceCache(ask Presence, now func() time.Time) *presenceCache {
	return &presenceCache{ask: ask, now: now, known: make(map[presenceKey]knownState)}
}

// states gives one state for each key, in their order. Where rendezvousd can't
// be asked, or answers about other keys, the state is Unknown.
func (c *presenceCache) states(ctx context.Context, team string, kids []key.Kid) ([]wire.AgentState, error) {
	out := make([]wire.AgentState, len(kids))
	var ask []key.Kid
	var where []int
	c.mu.Lock()
	for i, kid := range kids {
		if k, ok := c.known[presenceKey{team, kid}]; ok && c.now().Sub(k.at) < presenceLife {
			out[i] = k.state
			continue
		}
		out[i] = wire.AgentState{Kid: kid, State: wire.Unknown}
		ask, where = append(ask, kid), append(where, i)
	}
	c.mu.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := c.ask.States(ctx, team, ask)
	if err == nil && len(answer) != len(ask) {
		err = fmt.Errorf("api: rendezvous answers %d of %d agents", len(answer), len(ask))
	}
	if err != nil {
		return out, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known)+len(ask) > maxPresence {
		clear(c.known)
	}
	for i, a := range answer {
		if a.Kid != ask[i] || a.State != wire.Online && a.State != wire.Offline {
			continue
		}
		out[where[i]] = a
		c.known[presenceKey{team, a.Kid}] = knownState{a, c.now()}
	}
	return out, nil
}

// getAgents gives a page of agents with their states, in the order of names.
func (s *Server) getAgents(ctx context.Context, r *request) (wire.AgentsPage, error) {
	var rows []store.Target
	err := s.store.View(ctx, r.caller.team, func(tx store.Tx) (err error) {
		rows, err = tx.Targets.List(r.text("after"), wire.MaxAgents)
		return err
	})
	if err != nil {
		return wire.AgentsPage{}, err
	}
	kids := make([]key.Kid, len(rows))
	for i := range rows {
		kids[i] = rows[i].Kid
	}
	states, err := s.presence.states(ctx, r.caller.team, kids)
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
func (s *Server) reachable(state wire.AgentState, name string) error {
	switch state.State {
	case wire.Online:
		return nil
	case wire.Offline:
		return wire.NewProblem(wire.KindUnavailable, name+" is not connected now", "try again when its agent is up")
	}
	return wire.NewProblem(wire.KindUnavailable, "rendezvous does not say whether "+name+" is connected", "try again; tucdesk doctor tells more")
}
