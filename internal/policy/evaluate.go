package policy

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Evaluate answers a request. It is pure and safe for concurrent use, keeps
// nothing of its arguments, and allocates nothing where a request without a
// command is allowed.
//
// With Argv nil everything but the command is judged: apid asks so, and may
// get allow where the agent, which knows the command, says hold or deny. So
// whoever is about to run something must pass its argument list and find a
// Tier in the verdict. An argument list without a word is denied. What a copy, a forward
// or a proxy asks for is such a list, without a tier.
//
// With a Program the question is whether it may start inside a session that
// runs already. A hold of the entry itself was about opening that session and is
// not asked for again; whatever denies the session now denies the program, too.
func Evaluate(req *Request, snap *Snapshot) Verdict {
	if req != nil && req.Kind == Look {
		return look(*req, snap)
	}
	p, as, problem := admit(req, snap)
	if problem != "" {
		return Verdict{Reason: problem}
	}
	if p.mode == "lockdown" && !req.BreakGlass {
		return p.lockdown()
	}
	kind := kindBit(req.Kind)
	for i := range p.block {
		if r := &p.block[i]; r.lists(kind) && r.covers(req, as, true) == hit {
			return Verdict{Rule: r.name, Line: r.line, Reason: fmt.Sprintf(
				"denied by %s (line %d), an entry of the blocklist, which always wins; an admin can change the policy", r.name, r.line)}
		}
	}
	covering := p.covering(req, as, kind)
	if req.BreakGlass {
		return p.breaking(req, as, covering)
	}
	if covering == nil && (p.mode != "blocklist" || req.Kind.carries() || coversLoginUser(req, as) != hit) {
		return p.uncovered(req, as)
	}
	verdict := p.session(covering, req)
	if req.Program != nil || req.Kind == Exec && req.Argv != nil {
		held := &p.approvers
		if covering != nil && covering.hold != nil {
			held = covering.hold
		}
		p.judgeCommand(&verdict, covering, programOf(req), held)
	}
	return verdict
}

// covering returns the first entry of the allowlist that covers a request. Where the
// words of a copy, forward or proxy are not known, and entries may turn out not to cover
// them, it is the laxest that could.
func (p *Policy) covering(req *Request, as string, kind uint8) (found *rule) {
	for i := range p.allow {
		r := &p.allow[i]
		if !r.lists(kind) || r.covers(req, as, false) != hit {
			continue
		}
		if found == nil || found.strict(req.Kind) > r.strict(req.Kind) {
			found = r
		}
		if !r.partly(req) {
			break
		}
	}
	return found
}

// strict orders entries by what they ask for where they cover a request.
func (r *rule) strict(kind Kind) int {
	switch {
	case r.unrecordable(kind):
		return 2
	case r.hold != nil:
		return 1
	}
	return 0
}

// unrecordable reports whether the entry wants a recording of what can't be recorded.
func (r *rule) unrecordable(kind Kind) bool {
	return r.record == "required" && (kind == Forward || kind == Proxy)
}

// look judges a look at what an exec would run. It is allowed where the exec is not
// denied, and nobody is asked for it.
func look(req Request, snap *Snapshot) Verdict {
	req.Kind = Exec
	v := Evaluate(&req, snap)
	if v.Effect == Deny {
		return v
	}
	v.Effect = Allow
	v.Reason = "allowed, to see what " + v.Rule + " speaks of; it runs nothing"
	v.Obligations = Obligations{Record: "off", Gate: gateLevels[0], MaxSession: v.Obligations.MaxSession, MinSuite: v.Obligations.MinSuite}
	return v
}

// programOf returns what a request is about to start.
func programOf(req *Request) *command.Program {
	if req.Program != nil {
		return req.Program
	}
	return &command.Program{Argv: req.Argv, Cwd: req.Cwd}
}

// admit checks that there is something to evaluate, and resolves the user.
func admit(req *Request, snap *Snapshot) (p *Policy, as, problem string) {
	switch {
	case snap == nil || snap.Policy == nil:
		return nil, "", "denied: no policy is known here; an admin signs one into the roster"
	case req == nil || req.Member == "" || req.Target == "" || req.At.IsZero():
		return nil, "", "denied: the request names no member, target or time"
	case kindBit(req.Kind) == 0:
		return nil, "", "denied: this kind of session is not known to this version; update it"
	case len(req.Argv) > 0 && req.Kind != Exec && !req.Kind.carries():
		return nil, "", "denied: only exec carries a command; ask for exec"
	case req.Program != nil && (req.Argv != nil || req.Kind != Shell && req.Kind != Exec):
		return nil, "", "denied: programs start inside a shell or an exec only, and a request is about one of them"
	}
	if problem := wordsProblem(req); problem != "" {
		return nil, "", problem
	}
	as = req.As
	if as == "" {
		as = req.LoginUser
	}
	if as == "" {
		return nil, "", "denied: the target has no login user in the roster; name a user with --as"
	}
	if sanitize.Name(req.Member) != nil || sanitize.Name(req.Target) != nil || sanitize.Name(as) != nil {
		return nil, "", "denied: the request holds a name that may not enter the system (not NFC, or with controls or look-alikes)"
	}
	return snap.Policy, as, ""
}

