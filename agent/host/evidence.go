package host

import (
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/testimony"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// actionExit is the action of an exec entry about the outcome; audit.ActionStart is
// that of the intent before.
const actionExit = "exit"

// maxRefusedCommand bounds the sealed command in the entry of a refusal, in
// bytes: any channel request can cause one.
const maxRefusedCommand = 10 << 10

// evidence is what this agent testifies of sessions.
type evidence struct{ *testimony.Book }

// entry begins an entry about an admission. r names the agent and the head.
func (e evidence) entry(t audit.Type, a *admission, r *roster.Roster) audit.Entry {
	return e.About(t, *a.operator, a.proof.Body(), a.verdict, r)
}

// started says that a session begins.
func (e evidence) started(a *admission) error {
	entry := e.entry(audit.SessionStart, a, a.roster)
	entry.Proof = a.proof.Bytes()
	if a.breakGlass() {
		entry.Outcome.Reason = testimony.Reason(audit.BreakGlass + "without a grant of apid, by " + strings.Join(a.quorum, ", "))
	}
	return e.Keep(false, entry)
}

// ended says how a session ended, and what its recording's last manifest is.
func (e evidence) ended(a *admission, last process.Exit, reason string, head envelope.Hash) error {
	entry := e.entry(audit.SessionEnd, a, a.roster)
	entry.Outcome = audit.Outcome{Exit: int64(last.Code), Signal: last.Signal, Reason: testimony.Reason(reason), Recording: head}
	return e.Keep(true, entry)
}

// attached says that a session's member has come back to its terminal.
func (e evidence) attached(a *admission) error {
	entry := e.entry(audit.SessionAttach, a, a.roster)
	entry.Proof = a.proof.Bytes()
	return e.Keep(false, entry)
}

// away says that a session's operator has left its terminal, or is not heard any more, or
// is heard again.
func (e evidence) away(a *admission, away bool) error {
	typ := audit.SessionAttach
	if away {
		typ = audit.SessionDetach
	}
	return e.Keep(false, e.entry(typ, a, a.roster))
}

// intent says what is about to run: the command, sealed to the auditors.
func (e evidence) intent(a *admission, t *task) error {
	entry, err := e.command(audit.Exec, a, t)
	if err != nil {
		return err
	}
	entry.Action = audit.ActionStart
	switch {
	case t.shell != nil:
		entry.Outcome.Reason = testimony.Reason(fmt.Sprintf("a shell of %s, session %s", t.shell.a.operator.Email, t.shell.a.id))
	case t.level != "":
		entry.Outcome.Reason = audit.Gate + string(t.level)
	}
	return e.Keep(false, entry)
}

// outcome says how it ended, or that it could not start. r is the roster that it was
// judged by.
// report is what a copy carried, sealed to the auditors as the command is.
func (e evidence) outcome(a *admission, r *roster.Roster, f facts, x process.Exit, reason string, report []byte) error {
	entry := e.entry(audit.Exec, a, r)
	entry.Action, entry.Command.Tier = actionExit, f.Tier
	entry.Policy.Effect, entry.Policy.Rule = f.Effect, f.Rule
	entry.Outcome = audit.Outcome{Exit: int64(x.Code), Signal: x.Signal, Reason: testimony.Reason(reason)}
	if auditors := r.Auditors(); len(report) > 0 && len(auditors) > 0 {
		sealed, err := key.Seal(report, auditors...)
		if err != nil {
			return err
		}
		entry.Command.Sealed = sealed
	}
	return e.Keep(true, entry)
}

func (e evidence) command(typ audit.Type, a *admission, t *task) (audit.Entry, error) {
	entry := e.entry(typ, a, t.roster)
	entry.Command.Tier = t.verdict.Tier
	entry.Policy.Effect, entry.Policy.Rule = t.verdict.Effect.String(), t.verdict.Rule
	auditors := t.roster.Auditors()
	if len(auditors) == 0 {
		return entry, nil
	}
	b, err := envelope.Marshal(t.command)
	if err == nil {
		entry.Command.Sealed, err = key.Seal(b, auditors...)
	}
	return entry, err
}

// noticed says that something runs which policy would not have let run.
func (e evidence) noticed(a *admission, t *task, reason string) {
	entry, err := e.command(audit.Exec, a, t)
	if err != nil || len(entry.Command.Sealed) > maxRefusedCommand || !e.Refusals.Allow() {
		e.Logger.Warn("a line was noticed that is too long for an entry, or one of too many", "session", a.id)
		return
	}
	entry.Action, entry.Outcome.Reason = string(gating.Noticed), testimony.Reason("not stopped, gate: advisory: "+reason)
	_ = e.Keep(false, entry) // logged there
}

// refused says what was not done, if it is known who asked. t is nil before the
// command is known.
func (e evidence) refused(a *admission, t *task, no *refusal) {
	if a.operator == nil || a.roster == nil {
		return
	}
	if !e.Refusals.Allow() {
		e.Logger.Warn("too many refusals at once: this one is logged only", "session", a.id, "operator", a.operator.Kid)
		return
	}
	entry := e.entry(audit.Refusal, a, a.roster)
	if t != nil && t.roster != nil {
		// The command that was refused is worth knowing, if it fits.
		if with, err := e.command(audit.Refusal, a, t); err == nil && len(with.Command.Sealed) <= maxRefusedCommand {
			entry = with
		}
	} else {
		entry.Proof = a.proof.Bytes()
	}
	if no.rule != "" {
		entry.Policy.Rule = testimony.Cut(no.rule, 256)
	}
	entry.Policy.Effect = no.effect.String()
	entry.Outcome.Reason = testimony.Reason(no.code + ": " + no.reason)
	_ = e.Keep(false, entry) // logged there; the refusal stands whatever happens
}
