package host

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/policy"
)

// Codes of refusals: a word for the log, the metric and rendezvousd.
const (
	codeBundle    = "bundle"    // not for us, or not in the strict form
	codeRoster    = "roster"    // we, or the operator, are behind
	codeDevice    = "device"    // unknown, revoked or expired
	codeProof     = "proof"     // the operator's own word
	codeUsed      = "used"      // session, or approval, was used before
	codeGrant     = "grant"     // apid's word
	codePolicy    = "policy"    // denied
	codeGate      = "gate"      // policy obliges a shell to a level that is not to be had here
	codeRelay     = "relay"     // no path
	codeBusy      = "busy"      // a limit of this agent
	codeRequest   = "request"   // not what proof and grant are about
	codeApproval  = "approval"  // missing or not good
	codeHost      = "host"      // this machine can't: no such user, …
	codeLedger    = "ledger"    // nothing may be promised to disk
	codeRecording = "recording" // required, and can't be had
	codeContent   = "content"   // not the files that were approved
	codeRevoked   = "revoked"   // while the session ran
)

// A refusal is a no, with what each listener may hear of it. Nothing in it
// quotes a command.
type refusal struct {
	code   string
	effect policy.Effect // of the verdict; Deny where policy was not the reason
	rule   string
	line   int
	reason string // for the operator and the audit log: what, why, what next
	err    error  // the cause, for errors.Is; may be nil
}

func (r *refusal) Error() string { return "host: " + r.code + ": " + r.reason }

func (r *refusal) Unwrap() error { return r.err }

// answer is what the operator reads on a channel. A refusal never says allow.
func (r *refusal) answer() channel.Answer {
	effect := r.effect
	if effect == policy.Allow {
		effect = policy.Deny
	}
	return channel.Answer{Effect: effect.String(), Rule: r.rule, Line: r.line, Reason: r.reason}
}

func refuse(code string, err error, format string, args ...any) *refusal {
	return &refusal{code: code, err: err, reason: fmt.Sprintf(format, args...)}
}

// because refuses for the reason that err gives itself.
func because(code string, err error) *refusal {
	return &refusal{code: code, err: err, reason: err.Error()}
}

// byPolicy refuses with the verdict's own words, and names our policy's version
// so that a client with another one can tell.
func byPolicy(v policy.Verdict, version uint64) *refusal {
	return &refusal{
		code: codePolicy, effect: v.Effect, rule: v.Rule, line: v.Line,
		reason: fmt.Sprintf("%s (this agent's policy: version %d)", v.Reason, version),
	}
}

// unmet refuses what policy obliges to and this agent can't give.
func unmet(code string, v policy.Verdict, format string, args ...any) *refusal {
	return &refusal{code: code, rule: v.Rule, line: v.Line, reason: fmt.Sprintf(format, args...)}
}
