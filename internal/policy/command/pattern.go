package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// A Pattern is over the words of a command (SPEC.md, Commands).
type Pattern struct {
	Text string      // as written
	Line int         // where it stands; whoever parses a document sets it
	Why  string      // what such a command does, in plain words; "" where nobody said
	name []glob.Glob // of the program's base name
	fact string      // a class that is about facts, instead of names
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
		switch p.name = programs().classes[class]; {
		case slices.Contains(factNames, class):
			p.fact = class
		case p.name == nil:
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

// names says whether the pattern is about the program, called name.
func (p *Pattern) names(c *command, name string) bool {
	if p.fact != "" {
		return c.is(p.fact)
	}
	return glob.Any(p.name, name)
}

// mayCover says whether the pattern could cover the command. Order does not
// matter, further flags never help to get away, and what can't be read is
// taken for what the pattern asks. The program is one that the pattern names.
func (p *Pattern) mayCover(f *facts) bool {
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
			hit := func(views []string) bool { return slices.ContainsFunc(views, alt.Match) }
			if slices.ContainsFunc(f.operands, hit) || slices.ContainsFunc(f.values, hit) {
				return true
			}
			if !alt.Meets(anyFlag) {
				continue
			}
		}
		if slices.ContainsFunc(f.flags, func(flag string) bool {
			return alt.Match(flag) || alt.IsLiteral() && len(flag) > 3 && isBeginning(flag, alt.String())
		}) || hasCluster(f, alt) {
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
		return open.meets(alt)
	})
}

// isOperand says whether an alternative can be a word that is no flag.
func (a *patternWord) isOperand() bool {
	return slices.ContainsFunc(a.alts, func(g glob.Glob) bool { return !isFlag(g.String()) })
}
