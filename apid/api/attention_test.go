package api

import (
	"slices"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Who reads a request to decide it is shown to the others that see it, for a while; who
// may decide and listens is online. Neither keeps anybody from anything.
func TestAttention(t *testing.T) {
	s := newServer(t)
	acme := newCrew(t, s, "acme")
	alice, frank := acme.alice.listen(t, ""), acme.frank.listen(t, "")
	alice.want(wire.EventReset)
	frank.want(wire.EventReset)
	asked, err := acme.alice.ask(acme.prod.Kid(), token.NewID())
	if err != nil {
		t.Fatal(err)
	}
	alice.want(wire.EventApproval)
	see := func(p *person, want ...wire.Deciding) wire.Approval {
		t.Helper()
		one, err := p.client.Approval(t.Context(), asked.ID, 0)
		if err != nil || !slices.Equal(one.Deciding, want) {
			t.Errorf("%s sees %+v, %v, want %+v", p.id.Kid().Short(), one.Deciding, err, want)
		}
		page, err := p.client.Approvals(t.Context(), wire.Pending, "")
		if err != nil || len(page.Approvals) != 1 || !slices.Equal(page.Approvals[0].Deciding, want) || page.Approvals[0].Online != nil {
			t.Errorf("%s lists %+v, %v, want %+v", p.id.Kid().Short(), page.Approvals, err, want)
		}
		return one
	}
	attend := func(p *person, over bool) {
		t.Helper()
		if err := p.client.Attend(t.Context(), asked.ID, over); err != nil {
			t.Fatal(err)
		}
	}

	if one := see(acme.alice); one.Online != nil {
		t.Errorf("online: %q, and no approver listens", one.Online)
	}
	attend(acme.bob, false)
	if e := alice.want(wire.EventApproval); e.ID != asked.ID || e.State != wire.Pending {
		t.Errorf("told of %+v", e)
	}
	s.clock.Advance(12 * time.Second)
	see(acme.alice, wire.Deciding{Member: "bob", For: 12})
	see(acme.dora, wire.Deciding{Member: "bob", For: 12})
	see(acme.bob)           // not of oneself
	attend(acme.bob, false) // again: the time goes on
	s.clock.Advance(29 * time.Second)
	see(acme.alice, wire.Deciding{Member: "bob", For: 41})
	s.clock.Advance(time.Second)
	see(acme.alice)
	attend(acme.bob, false)
	alice.want(wire.EventApproval)
	see(acme.alice, wire.Deciding{Member: "bob"})
	attend(acme.bob, true)
	alice.want(wire.EventApproval)
	see(acme.alice)
	attend(acme.bob, true) // says nothing new

	for name, p := range map[string]*person{"the asker": acme.alice, "an auditor": acme.dora, "another": acme.frank} {
		err := p.client.Attend(t.Context(), asked.ID, false)
		if wantProblem(t, err, wire.KindDenied); t.Failed() {
			t.Fatal(name)
		}
	}
	see(acme.bob)
	listening := acme.bob.listen(t, "")
	listening.want(wire.EventReset)
	if one := see(acme.alice); !slices.Equal(one.Online, []string{"bob"}) {
		t.Errorf("online: %q, want bob alone", one.Online)
	}
	listening.stop()
	for deadline := time.Now().Add(30 * time.Second); see(acme.alice).Online != nil; {
		if time.Now().After(deadline) {
			t.Fatal("bob has gone and counts as online")
		}
		time.Sleep(10 * time.Millisecond)
	}

	attend(acme.bob, false)
	if _, err := acme.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	one, err := acme.alice.client.Approval(t.Context(), asked.ID, 0)
	if err != nil || one.State != wire.Approved || one.Deciding != nil || one.Online != nil {
		t.Errorf("approved: %+v, %v", one, err)
	}
	wantProblem(t, acme.bob.client.Attend(t.Context(), asked.ID, false), wire.KindDenied)
	if got := frank.last(t, s, acme); got == "" {
		t.Error("frank was told something else")
	}
}
