package policy

import (
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// An Explanation shows how Evaluate came to its verdict. It holds the command,
// so it stays with whoever typed it.
type Explanation struct {
	Verdict  Verdict
	Entries  []EntryNote   // in the order they were looked at
	Commands []CommandNote // in the order they were found; nil without a command
}

// An EntryNote says what came of one entry.
type EntryNote struct {
	List    string // "blocklist" or "allowlist"
	Rule    string
	Line    int
	Matched bool
	Why     string // why it does not cover the request; "" when it does
}

// A CommandNote says what came of one program start in a command.
type CommandNote struct {
	Command sanitize.Text // as far as it can be read; * stands for the rest
	Via     []string      // the wrappers that start it, outermost first; "?" where its beginning is a guess
	Tier    string
	Rule    string // the key that gave the tier
	Line    int
	Pattern string // "" for the default and for what can't be read
	Why     string // why it can't be read, or what the catalogue says it does; "" where there is nothing to say
}

// Explain evaluates a request and says why each entry did or did not cover it.
func Explain(req *Request, snap *Snapshot) Explanation {
	e := Explanation{Verdict: Evaluate(req, snap)}
	p, as, problem := admit(req, snap)
	if problem != "" || p.mode == "lockdown" && !req.BreakGlass {
		return e
	}
	for i := range p.block {
		if e.note("blocklist", &p.block[i], req, as); e.Entries[i].Matched {
			return e
		}
	}
	covering := p.covering(req, as, kindBit(req.Kind))
	for i := range p.allow {
		if e.note("allowlist", &p.allow[i], req, as); &p.allow[i] == covering {
			break
		}
	}
	if e.Verdict.Tier != "" {
		e.explainCommand(p.commandsOf(covering), programOf(req))
	}
	return e
}

func (e *Explanation) note(list string, r *rule, req *Request, as string) {
	m := r.covers(req, as, list == "blocklist")
	e.Entries = append(e.Entries, EntryNote{List: list, Rule: r.name, Line: r.line, Matched: m == hit, Why: missTexts[m]})
}

func (e *Explanation) explainCommand(set *commandSet, program *command.Program) {
	for _, start := range set.Starts(program) {
		note := CommandNote{Command: start.Command, Via: start.Via, Tier: start.Tier.String(), Why: start.Opaque}
		note.Rule, note.Line = set.source(start.Judgement)
		if start.Pattern != nil {
			note.Pattern, note.Why = start.Pattern.Text, start.Pattern.Why
		}
		e.Commands = append(e.Commands, note)
	}
}
