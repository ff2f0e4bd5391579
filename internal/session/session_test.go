package session

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// pair gives the two configurations of one session.
func pair(t testing.TB) (operator, agent Config) {
	t.Helper()
	var seedO, seedA [32]byte
	seedO[0], seedA[0] = 1, 2
	o, a := key.IdentityFromSeed(seedO), key.IdentityFromSeed(seedA)
	base := Config{ID: ID{1, 2, 3}, TeamFP: [32]byte{4}, BundleHash: [32]byte{5}}
	operator, agent = base, base
	operator.Self, operator.Peer = o, a.Public()
	agent.Self, agent.Peer = a, o.Public()
	operator.Evidence = Evidence{RosterSeq: 7, RosterHash: [32]byte{7}, Time: time.Unix(1_800_000_000, 0).UTC(), Checkpoint: []byte("operator's checkpoint")}
	agent.Evidence = Evidence{RosterSeq: 8, RosterHash: [32]byte{8}, Time: time.Unix(1_800_000_001, 0).UTC(), Checkpoint: []byte("agent's checkpoint")}
	return operator, agent
}

// shake runs a handshake that must succeed.
func shake(t testing.TB, operator, agent Config) (o, a *Established) {
	t.Helper()
	i, hs1, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := Respond(agent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	hs3, o, err := i.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	a, err = r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	return o, a
}

// accept lets the operator see the agent's ACCEPT.
func accept(t testing.TB, o, a *Established) {
	t.Helper()
	d, err := a.Records().Accept(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, kind, err := o.Records().Open(nil, d); err != nil || kind != KindAccept {
		t.Fatalf("ACCEPT: kind %d, %v", kind, err)
	}
}

func equalEvidence(a, b Evidence) bool {
	return a.RosterSeq == b.RosterSeq && a.RosterHash == b.RosterHash && a.Time.Equal(b.Time) && bytes.Equal(a.Checkpoint, b.Checkpoint)
}

func TestHandshake(t *testing.T) {
	for _, suites := range [][]Suite{nil, {SuiteClassic}, {SuiteHybrid}, {SuiteClassic, SuiteHybrid}} {
		operator, agent := pair(t)
		operator.Suites = suites
		o, a := shake(t, operator, agent)
		want := SuiteHybrid
		if len(suites) > 0 {
			want = suites[0]
		}
		if o.Suite != want || a.Suite != want {
			t.Errorf("suites %v: got %v and %v, want %v", suites, o.Suite, a.Suite, want)
		}
		if !equalEvidence(o.Peer, agent.Evidence) || !equalEvidence(a.Peer, operator.Evidence) {
			t.Error("evidence differs from what was sent")
		}
		if o.ID != operator.ID || a.ID != operator.ID || o.PeerKid != agent.Self.Kid() || a.PeerKid != operator.Self.Kid() {
			t.Error("session id or peer differ")
		}
		eo, err1 := o.Exporter("x", 48)
		ea, err2 := a.Exporter("x", 48)
		other, err3 := a.Exporter("y", 48)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(eo, ea) || bytes.Equal(ea, other) {
			t.Error("exporters must agree for one label and differ between labels")
		}
		accept(t, o, a)
		for _, text := range []string{"", "x", "trailing zeros \x00\x00\x00", string(make([]byte, 1200)), string(make([]byte, MaxPayload))} {
			for _, way := range []struct{ from, to *Records }{{o.Records(), a.Records()}, {a.Records(), o.Records()}} {
				d, err := way.from.Seal(nil, []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				got, kind, err := way.to.Open(nil, d)
				if err != nil || kind != KindData || string(got) != text {
					t.Fatalf("payload of %d bytes: kind %d, %d bytes, %v", len(text), kind, len(got), err)
				}
				if _, _, err := way.to.Open(nil, d); !errors.Is(err, ErrRecord) {
					t.Fatalf("replayed record: %v", err)
				}
			}
		}
	}
}
