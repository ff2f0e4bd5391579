package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// refreshBefore is how long before its end an access token is replaced.
const refreshBefore = time.Minute

// Options are what a member's client needs.
type Options struct {
	URL      string           // of apid
	TeamID   string           // the team's routing name; empty only before a team is founded
	Identity key.Identity     // of the device
	HTTP     *http.Client     // nil: a client with bounds of its own; redirects are never followed
	Now      func() time.Time // nil: time.Now
}

// A Client speaks to apid, and to rendezvousd, as one device of a member. It
// signs in by itself and keeps its access token fresh. It is safe for concurrent
// use. Every method returns a *ProblemError when the server says no or does not
// answer.
type Client struct {
	base     *url.URL
	teamID   string
	identity key.Identity
	http     *http.Client
	now      func() time.Time
	pause    time.Duration // before a lost stream of events is opened again

	signingIn chan struct{} // holds one value; who has it may sign in

	mu     sync.Mutex
	token  TokenAnswer
	until  time.Time
	nonces map[string]string // by host; at most maxHosts
}

// maxHosts bounds the servers whose nonces a client remembers: apid and the
// rendezvous nodes of its team.
const maxHosts = 16

// NewClient makes a client. It does not touch the network.
func NewClient(o Options) (*Client, error) {
	base, err := ParseBase(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Identity.IsZero() {
		return nil, errors.New("wire: a client needs the identity of a device")
	}
	c := &Client{base: base, teamID: o.TeamID, identity: o.Identity, http: httpClient(o.HTTP), now: o.Now, pause: firstPause,
		signingIn: make(chan struct{}, 1), nonces: make(map[string]string)}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// CloseIdle closes the connections that no request uses now. The client stays
// usable.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// SignIn gives the present access token, and gets a new one when there is none
// or it ends soon. The other methods call it by themselves.
func (c *Client) SignIn(ctx context.Context) (TokenAnswer, error) {
	return c.Renew(ctx, refreshBefore)
}

// Renew is SignIn where the token must be good for at least that long: for who will
// need it when apid may not be there.
func (c *Client) Renew(ctx context.Context, least time.Duration) (TokenAnswer, error) {
	return c.enter(ctx, least, nil)
}

// enter is Renew that asks for a session too, if it must sign in for the token.
func (c *Client) enter(ctx context.Context, least time.Duration, session *SessionRequest) (TokenAnswer, error) {
	if t, ok := c.fresh(least); ok {
		return t, nil
	}
	select {
	case c.signingIn <- struct{}{}:
		defer func() { <-c.signingIn }()
	case <-ctx.Done():
		return TokenAnswer{}, noAnswer(c.base.Host, ctx.Err())
	}
	if t, ok := c.fresh(least); ok { // somebody else did it meanwhile
		return t, nil
	}
	asked := c.now()
	t, err := ask[TokenAnswer](ctx, c.do, &call{method: "POST", path: "/v1/token", in: TokenRequest{TeamID: c.teamID, Session: session}, open: true})
	if err != nil {
		return TokenAnswer{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.until = t, asked.Add(time.Duration(t.ExpiresIn)*time.Second)
	c.token.Session, c.token.Problem = nil, nil // they were for this one question
	return t, nil
}

func (c *Client) fresh(least time.Duration) (TokenAnswer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token, c.token.AccessToken != "" && c.now().Add(least).Before(c.until)
}

// forget drops a token that a server did not take.
func (c *Client) forget(accessToken string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.AccessToken == accessToken {
		c.token = TokenAnswer{}
	}
}

func (c *Client) nonce(host string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nonces[host]
}

func (c *Client) setNonce(host, nonce string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if nonce == "" || len(nonce) > 256 {
		return
	}
	if _, known := c.nonces[host]; !known && len(c.nonces) >= maxHosts {
		clear(c.nonces)
	}
	c.nonces[host] = nonce
}

// Greet makes the first call to the server at a URL cheaper, by round trips that
// then have happened: a connection is there, and a nonce. It asks for nothing, and
// what comes of it does not matter.
func (c *Client) Greet(ctx context.Context, server string) {
	base, err := ParseBase(server)
	if err != nil || c.nonce(base.Host) != "" {
		return
	}
	_ = c.do(ctx, &call{base: base, method: "GET", path: "/v1/server", open: true})
}

// do sends one call and reads its answer.
func (c *Client) do(ctx context.Context, k *call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+k.wait)
	defer cancel()
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	return k.finish(resp)
}

// send signs and sends a call: once more with the server's nonce when it wants
// one, and once more with a new token when it does not take ours. Both refusals
// come before any effect. An answer that it returns has a status of 2xx.
func (c *Client) send(ctx context.Context, k *call) (*http.Response, error) {
	if k.base == nil {
		k.base = c.base
	}
	body, sum, err := k.body()
	if err != nil {
		return nil, err
	}
	nonceTried, tokenTried := false, false
	for {
		var access string
		if !k.open {
			t, err := c.SignIn(ctx)
			if err != nil {
				return nil, err
			}
			access = t.AccessToken
		}
		header, err := c.headers(k, access, sum)
		if err != nil {
			return nil, err
		}
		resp, err := k.send(ctx, c.http, body, header)
		if err != nil {
			return nil, err
		}
		c.setNonce(k.base.Host, resp.Header.Get(HeaderDPoPNonce))
		if resp.StatusCode/100 == 2 {
			return resp, nil
		}
		refusal := (&call{base: k.base}).finish(resp)
		var p *ProblemError
		switch {
		case !errors.As(refusal, &p) || p.Status != http.StatusUnauthorized:
			return nil, refusal
		case p.Kind() == KindNonce && !nonceTried:
			nonceTried = true
		case p.Kind() != KindNonce && !k.open && !tokenTried:
			tokenTried = true
			c.forget(access)
		default:
			return nil, refusal
		}
	}
}

// headers makes the request's Authorization and DPoP headers.
func (c *Client) headers(k *call, access string, body [32]byte) (http.Header, error) {
	proof, err := token.SignDPoP(c.identity, token.DPoPClaims{
		Method:      k.method,
		URL:         k.url(false),
		AccessToken: access,
		Nonce:       c.nonce(k.base.Host),
		BodySHA256:  body,
		Now:         c.now(),
	})
	if err != nil {
		return nil, fmt.Errorf("wire: sign the request: %w", err)
	}
	h := http.Header{}
	h.Set(HeaderDPoP, proof)
	if access != "" {
		h.Set("Authorization", "DPoP "+access)
	}
	return h, nil
}

// Server asks apid for its public keys and the addresses of the other servers.
func (c *Client) Server(ctx context.Context) (ServerInfo, error) {
	return ask[ServerInfo](ctx, c.do, &call{method: "GET", path: "/v1/server", open: true})
}

// Found gives a new team's genesis to apid.
func (c *Client) Found(ctx context.Context, genesis []byte) (Founded, error) {
	return ask[Founded](ctx, c.do, &call{method: "POST", path: "/v1/teams", in: FoundRequest{Genesis: genesis}, open: true})
}

// Roster gives the statements after a sequence number.
func (c *Client) Roster(ctx context.Context, after uint64) (RosterPage, error) {
	return ask[RosterPage](ctx, c.do, &call{method: "GET", path: "/v1/roster", query: rosterQuery(after)})
}

// AppendStatements adds signed statements to the roster, all or none, and gives
// the new head.
func (c *Client) AppendStatements(ctx context.Context, statements ...[]byte) (Head, error) {
	out, err := ask[StatementsAnswer](ctx, c.do, &call{method: "POST", path: "/v1/roster/statements", in: StatementsRequest{Statements: statements}})
	return out.Head, err
}

// Restart asks how the team's log stands, or has it go on from an older state: see
// RestartRequest.
func (c *Client) Restart(ctx context.Context, statements ...[]byte) (RestartAnswer, error) {
	return ask[RestartAnswer](ctx, c.do, &call{method: "POST", path: "/v1/restart", in: RestartRequest{TeamID: c.teamID, Statements: statements}, open: true})
}

// Proposals gives the changes of the roster that wait for more admins' signatures.
func (c *Client) Proposals(ctx context.Context) ([]Proposal, error) {
	out, err := ask[ProposalsPage](ctx, c.do, &call{method: "GET", path: "/v1/roster/proposals"})
	return out.Proposals, err
}

// Propose leaves such a change for other admins, or adds signatures to it, and gives it
// with the signatures of all.
func (c *Client) Propose(ctx context.Context, statements ...[]byte) (Proposal, error) {
	return ask[Proposal](ctx, c.do, &call{method: "POST", path: "/v1/roster/proposals", in: ProposalRequest{Statements: statements}})
}

// WithdrawProposal takes such a change out of apid's box.
func (c *Client) WithdrawProposal(ctx context.Context, id token.ID) error {
	return c.do(ctx, &call{method: "POST", path: "/v1/roster/proposals/" + id.String() + "/withdraw", in: struct{}{}})
}

// Agents gives one page of the team's agents' states, those with key ids after
// the cursor; an empty cursor begins.
func (c *Client) Agents(ctx context.Context, after string) (AgentsPage, error) {
	return ask[AgentsPage](ctx, c.do, &call{method: "GET", path: "/v1/agents", query: cursor(nil, after)})
}

func cursor(q url.Values, after string) url.Values {
	if q == nil {
		q = url.Values{}
	}
	if after != "" {
		q.Set("after", after)
	}
	return q
}

// Actor tells where apid has the chain of this device's proofs.
func (c *Client) Actor(ctx context.Context) (Actor, error) {
	return ask[Actor](ctx, c.do, &call{method: "GET", path: "/v1/actor"})
}

// RecordProof gives a proof of this device to the log, without any effect. A
// proof that is there already is answered alike.
func (c *Client) RecordProof(ctx context.Context, proof []byte) (Actor, error) {
	return ask[Actor](ctx, c.do, &call{method: "POST", path: "/v1/proofs", in: ProofRequest{Proof: proof}})
}

// OpenSession asks for a grant. ErrDenied and ErrHeld carry rule and line. Who is not
// signed in yet asks for the token with the same call.
func (c *Client) OpenSession(ctx context.Context, r SessionRequest) (SessionAnswer, error) {
	t, err := c.enter(ctx, refreshBefore, &r)
	switch {
	case errors.Is(err, ErrMalformed): // of an apid that knows only one question at a time
	case err != nil:
		return SessionAnswer{}, err
	case t.Session != nil:
		return *t.Session, nil
	case t.Problem != nil:
		return SessionAnswer{}, t.Problem
	}
	return ask[SessionAnswer](ctx, c.do, &call{method: "POST", path: "/v1/sessions", in: r})
}

// Sessions gives the team's latest sessions, newest first.
func (c *Client) Sessions(ctx context.Context) (SessionsPage, error) {
	return ask[SessionsPage](ctx, c.do, &call{method: "GET", path: "/v1/sessions"})
}

// Ask makes an approval of a held request.
func (c *Client) Ask(ctx context.Context, r AskRequest) (Approval, error) {
	return ask[Approval](ctx, c.do, &call{method: "POST", path: "/v1/approvals", in: r})
}

// Approvals gives one page of approvals in a state; an empty state means all.
func (c *Client) Approvals(ctx context.Context, state, after string) (ApprovalsPage, error) {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	return ask[ApprovalsPage](ctx, c.do, &call{method: "GET", path: "/v1/approvals", query: cursor(q, after)})
}

// Approval gives one approval. With a wait, at most MaxWait seconds, it answers
// when the approval is no longer pending, or when the time is over.
func (c *Client) Approval(ctx context.Context, id token.ID, wait time.Duration) (Approval, error) {
	wait = min(max(wait, 0), MaxWait*time.Second).Truncate(time.Second)
	q := url.Values{}
	if wait > 0 {
		q.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	return ask[Approval](ctx, c.do, &call{method: "GET", path: "/v1/approvals/" + id.String(), query: q, wait: wait})
}

// Decide gives a person's decision on an approval.
func (c *Client) Decide(ctx context.Context, id token.ID, d SealedDecision) (Approval, error) {
	return ask[Approval](ctx, c.do, &call{method: "POST", path: "/v1/approvals/" + id.String() + "/decision", in: d})
}

// Attend says that this member reads an approval to decide it, or with over does no more.
func (c *Client) Attend(ctx context.Context, id token.ID, over bool) error {
	_, err := ask[struct{}](ctx, c.do, &call{method: "POST", path: "/v1/approvals/" + id.String() + "/attention", in: AttentionRequest{Over: over}})
	return err
}

// Cancel takes an own ask back. proof has act "cancel".
func (c *Client) Cancel(ctx context.Context, id token.ID, proof []byte) (Approval, error) {
	return ask[Approval](ctx, c.do, &call{method: "POST", path: "/v1/approvals/" + id.String() + "/cancel", in: CancelRequest{Proof: proof}})
}

// Checkpoint gives the audit log's signed checkpoint.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	out, err := ask[Checkpoint](ctx, c.do, &call{method: "GET", path: "/v1/audit/checkpoint"})
	return out.Checkpoint, err
}

// Consistency gives the proof that the audit log of newer entries extends that of older.
func (c *Client) Consistency(ctx context.Context, older, newer int64) (tlog.TreeProof, error) {
	return consistency(ctx, c.do, older, newer)
}

func consistency(ctx context.Context, do func(context.Context, *call) error, older, newer int64) (tlog.TreeProof, error) {
	q := url.Values{"from": {strconv.FormatInt(older, 10)}, "to": {strconv.FormatInt(newer, 10)}}
	out, err := ask[Consistency](ctx, do, &call{method: "GET", path: "/v1/audit/consistency", query: q})
	if err == nil && len(out.Proof) > MaxConsistency {
		err = NewProblem(KindMalformed, fmt.Sprintf("a consistency proof of %d hashes, at most %d", len(out.Proof), MaxConsistency), "")
	}
	if err != nil {
		return nil, err
	}
	proof := make(tlog.TreeProof, len(out.Proof))
	for i, h := range out.Proof {
		proof[i] = tlog.Hash(h)
	}
	return proof, nil
}

// Entries gives at most n audit entries, beginning with index from.
func (c *Client) Entries(ctx context.Context, from uint64, n int) (EntriesPage, error) {
	q := url.Values{"from": {strconv.FormatUint(from, 10)}, "n": {strconv.Itoa(min(n, MaxEntries))}}
	return ask[EntriesPage](ctx, c.do, &call{method: "GET", path: "/v1/audit/entries", query: q})
}

// LogProof gives the proof that an entry is in the log.
func (c *Client) LogProof(ctx context.Context, index uint64) ([]byte, error) {
	q := url.Values{"index": {strconv.FormatUint(index, 10)}}
	out, err := ask[LogProof](ctx, c.do, &call{method: "GET", path: "/v1/audit/proof", query: q})
	return out.Proof, err
}

// Export writes the export of the audit log to w as it comes. Whoever reads it
// verifies it: a cut export does not verify.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	k := &call{method: "GET", path: "/v1/audit/export"}
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, io.LimitReader(resp.Body, maxExport+1))
	switch {
	case err != nil:
		return noAnswer(c.base.Host, err)
	case n > maxExport:
		return NewProblem(KindTooLarge, fmt.Sprintf("the export is longer than %d bytes", int64(maxExport)), "")
	}
	return nil
}

// Offer gives an offer to the rendezvous at a URL, and waits for the agent's
// answer.
func (c *Client) Offer(ctx context.Context, rendezvous string, o Offer) (OfferAnswer, error) {
	base, err := ParseBase(rendezvous)
	if err != nil {
		return OfferAnswer{}, err
	}
	return ask[OfferAnswer](ctx, c.do, &call{base: base, method: "POST", path: "/v1/offers", in: o})
}

// Finish sends the last handshake message of an offer.
func (c *Client) Finish(ctx context.Context, rendezvous string, id token.ID, f Finish) error {
	base, err := ParseBase(rendezvous)
	if err != nil {
		return err
	}
	return c.do(ctx, &call{base: base, method: "POST", path: "/v1/offers/" + id.String() + "/finish", in: f})
}
