package api

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// ids are what a request may name: those of another team, or ones that never
// were.
type ids struct {
	team     string
	teamFP   envelope.Hash
	agent    key.Kid
	approval token.ID
	session  token.ID // recorded, of the agent
	event    token.ID
	proposal token.ID
}

// isolated says for each route how a member of one team asks for a thing of
// another. A route without a row fails the test.
var isolated = map[string]struct {
	none string // why the route names nothing that another team could own
	want int    // status; 404 unless a reason is given in `as`
	as   string
	ask  func(t *testing.T, eve *crew, of ids) (int, []byte)
}{
	"GET /v1/openapi.json":           {none: "the same for everybody"},
	"GET /v1/server":                 {none: "the same for everybody"},
	"POST /v1/teams":                 {none: "its input is a genesis, public to its team; TestFounding has the taken name"},
	"POST /v1/newcomers":             {none: "belongs to no team: it is for those who are in none"},
	"GET /v1/newcomers/{id}":         {none: "of no team; the id is the hash of the request, so who knows it made the request, or was shown it"},
	"GET /v1/newcomers":              {none: "of no team; the topic is derived from words, a key or a token, so who knows it was told"},
	"POST /v1/newcomers/{id}/answer": {none: "of no team; an answer is worth what its MAC or the words of its team are"},
	"GET /v1/actor":                  {none: "speaks of the caller only"},
	"GET /v1/agents":                 {none: "lists the team of the token; its cursor is a place, not a name to look up"},
	"GET /v1/sessions":               {none: "lists the team of the token"},
	"GET /v1/approvals":              {none: "lists the team of the token; its cursor is a number"},
	"GET /v1/usage":                  {none: "lists the team of the token; its cursor is a number"},
	"POST /v1/relay/usage":           {none: "of a relay, which is of no team; it is answered alike whatever it names (TestRelayUsage)"},
	"GET /v1/recordings":             {none: "lists the team of the token; its cursor is a number"},
	"GET /v1/roster/proposals":       {none: "of the team of the token"},
	"POST /v1/roster/proposals":      {none: "judged by the roster of the token's team; one of another team never fits it"},
	"GET /v1/audit/checkpoint":       {none: "of the team of the token"},
	"GET /v1/audit/entries":          {none: "numbers of the log of the token's team"},
	"GET /v1/audit/proof":            {none: "numbers of the log of the token's team"},
	"GET /v1/audit/export":           {none: "of the team of the token"},
	"POST /v1/roster/statements":     {none: "a statement is judged by the roster of the token's team; one of another team never fits it"},
	"POST /v1/token": {want: 401, as: "who is not on a roster is nobody", ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		body := mustJSON(t, wire.TokenRequest{TeamID: of.team})
		h := eve.s.dpopHeaders(t, eve.alice.id, "", token.DPoPClaims{Method: "POST", URL: eve.s.url + "/v1/token", BodySHA256: envelope.Sum(body)})
		return eve.s.send(t, "POST", "/v1/token", h, body)
	}},
	"POST /v1/restart": {want: 401, as: "who is no admin of the team is nobody", ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		body := mustJSON(t, wire.RestartRequest{TeamID: of.team})
		h := eve.s.dpopHeaders(t, eve.alice.id, "", token.DPoPClaims{Method: "POST", URL: eve.s.url + "/v1/restart", BodySHA256: envelope.Sum(body)})
		return eve.s.send(t, "POST", "/v1/restart", h, body)
	}},
	"GET /v1/roster": {want: 401, as: "who is not on a roster is nobody", ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.signedSend(t, eve.staging, "GET", "/v1/roster?team="+of.team, nil)
	}},
	"GET /v1/audit/consistency": {want: 401, as: "who is not on a roster is nobody", ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.signedSend(t, eve.staging, "GET", "/v1/audit/consistency?from=0&team="+of.team+"&to=1", nil)
	}},
	"GET /v1/events": {want: 200, as: "where it goes on is no thing of a team: it begins anew", ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return 200, wire.AppendEvent(nil, eve.bob.listen(t, of.event.String()).want(wire.EventReset))
	}},
	"POST /v1/entries": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		b, err := audit.NewChain(eve.staging, audit.Link{}).Next(audit.Entry{
			TeamFP: of.teamFP, TeamID: of.team, Type: audit.Exec, Timestamp: eve.s.clock.Now().Unix(), Action: "exec",
			Actor: audit.Party{Kid: eve.staging.Kid()}, Target: audit.Party{Kid: eve.staging.Kid()}, RosterHead: eve.roster.Head(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return eve.signedSend(t, eve.staging, "POST", "/v1/entries?team="+eve.name, mustJSON(t, wire.EntriesRequest{Entries: [][]byte{b}}))
	}},
	"POST /v1/recordings/{id}/segments": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		c := eve.capture(t, eve.staging, of.session)
		return eve.signedSend(t, eve.staging, "POST", "/v1/recordings/"+of.session.String()+"/segments?team="+eve.name, mustJSON(t, wire.SegmentRequest{Manifest: c.manifests[0]}))
	}},
	"PUT /v1/recordings/{id}/segments": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		c := eve.capture(t, eve.staging, of.session)
		return eve.signedSend(t, eve.staging, "PUT", "/v1/recordings/"+of.session.String()+"/segments?team="+eve.name, wire.AppendUpload(nil, c.manifests[0], c.segments[0]))
	}},
	"GET /v1/recordings/{id}": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.dora.send(t, "GET", "/v1/recordings/"+of.session.String(), nil)
	}},
	"GET /v1/recordings/{id}/segments/{n}": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.dora.send(t, "GET", "/v1/recordings/"+of.session.String()+"/segments/1", nil)
	}},
	"POST /v1/proofs": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		claims := eve.alice.proof(token.ActSession, of.agent, token.NewID())
		claims.TeamFP = of.teamFP
		return eve.alice.send(t, "POST", "/v1/proofs", mustJSON(t, wire.ProofRequest{Proof: eve.alice.sign(claims)}))
	}},
	"POST /v1/sessions": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		proof := eve.alice.sign(eve.alice.proof(token.ActSession, of.agent, token.NewID()))
		return eve.alice.send(t, "POST", "/v1/sessions", mustJSON(t, wire.SessionRequest{Proof: proof}))
	}},
	"POST /v1/approvals": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		proof := eve.alice.sign(eve.alice.proof(token.ActAsk, of.agent, token.NewID()))
		return eve.alice.send(t, "POST", "/v1/approvals", mustJSON(t, wire.AskRequest{
			ID: token.NewID(), Proof: proof, AskHash: envelope.Sum(nil), AskUntil: eve.s.clock.Now().Unix() + 60, Sealed: []byte("x"), Tier: "high",
		}))
	}},
	"GET /v1/approvals/{id}": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.bob.send(t, "GET", "/v1/approvals/"+of.approval.String(), nil)
	}},
	"POST /v1/approvals/{id}/decision": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		d := eve.bob.decision(wire.Approval{ID: of.approval, AskHash: envelope.Sum([]byte("an ask"))}, true)
		return eve.bob.send(t, "POST", "/v1/approvals/"+of.approval.String()+"/decision", mustJSON(t, d))
	}},
	"POST /v1/approvals/{id}/attention": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.bob.send(t, "POST", "/v1/approvals/"+of.approval.String()+"/attention", []byte("{}"))
	}},
	"POST /v1/roster/proposals/{id}/withdraw": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		return eve.carol.send(t, "POST", "/v1/roster/proposals/"+of.proposal.String()+"/withdraw", []byte("{}"))
	}},
	"POST /v1/approvals/{id}/cancel": {ask: func(t *testing.T, eve *crew, of ids) (int, []byte) {
		proof := eve.alice.sign(eve.alice.proof(token.ActCancel, eve.staging.Kid(), token.NewID()))
		return eve.alice.send(t, "POST", "/v1/approvals/"+of.approval.String()+"/cancel", mustJSON(t, wire.CancelRequest{Proof: proof}))
	}},
}

