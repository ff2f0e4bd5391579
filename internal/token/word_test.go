package token_test

import (
	"strings"
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
	says := token.Posture{OS: "linux/amd64", Version: "v1", Gate: "kernel", Booted: 5}
	posture, err := token.SignHeartbeat(web, token.Heartbeat{Agent: web.Kid(), Registration: head.Hash, Seq: 1, Time: now.Unix(), RosterHead: head, Posture: &says})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := token.LastPosture(posture, web.Public()); !ok || got != says {
		t.Errorf("posture %+v %v", got, ok)
	}
	if _, ok := token.LastPosture(posture, other.Public()); ok {
		t.Error("anybody's posture counts")
	}
	if got, ok := token.LastPosture(beat(web), web.Public()); ok {
		t.Errorf("a heartbeat without one says %+v", got)
	}
	if got, ok := token.LastPosture(registration, web.Public()); !ok || got != (token.Posture{}) {
		t.Errorf("a registration says %+v %v", got, ok)
	}
	for _, bad := range []token.Posture{{OS: strings.Repeat("x", 65)}, {Gate: "\xff"}, {Booted: -1}} {
		if _, err := token.SignHeartbeat(web, token.Heartbeat{Agent: web.Kid(), Registration: head.Hash, Seq: 1, Time: now.Unix(), RosterHead: head, Posture: &bad}); err == nil {
			t.Errorf("%+v was signed", bad)
		}
	}
	for name, b := range map[string][]byte{"another's": beat(other), "noise": []byte("noise"), "none": nil} {
		if _, _, ok := token.LastWord(b, web.Public()); ok {
			t.Errorf("%s counts", name)
		}
	}
}
