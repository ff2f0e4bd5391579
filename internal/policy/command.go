package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A tier is how much a command can do. Tiers are ordered: a larger one is
// stricter.
type tier uint8

const (
	low tier = iota
	medium
	high
	critical
)

var tierNames = [...]string{low: "low", medium: "medium", high: "high", critical: "critical"}

func (t tier) String() string { return tierNames[t] }

// opaqueTier is the least tier of a command that can't be read: it could be
// any command, so somebody else must look at it.
const opaqueTier = high

// A commandSet is a `commands` block.
type commandSet struct {
	owner    string // the rule it belongs to; "" for the policy's
	patterns [len(tierNames)][]pattern
	lines    [len(tierNames)]int // of the lists
	def      tier
	defLine  int
	effects  [len(tierNames)]Effect
}

func newCommandSet() commandSet {
	return commandSet{def: low, effects: [...]Effect{low: Allow, medium: Confirm, high: Hold, critical: Deny}}
}

// inherit returns a copy; what a rule's own `commands` does not say holds as
// the policy says it.
func (s *commandSet) inherit() commandSet { return *s }

func (d *docReader) commands(n ast.Node, what string, set *commandSet) {
	var fields []field
	for t := critical; ; t-- {
		fields = append(fields, field{t.String(), func(v ast.Node) { set.patterns[t], set.lines[t] = d.patterns(v), lineOf(v) }})
		if t == low {
			break
		}
	}
	d.mapping(n, what, append(fields,
		field{"default", func(v ast.Node) { set.def, set.defLine = d.tier(v, what+".default"), lineOf(v) }},
		field{"tiers", func(v ast.Node) { d.tiers(v, set) }},
	)...)
}

func (d *docReader) tier(n ast.Node, what string) tier {
	name := d.oneOf(n, what, "critical", "high", "medium", "low")
	return tier(max(slices.Index(tierNames[:], name), 0))
}

func (d *docReader) tiers(n ast.Node, set *commandSet) {
	var fields []field
	for t := range set.effects {
		fields = append(fields, field{tierNames[t], func(v ast.Node) {
			word := d.oneOf(v, "the effect of a tier", effectNames[:]...)
			set.effects[t] = Effect(max(slices.Index(effectNames[:], word), 0))
		}})
	}
	d.mapping(n, "tiers", fields...)
	for t := low; t < critical; t++ {
		if set.effects[t] < set.effects[t+1] {
			d.fail(n, "tiers: %s is %s but %s is %s; a stricter tier must not get a laxer effect",
				t, set.effects[t], t+1, set.effects[t+1])
		}
	}
}

func (d *docReader) patterns(n ast.Node) []pattern {
	out := []pattern{} // an empty list is a statement here: this tier lists nothing
	d.list(n, "a list of commands", func(v ast.Node) {
		text := d.text(v, "a command pattern")
		if d.err != nil {
			return
		}
		p, err := parsePattern(text)
		if err != nil {
			d.fail(v, "pattern %q: %v", text, err)
		}
		p.line = lineOf(v)
		out = append(out, p)
	})
	return out
}

// A pattern is over the words of a command (SPEC.md, Commands).
type pattern struct {
	text string
	line int
	name []glob // of the program's base name
	args []patternWord
	any  bool // only a name: covers whatever arguments
}

// A patternWord is alternatives for one word, or `...`.
type patternWord struct {
	more bool // `...`: any number of words
	alts []glob
}

