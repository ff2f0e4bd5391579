// Package command reads a command, as far as that can be done before it runs,
// and says how much it can do.
//
// Purpose: find every program start in an argument list, through wrappers and
// shell command lines, and give each a tier by patterns over its words.
//
// Invariants: whatever is too long, too deep or unreadable gets a stricter
// tier, never a laxer one. A pattern at the default tier or above may cover too
// much; one below it may cover too little. What programs do with their
// arguments is data (programs.yaml). See ../SPEC.md, Commands.
//
// It is pure. Of this module it may import only internal/sanitize and the
// packages glob, document and variable beside it.
package command

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Tier is how much a command can do. Tiers are ordered: a larger one is
// stricter.
type Tier uint8

const (
	Low Tier = iota
	Medium
	High
	Critical
)

var tierNames = [...]string{Low: "low", Medium: "medium", High: "high", Critical: "critical"}

func (t Tier) String() string { return tierNames[t] }

// opaqueTier is the least tier of a command that can't be read: it could be
// any command, so somebody else must look at it.
const opaqueTier = High

// Tiers is how many there are.
const Tiers = len(tierNames)

// TierNames returns the names, laxest first.
func TierNames() []string { return slices.Clone(tierNames[:]) }

// A Set says which commands are of which tier.
type Set struct {
	Patterns [Tiers][]Pattern // by tier
	Default  Tier             // of what no pattern covers
	// Catalogue is asked besides, where no pattern of Patterns covers the
	// command word by word: whoever wrote such a pattern has decided.
	Catalogue [Tiers][]Pattern
}

// Judge returns the strictest judgement over all program starts in a command.
// An argument list without a word is critical.
func (s *Set) Judge(p *Program) Judgement {
	read := readProgram(p)
	if read.problem != "" {
		return Judgement{Tier: Critical, Opaque: read.problem}
	}
	worst := Judgement{Tier: Low}
	for i := range read.commands {
		if j := s.judge(&read.commands[i]); i == 0 || j.Tier > worst.Tier {
			worst = j
		}
	}
	return worst
}

// A Start is one program start in a command.
type Start struct {
	Command sanitize.Text // as far as it can be read; * stands for the rest
	Via     []string      // the wrappers that start it, outermost first; "?" where its begin is a guess
	Judgement
}

// Starts returns each program start with its judgement, as Judge sees them.
func (s *Set) Starts(p *Program) []Start {
	read := readProgram(p)
	var starts []Start
	for i := range read.commands {
		c := &read.commands[i]
		starts = append(starts, Start{Command: c.show(), Via: c.via, Judgement: s.judge(c)})
	}
	if read.problem != "" {
		starts = append(starts, Start{Judgement: Judgement{Tier: Critical, Opaque: read.problem}})
	}
	return starts
}

// A Judgement is the tier of a command and what gave it.
type Judgement struct {
	Tier    Tier
	Pattern *Pattern // nil: the default, or it can't be read
	// Catalogued: the pattern is one of the catalogue's.
	Catalogued bool
	Partly     bool   // the pattern covers what the command may become: not every word can be read
	Opaque     string // why it can't be read; "" when it can
}

// Risk is what the command does that makes it of its tier, or why nobody can tell,
// with the name of no file in it: "deletes files". "" where nothing is known to say.
func (j *Judgement) Risk() string {
	switch {
	case j.Tier == Low:
		return ""
	case j.Opaque != "":
		return "can't be read before it runs: " + j.Opaque
	case j.Pattern != nil && j.Pattern.Why != "" && j.Partly:
		return "may become, when the shell fills in the rest, one that " + j.Pattern.Why
	case j.Pattern != nil:
		return j.Pattern.Why
	}
	return ""
}

// judge finds the tier of one command: the strictest over the names of its
// program and over the files that it writes.
func (s *Set) judge(c *command) Judgement {
	worst := Judgement{Tier: Low}
	for i, name := range c.names {
		if j := s.judgeAs(c, name, c.argv); i == 0 || j.Tier > worst.Tier {
			worst = j
		}
	}
	if len(c.names) == 0 && len(c.argv) > 0 {
		worst = s.judgeNameless(c)
	}
	for i, file := range c.writes {
		j := s.judgeAs(c, writeName, []word{{Glob: glob.Literal(writeName)}, file})
		if i == 0 && len(c.argv) == 0 || j.Tier > worst.Tier {
			worst = j
		}
	}
	if c.opaque != "" && worst.Tier < opaqueTier {
		worst = Judgement{Tier: opaqueTier, Opaque: c.opaque}
	}
	return worst
}

// writeName is the name under which patterns speak of a redirection that
// writes: `> /dev/*`.
const writeName = ">"

