package api

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/tucdesk/tucdesk/apid/api/usage"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// What relays say that sessions have used counts once, for the team whose sessions they
// are, and its auditors see it; who has not the relay's secret is not heard.
func TestRelayUsage(t *testing.T) {
	s := newServer(t)
	acme, eve := newCrew(t, s, "acme"), newCrew(t, s, "eve-corp")
	granted := func(c *crew) token.ID {
		id := token.NewID()
		if _, err := c.alice.open(c.staging.Kid(), id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	ours, theirs := granted(acme), granted(eve)
	began := s.clock.Now().UnixMilli()
	use := func(id token.ID, from, to int64, sent, received uint64) wire.RelayUse {
		return wire.RelayUse{Session: id, Began: began + from, Ended: began + to, Operator: sent, Agent: received}
	}
	report := func(vouch func([32]byte) string, uses ...wire.RelayUse) (int, []byte) {
		body := mustJSON(t, wire.RelayReport{Uses: uses})
		return s.send(t, "POST", "/v1/relay/usage", http.Header{wire.HeaderRequest: {vouch(envelope.Sum(body))}}, body)
	}
	secret := s.cfg.RelaySecret
	first := use(ours, 0, 60_000, 100, 2000)
	for range 2 { // its answer was lost
		if status, body := report(secret.Vouch, first, use(theirs, 0, 1000, 7, 8)); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	for range usage.MaxKnown { // as after a start: it remembers none of them
		s.usage.Granted(token.NewID(), "acme")
	}
	_, known := report(secret.Vouch, use(ours, 60_000, 90_500, 1, 1<<63), first)
	_, unknown := report(secret.Vouch, use(token.NewID(), 0, 1, 1, 1))
	if string(known) != string(unknown) {
		t.Errorf("a session that is there can be told: %s, %s", known, unknown)
	}

	for name, vouch := range map[string]func([32]byte) string{
		"another secret": cred.NewSecret().Vouch,
		"another body":   func([32]byte) string { return secret.Vouch([32]byte{}) },
		"nothing":        func([32]byte) string { return "" },
	} {
		if status, body := report(vouch, use(ours, 100_000, 200_000, 1, 1)); status != http.StatusUnauthorized {
			t.Errorf("with %s: %d %s", name, status, body)
		}
	}
	for name, uses := range map[string][]wire.RelayUse{
		"too many": make([]wire.RelayUse, wire.MaxUses+1), "an end before its begin": {use(ours, 2, 1, 0, 0)}, "no time": {{Session: ours}},
	} {
		if status, body := report(secret.Vouch, uses...); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}

	page, err := acme.dora.client.Usage(t.Context(), 0)
	want := wire.SessionUsage{
		ID: ours, Operator: acme.alice.id.Kid(), Target: acme.staging.Kid(), Started: s.clock.Now().Unix(), Seconds: 90, Sent: 101, Received: 1 << 53,
	}
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0] != want || page.Next != 0 {
		got, _ := json.Marshal(page)
		t.Errorf("%s, %v", got, err)
	}
	if _, err := acme.carol.client.Usage(t.Context(), 0); err != nil {
		t.Errorf("an admin: %v", err)
	}
	_, err = acme.alice.client.Usage(t.Context(), 0)
	wantProblem(t, err, wire.KindDenied)
}
