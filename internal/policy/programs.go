package policy

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"
)

//go:embed programs.yaml
var programsDoc string

// programTable is what programs.yaml says.
type programTable struct {
	classes  map[string][]glob
	synonyms map[string][]synonym
	wrappers map[string]*wrapper
	// environment holds variables that make a program load or run something else.
	environment []glob
}

// A synonym is a flag that means another one.
type synonym struct{ flag, means string }

// A wrapper starts another command; the fields are explained in programs.yaml.
type wrapper struct {
	flags, values, line, split, shells []string
	replace                            string
	sub                                []string
	skip                               int
	assigns, elsewhere, appends        bool
	unsure                             bool
	run                                string
	bareShell                          bool
}

// programs reads the table once. A mistake in it is a bug of ours.
var programs = sync.OnceValue(func() *programTable {
	t, err := parsePrograms(programsDoc)
	if err != nil {
		panic("policy: internal error: programs.yaml: " + err.Error())
	}
	return t
})

func (t *programTable) classNames() []string { return slices.Sorted(maps.Keys(t.classes)) }

// isRisky says whether setting the variable can make programs other ones.
func (t *programTable) isRisky(variable string) bool { return anyGlob(t.environment, variable) }

func (t *programTable) isShell(name string) bool { return anyGlob(t.classes["shell"], name) }

// wrapper finds how a program starts others; nil if it starts none.
func (t *programTable) wrapper(name string) *wrapper {
	if w := t.wrappers[name]; w != nil {
		return w
	}
	if t.isShell(name) {
		return t.wrappers["shell"]
	}
	if strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld-musl") {
		return t.wrappers["ld-linux"]
	}
	return nil
}

func parsePrograms(doc string) (*programTable, error) {
	t := &programTable{
		classes:  make(map[string][]glob),
		synonyms: make(map[string][]synonym),
		wrappers: map[string]*wrapper{"shell": {
			run:    "shell",
			values: []string{"o", "O", "--rcfile", "--init-file"},
			line:   []string{"C", "--init-command"}, // of fish
		}},
	}
	var r reader
	root := r.read([]byte(doc))
	if r.err != nil {
		return nil, r.err
	}
	r.mapping(root, "programs",
		field{"classes", func(n ast.Node) {
			r.pairs(n, "classes", func(class string, _, names ast.Node) {
				for _, name := range r.texts(names, class) {
					t.classes[class] = append(t.classes[class], newGlob(name))
				}
			})
		}},
		field{"synonyms", func(n ast.Node) {
			r.pairs(n, "synonyms", func(program string, _, flags ast.Node) {
				r.pairs(flags, program, func(flag string, _, means ast.Node) {
					t.synonyms[program] = append(t.synonyms[program], synonym{flag, r.text(means, flag)})
				})
			})
		}},
		field{"environment", func(n ast.Node) {
			for _, name := range r.texts(n, "environment") {
				t.environment = append(t.environment, newGlob(name))
			}
		}},
		field{"starters", func(n ast.Node) {
			for _, name := range r.texts(n, "starters") {
				t.wrappers[name] = &wrapper{run: "words", elsewhere: true, unsure: true}
			}
		}},
		field{"wrappers", func(n ast.Node) {
			r.pairs(n, "wrappers", func(program string, name, value ast.Node) {
				if t.wrappers[program] != nil {
					r.fail(name, "%s is described twice", program)
				}
				t.wrappers[program] = r.wrapper(value, program)
			})
		}},
	)
	if r.err != nil {
		return nil, r.err
	}
	return t, nil
}

func (r *reader) wrapper(n ast.Node, program string) *wrapper {
	w := &wrapper{}
	words := func(key string, into *[]string) field {
		return field{key, func(v ast.Node) {
			if s, ok := v.(*ast.StringNode); ok {
				*into = strings.Fields(s.Value)
				return
			}
			r.fail(v, "%s must be text", key)
		}}
	}
	yes := func(key string, into *bool) field {
		return field{key, func(v ast.Node) {
			b, ok := v.(*ast.BoolNode)
			if !ok {
				r.fail(v, "%s must be true", key)
				return
			}
			*into = b.Value
		}}
	}
	r.mapping(n, program,
		words("flags", &w.flags), words("values", &w.values), words("line", &w.line),
		words("split", &w.split), words("shells", &w.shells), words("sub", &w.sub),
		field{"replace", func(v ast.Node) { w.replace = r.text(v, "replace") }},
		field{"skip", func(v ast.Node) { w.skip = r.number(v, "skip", 0, 4) }},
		yes("assigns", &w.assigns), yes("elsewhere", &w.elsewhere), yes("appends", &w.appends), yes("unsure", &w.unsure),
		field{"run", func(v ast.Node) { w.run = r.oneOf(v, "run", "words", "line", "first", "shell", "find", "never") }},
		field{"bare", func(v ast.Node) { w.bareShell = r.oneOf(v, "bare", "shell") == "shell" }},
	)
	return w
}

// How an option reads.
type optionKind uint8

const (
	unknownOption optionKind = iota
	flagOption
	valueOption
	lineOption
	splitOption
	shellOption
)

func (w *wrapper) option(name string) optionKind {
	switch {
	case slices.Contains(w.line, name):
		return lineOption
	case slices.Contains(w.split, name):
		return splitOption
	case slices.Contains(w.values, name):
		return valueOption
	case slices.Contains(w.shells, name):
		return shellOption
	case slices.Contains(w.flags, name), len(name) == 1 && '0' <= name[0] && name[0] <= '9':
		return flagOption
	}
	return unknownOption
}
