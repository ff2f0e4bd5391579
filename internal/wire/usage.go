package wire

import (
	"context"
	"net/url"
	"strconv"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Limits of what is said of the use of relays.
const (
	MaxUses     = 256 // uses in one report
	MaxUsageRow = 500 // sessions in one page
)

// A RelayUse is one stretch of time in which a session had allocations on a relay.
type RelayUse struct {
	Session  token.ID `json:"session"`
	Began    int64    `json:"began"`    // of the first allocation, Unix milliseconds
	Ended    int64    `json:"ended"`    // of the last one
	Operator uint64   `json:"operator"` // bytes of payload that the operator sent and the relay handed over
	Agent    uint64   `json:"agent"`    // that the agent sent
}

// RelayReport is POST /v1/relay/usage. A use that is reported again counts once.
type RelayReport struct {
	Uses []RelayUse `json:"uses"` // at most MaxUses, of one session in the order of time
}

// A SessionUsage is what one session has used of a relay.
type SessionUsage struct {
	ID       token.ID `json:"id"`
	Operator key.Kid  `json:"operator"`
	Target   key.Kid  `json:"target"`
	Started  int64    `json:"started"` // unix seconds of the grant
	Seconds  int64    `json:"seconds"` // in which it had allocations
	Sent     uint64   `json:"sent"`    // bytes that the operator sent
	Received uint64   `json:"received"`
}

// UsagePage answers GET /v1/usage?before=N: sessions from the newest on, also those that
// used no relay. Next is the next page's N; 0: there is none.
type UsagePage struct {
	Sessions []SessionUsage `json:"sessions"`
	Next     uint64         `json:"next"`
}

// Usage gives a page of what the team's sessions have used of relays.
func (c *Client) Usage(ctx context.Context, before uint64) (UsagePage, error) {
	return ask[UsagePage](ctx, c.do, &call{method: "GET", path: "/v1/usage", query: url.Values{"before": {strconv.FormatUint(before, 10)}}})
}

// ReportUsage tells apid what sessions have used of a relay, whose client c is. A use whose
// session apid does not know is taken, and counts nowhere.
func (c *Signed) ReportUsage(ctx context.Context, uses []RelayUse) error {
	return c.do(ctx, "", &call{method: "POST", path: "/v1/relay/usage", in: RelayReport{Uses: uses}, out: &Nothing{}})
}
