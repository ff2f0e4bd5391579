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
// packages glob and document beside it.
package command

import (
	"fmt"
	"path"
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
}

// Judge returns the strictest judgement over all program starts in a command.
// An argument list without a word is critical.
func (s *Set) Judge(argv []string) Judgement {
	read := readArgv(argv)
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
func (s *Set) Starts(argv []string) []Start {
	read := readArgv(argv)
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

// A Pattern is over the words of a command (SPEC.md, Commands).
type Pattern struct {
	Text string      // as written
	Line int         // where it stands; whoever parses a document sets it
	name []glob.Glob // of the program's base name
	args []patternWord
	any  bool // only a name: covers whatever arguments
}

// A patternWord is alternatives for one word, or `...`.
type patternWord struct {
	more bool // `...`: any number of words
	alts []glob.Glob
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	words := strings.Fields(text)
	p := Pattern{Text: text}
	if len(words) == 0 || strings.HasPrefix(words[0], "...") {
		return p, fmt.Errorf("it must begin with the name of a program or a @class")
	}
	if class, ok := strings.CutPrefix(words[0], "@"); ok {
		if p.name = programs().classes[class]; p.name == nil {
			return p, fmt.Errorf("there is no class @%s; there are: %s", class, strings.Join(programs().classNames(), ", "))
		}
	} else {
		if strings.Contains(words[0], "/") {
			return p, fmt.Errorf("programs are named by their base name, without a path")
		}
		p.name = alternatives(words[0])
	}
	for _, w := range words[1:] {
		switch {
		case w == "...":
			p.args = append(p.args, patternWord{more: true})
		case strings.HasPrefix(w, "@"):
			return p, fmt.Errorf("a @class stands for a program and only in the first place")
		default:
			p.args = append(p.args, patternWord{alts: alternatives(w)})
		}
	}
	for _, w := range append([]patternWord{{alts: p.name}}, p.args...) {
		for _, g := range w.alts {
			if g.String() == "" {
				return p, fmt.Errorf("an alternative of | is empty")
			}
		}
	}
	p.any = len(p.args) == 0
	return p, nil
}

func alternatives(word string) []glob.Glob {
	var globs []glob.Glob
	for alt := range strings.SplitSeq(word, "|") {
		globs = append(globs, glob.New(alt))
	}
	return globs
}

// A word is one word of a command, as far as it can be read.
type word struct {
	glob.Glob
	many bool // not one word but any number of any words, as unquoted $X
}

// A command is one program start. Built-ins of a shell count as programs, and
// a redirection that writes is the command ">" with the file's name.
type command struct {
	words  []word   // words[0] is the program
	via    []string // the wrappers that start it, outermost first
	opaque string   // why it can't be read; "" when it can
	// through: it only starts another command, which is judged by itself, so
	// the default tier does not apply to it.
	through bool
	// elsewhere: it runs as another user, in another environment or on another
	// host, so that its name may mean another program. Patterns that lower do
	// not apply.
	elsewhere bool
	guessed   bool // a word of it was taken for its begin, which is not sure
	stdin     bool // a shell that reads its commands from its input
}

// program returns the base name, if the name can be read.
func (c *command) program() (string, bool) {
	if len(c.words) == 0 || c.words[0].many || !c.words[0].IsLiteral() || c.words[0].String() == "" {
		return "", false
	}
	return path.Base(c.words[0].String()), true
}

// A Judgement is the tier of a command and what gave it.
type Judgement struct {
	Tier    Tier
	Pattern *Pattern // nil: the default, or it can't be read
	Partly  bool     // the pattern covers what the command may become: not every word can be read
	Opaque  string   // why it can't be read; "" when it can
}

// judge finds the tier of one command.
func (s *Set) judge(c *command) Judgement {
	verdict := Judgement{Tier: s.Default}
	name, readable := c.program()
	if readable {
		f := factsOf(c, name)
		if p, t := s.raise(name, f); p != nil {
			verdict = Judgement{Tier: t, Pattern: p, Partly: !p.any && (f.many || len(f.open) > 0)}
		} else if p, t := s.lower(c, name); p != nil {
			verdict = Judgement{Tier: t, Pattern: p}
		} else if c.through {
			verdict = Judgement{Tier: Low}
		}
	}
	if c.opaque != "" && verdict.Tier < opaqueTier {
		verdict = Judgement{Tier: opaqueTier, Opaque: c.opaque}
	}
	return verdict
}

// raise looks for a pattern of the default tier or above it.
func (s *Set) raise(name string, f *facts) (*Pattern, Tier) {
	for t := Critical; ; t-- {
		for i := range s.Patterns[t] {
			if p := &s.Patterns[t][i]; p.mayCover(name, f) {
				return p, t
			}
		}
		if t == s.Default {
			return nil, 0
		}
	}
}

// lower looks for a pattern below the default tier.
func (s *Set) lower(c *command, name string) (*Pattern, Tier) {
	if c.elsewhere || c.opaque != "" || !trustedPlace(c.words[0].String()) {
		return nil, 0
	}
	for t := s.Default; t > Low; {
		t--
		for i := range s.Patterns[t] {
			if p := &s.Patterns[t][i]; glob.Any(p.name, name) && (p.any || covers(p.args, c.words[1:])) {
				return p, t
			}
		}
	}
	return nil, 0
}

// systemDirs are where a path may point for a pattern that lowers: a program
// of one's own called ls is not ls.
var systemDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

func trustedPlace(name string) bool {
	return !strings.Contains(name, "/") || path.Clean(name) == name && slices.Contains(systemDirs, path.Dir(name))
}

// covers matches word by word, in order; only `...` covers a word that can't
// be read.
func covers(args []patternWord, words []word) bool {
	// open[i]: args[:i] can cover the words so far.
	open := make([]bool, len(args)+1)
	step := func() { // `...` may cover nothing
		for i, a := range args {
			if a.more && open[i] {
				open[i+1] = true
			}
		}
	}
	open[0] = true
	step()
	for _, w := range words {
		next := make([]bool, len(open))
		for i, a := range args {
			switch {
			case a.more:
				next[i+1] = open[i+1] || next[i+1]
			case open[i] && !w.many && w.IsLiteral() && glob.Any(a.alts, w.String()):
				next[i+1] = true
			}
		}
		open = next
		step()
	}
	return open[len(args)]
}

// facts are a command's words in the form that raising patterns look at.
type facts struct {
	flags    []string   // as written, one for each letter of a cluster, and other names of the same
	operands [][]string // each as written and as a cleaned path
	open     []openWord // words that can be read in part
	many     bool       // some words can't be read, not even how many
	// manyOperands: the same, behind `--`, where no word is a flag.
	manyOperands bool
}

// An openWord can be read in part.
type openWord struct {
	glob.Glob
	operand bool // it stands behind `--`
}

var anyFlag = glob.New("-*")

func (w openWord) mayBeFlag() bool { return !w.operand && w.Meets(anyFlag) }

func factsOf(c *command, name string) *facts {
	f := &facts{}
	synonyms := programs().synonyms[name]
	operandsOnly := false
	for _, w := range c.words[1:] {
		switch {
		case w.many && operandsOnly:
			f.manyOperands = true
		case w.many:
			f.many = true
		case !w.IsLiteral():
			f.open = append(f.open, openWord{w.Glob, operandsOnly})
		case !operandsOnly && w.String() == "--":
			operandsOnly = true
		case !operandsOnly && isFlag(w.String()):
			f.addFlag(w.String(), synonyms)
		default:
			f.operands = append(f.operands, views(w.String()))
		}
	}
	return f
}

func isFlag(s string) bool { return len(s) > 1 && s[0] == '-' }

// addFlag notes a flag, its parts, and its other names: `--rec` counts as
// `--recursive` and so as `-r` where the data file says they are one.
func (f *facts) addFlag(flag string, synonyms []synonym) {
	all := []string{flag}
	if name, _, ok := strings.Cut(flag, "="); ok {
		all = append(all, name)
	}
	if !strings.HasPrefix(flag, "--") {
		for _, letter := range flag[1:] {
			all = append(all, "-"+string(letter))
		}
	}
	for _, have := range all {
		f.flags = append(f.flags, have)
		for _, s := range synonyms {
			if have == s.flag || strings.HasPrefix(have, "--") && len(have) > 2 && strings.HasPrefix(s.flag, have) {
				f.flags = append(f.flags, s.means)
			}
		}
	}
}

// views returns an operand as written and as the path it names.
func views(s string) []string {
	out := []string{s}
	if key, value, ok := strings.Cut(s, "="); ok && strings.Contains(value, "/") {
		out = append(out, key+"="+path.Clean(value))
	}
	if strings.Contains(s, "/") {
		out = append(out, path.Clean(s))
	}
	return out
}

// mayCover says whether the pattern could cover the command. Order does not
// matter, further flags never help to get away, and what can't be read is
// taken for what the pattern asks.
func (p *Pattern) mayCover(name string, f *facts) bool {
	if !glob.Any(p.name, name) {
		return false
	}
	if p.any {
		return true
	}
	more, missing := false, 0
	shortMissing := false // one word can hold any number of short flags
	for i := range p.args {
		a := &p.args[i]
		switch {
		case a.more:
			more = true
		case a.isSatisfied(f), f.many, f.manyOperands && a.isOperand():
		case !slices.ContainsFunc(f.open, a.mayBe):
			return false
		case a.isShortFlag():
			shortMissing = true
		default:
			missing++
		}
	}
	if shortMissing {
		missing++
	}
	if missing > len(f.open) && !f.many {
		return false
	}
	return more || p.coversOperands(f)
}

// coversOperands says whether each operand is one of the pattern's.
func (p *Pattern) coversOperands(f *facts) bool {
	for _, views := range f.operands {
		if !slices.ContainsFunc(p.args, func(a patternWord) bool {
			return slices.ContainsFunc(views, func(v string) bool { return glob.Any(a.alts, v) })
		}) {
			return false
		}
	}
	for _, open := range f.open {
		if !open.mayBeFlag() && !slices.ContainsFunc(p.args, func(a patternWord) bool { return a.mayBe(open) }) {
			return false
		}
	}
	return true
}

func (a *patternWord) isShortFlag() bool {
	return slices.ContainsFunc(a.alts, func(g glob.Glob) bool {
		return isFlag(g.String()) && !strings.HasPrefix(g.String(), "--")
	})
}

// isSatisfied says whether the words that can be read hold an alternative.
func (a *patternWord) isSatisfied(f *facts) bool {
	for _, alt := range a.alts {
		if !isFlag(alt.String()) {
			for _, views := range f.operands {
				if slices.ContainsFunc(views, alt.Match) {
					return true
				}
			}
			if !alt.Meets(anyFlag) {
				continue
			}
		}
		if slices.ContainsFunc(f.flags, alt.Match) || hasCluster(f, alt) {
			return true
		}
	}
	return false
}

// hasCluster says whether each letter of a short cluster such as -rf is there.
func hasCluster(f *facts, alt glob.Glob) bool {
	s := alt.String()
	if !alt.IsLiteral() || !isFlag(s) || strings.HasPrefix(s, "--") {
		return false
	}
	for _, letter := range s[1:] {
		if !slices.Contains(f.flags, "-"+string(letter)) {
			return false
		}
	}
	return true
}

// mayBe says whether a word that can be read in part may be an alternative.
func (a *patternWord) mayBe(open openWord) bool {
	return slices.ContainsFunc(a.alts, func(alt glob.Glob) bool {
		if isFlag(alt.String()) {
			return open.mayBeFlag()
		}
		return alt.Meets(open.Glob)
	})
}

// isOperand says whether an alternative can be a word that is no flag.
func (a *patternWord) isOperand() bool {
	return slices.ContainsFunc(a.alts, func(g glob.Glob) bool { return !isFlag(g.String()) })
}

func (c *command) show() sanitize.Text {
	argv := make([]string, len(c.words))
	for i, w := range c.words {
		if argv[i] = w.String(); w.many {
			argv[i] = "*"
		}
	}
	return sanitize.Argv(argv)
}