// send makes a member's request by hand and gives status and body.
func (p *person) send(t *testing.T, method, path string, body []byte) (int, []byte) {
	return p.on.s.send(t, method, path, p.headers(method, path, body), body)
}

// signedSend makes an agent's request by hand.
func (c *crew) signedSend(t *testing.T, id key.Identity, method, target string, body []byte) (int, []byte) {
	t.Helper()
	signed, err := token.SignRequest(id, token.Request{Method: method, URL: c.s.url + target, BodySHA256: envelope.Sum(body), Time: c.s.clock.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	return c.s.send(t, method, target, http.Header{wire.HeaderRequest: {signed}}, body)
}

func TestForeignIsUnknown(t *testing.T) {
	s := newServer(t)
	acme, eve := newCrew(t, s, "acme"), newCrew(t, s, "eve-corp")
	asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	recorded, _ := acme.recorded(t)
	event := acme.bob.listen(t, "").want(wire.EventReset).Stamp
	foreign := ids{acme.name, acme.roster.TeamFP(), acme.prod.Kid(), asked.ID, recorded, event, acme.carol.propose(t, 1).ID}
	unknown := ids{"nobody", envelope.Sum([]byte("nobody")), newIdentity(t).Kid(), token.NewID(), token.NewID(), token.NewID(), token.NewID()}
	for _, rt := range s.routes() {
		t.Run(rt.Label(), func(t *testing.T) {
			row, ok := isolated[rt.Label()]
			if !ok {
				t.Fatal("this route has no row: say how a foreign id is answered")
			}
			if row.none != "" {
				return
			}
			want := http.StatusNotFound
			if row.as != "" {
				want = row.want
			}
			status1, body1 := row.ask(t, eve, foreign)
			status2, body2 := row.ask(t, eve, unknown)
			if status1 != want || status2 != want {
				t.Errorf("foreign %d, unknown %d, want %d\n%s", status1, status2, want, body1)
			}
			if !bytes.Equal(body1, body2) {
				t.Errorf("a foreign thing can be told from one that never was:\n%s\n%s", body1, body2)
			}
		})
	}
	for label := range isolated {
		found := false
		for _, rt := range s.routes() {
			found = found || rt.Label() == label
		}
		if !found {
			t.Errorf("a row for a route that is no more: %s", label)
		}
	}
}

// A proof for another team's fingerprint, an approval of another team named in a
// session, and paths that are no routes are not found either.
func TestForeignInside(t *testing.T) {
	s := newServer(t)
	acme, eve := newCrew(t, s, "acme"), newCrew(t, s, "eve-corp")
	claims := eve.alice.proof(token.ActSession, eve.staging.Kid(), token.NewID())
	claims.TeamFP = acme.roster.TeamFP()
	_, err := eve.alice.client.OpenSession(t.Context(), wire.SessionRequest{Proof: eve.alice.sign(claims)})
	wantProblem(t, err, wire.KindNotFound)
	asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	_, err = eve.alice.open(eve.staging.Kid(), token.NewID(), asked.ID)
	wantProblem(t, err, wire.KindNotFound)
	_, want := eve.bob.send(t, "GET", "/v1/approvals/"+asked.ID.String(), nil)
	for _, path := range []string{"/", "/v1/approvals/nonsense", "/v2/agents"} {
		status, got := eve.bob.send(t, "GET", path, nil)
		if status != http.StatusNotFound || !bytes.Equal(got, want) {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
}
