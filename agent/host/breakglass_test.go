package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

const glass = "break_glass: {members: [\"role:approver\"], quorum: 2, expires: 30m}\n"

// warranted makes an attempt one without a grant, for which people have signed.
func (w *world) warranted(a attempt, change func(*approval.Warrant), people ...person) attempt {
	var warrants [][]byte
	a.approve = func(base approval.Approval) [][]byte {
		for _, p := range people {
			one := approval.Warrant(base)
			one.Approver = p.key.Kid()
			if change != nil {
				change(&one)
			}
			b, err := approval.SignWarrant(p.key, one)
			w.must(err)
			warrants = append(warrants, b)
		}
		return nil
	}
	more := a.bundle
	a.bundle = func(b *token.Bundle) {
		b.Grant, b.Warrants = []byte{}, warrants
		if more != nil {
			more(b)
		}
	}
	return a
}

// A quorum's warrants open what a grant would have opened, once, and loudly.
func TestBreakGlass(t *testing.T) {
	w := newWorld(t)
	doc := fmt.Sprintf(testPolicy, w.user) + glass
	w.setPolicy(doc)
	w.start()
	argv, ran := canary(t)
	var used token.Bundle
	keep := func(b *token.Bundle) { used = *b }
	e := w.try(w.warranted(attempt{argv: argv, bundle: keep}, nil, w.bob, w.beth))
	if e.err != nil || !e.answer.Allowed() || e.exit.Code != 0 || !ran() {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	if !strings.Contains(w.logs.String(), "BREAK-GLASS") || !strings.Contains(w.logs.String(), "beth@example.com") || e.answer.Recording == "" {
		t.Errorf("not loud: %+v\n%s", e.answer, w.logs)
	}

	other := newPerson(t, "other").key
	refused := func(name string, a attempt) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "canary")
		if a.argv == nil {
			a.argv = []string{"touch", path}
		}
		e := w.try(a)
		if _, err := os.Stat(path); err == nil || e.answer.Allowed() {
			t.Errorf("%s: MUST NOT HAPPEN: it ran: %+v", name, e)
		}
	}
	refused("nobody", w.warranted(attempt{bundle: func(b *token.Bundle) { b.Warrants = used.Warrants[:1] }}, nil))
	refused("one of two", w.warranted(attempt{}, nil, w.bob))
	refused("the same human twice", w.warranted(attempt{}, nil, w.bob, w.bob2))
	refused("one who is none of them", w.warranted(attempt{}, nil, w.bob, w.carl))
	refused("one of them spoilt", w.warranted(attempt{bundle: func(b *token.Bundle) { b.Warrants[1][40] ^= 1 }}, nil, w.bob, w.beth))
	refused("by a stranger", w.warranted(attempt{by: &w.carl, kind: "shell"}, nil, w.bob, w.beth))
	refused("warrants of another session", w.warranted(attempt{argv: argv, bundle: func(b *token.Bundle) { b.Warrants = used.Warrants }}, nil, w.bob, w.beth))
	for name, change := range map[string]func(*approval.Warrant){
		"another agent":       func(a *approval.Warrant) { a.Agent = other.Kid() },
		"another session":     func(a *approval.Warrant) { a.SessionID = token.NewID() },
		"another operator":    func(a *approval.Warrant) { a.Operator = w.carl.key.Kid() },
		"another user":        func(a *approval.Warrant) { a.As = "daemon" },
		"another command":     func(a *approval.Warrant) { a.Command.Argv = []string{"touch", "x"} },
		"another policy":      func(a *approval.Warrant) { a.PolicyHash = envelope.Sum(nil) },
		"another team":        func(a *approval.Warrant) { a.TeamFP = envelope.Sum(nil) },
		"a newer roster":      func(a *approval.Warrant) { a.RosterHead.Seq++ },
		"expired by a second": func(a *approval.Warrant) { a.Decided -= 302; a.UseUntil -= 301 },
	} {
		refused(name, w.warranted(attempt{}, change, w.bob, w.beth))
	}
	refused("a denied tier", w.warranted(attempt{argv: []string{"mkfs", "/dev/null"}}, nil, w.bob, w.beth))
	refused("a kind that is not judged", w.warranted(attempt{kind: "copy"}, nil, w.bob, w.beth))

	// Approvals are no warrants, and warrants no approvals.
	yes := w.approvedBy(w.bob, w.beth)
	var approvals [][]byte
	refused("approvals in place of warrants", attempt{
		approve: func(a approval.Approval) [][]byte { approvals = yes(a); return nil },
		bundle:  func(b *token.Bundle) { b.Grant, b.Warrants = []byte{}, approvals },
	})
	swapped := w.warranted(attempt{}, nil, w.bob, w.beth)
	swap := swapped.bundle
	swapped.bundle = func(b *token.Bundle) {
		grant := b.Grant
		swap(b)
		b.Grant, b.Approvals, b.Warrants = grant, b.Warrants, nil
	}
	refused("warrants in place of approvals", swapped)

	// Who was revoked counts no more; and where policy does not opt in, nobody does.
	w.state(roster.KindRevoke, roster.Revoke{Kid: w.beth.key.Kid(), Reason: "lost"})
	w.must(w.refreshAgent())
	refused("a device that was revoked", w.warranted(attempt{}, nil, w.bob, w.beth))
	w.setPolicy(strings.TrimSuffix(doc, glass))
	w.must(w.refreshAgent())
	refused("a policy that does not opt in", w.warranted(attempt{}, nil, w.bob, w.bob2))

	loud := 0
	for _, b := range w.evidence() {
		if b.Type == audit.SessionStart && b.Policy.Rule == "break_glass" && strings.Contains(b.Outcome.Reason, "bob@example.com, beth@example.com") {
			loud++
		}
	}
	if loud != 2 { // the one that ran, and the one whose command is denied
		t.Errorf("%d entries say that a session began by break-glass", loud)
	}
}
