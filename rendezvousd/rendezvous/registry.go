package rendezvous

import (
	"net/http"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// postRegistry is POST /v1/registry, asked by apid for one team.
func (s *Server) postRegistry(r *http.Request, body []byte) (any, error) {
	who, err := s.server(r, body)
	if err != nil {
		return nil, err
	}
	var in wire.RegistryRequest
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	if len(in.Kids) > wire.MaxAgents {
		return nil, wire.NewProblem(wire.KindTooLarge, "too many agents in one question", "ask for less at once")
	}
	out := wire.RegistryAnswer{Agents: make([]wire.AgentState, 0, len(in.Kids))}
	for _, kid := range in.Kids {
		out.Agents = append(out.Agents, s.agents.state(agentID{who.team, kid}))
	}
	return out, nil
}

// getRegistry is GET /v1/registry/{kid}?team=….
func (s *Server) getRegistry(r *http.Request, body []byte) (any, error) {
	who, err := s.server(r, body)
	if err != nil {
		return nil, err
	}
	kid, err := key.ParseKid(r.PathValue("kid"))
	if err != nil {
		return nil, notFound()
	}
	return s.agents.state(agentID{who.team, kid}), nil
}
