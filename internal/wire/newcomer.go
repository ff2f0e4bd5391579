package wire

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// The routes of newcomers, at apid for devices and at rendezvousd for agents.
// What they carry is of internal/contact, and bound past the server.

// NewcomerRequest is POST /v1/newcomers, which asks nobody who they are.
type NewcomerRequest struct {
	Topic   envelope.Hash `json:"topic"`
	Request []byte        `json:"request"`
}

// NewcomerPlace answers it: under this id the answers will be. The same request
// under the same topic has the same id.
type NewcomerPlace struct {
	ID token.ID `json:"id"`
}

// NewcomerAnswers answers GET /v1/newcomers/{id}?have=N&wait=S, which asks nobody
// who they are: once there are more than N answers, or after S seconds.
type NewcomerAnswers struct {
	Answers [][]byte `json:"answers"`
}

// Newcomers answers GET /v1/newcomers?topic=T&have=N&wait=S of a member.
type Newcomers struct {
	Newcomers []Newcomer `json:"newcomers"`
}

// Newcomer is one request under a topic.
type Newcomer struct {
	ID      token.ID `json:"id"`
	Request []byte   `json:"request"`
}

// NewcomerAnswer is POST /v1/newcomers/{id}/answer of a member.
type NewcomerAnswer struct {
	Answer []byte `json:"answer"`
}

// Nothing is the answer of a route that has nothing to say.
type Nothing struct{}

// ReceiptsRequest is POST /v1/receipts at rendezvousd, of a member.
type ReceiptsRequest struct {
	Kids []key.Kid `json:"kids"` // at most MaxAgents
}

// ReceiptsAnswer gives for each agent its latest registration or heartbeat, as
// the agent signed it: each names the roster head that the agent has. It is empty
// for one that is not online.
type ReceiptsAnswer struct {
	Receipts [][]byte `json:"receipts"`
}

// at gives the base URL of a server; empty is the client's own.
func (c *Client) at(server string) (*url.URL, error) {
	if server == "" {
		return c.base, nil
	}
	return ParseBase(server)
}

// askAt is ask at another server than the client's own.
func askAt[T any](ctx context.Context, c *Client, server string, k *call) (T, error) {
	base, err := c.at(server)
	if err != nil {
		var none T
		return none, err
	}
	k.base = base
	return ask[T](ctx, c.do, k)
}

func waiting(have int, wait time.Duration) (url.Values, time.Duration) {
	wait = min(max(wait, 0), MaxWait*time.Second).Truncate(time.Second)
	return url.Values{"have": {strconv.Itoa(have)}, "wait": {strconv.Itoa(int(wait / time.Second))}}, wait
}

// PostNewcomer puts a newcomer's request into the mailbox of a server (empty:
// the client's own). It needs no team.
func (c *Client) PostNewcomer(ctx context.Context, server string, r NewcomerRequest) (token.ID, error) {
	out, err := askAt[NewcomerPlace](ctx, c, server, &call{method: "POST", path: "/v1/newcomers", in: r, open: true})
	return out.ID, err
}

// NewcomerAnswers waits, at most MaxWait seconds, for more than have answers. It
// needs no team.
func (c *Client) NewcomerAnswers(ctx context.Context, server string, id token.ID, have int, wait time.Duration) ([][]byte, error) {
	q, wait := waiting(have, wait)
	out, err := askAt[NewcomerAnswers](ctx, c, server, &call{method: "GET", path: "/v1/newcomers/" + id.String(), query: q, wait: wait, open: true})
	return out.Answers, err
}

// Newcomers waits, at most MaxWait seconds, for more than have requests under a
// topic.
func (c *Client) Newcomers(ctx context.Context, server string, topic envelope.Hash, have int, wait time.Duration) ([]Newcomer, error) {
	q, wait := waiting(have, wait)
	q.Set("topic", topic.String())
	out, err := askAt[Newcomers](ctx, c, server, &call{method: "GET", path: "/v1/newcomers", query: q, wait: wait})
	return out.Newcomers, err
}

// AnswerNewcomer answers one.
func (c *Client) AnswerNewcomer(ctx context.Context, server string, id token.ID, answer []byte) error {
	_, err := askAt[Nothing](ctx, c, server, &call{method: "POST", path: "/v1/newcomers/" + id.String() + "/answer", in: NewcomerAnswer{Answer: answer}})
	return err
}

// PushStatements gives signed statements to a rendezvous, which passes them on to
// the team's agents at once, and tells its head.
func (c *Client) PushStatements(ctx context.Context, rendezvous string, statements ...[]byte) (Head, error) {
	out, err := askAt[StatementsAnswer](ctx, c, rendezvous, &call{method: "POST", path: "/v1/roster/statements", in: StatementsRequest{Statements: statements}})
	return out.Head, err
}

// Receipts asks a rendezvous which roster heads agents have signed.
func (c *Client) Receipts(ctx context.Context, rendezvous string, kids []key.Kid) ([][]byte, error) {
	out, err := askAt[ReceiptsAnswer](ctx, c, rendezvous, &call{method: "POST", path: "/v1/receipts", in: ReceiptsRequest{Kids: kids}})
	return out.Receipts, err
}
