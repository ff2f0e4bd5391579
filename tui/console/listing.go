package console

import (
	"context"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/agents"
	"github.com/tucdesk/tucdesk/tui/console/inquiry"
)

// listTargets asks for the targets, where nobody asks already.
func (m *model) listTargets() tea.Cmd {
	if m.listing {
		return nil
	}
	m.listing = true
	shown := m.agents.Arranged()
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		targets, err := inquiry.All(m.backend.Targets(ctx), maxTargets)
		m.shells.Ask(ctx, m.backend)
		return targetsMsg{agents.NewIndex(targets).Prepare(shown), err}
	}
}

// listNotices asks what stands out, where the backend knows.
func (m *model) listNotices() tea.Cmd {
	n, ok := backend.As[backend.Noticer](m.backend)
	if !ok || m.noticing {
		return nil
	}
	m.noticing = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		list, _ := n.Notices(ctx) // that a server is away the lists say
		return noticesMsg(list)
	}
}

func (m *model) listApprovals() tea.Cmd {
	ap, ok := backend.As[backend.Approver](m.backend)
	if !ok || m.queueing {
		return nil
	}
	m.queueing = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		list, err := inquiry.All(ap.Pending(ctx), maxApprovals)
		return approvalsMsg{list, err}
	}
}

// watch has the backend say what changes, where it can, until the console ends.
// Where it can't, or can't any more, what changes shows a little later: the
// console asks now and then in any case.
func (m *model) watch() tea.Cmd {
	w, ok := backend.As[backend.Watcher](m.backend)
	if !ok {
		return nil
	}
	return func() tea.Msg {
		_ = w.Watch(m.ctx, func(c backend.Change) {
			m.newTargets.CompareAndSwap(false, c.Targets)
			m.newApprovals.CompareAndSwap(false, c.Approvals)
			m.wake()
		})
		return nil
	}
}

// poll asks for what it is time for: now and then, and where the backend hints
// at a change, but not again and again. A hint that is too early, or comes while
// the list is on its way, is looked at with the next message.
func (m *model) poll() tea.Cmd {
	now := m.now()
	due := func(hint *atomic.Bool, next *time.Time, every time.Duration) bool {
		if !now.After(*next) && (!hint.Load() || now.Before(next.Add(hintGap-every))) {
			return false
		}
		hint.Store(false)
		*next = now.Add(every)
		return true
	}
	var approvals, targets tea.Cmd
	if !m.queueing && due(&m.newApprovals, &m.nextApproval, approvalsEvery) {
		approvals = m.listApprovals()
	}
	if !m.listing && due(&m.newTargets, &m.nextTargets, targetsEvery) {
		targets = tea.Batch(m.listTargets(), m.listNotices())
	}
	return tea.Batch(approvals, targets)
}

// askVerdicts asks for the verdicts of rows on the screen that have none.
func (m *model) askVerdicts() tea.Cmd {
	reqs := m.agents.Unknown()
	if len(reqs) == 0 {
		return nil
	}
	m.agents.Asking = true
	ix, ask := m.agents.Ix, m.evaluate(reqs)
	return func() tea.Msg {
		verdicts, err := ask()
		return verdictsMsg{reqs: reqs, verdicts: verdicts, err: err, targets: ix}
	}
}

// evaluate gives what asks for the verdicts of requests; without a policy these are nil.
func (m *model) evaluate(reqs []backend.OpenRequest) func() ([]backend.Verdict, error) {
	return func() ([]backend.Verdict, error) {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		return inquiry.Verdicts(ctx, m.backend, reqs)
	}
}
