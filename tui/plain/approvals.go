package plain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/console/approvals"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/phrase"
	"github.com/tucdesk/tucdesk/tui/console/together"
)

// maxApprovals bounds what a backend can make this hold.
const maxApprovals = 10_000

// queue asks for the approvals, what can be decided first.
func (t *talk) queue(ctx context.Context) (*approvals.View, error) {
	q := &approvals.View{Able: true}
	ap, ok := backend.As[backend.Approver](t.b)
	if !ok {
		return q, nil
	}
	ctx, cancel := call(ctx)
	defer cancel()
	list, err := inquiry.All(ap.Pending(ctx), maxApprovals)
	if err != nil {
		return nil, err
	}
	q.Set(list, t.now())
	return q, nil
}

// count says how many wait for this member, if any do.
func (t *talk) count(ctx context.Context) {
	q, err := t.queue(ctx)
	if err != nil {
		t.failed("The queue of approvals did not come", err)
		return
	}
	if n := q.Pending(t.now()); n > 0 {
		t.say("Approvals that wait for you: %d.", n)
	}
}

// approvals lists the queue, and has one chosen.
func (t *talk) approvals(ctx context.Context) error {
	t.blank()
	if _, ok := backend.As[backend.Approver](t.b); !ok {
		t.say("This backend has no approvals.")
		return nil
	}
	q, err := t.queue(ctx)
	if err != nil {
		t.failed("The queue of approvals did not come", err)
		return nil
	}
	list := q.List
	if len(list) == 0 {
		t.say("Nothing waits for approval.")
		return nil
	}
	t.say("Approvals: %d.", len(list))
	for first := 0; first < len(list); first += pageSize {
		page := list[first:min(first+pageSize, len(list))]
		for i, a := range page {
			t.say("  %d. %s", first+i+1, t.request(q.Together(a)))
		}
		question := "Number of an approval:"
		if left := len(list) - first - len(page); left > 0 {
			question = fmt.Sprintf("Number of an approval, or n for the next %d:", min(left, pageSize))
		}
		n, more, err := t.pick(ctx, question, first+len(page))
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if n == 0 {
			return nil
		}
		return t.approval(ctx, q.Together(list[n-1]))
	}
	return nil
}

// request is an approval in one line.
func (t *talk) request(p together.Plan) string {
	a := p[0]
	s := fmt.Sprintf("%s on %s: %s. State: %s.",
		phrase.Brief(a.Operator), phrase.Brief(p.Place()), phrase.BriefRequest(a.Kind, a.Argv), approvals.StateWord(a, t.now()))
	if others := a.Reading(t.now()); others != "" {
		s += " " + phrase.Brief(others).String() + "."
	}
	return s
}

// approval says all of one, and has it decided.
func (t *talk) approval(ctx context.Context, p together.Plan) error {
	t.blank()
	t.say("A request.")
	t.paras(approvals.PlanParas(t.st, p, t.now()))
	a := p[0]
	if slices.ContainsFunc(p, func(a backend.Approval) bool { return !approvals.Decidable(a, t.now()) }) {
		t.say("There is nothing for you to decide here.")
		return nil
	}
	defer inquiry.Attend(ctx, t.b, a.ID)()
	if a.Turn != "" {
		t.say("A yes of yours is not asked for yet: you can deny.")
	}
	n, err := t.choose(ctx, "What do you decide?", "Approve", "Deny")
	if err != nil || n == 0 {
		return err
	}
	decision := backend.Decision{Approve: n == 1}
	switch {
	case n == 2:
		if decision.Reason, err = t.line(ctx, "Why not? They will read it. Enter alone goes back:"); err != nil || decision.Reason == "" {
			return err
		}
	case slices.ContainsFunc(p, approvals.Typed):
		word, called := p.Word()
		typed, err := t.line(ctx, "It is of high risk. Type "+called+" to approve:")
		if err != nil {
			return err
		}
		if typed != sanitize.Clean(word).String() {
			t.say("That is not %s. Nothing was decided.", called)
			return nil
		}
	}
	ctx, cancel := call(ctx)
	defer cancel()
	switch err := approvals.Decide(ctx, t.b, dialog.DoDecide{Seen: p, Decision: decision}); {
	case errors.Is(err, backend.ErrDecided):
		t.failed("Somebody was faster, or the time ran out", err)
	case err != nil:
		t.failed("Not decided", err)
	case decision.Approve:
		t.say("Approved: %s.", phrase.Brief(p.Place()))
	default:
		t.say("Denied: %s.", phrase.Brief(p.Place()))
	}
	return nil
}

// watchEvery is how often watch asks where nobody tells it of changes.
const watchEvery = 2 * time.Second

// watch says what changes until a line is typed.
func (t *talk) watch(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	typed := make(chan error, 1)
	t.blank()
	t.say("Watching. Press Enter to stop.")
	go func() {
		_, err := t.in.ReadString('\n')
		typed <- err
	}()
	states, asked := map[backend.TargetID]backend.State{}, map[backend.ApprovalID]string{}
	t.changes(watching, states, asked, true)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-typed:
			t.say("Stopped watching.")
			if err != nil {
				return errEnd
			}
			return nil
		case <-tick.C:
			t.changes(watching, states, asked, false)
		}
	}
}

// changes says what is not as it was.
func (t *talk) changes(ctx context.Context, states map[backend.TargetID]backend.State, asked map[backend.ApprovalID]string, first bool) {
	at := t.now().Format("15:04:05")
	was := t.query
	t.query = ""
	err := t.load(ctx)
	t.query = was
	if err == nil {
		for _, target := range t.rows {
			old, known := states[target.ID]
			states[target.ID] = target.State
			if !first && (!known || old != target.State) {
				t.say("  %s: %s is %s.", at, phrase.Brief(target.Name), target.State)
			}
		}
	}
	q, queueErr := t.queue(ctx)
	if queueErr != nil {
		q = &approvals.View{}
	}
	for _, a := range q.List {
		state := approvals.StateWord(a, t.now())
		if asked[a.ID] != state && (!first || approvals.Decidable(a, t.now())) {
			t.say("  %s: %s", at, t.request(q.Together(a)))
		}
		asked[a.ID] = state
	}
	if err := errors.Join(err, queueErr); err != nil && ctx.Err() == nil {
		t.say("  %s: no answer: %s.", at, phrase.Error(err))
	}
}
