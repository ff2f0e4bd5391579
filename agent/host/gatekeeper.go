package host

import (
	"context"
	"errors"
	"slices"

	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/ruling"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

var _ live.Gatekeeper = (*ward)(nil)

// startGate makes the gate of this process, where there can be one, and gives the
// levels that shells here can have. Why there is none is in the log, once.
func (h *Host) startGate() (*gate.Gate, gate.Levels) {
	if h.c.Gate == nil {
		return nil, gate.Everywhere
	}
	g, f, err := gate.Open(h.c.Gate)
	if err != nil {
		h.c.Logger.Warn("the exec gate can't be had: where policy wants shells gated by the kernel, there are none", "error", err)
		return nil, gate.Everywhere
	}
	h.c.Logger.Info("the exec gate is on", "level", gate.Enforced, "landlock", f.Landlock, "wait_killable", f.Killable)
	return g, slices.Concat(gate.Everywhere, gate.Levels{gate.Enforced})
}

// Judge implements live.Gatekeeper: the newest policy decides, whatever held when the
// session began.
func (d *ward) Judge(_ context.Context, asked live.Task, s live.Start) live.Ruling {
	r, err := d.rules()
	if err != nil {
		return live.Ruling{Reason: err.Error()}
	}
	return r.Of(s, d.s.checker.now())
}

// Lend implements cell.Lender.
func (d *ward) Lend(has []byte) ruling.Loan {
	r, _ := d.rules() // without them nothing is lent
	return r.Lend(has)
}

// rules are those of the newest roster.
func (d *ward) rules() (ruling.Rules, error) {
	c, p := d.s.checker, d.a.proof.Body()
	r, err := c.team.Fresh()
	if err != nil {
		return ruling.Rules{}, err
	}
	return ruling.RulesOf(r, d.holder().operator.Kid, c.kid, policy.Kind(p.Kind), p.As, d.a.breakGlass(), c.now())
}

// Permit implements live.Gatekeeper. The operator's device has asked for an exec of the
// same words, and got apid's grant and the approvals, if policy holds it. What opens an
// exec session lets the waiting program start in place of one: steps 1 to 8 of trust.md
// 2.4 are the same.
func (d *ward) Permit(ctx context.Context, asked live.Task, s live.Start, r live.Ruling, answer gating.Answer) error {
	no := func() *refusal {
		a, no := d.s.checker.admit(ctx, wire.SignalOffer{
			SessionID: answer.Session, Sealed: answer.Bundle, Exp: d.s.checker.now().Add(token.StartWithin).Unix(),
		})
		if no != nil {
			return no
		}
		mine, its := d.holder().proof.Body(), a.proof.Body()
		switch {
		case a.back:
			return refuse(codeProof, token.ErrMismatch, "the proof is for coming back to a terminal")
		case its.Operator != mine.Operator:
			return refuse(codeProof, token.ErrMismatch, "another device than this session's has asked for it")
		case its.As != mine.As:
			return refuse(codeProof, token.ErrMismatch, "it was asked for as another user than this session's")
		case policy.Kind(its.Kind) != policy.Exec:
			return refuse(codeProof, token.ErrMismatch, "a program start is asked for as an exec")
		}
		a.typists = d.typists.All()
		t, no := d.s.checker.decide(ctx, a, channel.OpenMessage{
			Kind: its.Kind, As: its.As, Argv: r.Argv, Cwd: s.Cwd, Env: s.Env, Stdin: token.StdinTTY, Salt: answer.Salt, Bound: s.Bound,
			TTY: &channel.TTY{Cols: 80, Rows: 24},
		})
		if no != nil {
			return no
		}
		if r.Effect == policy.Hold.String() && len(t.approved) == 0 {
			return refuse(codeApproval, nil, "nobody has approved it")
		}
		if err := d.s.use(append(t.approved, d.s.checker.sessionItem(a))...); err != nil {
			return because(codeUsed, err)
		}
		if err := d.s.evidence.intent(a, t); err != nil {
			return because(codeLedger, err)
		}
		return nil
	}()
	if no == nil {
		return nil
	}
	d.s.metrics.Refusals.WithLabelValues(no.code).Inc()
	d.s.logger.Warn("a program start is not permitted", "session", d.a.id, "operator", d.a.operator.Email, "code", no.code)
	return errors.New(no.answer().Reason)
}

// Report implements live.Gatekeeper.
func (d *ward) Report(asked live.Task, s live.Start, r live.Ruling, o gating.State, reason string) {
	if o == gating.Killed {
		d.s.logger.Error("a program was not what was judged, and was killed before its first instruction", "session", d.a.id, "operator", d.a.operator.Email)
	}
	d.s.evidence.gated(d.holder(), s, r, o, reason)
}

// gated says that a program start inside a session did not come to be, or that nothing
// could stop it.
func (e evidence) gated(a *admission, s live.Start, r live.Ruling, o gating.State, reason string) {
	no := &refusal{code: "gate-" + string(o), effect: policy.Deny, rule: r.Rule, line: r.Line, reason: reason}
	for _, effect := range []policy.Effect{policy.Hold, policy.Confirm, policy.Allow} {
		if r.Effect == effect.String() {
			no.effect = effect
		}
	}
	t := &task{
		roster: a.roster, verdict: policy.Verdict{Effect: no.effect, Rule: r.Rule, Line: r.Line, Tier: r.Tier},
		command: token.Command{V: token.Version, Argv: s.Argv, Cwd: s.Cwd, Env: s.Env, Stdin: token.StdinTTY, Bound: s.Bound},
	}
	if o == gating.Noticed {
		e.noticed(a, t, reason)
		return
	}
	e.refused(a, t, no)
}
