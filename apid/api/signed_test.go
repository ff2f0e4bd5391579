package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// TestAgentRequestsAreSigned sends each route that agents use, as the table has
// it, without a signature of an agent of the team over exactly this request: 401,
// whatever else is true of it.
func TestAgentRequestsAreSigned(t *testing.T) {
	s := newServer(t)
	c, eve := newCrew(t, s, "acme"), newCrew(t, s, "eve-corp")
	revoked := newIdentity(t)
	c.append(t, roster.KindAgentAdd, roster.AgentAdd{
		Name: "gone-1", Public: revoked.Public(), Recipient: newRecipient(t), Tags: map[string]string{}, LoginUser: "ops", Exp: s.clock.Now().Unix() + 3600,
	})
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: revoked.Kid(), Reason: "sold"})
	routes := 0
	for _, rt := range s.Server.routes() {
		if rt.Who != door.Agent && rt.Who != door.Reader {
			continue
		}
		routes++
		path := strings.NewReplacer("{session}", token.NewID().String(), "{id}", token.NewID().String()).Replace(rt.Path) + "?team=acme"
		var body []byte
		if rt.Method != "GET" {
			body = []byte(`{"entries":[]}`)
		}
		sign := func(id key.Identity, change func(*token.Request)) http.Header {
			t.Helper()
			r := token.Request{Method: rt.Method, URL: s.url + path, BodySHA256: envelope.Sum(body), Time: s.clock.Now().Unix()}
			if change != nil {
				change(&r)
			}
			signed, err := token.SignRequest(id, r)
			if err != nil {
				t.Fatal(err)
			}
			return http.Header{wire.HeaderRequest: {signed}}
		}
		good := sign(c.staging, nil)
		if status, answer := s.send(t, rt.Method, path, good, body); status == http.StatusUnauthorized {
			t.Errorf("%s, signed by the agent: 401 %s", rt.Label(), answer)
		}
		twice := sign(c.staging, nil)
		twice[wire.HeaderRequest] = append(twice[wire.HeaderRequest], sign(c.staging, nil)[wire.HeaderRequest]...)
		for name, header := range map[string]http.Header{
			"unsigned":             nil,
			"by a stranger":        sign(newIdentity(t), nil),
			"by another team's":    sign(eve.staging, nil),
			"by a revoked agent":   sign(revoked, nil),
			"replayed":             good,
			"two signatures":       twice,
			"of another method":    sign(c.staging, func(r *token.Request) { r.Method = "DELETE" }),
			"of another path":      sign(c.staging, func(r *token.Request) { r.URL = s.url + "/v1/entries/x?team=acme" }),
			"of another team":      sign(c.staging, func(r *token.Request) { r.URL = strings.Replace(r.URL, "acme", "eve-corp", 1) }),
			"of another server":    sign(c.staging, func(r *token.Request) { r.URL = strings.Replace(r.URL, "127.0.0.1", "127.0.0.2", 1) }),
			"of another body":      sign(c.staging, func(r *token.Request) { r.BodySHA256 = envelope.Sum([]byte("other")) }),
			"of two minutes ago":   sign(c.staging, func(r *token.Request) { r.Time -= 120 }),
			"of two minutes hence": sign(c.staging, func(r *token.Request) { r.Time += 120 }),
			"garbage":              {wire.HeaderRequest: {"AAAA"}},
		} {
			status, answer := s.send(t, rt.Method, path, header, body)
			if status != http.StatusUnauthorized {
				t.Errorf("%s, %s: %d %s", rt.Label(), name, status, answer)
			}
		}
	}
	if routes < 3 {
		t.Errorf("only %d routes are agents'", routes)
	}
}