// judgeNameless judges a command whose program can't be read: only a class that
// is about that can cover it.
func (s *Set) judgeNameless(c *command) Judgement {
	if p, t := raise(&s.Patterns, s.Default, c, "", &facts{many: true}, nil); p != nil {
		return Judgement{Tier: t, Pattern: p}
	}
	return Judgement{Tier: s.Default}
}

func (s *Set) judgeAs(c *command, name string, argv []word) Judgement {
	f := factsOf(argv, name, c.dirs)
	partly := func(p *Pattern) bool { return !p.mayCover(f.certain()) }
	verdict, found := Judgement{Tier: s.Default}, false
	if p, t := raise(&s.Patterns, s.Default, c, name, f, nil); p != nil {
		verdict, found = Judgement{Tier: t, Pattern: p, Partly: partly(p)}, true
	}
	if !s.decided(c, name, argv) {
		if j := s.catalogued(c, name, f); j.Pattern != nil && (j.Tier > verdict.Tier || !found && j.Tier == verdict.Tier) {
			verdict, found = j, true
		}
	}
	if found {
		return verdict
	}
	if p, t := s.lower(c, name, argv); p != nil {
		return Judgement{Tier: t, Pattern: p}
	}
	if c.through {
		return Judgement{Tier: Low}
	}
	return verdict
}

// catalogued asks the catalogue. What a command only may become is nothing that a
// shipped list can deny: somebody else looks at it.
func (s *Set) catalogued(c *command, name string, f *facts) Judgement {
	p, t := raise(&s.Catalogue, Low, c, name, f, s)
	if p == nil || t <= opaqueTier || p.mayCover(f.certain()) {
		return Judgement{Tier: t, Pattern: p, Catalogued: true, Partly: p != nil && !p.mayCover(f.certain())}
	}
	if q, u := raise(&s.Catalogue, opaqueTier, c, name, f.certain(), s); q != nil {
		return Judgement{Tier: u, Pattern: q, Catalogued: true}
	}
	return Judgement{Tier: opaqueTier, Pattern: p, Catalogued: true, Partly: true}
}

// raise looks for the strictest pattern that may cover the command, down to the
// tier least. It passes over classes of facts that the set over speaks of itself.
func raise(patterns *[Tiers][]Pattern, least Tier, c *command, name string, f *facts, over *Set) (*Pattern, Tier) {
	for t := Critical; ; t-- {
		for i := range patterns[t] {
			if p := &patterns[t][i]; p.names(c, name) && p.mayCover(f) && (over == nil || p.fact == "" || !over.speaksOf(p.fact)) {
				return p, t
			}
		}
		if t == least {
			return nil, 0
		}
	}
}

// speaksOf says whether the policy itself has put a class of facts into a tier.
func (s *Set) speaksOf(fact string) bool {
	return slices.ContainsFunc(s.Patterns[:], func(tier []Pattern) bool {
		return slices.ContainsFunc(tier, func(p Pattern) bool { return p.fact == fact })
	})
}

// decided says whether a pattern of the policy covers the command word by word.
func (s *Set) decided(c *command, name string, argv []word) bool {
	for t := range s.Patterns {
		if s.exact(Tier(t), c, name, argv) != nil {
			return true
		}
	}
	return false
}

// lower looks for a pattern below the default tier.
func (s *Set) lower(c *command, name string, argv []word) (*Pattern, Tier) {
	for t := s.Default; t > Low; {
		t--
		if p := s.exact(t, c, name, argv); p != nil {
			return p, t
		}
	}
	return nil, 0
}

// exact looks for a pattern of a tier that covers the command word by word, if
// the program is surely the one that the system has under that name.
func (s *Set) exact(t Tier, c *command, name string, argv []word) *Pattern {
	if len(s.Patterns[t]) == 0 || c.elsewhere || c.opaque != "" || !c.ofSystem() {
		return nil
	}
	for i := range s.Patterns[t] {
		if p := &s.Patterns[t][i]; p.fact == "" && glob.Any(p.name, name) && (p.any || covers(p.args, argv[1:])) {
			return p
		}
	}
	return nil
}

func (c *command) show() sanitize.Text {
	text := func(words []word) string {
		argv := make([]string, len(words))
		for i, w := range words {
			if argv[i] = w.String(); w.many {
				argv[i] = "*"
			}
		}
		return sanitize.Argv(argv).String()
	}
	parts := []string{}
	if len(c.argv) > 0 {
		parts = append(parts, text(c.argv))
	}
	for _, file := range c.writes {
		parts = append(parts, writeName+" "+text([]word{file}))
	}
	return sanitize.Clean(strings.Join(parts, " "))
}
