// Package listing asks a backend for the lists that the console shows: targets with the
// verdict of policy, the queue of approvals, what stands out. It asks at the start, now
// and then, and where the backend hints at a change.
//
// Invariants: of one kind there is one question at a time, with a time limit; hints that
// come fast are answered together. An answer is a message of this package, and whoever
// takes it gives it to Receive.
//
// It must not import the console, and knows no screen.
package listing

import (
	"context"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
	"github.com/tucdesk/tucdesk/tui/console/returning"
)

const (
	approvalsEvery = 2 * time.Second
	targetsEvery   = 15 * time.Second
	hintGap        = 500 * time.Millisecond // between two listings of one kind that hints ask for
	answerIn       = 30 * time.Second       // of one listing or batch of verdicts
	// maxTargets and maxApprovals bound what a backend can make the console
	// hold.
	maxTargets   = 1_000_000
	maxApprovals = 10_000
)

// The answers.
type (
	TargetsMsg struct {
		Index *agents.Index
		Err   error
	}
	NoticesMsg  []backend.Notice
	VerdictsMsg struct {
		Requests []backend.OpenRequest
		Verdicts []backend.Verdict
		Err      error
		Targets  *agents.Index // the listing that they were asked for
	}
	ApprovalsMsg struct {
		List []backend.Approval
		Err  error
	}
)

// Lists ask. Its methods are for one goroutine, but for what they return.
type Lists struct {
	ctx     context.Context
	backend backend.Backend
	wake    func()
	Shells  returning.Shells // that run, and can be come back to; asked with the targets

	targets, approvals, notices bool // on their way
	nextTargets, nextApprovals  time.Time
	// What the backend said to have changed since it was last asked for.
	newTargets, newApprovals atomic.Bool
}

// New makes lists. wake is called, by anybody, when it is worth to call Poll.
func New(ctx context.Context, b backend.Backend, wake func()) *Lists {
	return &Lists{ctx: ctx, backend: b, wake: wake}
}

// Receive takes an answer: the next question of its kind may be asked.
func (l *Lists) Receive(msg tea.Msg) {
	switch msg.(type) {
	case TargetsMsg:
		l.targets = false
	case ApprovalsMsg:
		l.approvals = false
	case NoticesMsg:
		l.notices = false
	}
}

// Targets asks for the targets, where nobody asks already, and makes their index ready
// to be shown so.
func (l *Lists) Targets(shown agents.Arrangement) tea.Cmd {
	if l.targets {
		return nil
	}
	l.targets = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(l.ctx, answerIn)
		defer cancel()
		targets, err := inquiry.All(l.backend.Targets(ctx), maxTargets)
		l.Shells.Ask(ctx, l.backend)
		return TargetsMsg{agents.NewIndex(targets).Prepare(shown), err}
	}
}

// askNotices asks what stands out, where the backend knows.
func (l *Lists) askNotices() tea.Cmd {
	n, ok := backend.As[backend.Noticer](l.backend)
	if !ok || l.notices {
		return nil
	}
	l.notices = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(l.ctx, answerIn)
		defer cancel()
		list, _ := n.Notices(ctx) // that a server is away the lists say
		return NoticesMsg(list)
	}
}

// Approvals asks for the queue, where there is one and nobody asks already.
func (l *Lists) Approvals() tea.Cmd {
	ap, ok := backend.As[backend.Approver](l.backend)
	if !ok || l.approvals {
		return nil
	}
	l.approvals = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(l.ctx, answerIn)
		defer cancel()
		list, err := inquiry.All(ap.Pending(ctx), maxApprovals)
		return ApprovalsMsg{list, err}
	}
}

// Watch has the backend say what changes, where it can, until the console ends.
// Where it can't, or can't any more, what changes shows a little later: the
// console asks now and then in any case.
func (l *Lists) Watch() tea.Cmd {
	w, ok := backend.As[backend.Watcher](l.backend)
	if !ok {
		return nil
	}
	return func() tea.Msg {
		_ = w.Watch(l.ctx, func(c backend.Change) {
			l.newTargets.CompareAndSwap(false, c.Targets)
			l.newApprovals.CompareAndSwap(false, c.Approvals)
			l.wake()
		})
		return nil
	}
}

// Poll asks for what it is time for: now and then, and where the backend hints
// at a change, but not again and again. A hint that is too early, or comes while
// the list is on its way, is looked at with the next call.
func (l *Lists) Poll(now time.Time, shown agents.Arrangement) tea.Cmd {
	due := func(hint *atomic.Bool, next *time.Time, every time.Duration) bool {
		if !now.After(*next) && (!hint.Load() || now.Before(next.Add(hintGap-every))) {
			return false
		}
		hint.Store(false)
		*next = now.Add(every)
		return true
	}
	var approvals, targets tea.Cmd
	if !l.approvals && due(&l.newApprovals, &l.nextApprovals, approvalsEvery) {
		approvals = l.Approvals()
	}
	if !l.targets && due(&l.newTargets, &l.nextTargets, targetsEvery) {
		targets = tea.Batch(l.Targets(shown), l.askNotices())
	}
	return tea.Batch(approvals, targets)
}

// Verdicts asks for the verdicts of rows of a listing.
func (l *Lists) Verdicts(reqs []backend.OpenRequest, of *agents.Index) tea.Cmd {
	ask := l.Evaluate(reqs)
	return func() tea.Msg {
		verdicts, err := ask()
		return VerdictsMsg{reqs, verdicts, err, of}
	}
}

// Evaluate gives what asks for the verdicts of requests; without a policy these are nil.
func (l *Lists) Evaluate(reqs []backend.OpenRequest) func() ([]backend.Verdict, error) {
	return func() ([]backend.Verdict, error) {
		ctx, cancel := context.WithTimeout(l.ctx, answerIn)
		defer cancel()
		return inquiry.Verdicts(ctx, l.backend, reqs)
	}
}
