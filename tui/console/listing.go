package console

import (
	"context"
	"errors"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/tucdesk/tucdesk/backend"
)

// listTargets asks for the targets, where nobody asks already.
func (m *model) listTargets() tea.Cmd {
	if m.listing {
		return nil
	}
	m.listing = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		var targets []backend.Target
		for t, err := range m.backend.Targets(ctx) {
			if err == nil && len(targets) >= maxTargets {
				err = errTooMany
			}
			if err != nil {
				return targetsMsg{err: err}
			}
			targets = append(targets, t)
		}
		return targetsMsg{ix: newIndex(targets)}
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
		var msg approvalsMsg
		for a, err := range ap.Pending(ctx) {
			if err == nil && len(msg.list) >= maxApprovals {
				err = errTooMany
			}
			if err != nil {
				msg.err = err
				break
			}
			msg.list = append(msg.list, a)
		}
		return msg
	}
}

// askVerdicts asks for the verdicts of rows on the screen that have none, in
// one batch where the backend can.
func (m *model) askVerdicts() tea.Cmd {
	reqs := m.agents.unknown()
	if len(reqs) == 0 {
		return nil
	}
	m.agents.asking = true
	ix := m.agents.ix
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
		defer cancel()
		msg := verdictsMsg{reqs: reqs, targets: ix}
		if b, ok := backend.As[backend.BatchEvaluator](m.backend); ok {
			msg.verdicts, msg.err = b.EvaluateBatch(ctx, reqs)
			if msg.err == nil && len(msg.verdicts) != len(reqs) {
				msg.err = fmt.Errorf("console: %d verdicts for %d requests", len(msg.verdicts), len(reqs))
			}
			return msg
		}
		ev, _ := backend.As[backend.Evaluator](m.backend)
		for _, req := range reqs {
			v, err := ev.Evaluate(ctx, req)
			if errors.Is(err, backend.ErrNotFound) {
				v = backend.Verdict{Reason: "no such target"}
			} else if err != nil {
				msg.err = err
				return msg
			}
			msg.verdicts = append(msg.verdicts, v)
		}
		return msg
	}
}
