// Package ruling says what policy makes of a program that starts inside a session: how
// a start, as the gate sees it, is put to the one evaluator, and as what it is asked
// for where somebody must say yes.
//
// What is held or confirmed is asked for as an exec of the same words, because that is
// what apid, approvers and the check of their approvals judge. A start for which they
// would not be asked is denied.
//
// The keeper judges by [Rules] of its roster. It lends them to a session half, which
// has them for [LeaseTime] at most and may let start what they allow; for every other
// word it asks the keeper. A [Lease] is what the half has of them.
//
// Invariants:
//   - a half without rules allows nothing by itself, and rules allow nothing that the
//     keeper, with the same roster, would not;
//   - rules that were withdrawn while they were on their way are not taken.
//
// It must not import agent/host or agent/ledger.
package ruling

import (
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Rules are what policy has to know of one session to judge what starts in it. The
// zero value denies.
type Rules struct {
	request  policy.Request // but for command and time
	snapshot *policy.Snapshot
	document []byte // that the snapshot's policy was read from
}

// RulesOf gives the rules for sessions of a kind, as a user, by a roster; breakGlass for
// those that rest on a quorum instead of a grant. Its error says
// that device or agent may do nothing now.
func RulesOf(r *roster.Roster, operator, agent key.Kid, kind policy.Kind, as string, breakGlass bool, now time.Time) (Rules, error) {
	device, err := r.Device(operator, now)
	if err != nil {
		return Rules{}, err
	}
	machine, err := r.Agent(agent, now)
	if err != nil {
		return Rules{}, err
	}
	req := r.Request(device, machine, kind, as, nil, now)
	req.BreakGlass = breakGlass
	return Rules{*req, r.Snapshot(), r.PolicyDocument()}, nil
}

// Of judges a start.
func (r Rules) Of(s live.Start, now time.Time) live.Ruling {
	if len(s.Argv) == 0 {
		return live.Ruling{Reason: "denied: it is not known what would start"}
	}
	v := r.judge(s, now)
	out := live.Ruling{Tier: v.Tier, Rule: v.Rule, Line: v.Line, Reason: v.Reason}
	if v.Tier == "" {
		return out // whatever it says: the program was not judged
	}
	out.Effect = v.Effect.String()
	if v.Effect != policy.Hold && v.Effect != policy.Confirm {
		return out
	}
	// Asked for as an exec, it must be held, or confirmed, by its words alone: that is
	// what apid, the approvers and the check of their approvals see.
	out.Wait = v.Obligations.AskFor + v.Obligations.UseFor
	if v.Effect == policy.Confirm {
		out.Wait = confirmIn
	}
	if argv := askedAs(s); argv != nil {
		exec := r.request
		exec.Kind, exec.Argv, exec.Cwd, exec.At = policy.Exec, argv, s.Cwd, now
		if policy.Evaluate(&exec, r.snapshot).Effect == v.Effect {
			out.Argv = argv
			return out
		}
	}
	out.Effect, out.Wait = policy.Deny.String(), 0
	out.Reason += "; it can't be asked for from inside a session here: policy does not ask the same of an exec of its file; start it by the file's own name, or with exec"
	return out
}

// allows reports whether nobody need be asked about a start.
func (r Rules) allows(s live.Start, now time.Time) bool {
	if len(s.Argv) == 0 {
		return false
	}
	v := r.judge(s, now)
	return v.Tier != "" && v.Effect == policy.Allow
}

func (r Rules) judge(s live.Start, now time.Time) policy.Verdict {
	req := r.request
	req.Program, req.At = programOf(s), now
	return policy.Evaluate(&req, r.snapshot)
}

// askedAs are the words by which others are asked about a start: a program by its
// file's own name, so that whoever says yes is not told another one. nil: its file has
// no name.
func askedAs(s live.Start) []string {
	switch {
	case len(s.Files) == 0: // a line
		return s.Argv
	case s.Files[0].Path == "":
		return nil
	}
	return slices.Concat([]string{s.Files[0].Path}, s.Argv[1:])
}

// confirmIn is how long a start waits for its operator's own word.
const confirmIn = 2 * time.Minute

// programOf gives a start as policy reads it. A line is read as one that is asked for
// with exec is: what it can't be seen to do is not taken for harmless, because nobody
// looks again.
func programOf(s live.Start) *command.Program {
	if len(s.Files) == 0 {
		return &command.Program{Argv: s.Argv, Cwd: s.Cwd}
	}
	fileOf := func(f live.StartFile) *command.File {
		return &command.File{
			Path: f.Path, Names: f.Names, Owner: f.Owner, Links: f.Links, Regular: true, Writable: f.Writable, New: f.New,
		}
	}
	p := &command.Program{Argv: s.Argv, Cwd: s.Cwd, Requested: s.Requested, Watched: true}
	for _, kv := range s.Env {
		p.Environ = append(p.Environ, kv[0]+"="+kv[1])
	}
	p.File = fileOf(s.Files[0])
	if last := len(s.Files) - 1; last > 0 {
		p.Loaded = &command.Program{Argv: s.Loads, Cwd: s.Cwd, Requested: s.Loads[0], File: fileOf(s.Files[last]), Watched: true}
	}
	return p
}