func parsePattern(text string) (pattern, error) {
	words := strings.Fields(text)
	p := pattern{text: text}
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

func alternatives(word string) []glob {
	var globs []glob
	for alt := range strings.SplitSeq(word, "|") {
		globs = append(globs, newGlob(alt))
	}
	return globs
}

// A word is one word of a command, as far as it can be read.
type word struct {
	glob
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
	if len(c.words) == 0 || c.words[0].many || !c.words[0].isLiteral() || c.words[0].pieces[0] == "" {
		return "", false
	}
	return path.Base(c.words[0].pieces[0]), true
}

// A judged command has a tier and what gave it.
type judged struct {
	tier    tier
	pattern *pattern // nil: the default, or it can't be read
	partly  bool     // not every word can be read
	opaque  string
}

// judge finds the tier of one command.
func (s *commandSet) judge(c *command) judged {
	verdict := judged{tier: s.def}
	name, readable := c.program()
	if readable {
		f := factsOf(c, name)
		if p, t := s.raise(name, f); p != nil {
			verdict = judged{tier: t, pattern: p, partly: !p.any && (f.many || len(f.open) > 0)}
		} else if p, t := s.lower(c, name); p != nil {
			verdict = judged{tier: t, pattern: p}
		} else if c.through {
			verdict = judged{tier: low}
		}
	}
	if c.opaque != "" && verdict.tier < opaqueTier {
		verdict = judged{tier: opaqueTier, opaque: c.opaque}
	}
	return verdict
}

// raise looks for a pattern of the default tier or above it.
func (s *commandSet) raise(name string, f *facts) (*pattern, tier) {
	for t := critical; ; t-- {
		for i := range s.patterns[t] {
			if p := &s.patterns[t][i]; p.mayCover(name, f) {
				return p, t
			}
		}
		if t == s.def {
			return nil, 0
		}
	}
}

// lower looks for a pattern below the default tier.
func (s *commandSet) lower(c *command, name string) (*pattern, tier) {
	if c.elsewhere || c.opaque != "" || !trustedPlace(c.words[0].pieces[0]) {
		return nil, 0
	}
	for t := s.def; t > low; {
		t--
		for i := range s.patterns[t] {
			if p := &s.patterns[t][i]; anyGlob(p.name, name) && (p.any || covers(p.args, c.words[1:])) {
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
			case open[i] && !w.many && w.isLiteral() && anyGlob(a.alts, w.pieces[0]):
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
	glob
	operand bool // it stands behind `--`
}

var anyFlag = newGlob("-*")

func (w openWord) mayBeFlag() bool { return !w.operand && w.meets(anyFlag) }

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
		case !w.isLiteral():
			f.open = append(f.open, openWord{w.glob, operandsOnly})
		case !operandsOnly && w.pieces[0] == "--":
			operandsOnly = true
		case !operandsOnly && isFlag(w.pieces[0]):
			f.addFlag(w.pieces[0], synonyms)
		default:
			f.operands = append(f.operands, views(w.pieces[0]))
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
func (p *pattern) mayCover(name string, f *facts) bool {
	if !anyGlob(p.name, name) {
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
func (p *pattern) coversOperands(f *facts) bool {
	for _, views := range f.operands {
		if !slices.ContainsFunc(p.args, func(a patternWord) bool {
			return slices.ContainsFunc(views, func(v string) bool { return anyGlob(a.alts, v) })
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
	return slices.ContainsFunc(a.alts, func(g glob) bool {
		return isFlag(g.String()) && !strings.HasPrefix(g.String(), "--")
	})
}

// isSatisfied says whether the words that can be read hold an alternative.
func (a *patternWord) isSatisfied(f *facts) bool {
	for _, alt := range a.alts {
		if !isFlag(alt.String()) {
			for _, views := range f.operands {
				if slices.ContainsFunc(views, alt.match) {
					return true
				}
			}
			if !strings.HasPrefix(alt.pieces[0], "-") && alt.pieces[0] != "" {
				continue
			}
		}
		if slices.ContainsFunc(f.flags, alt.match) || hasCluster(f, alt) {
			return true
		}
	}
	return false
}

// hasCluster says whether each letter of a short cluster such as -rf is there.
func hasCluster(f *facts, alt glob) bool {
	s := alt.String()
	if !alt.isLiteral() || !isFlag(s) || strings.HasPrefix(s, "--") {
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
	return slices.ContainsFunc(a.alts, func(alt glob) bool {
		if isFlag(alt.String()) {
			return open.mayBeFlag()
		}
		return alt.meets(open.glob)
	})
}

// isOperand says whether an alternative can be a word that is no flag.
func (a *patternWord) isOperand() bool {
	return slices.ContainsFunc(a.alts, func(g glob) bool { return !isFlag(g.String()) })
}
