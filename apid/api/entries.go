package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// postEntries takes an agent's own entries. Sending them again is harmless.
func (s *Server) postEntries(ctx context.Context, r *door.Request, in wire.EntriesRequest) (wire.EntriesAnswer, error) {
	if n := len(in.Entries); n == 0 || n > wire.MaxPost {
		return wire.EntriesAnswer{}, door.Malformed(fmt.Sprintf("%d entries, want 1 to %d", n, wire.MaxPost), "send them in parts")
	}
	var answer wire.EntriesAnswer
	err := s.transact(ctx, r.Caller.Team, func(t *team) error {
		if _, err := t.roster.Agent(r.Caller.Kid, s.now()); err != nil {
			return door.Unauthenticated()
		}
		for _, b := range in.Entries {
			if err := s.accept(t, r.Caller, b); err != nil {
				return err
			}
		}
		last, err := audit.LinkOf(in.Entries[len(in.Entries)-1])
		answer.Actor = wire.Actor(last)
		return err
	})
	return answer, err
}

// accept appends one entry of the calling agent.
func (s *Server) accept(t *team, c door.Caller, b []byte) error {
	u, err := audit.ParseEntry(b)
	if err != nil {
		return door.Malformed("an entry is not one", "update the agent")
	}
	if u.InsecureSigner() != c.Kid {
		return door.Denied("an entry is signed by another key", "each agent sends its own entries")
	}
	added, err := t.log.Accept(t.tx.Audit, t.roster, b)
	switch {
	case errors.Is(err, audit.ErrForeign):
		return door.NotFound()
	case errors.Is(err, audit.ErrSigner):
		return door.Denied("an agent may not sign this entry", "update the agent")
	case errors.Is(err, audit.ErrMalformed):
		return door.Malformed("an entry is not one", "update the agent")
	case errors.Is(err, audit.ErrGap), errors.Is(err, audit.ErrFork):
		if errors.Is(err, audit.ErrFork) {
			s.logger.Error("an agent tells two stories", "agent", c.Agent.Name, "kid", c.Kid.String(), "err", err)
		}
		return wire.NewProblem(wire.KindConflict, strings.TrimPrefix(err.Error(), "audit: "), "send the entries from the first that is not acknowledged")
	case err != nil:
		return err
	}
	if !added {
		return nil
	}
	t.wrote = true
	e, err := u.InsecureEntry() // Accept has verified it
	if err != nil {
		return err
	}
	row, changed, err := sessions.Follow(t.tx, c.Kid, e)
	if err != nil || !changed {
		return err
	}
	return t.move(row)
}
