package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// SignedOptions are what an agent's or a server's client needs.
type SignedOptions struct {
	URL      string           // of the server that is called
	Identity key.Identity     // of the agent, or the server's key for its purpose
	Signer   RequestSigner    // instead of Identity, where another process holds it
	HTTP     *http.Client     // nil: a client with bounds of its own
	Now      func() time.Time // nil: time.Now
}

// A RequestSigner signs one HTTP request with a key that stays with it, and gives
// the header's value.
type RequestSigner interface {
	SignRequest(method, url string, body [32]byte) (string, error)
}

// held is a RequestSigner with a key of this process.
type held struct {
	key.Identity
	now func() time.Time
}

// SignRequest implements [RequestSigner].
func (h held) SignRequest(method, url string, body [32]byte) (string, error) {
	return token.SignRequest(h.Identity, token.Request{Method: method, URL: url, BodySHA256: body, Time: h.now().Unix()})
}

// Signed is the client of an agent or a server. It has no token: each request is
// signed by its key, over method, URL with query, body and time. Each call names
// the team on whose roster that key stands; the server believes the roster, not
// the name. A relay's is no key but the secret that it shares with apid, and it names no
// team. It is safe for concurrent use.
type Signed struct {
	base   *url.URL
	signer RequestSigner
	http   *http.Client
}

// NewSigned makes a client. It does not touch the network.
func NewSigned(o SignedOptions) (*Signed, error) {
	base, err := ParseBase(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Signer == nil {
		if o.Identity.IsZero() {
			return nil, errors.New("wire: a signed client needs an identity")
		}
		if o.Now == nil {
			o.Now = time.Now
		}
		o.Signer = held{o.Identity, o.Now}
	}
	return &Signed{base: base, signer: o.Signer, http: httpClient(o.HTTP)}, nil
}

// as gives the function that sends calls in the name of a team.
func (c *Signed) as(team string) func(context.Context, *call) error {
	return func(ctx context.Context, k *call) error { return c.do(ctx, team, k) }
}

func (c *Signed) do(ctx context.Context, team string, k *call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+k.wait)
	defer cancel()
	k.base = c.base
	if k.query == nil {
		k.query = url.Values{}
	}
	if team != "" { // a relay is of none
		k.query.Set(QueryTeam, team)
	}
	body, sum, err := k.body()
	if err != nil {
		return err
	}
	signed, err := c.signer.SignRequest(k.method, k.url(true), sum)
	if err != nil {
		return fmt.Errorf("wire: sign the request: %w", err)
	}
	h := http.Header{}
	h.Set(HeaderRequest, signed)
	resp, err := k.send(ctx, c.http, body, h)
	if err != nil {
		return err
	}
	return k.finish(resp)
}

// Roster gives a team's statements after a sequence number.
func (c *Signed) Roster(ctx context.Context, team string, after uint64) (RosterPage, error) {
	return ask[RosterPage](ctx, c.as(team), &call{method: "GET", path: "/v1/roster", query: rosterQuery(after)})
}

// PostEntries gives an agent's signed audit entries to apid, in order. Entries
// that it has already keep their index, so that an outbox may send them again.
func (c *Signed) PostEntries(ctx context.Context, team string, entries ...[]byte) (EntriesAnswer, error) {
	return ask[EntriesAnswer](ctx, c.as(team), &call{method: "POST", path: "/v1/entries", in: EntriesRequest{Entries: entries}})
}

// Consistency gives the proof that a team's audit log of newer entries extends that of
// older.
func (c *Signed) Consistency(ctx context.Context, team string, older, newer int64) (tlog.TreeProof, error) {
	return consistency(ctx, c.as(team), older, newer)
}

// Registry asks rendezvousd which of a team's agents are online.
func (c *Signed) Registry(ctx context.Context, team string, kids []key.Kid) (RegistryAnswer, error) {
	return ask[RegistryAnswer](ctx, c.as(team), &call{method: "POST", path: "/v1/registry", in: RegistryRequest{Kids: kids}})
}
