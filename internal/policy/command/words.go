package command

import (
	"path"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// facts are a command's words in the form that raising patterns look at.
type facts struct {
	flags    []string   // as written, one for each letter of a cluster, and other names of the same
	operands [][]string // each as written and as the paths it may name
	values   [][]string // of options: they may be what a pattern asks, and need not be
	open     []openWord // words that can be read in part
	many     bool       // some words can't be read, not even how many
	// manyOperands: the same, behind `--`, where no word is a flag.
	manyOperands bool
}

// An openWord can be read in part.
type openWord struct {
	glob.Glob
	operand bool        // it stands behind `--`
	files   bool        // it is the names of files
	paths   []glob.Glob // of files: the paths it may name
}

// meets says whether the word may be what g asks. Names of files are not absolute
// unless they begin so.
func (w openWord) meets(g glob.Glob) bool {
	if !w.files || !g.Begins("/") || w.Begins("/") {
		return g.Meets(w.Glob)
	}
	return slices.ContainsFunc(w.paths, g.Meets)
}

var anyFlag = glob.New("-*")

func (w openWord) mayBeFlag() bool { return !w.operand && w.Meets(anyFlag) }

// unknownDir stands in a command's dirs for a directory that can't be read.
const unknownDir = ""

func factsOf(argv []word, name string, dirs []string) *facts {
	f := &facts{}
	o := programs().options[name]
	operandsOnly := false
	for i := 1; i < len(argv); i++ {
		w := argv[i]
		switch {
		case w.many && operandsOnly:
			f.manyOperands = true
		case w.many:
			f.many = true
		case !w.IsLiteral():
			f.open = append(f.open, openOf(w, operandsOnly, dirs))
		case !operandsOnly && w.String() == "--":
			operandsOnly = true
		case !operandsOnly && isFlag(w.String()):
			if f.flag(w.String(), o, dirs) && i+1 < len(argv) && !argv[i+1].many && argv[i+1].IsLiteral() {
				i++
				f.value(argv[i].String(), o, dirs)
			}
		default:
			f.operand(w.String(), dirs)
		}
	}
	return f
}

func openOf(w word, operand bool, dirs []string) openWord {
	open := openWord{Glob: w.Glob, operand: operand, files: w.files}
	for _, dir := range dirs {
		if dir == unknownDir {
			open.files = false
		}
		open.paths = append(open.paths, w.In(dir))
	}
	return open
}

// certain returns the facts without what can't be read; names of files stay.
func (f *facts) certain() *facts {
	c := *f
	c.many, c.manyOperands = false, false
	c.open = slices.DeleteFunc(slices.Clone(f.open), func(w openWord) bool { return !w.files })
	return &c
}

func isFlag(s string) bool { return len(s) > 1 && s[0] == '-' }

func (f *facts) operand(s string, dirs []string) {
	if inUnknownDir(s, dirs) {
		f.open = append(f.open, openWord{Glob: glob.New("*"), operand: true})
		return
	}
	f.operands = append(f.operands, views(s, dirs))
}

// value notes the value of an option. Where the data file errs, it was a word of
// its own, so it counts as a flag, too, if it looks like one.
func (f *facts) value(s string, o *options, dirs []string) {
	f.values = append(f.values, views(s, dirs))
	if isFlag(s) {
		f.flag(s, o, dirs)
	}
}

// flag notes a flag, its parts and its other names, and says whether the next
// word is its value. `--rec` counts as `--recursive` and so as `-r` where the
// data file says they are one.
func (f *facts) flag(s string, o *options, dirs []string) (takesNext bool) {
	if name, value, ok := strings.Cut(s, "="); ok {
		f.value(value, o, dirs)
		f.note(s, o)
		if strings.HasPrefix(s, "--") || o.words() {
			f.note(name, o)
			return false
		}
	}
	if strings.HasPrefix(s, "--") || o.words() {
		f.note(s, o)
		return o.takesValue(s)
	}
	f.note(s, o)
	for i := 1; i < len(s); i++ {
		letter := "-" + s[i:i+1]
		f.note(letter, o)
		if o.takesValue(letter) {
			if i+1 < len(s) {
				f.values = append(f.values, views(s[i+1:], dirs))
			}
			takesNext = i+1 == len(s)
			// Another version of the program may know the rest as flags.
		} else if i == 1 && strings.ContainsAny(s[2:], "/.:@") {
			f.values = append(f.values, views(s[2:], dirs))
		}
	}
	return takesNext
}

func (f *facts) note(flag string, o *options) {
	f.flags = append(f.flags, flag)
	for _, s := range o.synonyms() {
		if flag != s.flag && flag != s.means && !isBeginning(flag, s.flag) {
			continue
		}
		f.flags = append(f.flags, s.means)
		for _, other := range o.synonyms() {
			if other.means == s.means {
				f.flags = append(f.flags, other.flag)
			}
		}
	}
}

// isBeginning says whether a program may take flag for the long option name.
func isBeginning(flag, name string) bool {
	return len(flag) > 2 && strings.HasPrefix(flag, "--") && strings.HasPrefix(name, flag)
}

// views returns an operand as written and as the paths it may name.
func views(s string, dirs []string) []string {
	out := []string{s}
	named := s
	if key, value, ok := strings.Cut(s, "="); ok {
		if strings.Contains(value, "/") {
			out = append(out, key+"="+path.Clean(value))
		}
		for _, dir := range dirs {
			if dir != unknownDir && value != "" && value[0] != '/' {
				out = append(out, key+"="+path.Join(dir, value))
			}
		}
	}
	if strings.Contains(s, "/") {
		out = append(out, path.Clean(s))
	}
	for _, dir := range dirs {
		if dir != unknownDir && !path.IsAbs(named) {
			out = append(out, path.Join(dir, named))
		}
	}
	return out
}

// inUnknownDir says whether s names a directory that depends on where a command
// runs, and that can't be read.
func inUnknownDir(s string, dirs []string) bool {
	clean := path.Clean(s)
	if s == "" || clean != "." && clean != ".." && !strings.HasPrefix(clean, "../") {
		return false
	}
	for _, dir := range dirs {
		if dir == unknownDir {
			return true
		}
	}
	return false
}
