package drills

import (
	"testing"

	"github.com/tucdesk/tucdesk/internal/roster"
)

// TestHonest: while nobody attacks, everything works. Without it the drills would
// prove nothing.
func TestHonest(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.as("alice"), w.as("bob")
	low, held, denied := w.canary(1), w.canary(1), w.canary(0)
	if _, err := alice.run("web-1", low.low()); err != nil || low.touched() != 1 {
		t.Fatalf("a harmless command: %v\n%s", err, w.machines["web-1"].logs.String())
	}
	if _, err := alice.run("web-1", held.held()); err == nil {
		t.Error("a held command ran without an approval")
	}
	id := alice.ask("web-1", held.held())
	w.must(bob.decide(id))
	w.must(alice.await(id))
	if _, err := alice.use("web-1", held.held(), id); err != nil || held.touched() != 1 {
		t.Fatalf("an approved command: %v\n%s", err, w.machines["web-1"].logs.String())
	}
	if _, err := alice.run("web-1", denied.denied()); err == nil {
		t.Error("a denied command ran")
	}
	// A device that has not heard of the newest statement asks again by itself.
	w.publish(roster.KindThreshold, roster.Threshold{K: uint64(w.homes["carol"].Roster().Threshold())})
	alice.fine("web-1")
	if r := w.verify(w.export("dora")); r.ExitCode() != 0 {
		t.Errorf("the log: %v", r.Problems)
	}
	w.verdict()
}
