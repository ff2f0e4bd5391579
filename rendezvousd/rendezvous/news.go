package rendezvous

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// maxNews bounds the statements in one message to an agent, in bytes. An agent
// that lacks more asks apid.
const maxNews = 96 << 10

// spread tells every agent of a team that is online of a newer roster.
func (s *Server) spread(r *roster.Roster) {
	for _, c := range s.agents.of(r.TeamID()) {
		c.tell(r)
	}
}

// of gives the connections of a team.
func (d *directory) of(team string) []*agentConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	var conns []*agentConn
	for id, c := range d.conn {
		if id.team == team {
			conns = append(conns, c)
		}
	}
	return conns
}

// confirm notes what an agent has signed, and tells it what it lacks.
func (c *agentConn) confirm(receipt []byte, head token.Head, r *roster.Roster) {
	c.mu.Lock()
	c.receipt, c.head = receipt, head
	c.mu.Unlock()
	c.tell(r)
}

// tell makes r what the agent is told of, if it is newer than what it has. It
// never blocks, and no offer stands in its way.
func (c *agentConn) tell(r *roster.Roster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := r.Head().Seq
	if seq <= c.head.Seq || c.newest != nil && seq <= c.newest.Head().Seq {
		return
	}
	c.newest = r
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// untold gives the message that tells an agent what it lacks.
func (c *agentConn) untold() (wire.SignalRoster, bool) {
	c.mu.Lock()
	r, after := c.newest, c.head.Seq
	c.newest = nil
	c.mu.Unlock()
	if r == nil {
		return wire.SignalRoster{}, false
	}
	h := r.Head()
	m := wire.SignalRoster{HeadSeq: h.Seq, HeadHash: h.Hash, Statements: [][]byte{}}
	size := 0
	for _, st := range r.Statements(after) {
		if size += len(st); size > maxNews || len(m.Statements) == wire.MaxStatements {
			m.Statements = [][]byte{}
			break
		}
		m.Statements = append(m.Statements, st)
	}
	return m, true
}

// postStatements is POST /v1/roster/statements: who changes a roster hands the
// change in here too, so that agents have it at once, and whatever apid does.
func (s *Server) postStatements(r *http.Request, body []byte) (any, error) {
	who, err := s.member(r, body)
	if err != nil {
		return nil, err
	}
	var in wire.StatementsRequest
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	if n := len(in.Statements); n == 0 || n > wire.MaxStatements {
		return nil, malformed(fmt.Errorf("%d statements, want 1 to %d", n, wire.MaxStatements))
	}
	ros, err := s.cfg.Rosters.Learn(r.Context(), who.team, in.Statements)
	switch {
	case err == nil:
		return wire.StatementsAnswer{Head: wire.Head(ros.Head())}, nil
	case errors.Is(err, roster.ErrGap):
		return nil, wire.NewProblem(wire.KindConflict, "these statements do not follow what this server knows", "give them to the API server first")
	case errors.Is(err, roster.ErrThreshold), errors.Is(err, envelope.ErrUnknownSigner), errors.Is(err, envelope.ErrSignature):
		return nil, wire.NewProblem(wire.KindDenied, "these statements lack signatures that count", "")
	case errors.Is(err, roster.ErrRefused), errors.Is(err, envelope.ErrMalformed):
		return nil, malformed(errors.New("these statements do not hold"))
	}
	var fork *roster.ForkError
	if errors.As(err, &fork) {
		s.logger.Error("two rosters are signed under one number", "team", who.team, "seq", fork.Seq)
		return nil, wire.NewProblem(wire.KindConflict, err.Error(), "keep both statements as evidence and tell an admin of your team")
	}
	return nil, err
}

// postReceipts is POST /v1/receipts: what each agent has signed last.
func (s *Server) postReceipts(r *http.Request, body []byte) (any, error) {
	who, err := s.member(r, body)
	if err != nil {
		return nil, err
	}
	var in wire.ReceiptsRequest
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	if len(in.Kids) > wire.MaxAgents {
		return nil, wire.NewProblem(wire.KindTooLarge, "too many agents in one question", "ask for less at once")
	}
	out := wire.ReceiptsAnswer{Receipts: make([][]byte, len(in.Kids))}
	for i, kid := range in.Kids {
		out.Receipts[i] = []byte{}
		if c, ok := s.agents.online(agentID{who.team, kid}); ok {
			c.mu.Lock()
			out.Receipts[i] = c.receipt
			c.mu.Unlock()
		}
	}
	return out, nil
}
