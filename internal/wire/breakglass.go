package wire

import (
	"context"

	"github.com/tucdesk/tucdesk/internal/token"
)

// RelayRequest is POST /v1/break-glass/relay of rendezvousd, signed by a member's
// device. It is answered with a Relay, where the team's policy has break-glass.
type RelayRequest struct {
	SessionID token.ID `json:"session_id"`
}

// Relay asks rendezvousd for credentials of a relay, where no apid is there to give
// them.
func (c *Signed) Relay(ctx context.Context, team string, session token.ID) (Relay, error) {
	return ask[Relay](ctx, c.as(team), &call{method: "POST", path: "/v1/break-glass/relay", in: RelayRequest{SessionID: session}})
}

// Offer is Client.Offer by a device that has no access token.
func (c *Signed) Offer(ctx context.Context, team string, o Offer) (OfferAnswer, error) {
	return ask[OfferAnswer](ctx, c.as(team), &call{method: "POST", path: "/v1/offers", in: o})
}

// Finish is Client.Finish by a device that has no access token.
func (c *Signed) Finish(ctx context.Context, team string, id token.ID, f Finish) error {
	return c.do(ctx, team, &call{method: "POST", path: "/v1/offers/" + id.String() + "/finish", in: f})
}
