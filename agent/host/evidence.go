package host

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Actions of exec entries, beside the kind of session: the intent before, and
// the outcome after.
const (
	actionStart = "start"
	actionExit  = "exit"
)

// maxRefusedCommand bounds the sealed command in the entry of a refusal, in
// bytes: any channel request can cause one.
const maxRefusedCommand = 10 << 10

// evidence signs this agent's audit entries and puts them into the outbox,
// where they are durable and numbered before anybody relies on them.
type evidence struct {
	identity key.Identity
	outbox   *ledger.Outbox
	now      func() time.Time
	logger   *slog.Logger
	refusals *rate.Limiter // entries of refusals: a flood must not fill the outbox
	fail     func(error)   // ends the agent: its disk has failed
}

// entry begins an entry about an admission. r names the agent and the head.
func (e *evidence) entry(t audit.Type, a *admission, r *roster.Roster) audit.Entry {
	self := audit.Party{Kid: e.identity.Kid()}
	if agent, ok := r.EverAgent(self.Kid); ok {
		self.Name = agent.Name
	}
	p := a.proof.Body()
	return audit.Entry{
		TeamFP: r.TeamFP(), TeamID: r.TeamID(), Type: t, Timestamp: e.now().Unix(),
		Actor: audit.Party{Kid: a.operator.Kid, Name: a.operator.Email}, Action: p.Kind, Target: self,
		SessionID: p.SessionID, RosterHead: r.Head(),
		Policy: audit.PolicyResult{
			Hash: r.PolicyHash(), Version: r.PolicyVersion(),
			Effect: a.verdict.Effect.String(), Rule: a.verdict.Rule,
		},
		Command: audit.CommandContext{Commitment: p.Commitment},
	}
}

// keep signs and stores. closing entries may use the outbox's reserve.
func (e *evidence) keep(closing bool, entry audit.Entry) error {
	_, err := e.outbox.Append(closing, func(seq uint64, prev envelope.Hash) ([]byte, envelope.Hash, error) {
		chain := audit.NewChain(e.identity, audit.Link{Seq: seq - 1, Hash: prev})
		b, err := chain.Next(entry)
		return b, chain.Last().Hash, err
	})
	if err != nil {
		e.logger.Error("an audit entry could not be kept", "type", entry.Type, "error", err)
		if !errors.Is(err, ledger.ErrFull) && !errors.Is(err, audit.ErrMalformed) {
			e.fail(err)
		}
		return fmt.Errorf("host: the audit entry could not be kept: %w", err)
	}
	return nil
}

// started says that a session begins.
func (e *evidence) started(a *admission) error {
	entry := e.entry(audit.SessionStart, a, a.roster)
	entry.Proof = a.proof.Bytes()
	if a.breakGlass() {
		entry.Outcome.Reason = cut("break-glass: without a grant of apid, by "+strings.Join(a.quorum, ", "), 1024)
	}
	return e.keep(false, entry)
}

// ended says how a session ended, and what its recording's last manifest is.
func (e *evidence) ended(a *admission, last process.Exit, reason string, head envelope.Hash) error {
	entry := e.entry(audit.SessionEnd, a, a.roster)
	entry.Outcome = audit.Outcome{Exit: int64(last.Code), Signal: last.Signal, Reason: cut(reason, 1024), Recording: head}
	return e.keep(true, entry)
}

// attached says that a session's member has come back to its terminal.
func (e *evidence) attached(a *admission) error {
	entry := e.entry(audit.SessionAttach, a, a.roster)
	entry.Proof = a.proof.Bytes()
	return e.keep(false, entry)
}

// away says that a session's operator has left its terminal, or is not heard any more, or
// is heard again.
func (e *evidence) away(a *admission, away bool) error {
	typ := audit.SessionAttach
	if away {
		typ = audit.SessionDetach
	}
	return e.keep(false, e.entry(typ, a, a.roster))
}

// intent says what is about to run: the command, sealed to the auditors.
func (e *evidence) intent(a *admission, t *task) error {
	entry, err := e.command(audit.Exec, a, t)
	if err != nil {
		return err
	}
	entry.Action = actionStart
	switch {
	case t.shell != nil:
		entry.Outcome.Reason = cut(fmt.Sprintf("a shell of %s, session %s", t.shell.a.operator.Email, t.shell.a.id), 1024)
	case t.level != "":
		entry.Outcome.Reason = "gate: " + string(t.level)
	}
	return e.keep(false, entry)
}

// outcome says how it ended, or that it could not start. r is the roster that it was
// judged by.
// report is what a copy carried, sealed to the auditors as the command is.
func (e *evidence) outcome(a *admission, r *roster.Roster, f facts, x process.Exit, reason string, report []byte) error {
	entry := e.entry(audit.Exec, a, r)
	entry.Action, entry.Command.Tier = actionExit, f.Tier
	entry.Policy.Effect, entry.Policy.Rule = f.Effect, f.Rule
	entry.Outcome = audit.Outcome{Exit: int64(x.Code), Signal: x.Signal, Reason: cut(reason, 1024)}
	if auditors := r.Auditors(); len(report) > 0 && len(auditors) > 0 {
		sealed, err := key.Seal(report, auditors...)
		if err != nil {
			return err
		}
		entry.Command.Sealed = sealed
	}
	return e.keep(true, entry)
}

func (e *evidence) command(typ audit.Type, a *admission, t *task) (audit.Entry, error) {
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
func (e *evidence) noticed(a *admission, t *task, reason string) {
	entry, err := e.command(audit.Exec, a, t)
	if err != nil || len(entry.Command.Sealed) > maxRefusedCommand || !e.refusals.Allow() {
		e.logger.Warn("a line was noticed that is too long for an entry, or one of too many", "session", a.id)
		return
	}
	entry.Action, entry.Outcome.Reason = string(gating.Noticed), cut("not stopped, gate: advisory: "+reason, 1024)
	_ = e.keep(false, entry) // logged there
}

// refused says what was not done, if it is known who asked. t is nil before the
// command is known.
func (e *evidence) refused(a *admission, t *task, no *refusal) {
	if a.operator == nil || a.roster == nil {
		return
	}
	if !e.refusals.Allow() {
		e.logger.Warn("too many refusals at once: this one is logged only", "session", a.id, "operator", a.operator.Kid)
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
		entry.Policy.Rule = cut(no.rule, 256)
	}
	entry.Policy.Effect = no.effect.String()
	entry.Outcome.Reason = cut(no.code+": "+no.reason, 1024)
	_ = e.keep(false, entry) // logged there; the refusal stands whatever happens
}