func (p *Policy) lockdown() Verdict {
	v := Verdict{Rule: "mode: lockdown", Line: p.modeLine, Reason: fmt.Sprintf(
		"denied by mode: lockdown (line %d): only break-glass is left, and this policy has none; an admin can end the lockdown", p.modeLine)}
	if p.breakGlass != nil {
		v.Reason = fmt.Sprintf("denied by mode: lockdown (line %d): only break-glass is left (line %d): %s",
			p.modeLine, p.breakGlass.line, p.breakGlass)
	}
	return v
}

// uncovered is the verdict where no entry covers the request. If one entry
// misses only the user, the time or the kind, it says so, because that is what
// the member can change.
func (p *Policy) uncovered(req *Request, as string) Verdict {
	near, why := (*rule)(nil), hit
	for i := range p.allow {
		if m := p.allow[i].covers(req, as, false); m >= missKind && m > why {
			near, why = &p.allow[i], m
		}
	}
	what := fmt.Sprintf("%s on %s as %s for %s", req.Kind, req.Target, as, req.Member)
	if near != nil {
		return Verdict{Rule: near.name, Line: near.line, Reason: fmt.Sprintf(
			"denied: no rule covers %s; nearest is %s (line %d): %s", what, near.name, near.line, missTexts[why])}
	}
	return Verdict{Rule: "mode: " + p.mode, Line: p.modeLine, Reason: fmt.Sprintf(
		"denied: no rule covers %s (mode: %s, line %d); `tucdesk policy explain` shows why", what, p.mode, p.modeLine)}
}

// session is the verdict before the command is looked at. r is nil in mode
// blocklist where no entry of the allowlist covers the request.
func (p *Policy) session(r *rule, req *Request) Verdict {
	v := Verdict{Effect: Allow, Obligations: Obligations{
		Record:     defaultRecord,
		Gate:       gateLevels[0],
		MaxSession: p.maxSession,
		Grace:      p.grace,
		MinSuite:   p.minSuite,
	}}
	if req.Kind == Exec {
		v.Obligations.MaxOutput = p.maxOutput
		if p.maxExec > 0 {
			v.Obligations.MaxSession = min(p.maxSession, p.maxExec)
		}
	}
	if req.Kind == Shell {
		v.Obligations.Gate = p.gate
	}
	if r == nil {
		v.Rule, v.Line, v.Reason = "mode: blocklist", p.modeLine, "allowed: mode is blocklist and no rule denies it"
		return v
	}
	if r.unrecordable(req.Kind) {
		return Verdict{Rule: r.name, Line: r.line, Reason: fmt.Sprintf(
			"denied by %s (line %d): it wants everything recorded, and what goes through a %s can't be; an entry of its own with `record: on` would allow it", r.name, r.line, req.Kind)}
	}
	v.Rule, v.Line, v.Reason, v.Obligations.Record = r.name, r.line, r.allowed, r.record
	if r.hold != nil && req.Program == nil {
		v.Effect, v.Reason = Hold, r.held
		v.Obligations.askFor(r.hold)
	}
	return v
}

func (o *Obligations) askFor(h *hold) {
	o.Needs, o.Approvers, o.Quorum, o.AskFor, o.UseFor = h.needs, h.approvers, h.least, h.expires, useFor
}

// HeldByTier is for a server, which sees no command: v is what Evaluate said of
// the request without it, and the asker says that the command's tier is held.
// It gives the hold that such a command gets, with the people and times of the
// policy's key `approvers`. A deny stays a deny, a hold stays that hold.
func HeldByTier(v Verdict, snap *Snapshot) Verdict {
	if v.Effect == Deny || v.Effect == Hold || snap == nil || snap.Policy == nil {
		return v
	}
	v.Effect = Hold
	v.Reason = "held because of the command's tier, as the asker says: " + snap.Policy.approvers.String()
	v.Obligations.askFor(&snap.Policy.approvers)
	return v
}

// judgeCommand makes the verdict as strict as the command's tier asks. held says
// who approves a command that is held.
func (p *Policy) judgeCommand(v *Verdict, r *rule, program *command.Program, held *hold) {
	set := p.commandsOf(r)
	worst := set.Judge(program)
	v.Tier, v.Risk = worst.Tier.String(), worst.Risk()
	effect := set.effects[worst.Tier]
	if effect >= v.Effect {
		if v.Effect < Allow && v.Risk != "" { // who is asked anyway learns what the command does
			v.Reason = fmt.Sprintf("%s; its tier is %s: it %s", v.Reason, v.Tier, v.Risk)
		}
		return
	}
	v.Effect = effect
	v.Rule, v.Line = set.source(worst)
	switch effect {
	case Deny:
		v.Reason = fmt.Sprintf("denied by %s: tier %s", set.describe(worst), worst.Tier)
		v.Obligations = Obligations{}
	case Hold:
		v.Obligations.askFor(held)
		v.Reason = fmt.Sprintf("held by %s: tier %s %s", set.describe(worst), worst.Tier, held)
	case Confirm:
		v.Reason = fmt.Sprintf("to be confirmed by the operator because of %s: tier %s", set.describe(worst), worst.Tier)
	}
}

func (p *Policy) commandsOf(r *rule) *commandSet {
	if r != nil && r.commands != nil {
		return r.commands
	}
	return &p.commands
}
