package token_test

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Only the agent's own signature counts, over a heartbeat or a registration.
func TestLastWord(t *testing.T) {
	web, other := key.IdentityFromSeed([32]byte{1}), key.IdentityFromSeed([32]byte{2})
	now := time.Unix(1_795_000_000, 0)
	head := token.Head{Seq: 7, Hash: envelope.Sum([]byte("x"))}
	beat := func(by key.Identity) []byte {
		b, err := token.SignHeartbeat(by, token.Heartbeat{Agent: by.Kid(), Registration: head.Hash, Seq: 1, Time: now.Unix(), RosterHead: head})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	registration, err := token.SignRegistration(web, token.Registration{
		TeamFP: head.Hash, TeamID: "acme", Agent: web.Kid(), Audience: "https://rendezvous", Time: now.Unix(), Nonce: token.NewID(), RosterHead: head,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"heartbeat": beat(web), "registration": registration} {
		if h, at, ok := token.LastWord(b, web.Public()); !ok || h != head || !at.Equal(now) {
			t.Errorf("%s: %v %v %v", name, h, at, ok)
		}
	}
	for name, b := range map[string][]byte{"another's": beat(other), "noise": []byte("noise"), "none": nil} {
		if _, _, ok := token.LastWord(b, web.Public()); ok {
			t.Errorf("%s counts", name)
		}
	}
}
