package api

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/fault"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// verdicts counts the log's entries about a session.
func (c *crew) verdicts(t *testing.T, session token.ID) (n int) {
	t.Helper()
	err := c.s.store.View(t.Context(), c.name, func(tx store.Tx) error {
		size, err := tx.Audit.Size()
		if err != nil {
			return err
		}
		entries, err := tx.Audit.Entries(0, int(size))
		if err != nil {
			return err
		}
		for _, b := range entries {
			u, err := audit.ParseEntry(b)
			if err != nil {
				return err
			}
			e, err := u.InsecureEntry()
			if err != nil {
				return err
			}
			if e.Type == audit.Verdict && e.SessionID == session {
				n++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whichever call of the store fails, before its effect or after, sending the
// same proof again gives one grant, and the log has one entry of it.
func TestGrantSurvivesFaults(t *testing.T) { onEach(t, grantSurvivesFaults) }

func grantSurvivesFaults(t *testing.T, s *server) {
	c := newCrew(t, s, "acme")
	good := s.store
	defer func() { s.Server.store = good }()
	for _, side := range []fault.When{fault.Before, fault.After} {
		for call := 1; ; call++ {
			session := token.NewID()
			asked, err := c.alice.ask(c.prod.Kid(), session)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.bob.decide(asked, true); err != nil {
				t.Fatal(err)
			}
			request := wire.SessionRequest{
				Proof: c.alice.sign(c.alice.proof(token.ActSession, c.prod.Kid(), session)), Approvals: []token.ID{asked.ID},
			}
			plan := &fault.Plan{Call: call, When: side}
			s.Server.store = fault.Store(good, plan)
			_, err = c.alice.client.OpenSession(t.Context(), request)
			s.Server.store = good
			name := fmt.Sprintf("%v call %d (%s)", side, call, plan.Hit())
			if plan.Hit() == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			// "Not found" is an answer, also with a failure behind it.
			if err == nil && plan.Hit() != "sessions.get" {
				t.Errorf("%s: a failed call was answered with a yes", name)
			}
			if _, err = c.alice.client.OpenSession(t.Context(), request); err != nil {
				t.Errorf("%s: again: %v", name, err)
			}
			if n := c.verdicts(t, session); n != 1 {
				t.Errorf("%s: %d entries", name, n)
			}
			if a, err := c.alice.client.Approval(t.Context(), asked.ID, 0); err != nil || a.State != wire.Used {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
			s.clock.Advance(1e9) // the rate limits are not what is tested here
		}
	}
}

// One approval is one grant, however many requests come at once.
func TestOneApprovalManyRequests(t *testing.T) { onEach(t, oneApprovalManyRequests) }

func oneApprovalManyRequests(t *testing.T, s *server) {
	c := newCrew(t, s, "acme")
	session := token.NewID()
	asked, err := c.alice.ask(c.prod.Kid(), session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.bob.decide(asked, true); err != nil {
		t.Fatal(err)
	}
	request := wire.SessionRequest{
		Proof: c.alice.sign(c.alice.proof(token.ActSession, c.prod.Kid(), session)), Approvals: []token.ID{asked.ID},
	}
	grants := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(grants) {
		wg.Go(func() {
			answer, err := c.alice.client.OpenSession(t.Context(), request)
			if err != nil {
				t.Error(err)
			}
			grants <- string(answer.Grant)
		})
	}
	wg.Wait()
	close(grants)
	first := <-grants
	for g := range grants {
		if g != first {
			t.Error("two grants for one approval")
		}
	}
	if n := c.verdicts(t, session); n != 1 {
		t.Errorf("%d entries", n)
	}
}
