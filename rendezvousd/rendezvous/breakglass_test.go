package rendezvous_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// A device of the roster may knock by its own signature where its team's policy has
// break-glass; nobody else, and nowhere else.
func TestBreakGlass(t *testing.T) {
	secret := cred.NewSecret()
	w := newWorld(t, func(c *rendezvous.Config) { c.RelaySecret = secret })
	session := token.NewID()
	relay := func(by key.Identity, team string) (wire.Relay, error) {
		c, err := wire.NewSigned(wire.SignedOptions{URL: w.url, Identity: by})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Offer(context.Background(), team, wire.Offer{SessionID: session, Agent: w.acme.web.Kid(), Sealed: []byte("s"), HS1: []byte("h"), Candidate: "127.0.0.1:1"})
		got, rerr := c.Relay(context.Background(), team, session)
		if errors.Is(err, wire.ErrUnavailable) && rerr == nil {
			err = nil // let in: the machine is offline
		}
		return got, errors.Join(err, rerr)
	}
	if _, err := relay(w.acme.admin, "acme"); !errors.Is(err, wire.ErrDenied) {
		t.Errorf("without break_glass: %v", err)
	}
	doc := []byte("version: 1\nmode: lockdown\nbreak_glass: {members: [\"role:admin\"], quorum: 1, expires: 30m}\n")
	w.acme.add(t, roster.KindPolicySet, roster.PolicySet{Version: 1, Hash: envelope.Sum(doc), Document: doc})
	w.rosters.put(w.acme.roster)
	got, err := relay(w.acme.admin, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for side, c := range map[cred.Side]wire.Credential{cred.Operator: got.Operator, cred.Agent: got.Agent} {
		name, err := cred.ParseName(c.Username)
		if err != nil || c.Password == "" || name.Session != [16]byte(session) || name.Side != side || time.Until(name.Expiry) > 31*time.Minute {
			t.Errorf("%v: %+v, %v", side, name, err)
		}
	}
	for name, by := range map[string]struct {
		id   key.Identity
		team string
	}{
		"an agent":              {w.acme.web, "acme"},
		"apid's grant key":      {w.acme.grant, "acme"},
		"another team's device": {w.other.admin, "acme"},
		"in another team":       {w.acme.admin, "other"},
		"in no team":            {w.acme.admin, ""},
		"a stranger":            {identity(9, 9), "acme"},
	} {
		if _, err := relay(by.id, by.team); !errors.Is(err, wire.ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
