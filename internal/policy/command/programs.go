package command

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/document"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/variable"
)

//go:embed programs.yaml
var programsDoc string

// programTable is what programs.yaml says.
type programTable struct {
	classes  map[string][]glob.Glob
	options  map[string]*options
	wrappers map[string]*wrapper
}

// options say how a program reads its flags. A nil one knows nothing.
type options struct {
	same   []synonym
	values []string // flags with a value, with their dashes
	single bool     // one dash begins a long name, not letters
}

// A synonym is a flag that means another one.
type synonym struct{ flag, means string }

func (o *options) synonyms() []synonym {
	if o == nil {
		return nil
	}
	return o.same
}

func (o *options) words() bool { return o != nil && o.single }

func (o *options) takesValue(flag string) bool {
	return o != nil && slices.ContainsFunc(o.values, func(name string) bool { return flag == name || isBeginning(flag, name) })
}

// A wrapper starts another command; the fields are explained in programs.yaml.
type wrapper struct {
	flags, values, line, split, shells []string
	replace, placeholder               string
	until                              []string
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
		panic("command: internal error: programs.yaml: " + err.Error())
	}
	return t
})

func (t *programTable) classNames() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(factNames), maps.Keys(t.classes))))
}

// risk says why setting the variable can make programs other ones; "" if it
// can't. Like a label, it holds no text of a command. Where watched, programs
// that it makes others start are judged when they start.
func risk(name string, watched bool) string {
	if known := variable.Loads(name); known != "" {
		return "it sets " + known + ", which can make a program another one"
	}
	if known := variable.Starts(name); known != "" && !watched {
		return "it sets " + known + ", which can make a program start another one"
	}
	return ""
}

// escapes says whether a program hands work to processes outside the session.
func (t *programTable) escapes(name string) bool { return glob.Any(t.classes["escape"], name) }

// wrapper finds how a program starts others; nil if it starts none. The label
// is a name of the table, never the text of a command: it goes into reasons.
func (t *programTable) wrapper(name string) (label string, w *wrapper) {
	if w := t.wrappers[name]; w != nil {
		return name, w
	}
	if strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld-musl") {
		return "ld-linux", t.wrappers["ld-linux"]
	}
	for _, shell := range t.classes["shell"] {
		if shell.Match(name) {
			return shell.String(), t.wrappers["shell"]
		}
	}
	return "", nil
}

func parsePrograms(doc string) (*programTable, error) {
	t := &programTable{
		classes: make(map[string][]glob.Glob),
		options: make(map[string]*options),
		wrappers: map[string]*wrapper{"shell": {
			run:    "shell",
			values: []string{"o", "O", "--rcfile", "--init-file"},
			line:   []string{"C", "--init-command"}, // of fish
		}},
	}
	var r document.Reader
	root := r.Read([]byte(doc))
	if r.Err() != nil {
		return nil, r.Err()
	}
	r.Mapping(root, "programs",
		document.Key("classes", func(n ast.Node) {
			r.Pairs(n, "classes", func(class string, _, names ast.Node) {
				for _, name := range r.Texts(names, class) {
					t.classes[class] = append(t.classes[class], glob.New(name))
				}
			})
		}),
		document.Key("options", func(n ast.Node) {
			r.Pairs(n, "options", func(names string, _, value ast.Node) {
				o := readOptions(&r, value, names)
				for program := range strings.SplitSeq(names, "|") {
					t.options[program] = o
				}
			})
		}),
		document.Key("starters", func(n ast.Node) {
			for _, name := range r.Texts(n, "starters") {
				t.wrappers[name] = &wrapper{run: "words", elsewhere: true, unsure: true}
			}
		}),
		document.Key("wrappers", func(n ast.Node) {
			r.Pairs(n, "wrappers", func(program string, name, value ast.Node) {
				if t.wrappers[program] != nil {
					r.Fail(name, "%s is described twice", program)
				}
				t.wrappers[program] = readWrapper(&r, value, program)
			})
		}),
	)
	if r.Err() != nil {
		return nil, r.Err()
	}
	return t, nil
}

// wordsKey reads a text of words, yesKey true or false.
func wordsKey(r *document.Reader, key string, into *[]string) document.Field {
	return document.Key(key, func(v ast.Node) { *into = strings.Fields(r.Text(v, key)) })
}

func yesKey(r *document.Reader, key string, into *bool) document.Field {
	return document.Key(key, func(v ast.Node) {
		b, ok := v.(*ast.BoolNode)
		if !ok {
			r.Fail(v, "%s must be true or false", key)
			return
		}
		*into = b.Value
	})
}

func readOptions(r *document.Reader, n ast.Node, program string) *options {
	o := &options{}
	r.Mapping(n, program,
		document.Key("same", func(v ast.Node) {
			r.Pairs(v, "same", func(flag string, _, means ast.Node) {
				o.same = append(o.same, synonym{flag, r.Text(means, flag)})
			})
		}),
		wordsKey(r, "values", &o.values),
		yesKey(r, "single", &o.single),
	)
	return o
}

func readWrapper(r *document.Reader, n ast.Node, program string) *wrapper {
	w := &wrapper{}
	words := func(key string, into *[]string) document.Field { return wordsKey(r, key, into) }
	yes := func(key string, into *bool) document.Field { return yesKey(r, key, into) }
	r.Mapping(n, program,
		words("flags", &w.flags), words("values", &w.values), words("line", &w.line),
		words("split", &w.split), words("shells", &w.shells), words("sub", &w.sub), words("until", &w.until),
		document.Key("placeholder", func(v ast.Node) { w.placeholder = r.Text(v, "placeholder") }),
		document.Key("replace", func(v ast.Node) { w.replace = r.Text(v, "replace") }),
		document.Key("skip", func(v ast.Node) { w.skip = r.Number(v, "skip", 0, 4) }),
		yes("assigns", &w.assigns), yes("elsewhere", &w.elsewhere), yes("appends", &w.appends), yes("unsure", &w.unsure),
		document.Key("run", func(v ast.Node) { w.run = r.OneOf(v, "run", "words", "line", "first", "shell", "find", "never") }),
		document.Key("bare", func(v ast.Node) { w.bareShell = r.OneOf(v, "bare", "shell") == "shell" }),
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
