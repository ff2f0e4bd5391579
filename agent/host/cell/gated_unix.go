//go:build unix

package cell

import (
	"context"
	"errors"

	"github.com/tucdesk/tucdesk/agent/host/cell/starts"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/ruling"
	"github.com/tucdesk/tucdesk/internal/gating"
)

// A Lender is a live.Gatekeeper that lets a half judge by its rules for a moment. has is
// the SHA-256 of the policy that the half has, or empty.
type Lender interface {
	Lend(has []byte) ruling.Loan
}

// rulesCall asks for the rules. Its answer is a ruling.Loan.
type rulesCall struct {
	Policy []byte `cbor:"policy"`
}

type judgeCall struct {
	Task  uint64       `cbor:"task"`
	Start starts.Start `cbor:"start"`
}

type permitCall struct {
	Task   uint64        `cbor:"task"`
	Start  starts.Start  `cbor:"start"`
	Ruling starts.Ruling `cbor:"ruling"`
	Answer gating.Answer `cbor:"answer"`
}

// permitAnswer has why not; empty: it may start.
type permitAnswer struct {
	Reason string `cbor:"reason"`
}

type reportCall struct {
	Task   uint64        `cbor:"task"`
	Start  starts.Start  `cbor:"start"`
	Ruling starts.Ruling `cbor:"ruling"`
	State  string        `cbor:"state"`
	Reason string        `cbor:"reason"`
}

var _ live.Gatekeeper = (*inmate)(nil)

var errLong = errors.New("its words are too long to be judged")

// judged bounds what is asked about program starts at a time. A start is what waits.
func (h *inmate) judged(ctx context.Context, op link.Op, s starts.Start, in, out any) error {
	if s.Size() > maxStart {
		return errLong
	}
	select {
	case h.judging <- struct{}{}:
		defer func() { <-h.judging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return h.ask(ctx, op, in, out)
}

// Judge implements live.Gatekeeper: without a keeper nothing starts. What its rules
// allow is not asked about one by one: loops and builds start thousands of programs.
func (h *inmate) Judge(ctx context.Context, t live.Task, s live.Start) live.Ruling {
	if h.lease.Allows(s, func(has []byte) (loan ruling.Loan, err error) {
		return loan, h.ask(ctx, opRules, rulesCall{append([]byte{}, has...)}, &loan)
	}) {
		return live.Ruling{Effect: "allow"}
	}
	var m starts.Ruling
	start := starts.StartOf(s)
	if err := h.judged(ctx, opJudge, start, judgeCall{t.ID, start}, &m); err != nil {
		return live.Ruling{Reason: err.Error()}
	}
	return m.Live()
}

// Permit implements live.Gatekeeper. What was held before the agent was started again
// can be answered while it is: the answer waits for the next keeper. One that a keeper
// has had, and not answered, is a no, because the approval may be used.
func (h *inmate) Permit(ctx context.Context, t live.Task, s live.Start, r live.Ruling, a gating.Answer) error {
	if err := h.awaitKeeper(ctx); err != nil {
		return err
	}
	var got permitAnswer
	start := starts.StartOf(s)
	if err := h.judged(ctx, opPermit, start, permitCall{t.ID, start, starts.RulingOf(r), a}, &got); err != nil {
		return err
	}
	if got.Reason != "" {
		return errors.New(got.Reason)
	}
	return nil
}

// Report implements live.Gatekeeper.
func (h *inmate) Report(t live.Task, s live.Start, r live.Ruling, o gating.State, reason string) {
	start := starts.StartOf(s)
	if start.Size() > maxStart {
		// The words are too many for an entry anyway.
		start.Argv, start.Loads, start.Env, start.Files = start.Argv[:min(1, len(start.Argv))], [][]byte{}, [][2][]byte{}, []starts.File{}
		if start.Size() > maxStart {
			start = starts.StartOf(live.Start{Cwd: s.Cwd})
		}
	}
	_ = h.insist(opReport, reportCall{t.ID, start, starts.RulingOf(r), string(o), bounded(reason)}, nil)
}

// Withdraw ends the half's use of rules that do not hold any more.
func (h *Half) Withdraw() {
	h.mu.Lock()
	lent := h.lent
	h.mu.Unlock()
	if lent { // a half of an earlier version does not know the word
		h.tell(opWithdraw, nil)
	}
}

// gated answers what a half asks about program starts.
func (h *Half) gated(ctx context.Context, r link.Request) (link.Reply, error) {
	k, ok := h.keeper.(live.Gatekeeper)
	if !ok {
		return link.Reply{}, link.ErrProtocol
	}
	switch r.Op {
	case opRules:
		return link.With(r, func(m rulesCall) (any, error) {
			l, ok := k.(Lender)
			if !ok {
				return ruling.Nothing(), nil
			}
			h.mu.Lock()
			h.lent = true
			h.mu.Unlock()
			return l.Lend(m.Policy), nil
		})
	case opJudge:
		return link.With(r, func(m judgeCall) (any, error) {
			s, err := m.Start.Live()
			if err != nil {
				return nil, err
			}
			return starts.RulingOf(k.Judge(ctx, live.Task{ID: m.Task}, s)), nil
		})
	case opPermit:
		return link.With(r, func(m permitCall) (any, error) {
			s, err := m.Start.Live()
			if err != nil {
				return nil, err
			}
			var a permitAnswer
			if err := k.Permit(ctx, live.Task{ID: m.Task}, s, m.Ruling.Live(), m.Answer); err != nil {
				if a.Reason = bounded(err.Error()); a.Reason == "" {
					a.Reason = "it is not permitted"
				}
			}
			return a, nil
		})
	case opReport:
		return link.With(r, func(m reportCall) (any, error) {
			s, err := m.Start.Live()
			if err == nil {
				k.Report(live.Task{ID: m.Task}, s, m.Ruling.Live(), gating.State(m.State), bounded(m.Reason))
			}
			return nil, err
		})
	}
	return link.Reply{}, link.ErrProtocol
}
