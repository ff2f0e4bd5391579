package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/quorum"
)

// BreakGlass says which quorum of devices may stand in for apid's grant.
type BreakGlass struct {
	Members []string // e-mail globs and "role:x"
	Quorum  int
	Expires time.Duration
	Notify  string // "all"

	members []member
	line    int
}

// BreakGlass returns what the policy says of break-glass; false when it does
// not opt in.
func (p *Policy) BreakGlass() (BreakGlass, bool) {
	if p == nil || p.breakGlass == nil {
		return BreakGlass{}, false
	}
	return *p.breakGlass, true
}

// String says what it needs, for reasons.
func (b *BreakGlass) String() string {
	return fmt.Sprintf("needs %d of %s; asks expire in %s", b.Quorum, strings.Join(b.Members, ", "), durationText(b.Expires))
}

// hold is what stands in for the grant.
func (b *BreakGlass) hold() *hold {
	h := newHold(quorum.Of(b.Quorum, b.Members), b.Expires, b.line)
	return &h
}

// breaking is the verdict on a request without apid's grant. It never allows by
// itself: at best it is a hold for break_glass's quorum, and at worst nothing is
// looser than with a grant but the mode lockdown.
//
//   - A blocklist entry wins here, too (Evaluate has asked it).
//   - Shells and execs only: they are judged and recorded.
//   - Who asks is one of break_glass.members, or covered by an entry as always.
//   - The user is the entry's, else the login user, and not root.
//   - A recording is required, and the session ends with break_glass.expires.
func (p *Policy) breaking(req *Request, as string, r *rule) Verdict {
	b := p.breakGlass
	switch {
	case b == nil:
		return Verdict{Rule: "mode: " + p.mode, Line: p.modeLine, Reason: "denied: this policy has no break_glass, so nothing stands in for apid's grant"}
	case req.Kind != Shell && req.Kind != Exec:
		return Verdict{Rule: breakGlassRule, Line: b.line, Reason: fmt.Sprintf("denied by break_glass (line %d): it is for shell and exec only, which are judged and recorded", b.line)}
	}
	if p.mode == "lockdown" {
		r = nil
	}
	if r == nil {
		if !anyMember(b.members, req.Member, req.Roles) {
			return Verdict{Rule: breakGlassRule, Line: b.line, Reason: fmt.Sprintf("denied by break_glass (line %d): neither its members nor an entry of the allowlist name this person here; one of %s can ask",
				b.line, strings.Join(b.Members, ", "))}
		}
		if m := coversLoginUser(req, as); m != hit {
			return Verdict{Rule: breakGlassRule, Line: b.line, Reason: fmt.Sprintf("denied by break_glass (line %d): it opens the target's login user, and never root, unless an entry names another", b.line)}
		}
	}
	v, held := p.session(r, req), b.hold()
	v.Rule, v.Line = breakGlassRule, b.line
	if req.Program == nil {
		v.Effect, v.Reason = Hold, fmt.Sprintf("held by break_glass (line %d), without apid's grant: %s", b.line, held)
		v.Obligations.askFor(held)
	} else {
		v.Effect, v.Reason = Allow, fmt.Sprintf("allowed in a session that break_glass (line %d) opened", b.line)
	}
	o := &v.Obligations
	o.Record, o.MaxSession, o.BreakGlass = "required", min(o.MaxSession, b.Expires), true
	if req.Program != nil || req.Kind == Exec && req.Argv != nil {
		p.judgeCommand(&v, r, programOf(req), held)
	}
	return v
}

const breakGlassRule = "break_glass"
