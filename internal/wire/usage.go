package wire

import (
	"context"
	"errors"
	"net/http"
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

// HeaderRelay is how a relay shows that it has the secret it shares with apid
// (cred.Secret.Vouch).
const HeaderRelay = "TucDesk-Relay"

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

// A RelayClient is the client of a relay. It is safe for concurrent use.
type RelayClient struct {
	base  *url.URL
	vouch func(sum [32]byte) string
	http  *http.Client
}

// NewRelayClient makes a client of the apid at a URL. vouch is cred.Secret.Vouch; client
// may be nil. It does not touch the network.
func NewRelayClient(apid string, vouch func(sum [32]byte) string, client *http.Client) (*RelayClient, error) {
	base, err := ParseBase(apid)
	if err != nil {
		return nil, err
	}
	if vouch == nil {
		return nil, errors.New("wire: a relay's client needs a secret")
	}
	return &RelayClient{base: base, vouch: vouch, http: httpClient(client)}, nil
}

// Report tells apid what sessions have used. A use that it does not know the session of
// is taken, and counts nowhere.
func (c *RelayClient) Report(ctx context.Context, uses []RelayUse) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k := &call{base: c.base, method: "POST", path: "/v1/relay/usage", in: RelayReport{Uses: uses}, out: &Nothing{}}
	body, sum, err := k.body()
	if err != nil {
		return err
	}
	h := http.Header{}
	h.Set(HeaderRelay, c.vouch(sum))
	resp, err := k.send(ctx, c.http, body, h)
	if err != nil {
		return err
	}
	return k.finish(resp)
}
