package host

import (
	"context"
	"errors"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/consent"
	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/onlook"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/policy/variable"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// maxStaleHigh bounds the age of the roster's confirmation for what is held.
const maxStaleHigh = time.Hour

// A task is a command that has passed steps 6 and 7. Its nonce, if it has one,
// is not used yet.
type task struct {
	level    gate.Level // of the gate, for a shell
	recorded string     // of a shell that is watched: how it is
	command  token.Command
	roster   *roster.Roster
	verdict  policy.Verdict
	approved []ledger.Item // what the ledger must take before it runs
	shell    *ward         // of who watches: whose shell it is

	id        uint64 // among those of its session
	committed bool
}

// decide is step 6 and 7 for one channel of an admitted session. The task is
// never nil.
func (c *checker) decide(ctx context.Context, a *admission, m channel.OpenMessage) (*task, *refusal) {
	t := &task{command: token.Command{
		V: token.Version, Argv: m.Argv, Cwd: m.Cwd, Env: m.Env, Stdin: m.Stdin, Salt: m.Salt, Bound: m.Bound, Runbook: m.Runbook,
	}}
	if m.Kind == live.Look {
		t.command.Bound = nil // it names words, and no content yet
	}
	if t.command.Stdin == "" {
		t.command.Stdin = token.StdinNone
	}

	// 6. This is what proof and grant are about, and policy allows it, now that
	// the command is known.
	p := a.proof.Body()
	if err := t.command.Check(); err != nil {
		return t, because(codeRequest, err)
	}
	switch {
	case m.Kind != p.Kind:
		return t, refuse(codeRequest, token.ErrMismatch, "this session was granted for %s, not for another kind of channel; open a session for it", p.Kind)
	case m.As != p.As:
		return t, refuse(codeRequest, token.ErrMismatch, "this session was granted for another user; open a session for it")
	case t.command.Commitment() != p.Commitment:
		return t, refuse(codeRequest, token.ErrMismatch, "this is not the command that proof and grant are about; open a session for it")
	case (m.TTY != nil) != (t.command.Stdin == token.StdinTTY):
		return t, refuse(codeRequest, token.ErrMismatch, "a terminal and stdin: tty go together")
	}
	switch policy.Kind(m.Kind) {
	case policy.Shell:
		if len(m.Argv) > 0 || m.TTY == nil {
			return t, refuse(codeRequest, nil, "a shell has a terminal and no command; use exec for a command")
		}
	case policy.Exec:
		if len(m.Argv) == 0 {
			return t, refuse(codeRequest, nil, "exec needs a command")
		}
	case policy.Copy, policy.Forward, policy.Proxy:
		if err := errand.Check(m); err != nil {
			return t, because(codeRequest, err)
		}
	case policy.Observe, policy.Join:
		if err := onlook.Check(m); err != nil {
			return t, because(codeRequest, err)
		}
	case policy.Look:
		if len(m.Argv) == 0 || m.TTY != nil {
			return t, refuse(codeRequest, nil, "a look is at a command, and has no terminal")
		}
	default:
		return t, refuse(codeRequest, nil, "this agent does not serve %s yet", p.Kind)
	}
	no := c.reevaluate(a, t)
	if no == nil && policy.Kind(m.Kind) == policy.Shell {
		t.level, no = c.gateLevel(t.verdict)
	}
	if no != nil {
		return t, no
	}
	switch t.verdict.Effect {
	case policy.Allow:
	case policy.Confirm:
		if !p.Confirmed {
			return t, byPolicy(t.verdict, t.roster.PolicyVersion())
		}
	case policy.Hold:
		// 7. The approvals. Who comes back had them when the session began.
		if a.back {
			break
		}
		if no := c.approvals(ctx, a, t); no != nil {
			return t, no
		}
	default:
		return t, byPolicy(t.verdict, t.roster.PolicyVersion())
	}
	if no := checkEnv(t); no != nil {
		return t, no
	}
	return t, nil
}

// reevaluate judges by the newest roster and policy: both may have changed since
// the session began.
func (c *checker) reevaluate(a *admission, t *task) *refusal {
	now := c.now()
	r, err := c.team.Fresh()
	if err != nil {
		return because(codeRoster, err)
	}
	t.roster = r
	device, err := r.Device(a.operator.Kid, now)
	agent, gone := r.Agent(c.kid, now)
	if err := errors.Join(err, gone); err != nil {
		return because(codeDevice, err)
	}
	p := a.proof.Body()
	if r.PolicyHash() != p.PolicyHash {
		return refuse(codePolicy, nil, "the policy has changed since this session was granted (version %d now); open a new session", r.PolicyVersion())
	}
	if err := r.CheckInstance(t.command.Runbook, policy.Kind(p.Kind), p.As, t.command.Cwd, t.command.Argv, agent); err != nil {
		return because(codeRequest, err)
	}
	argv := t.command.Argv
	if k := policy.Kind(p.Kind); k == policy.Shell || onlook.Looks(k) {
		argv = nil // none, or the name of a shell
	}
	req := r.Request(device, agent, policy.Kind(p.Kind), p.As, argv, now)
	req.Cwd, req.BreakGlass = t.command.Cwd, a.breakGlass()
	t.verdict = policy.Evaluate(req, r.Snapshot())
	if t.verdict.Effect == policy.Deny || (policy.Kind(p.Kind) == policy.Exec && t.verdict.Tier == "") {
		return byPolicy(policy.Verdict{Rule: t.verdict.Rule, Line: t.verdict.Line, Reason: t.verdict.Reason}, r.PolicyVersion())
	}
	return nil
}

// approvals checks that the people whom policy asks for have approved exactly
// this, on a roster that we know.
func (c *checker) approvals(ctx context.Context, a *admission, t *task) *refusal {
	held := byPolicy(t.verdict, t.roster.PolicyVersion())
	if len(a.bundle.Approvals)+len(a.bundle.Warrants) == 0 {
		return held
	}
	if t.command.Stdin == token.StdinStream && !reach.Carries(a.proof.Body().Kind) {
		return refuse(codeApproval, nil, "a held command gets no standard input, unless its SHA-256 is part of the request")
	}
	// Where apid is gone, who signed the warrants vouches for the roster: none of them
	// knew a newer one.
	if _, err := c.team.FreshWithin(maxStaleHigh); err != nil && !a.breakGlass() {
		c.refresh(ctx)
		if _, err = c.team.FreshWithin(maxStaleHigh); err != nil {
			return because(codeRoster, err)
		}
		if no := c.reevaluate(a, t); no != nil {
			return no
		}
	}
	err := c.checkApprovals(a, t)
	if errors.Is(err, approval.ErrOlderRoster) && c.refresh(ctx) == nil {
		// Whatever the newer roster says of policy and people holds, too.
		if no := c.reevaluate(a, t); no != nil {
			return no
		}
		err = c.checkApprovals(a, t)
	}
	if err != nil {
		held.code, held.err = codeApproval, err
		held.reason = err.Error() + "; " + held.reason
		if errors.Is(err, ledger.ErrUsed) {
			held.code = codeUsed
		}
		return held
	}
	return nil
}

func (c *checker) checkApprovals(a *admission, t *task) (err error) {
	q := c.consent(a, t.roster, t.verdict)
	q.Command = t.command
	spent := a.spent.Load()
	if spent > 0 {
		q.Used = time.Unix(spent, 0) // in time, by this session, which may open its channel again
	}
	var items []ledger.Item
	if a.breakGlass() {
		items, _, err = q.Warrants(a.bundle.Warrants)
	} else {
		items, err = q.Approvals(a.bundle.Approvals, a.grant.Body().Approvals)
	}
	if err != nil || spent > 0 {
		return err
	}
	t.approved = items
	return c.used.Check(items...)
}

// consent is what people must have said yes to, but for the command.
func (c *checker) consent(a *admission, r *roster.Roster, v policy.Verdict) consent.Request {
	return consent.Request{Roster: r, Agent: c.kid, Operator: *a.operator, Proof: a.proof.Body(), Verdict: v, Now: c.now(), Typists: a.typists}
}

// checkEnv refuses variables that could make an allowed program do something
// else (LD_PRELOAD, BASH_ENV, PAGER, GIT_SSH …: nobody can list them all). Who
// approved a held command has seen them; who has a shell that is not gated can set them
// anyway. In a gated one they would be part of each start, and of no decision.
func checkEnv(t *task) *refusal {
	if len(t.approved) > 0 || t.level == gate.None || t.level == gate.Advisory {
		return nil
	}
	for _, kv := range t.command.Env {
		if !variable.IsHarmless(kv[0]) {
			return refuse(codeRequest, nil, "this command may carry TERM, LANG, LC_* and the like; other variables need an approval that shows them, or a wrapper on the target")
		}
	}
	return nil
}
