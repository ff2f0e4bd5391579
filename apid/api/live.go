package api

import (
	"context"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/events"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// again gives a signed-in caller as the roster has them now.
func (s *Server) again(ctx context.Context, c door.Caller) (door.Caller, error) {
	on, err := s.roster(ctx, c.Team)
	if err != nil {
		return c, err
	}
	d, err := on.Device(c.Kid, s.now())
	if err != nil || d.MemberID != c.Device.MemberID {
		return c, door.Unauthenticated()
	}
	c.Roster, c.Device = on, d
	return c, nil
}

// tell wakes those who wait for what a committed transaction changed, and tells
// those who listen and may see it.
func (s *Server) tell(name string, t *team) {
	var list []events.Event
	if seq := t.roster.Head().Seq; seq > t.began.Seq {
		list = append(list, events.Event{Event: wire.Event{Kind: wire.EventRoster, Seq: seq}})
	}
	for _, a := range t.asks {
		s.waiters.Changed(a.Record.ID)
		if a.IsNew() {
			s.cfg.Webhook.Tell(a.Notice(name, t.roster))
		}
		kept := a.Outline()
		list = append(list, events.Event{
			Event: wire.Event{Kind: wire.EventApproval, ID: a.Record.ID, State: string(a.Record.State)},
			Sees:  func(c *door.Caller) bool { return kept.Visible(*c, s.now()) },
		})
	}
	for _, row := range t.sessions {
		operator, _ := t.roster.EverDevice(row.Operator)
		list = append(list, events.Event{
			Event: wire.Event{Kind: wire.EventSession, ID: row.ID, State: row.State},
			Sees:  func(c *door.Caller) bool { return c.Device.MemberID == operator.MemberID || c.Audits() },
		})
	}
	s.events.Publish(name, list...)
}
