package api

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// proposal signs a change of the threshold, without sending it.
func (p *person) proposal(t *testing.T, k uint64) roster.Proposal {
	t.Helper()
	out, err := p.on.roster.Propose(p.on.s.clock.Now(), p.id, roster.Change{Kind: roster.KindThreshold, Body: roster.Threshold{K: k}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// propose leaves it in the box.
func (p *person) propose(t *testing.T, k uint64) wire.Proposal {
	t.Helper()
	out, err := p.client.Propose(t.Context(), p.proposal(t, k).Statements...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The box adds signatures up, shows admins what waits, and forgets what was overtaken.
func TestProposals(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	p := c.carol.propose(t, 1)
	if again := c.carol.propose(t, 1); again.ID != p.ID {
		t.Error("one proposal is two")
	}
	list, err := c.carol.client.Proposals(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != p.ID {
		t.Fatalf("%v %v", list, err)
	}
	if raw, err := (roster.Proposal{Statements: list[0].Statements}).ID(); err != nil || token.ID(raw) != p.ID {
		t.Errorf("another proposal than was left: %v", err)
	}
	_, err = c.alice.client.Proposals(t.Context())
	wantProblem(t, err, wire.KindDenied)
	_, err = c.alice.client.Propose(t.Context(), p.Statements...)
	wantProblem(t, err, wire.KindDenied)
	wantProblem(t, c.alice.client.WithdrawProposal(t.Context(), p.ID), wire.KindDenied)
	// What would not hold, and what no admin has signed, is not kept.
	_, err = c.carol.client.Propose(t.Context(), c.carol.proposal(t, 9).Statements...)
	wantProblem(t, err, wire.KindMalformed)
	_, err = c.carol.client.Propose(t.Context(), c.alice.proposal(t, 1).Statements...)
	wantProblem(t, err, wire.KindMalformed)
	_, err = c.carol.client.Propose(t.Context())
	wantProblem(t, err, wire.KindMalformed)

	if err := c.carol.client.WithdrawProposal(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, c.carol.client.WithdrawProposal(t.Context(), p.ID), wire.KindNotFound)
	p = c.carol.propose(t, 1)
	c.append(t, roster.KindRevoke, roster.Revoke{Kid: c.alice.id.Kid(), Reason: "lost"})
	if list, err = c.carol.client.Proposals(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	_, err = c.carol.client.Propose(t.Context(), p.Statements...)
	wantProblem(t, err, wire.KindConflict)
	for i := range 17 {
		_, err = c.carol.client.Propose(t.Context(), mustPropose(t, c, i).Statements...)
		if i < 16 && err != nil {
			t.Fatal(err)
		}
	}
	wantProblem(t, err, wire.KindTooMany)
}

func mustPropose(t *testing.T, c *crew, n int) roster.Proposal {
	t.Helper()
	p, err := c.roster.Propose(c.s.clock.Now().Add(time.Duration(n)*time.Second), c.carol.id, roster.Change{Kind: roster.KindThreshold, Body: roster.Threshold{K: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
