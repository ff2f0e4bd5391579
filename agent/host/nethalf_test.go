//go:build unix

package host

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A network half that was taken over has uplink.Inside and nothing else. What it
// can do with offers that pass it is a drill (internal/e2e/drills); this is what
// only it can ask for.
func TestMaliciousNetworkHalf(t *testing.T) {
	w := newWorld(t)
	w.start()
	in := w.net.Inside
	argv, ran := canary(t)

	t.Run("it gives the session half no roster", func(t *testing.T) {
		before, _ := in.Head()
		other := newWorld(t)
		if err := in.Genesis(other.genesis); err == nil {
			t.Error("another team's genesis was taken")
		}
		mallory := newPerson(t, "mallory", "sre")
		forged, err := w.roster.Next(time.Now(), roster.KindMemberAdd, roster.MemberAdd{
			MemberID: "mallory", Email: "mallory@example.com", Roles: mallory.roles, Device: mallory.device(time.Now().Add(time.Hour)),
		}, mallory.key)
		if err != nil {
			t.Fatal(err)
		}
		for name, st := range map[string][]byte{"forged": forged, "another team's": other.roster.Statements(0)[0], "noise": []byte("noise")} {
			if err := in.Learn([][]byte{st}); err == nil {
				t.Errorf("%s statement was taken", name)
			}
		}
		if err := in.Confirm(wire.Head{Seq: before.Seq + 9, Hash: before.Hash}); err != nil {
			t.Error(err)
		}
		if now, _ := in.Head(); now != before {
			t.Errorf("the roster went from %v to %v", before, now)
		}
		if e := w.try(attempt{by: &mallory, argv: argv, approve: w.approvedBy(w.bob)}); !e.silent || ran() {
			t.Errorf("the invented operator: %+v", e)
		}
	})

	t.Run("what it has signed is nothing else", func(t *testing.T) {
		reg, err := in.Register()
		if err != nil {
			t.Fatal(err)
		}
		beat, err := in.Heartbeat(envelope.Sum(reg), 1)
		if err != nil {
			t.Fatal(err)
		}
		keys := envelope.One(w.agent)
		for _, b := range [][]byte{reg, beat} {
			u, err := token.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			for name, verify := range map[string]func() error{
				"a proof":    func() error { _, err := token.VerifySigned[token.Proof](u, keys); return err },
				"a grant":    func() error { _, err := token.VerifySigned[token.Grant](u, keys); return err },
				"a request":  func() error { _, err := token.VerifySigned[token.Request](u, keys); return err },
				"an ask":     func() error { _, err := token.VerifySigned[approval.Ask](u, keys); return err },
				"approval":   func() error { _, err := token.VerifySigned[approval.Approval](u, keys); return err },
				"a decision": func() error { _, err := token.VerifySigned[approval.Decision](u, keys); return err },
				"an entry":   func() error { _, err := token.VerifySigned[audit.Entry](u, keys); return err },
			} {
				if verify() == nil {
					t.Errorf("what it had signed is good as %s", name)
				}
			}
		}
	})

	t.Run("messages in any order and number start nothing", func(t *testing.T) {
		w.onlyOffer = true
		w.try(attempt{argv: argv, approve: w.approvedBy(w.bob)})
		w.onlyOffer = false
		half, end := w.last.offer, w.last.hs3
		in.Finish(wire.SignalFinish{SessionID: token.NewID(), HS3: end})
		for range 2 * live.MaxTries {
			in.Finish(wire.SignalFinish{SessionID: half.SessionID, HS3: slices.Repeat([]byte{7}, len(end))})
		}
		in.Finish(wire.SignalFinish{SessionID: half.SessionID, HS3: end}) // too late: too many were tried
		var flood sync.WaitGroup
		for range 4 * maxHalfOpen {
			flood.Go(func() {
				o := half
				o.SessionID = token.NewID()
				if _, err := in.Offer(context.Background(), o); err == nil {
					t.Error("an offer under another session's id was answered")
				}
			})
		}
		flood.Wait()
		if ran() {
			t.Error("the command ran")
		}
	})

	t.Run("entries that it swallows are missed", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		in := w.net.Inside
		w.setAPI(context.DeadlineExceeded) // what the agent owes stays in its hands
		if e := w.try(attempt{argv: []string{"true"}}); e.err != nil || !e.answer.Allowed() {
			t.Fatalf("%+v", e)
		}
		w.idle()
		owed := in.Owed(wire.MaxPost)
		if len(owed) == 0 {
			t.Fatal("the agent owes nothing")
		}
		last := owed[len(owed)-1].Seq
		if err := in.Handed(last); err != nil {
			t.Fatal(err)
		}
		w.setAPI(nil)
		if e := w.try(attempt{argv: []string{"true"}}); e.err != nil || !e.answer.Allowed() {
			t.Fatalf("%+v", e)
		}
		w.stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		var seen []uint64
		for _, b := range w.entries {
			u, err := audit.ParseEntry(b)
			w.must(err)
			e, err := u.InsecureEntry()
			w.must(err)
			seen = append(seen, e.Signer.Seq)
		}
		if !slices.Contains(seen, last+1) || slices.Contains(seen, last) {
			t.Errorf("numbers of the entries that arrived: %v; up to %d were swallowed", seen, last)
		}
	})
}
