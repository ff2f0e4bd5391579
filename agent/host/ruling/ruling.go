// Package ruling says what policy makes of a program that starts inside a session: how
// a start, as the gate sees it, is put to the one evaluator, and as what it is asked
// for where somebody must say yes.
//
// What is held or confirmed is asked for as an exec of the same words, because that is
// what apid, approvers and the check of their approvals judge. A start for which they
// would not be asked is denied.
//
// It is pure. It must not import agent/host or agent/ledger.
package ruling

import (
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Of judges a start inside a session of a kind, as a user, by a roster and its policy.
func Of(r *roster.Roster, device roster.Device, agent roster.Agent, kind policy.Kind, as string, s live.Start, now time.Time) live.Ruling {
	if len(s.Files) == 0 || len(s.Argv) == 0 {
		return live.Ruling{Reason: "denied: it is not known what would start"}
	}
	req := r.Request(device, agent, kind, as, nil, now)
	req.Program = programOf(s)
	v := policy.Evaluate(req, r.Snapshot())
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
	// By the file's own name: whoever says yes must not be told another one.
	if file := s.Files[0].Path; file != "" {
		argv := slices.Concat([]string{file}, s.Argv[1:])
		exec := r.Request(device, agent, policy.Exec, as, argv, now)
		exec.Cwd = s.Cwd
		if policy.Evaluate(exec, r.Snapshot()).Effect == v.Effect {
			out.Argv = argv
			return out
		}
	}
	out.Effect = policy.Deny.String()
	out.Reason += "; it can't be asked for from inside a session here: policy does not ask the same of an exec of its file; start it by the file's own name, or with exec"
	return out
}

// confirmIn is how long a start waits for its operator's own word.
const confirmIn = 2 * time.Minute

// programOf gives a start as policy reads it.
func programOf(s live.Start) *command.Program {
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
