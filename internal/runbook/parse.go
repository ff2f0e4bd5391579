package runbook

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/document"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// An Error says where a document is wrong. Line and Column count from 1; the column
// counts characters.
type Error struct {
	Line, Column int
	Problem      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("runbook: line %d, column %d: %s", e.Line, e.Column, sanitize.Clean(e.Problem))
}

// Bounds of values, and what holds where a document is silent.
const (
	maxTitle        = 200 // bytes
	maxPattern      = 200 // bytes
	maxChoices      = 100 // of a one-of
	maxNumber       = 1<<31 - 1
	maxParallel     = 64
	defaultParallel = 1
	defaultStop     = "1"
	maxTimeout      = 24 * time.Hour
)

var (
	stopForm     = regexp.MustCompile(`^([1-9][0-9]{0,2}|([1-9][0-9]?|100)%)$`)
	durationForm = regexp.MustCompile(`^([0-9]+(s|m|h))+$`)
	pathForm     = regexp.MustCompile(`^/`)
)

// Parse reads a document (SPEC.md). It is strict: unknown and duplicate keys, values of
// another type and values without a meaning are refused, never ignored. Errors are *Error.
func Parse(doc []byte) (*Runbook, error) {
	d := &reader{b: &Runbook{}}
	if len(doc) > MaxDocument {
		d.FailAt(1, 1, "the document has %d bytes; at most %d are allowed", len(doc), MaxDocument)
	} else if root := d.Read(doc); d.Err() == nil {
		d.document(root)
	}
	if err := d.Err(); err != nil {
		return nil, &Error{err.Line, err.Column, err.Problem}
	}
	return d.b, nil
}

// Schema returns the JSON Schema of the document, for editors. It is made of the fields
// that Parse reads.
func Schema() []byte {
	d := &reader{b: &Runbook{}}
	var unread ast.Node
	return document.Schema("https://tucdesk.app/schema/runbook-1.json", "TucDesk runbook",
		"Steps with parameters that admins sign. The language is described in internal/runbook/SPEC.md.",
		document.Object(d.fields(&unread)...))
}

type reader struct {
	document.Reader
	b *Runbook
}

// fields are the keys of the document. The steps, which speak of the parameters, are kept
// for later.
func (d *reader) fields(steps *ast.Node) []document.Field {
	return []document.Field{
		document.Key("version", func(v ast.Node) { d.Number(v, "version", 1, 1) }).Of(document.Whole(1, 1), "Of this language.").Needed(),
		document.Key("name", func(v ast.Node) { d.b.Name = d.Name(v, "the runbook's name") }).Of(document.AnyName, "By which it is run; it stays over versions.").Needed(),
		document.Key("title", func(v ast.Node) { d.b.Title = d.title(v) }).Of(document.AnyText, "What it is for, in one line."),
		document.Key("params", func(v ast.Node) { d.params(v) }).Of(document.MapOf(document.Object(d.paramFields(&Param{}, &[3]ast.Node{})...)),
			"Parameters, by name. {name} in a word of a step is its place."),
		document.Key("steps", func(v ast.Node) { *steps = v }).Of(document.ListOf(document.Object(d.stepFields(&Step{})...)).AtLeast(1), "What runs, one step after another.").Needed(),
	}
}

func (d *reader) document(n ast.Node) {
	var steps ast.Node
	seen := d.Mapping(n, "the runbook", d.fields(&steps)...)
	for _, key := range []string{"version", "name", "steps"} {
		if !seen[key] {
			d.Fail(n, "the key `%s` is missing", key)
		}
	}
	if d.Err() != nil {
		return
	}
	names := map[string]bool{}
	d.List(steps, "steps", func(e ast.Node) {
		s := d.step(e)
		if names[s.Name] {
			d.Fail(e, "the name %q is taken by an earlier step", s.Name)
		}
		names[s.Name] = true
		d.b.Steps = append(d.b.Steps, s)
	})
	if n := len(d.b.Steps); n == 0 || n > MaxSteps {
		d.Fail(steps, "a runbook has 1 to %d steps, not %d", MaxSteps, n)
	}
	used := map[string]bool{}
	for i := range d.b.Steps {
		for _, name := range d.b.Steps[i].uses() {
			used[name] = true
		}
	}
	for _, p := range d.b.Params {
		if !used[p.Name] {
			d.Fail(n, "no step uses the parameter %q", p.Name)
		}
	}
}

func (d *reader) title(v ast.Node) string {
	s := d.Text(v, "title")
	if len(s) > maxTitle {
		d.Fail(v, "title has %d bytes; at most %d are allowed", len(s), maxTitle)
	}
	return s
}

func (d *reader) params(n ast.Node) {
	d.Pairs(n, "params", func(name string, keyNode, value ast.Node) {
		p := Param{Name: name, Max: maxNumber}
		if !isParamName(name) {
			d.Fail(keyNode, "%q can't name a parameter: use a to z, digits, - and _, at most 32, with a letter first", name)
			return
		}
		if len(d.b.Params) == MaxParams {
			d.Fail(keyNode, "a runbook has at most %d parameters", MaxParams)
			return
		}
		var later [3]ast.Node
		seen := d.Mapping(value, "the parameter "+name, d.paramFields(&p, &later)...)
		if d.Err() == nil && !seen["kind"] {
			d.Fail(value, "the key `kind` is missing in the parameter %s; write kind: text, one-of or int", name)
		}
		if d.Err() == nil {
			d.checkParam(value, &p, seen, later)
		}
		d.b.Params = append(d.b.Params, p)
	})
}

// Places in the nodes that are kept until the kind is known.
const (
	laterPattern = iota
	laterDefault
	laterValues
)

func (d *reader) paramFields(p *Param, later *[3]ast.Node) []document.Field {
	return []document.Field{
		document.Key("title", func(v ast.Node) { p.Title = d.title(v) }).Of(document.AnyText, "What it is, in one line."),
		document.Key("kind", func(v ast.Node) { p.Kind = Kind(d.OneOf(v, "kind", kinds...)) }).Of(document.Words(kinds...), "What values it takes.").Needed(),
		document.Key("pattern", func(v ast.Node) { p.Pattern, later[laterPattern] = d.Text(v, "pattern"), v }).
			Of(document.AnyText, "Of a text: a regular expression (RE2) for the whole value. A value may begin with - only if the pattern itself does."),
		document.Key("values", func(v ast.Node) { p.Values, later[laterValues] = d.Texts(v, "values"), v }).Of(document.ListOf(document.AnyText).AtLeast(1), "Of a one-of: the values."),
		document.Key("min", func(v ast.Node) { p.Min = d.Number(v, "min", 0, maxNumber) }).Of(document.Whole(0, maxNumber), "Of an int: the least.").Else(0),
		document.Key("max", func(v ast.Node) { p.Max = d.Number(v, "max", 0, maxNumber) }).Of(document.Whole(0, maxNumber), "Of an int: the most.").Else(maxNumber),
		document.Key("default", func(v ast.Node) { later[laterDefault] = v }).
			Of(document.EitherOf(document.AnyText, document.Whole(0, maxNumber)), "The value where none is given. Without it, one must be given."),
	}
}

// keysOf are the keys that a kind has besides those of all.
var keysOf = map[Kind][]string{Text: {"pattern"}, OneOf: {"values"}, Whole: {"min", "max"}}

func (d *reader) checkParam(n ast.Node, p *Param, seen map[string]bool, later [3]ast.Node) {
	for kind, keys := range keysOf {
		for _, k := range keys {
			if kind != p.Kind && seen[k] {
				d.Fail(n, "`%s` is of kind: %s, and this parameter is %s", k, kind, p.Kind)
			}
		}
	}
	switch p.Kind {
	case Text:
		if !seen["pattern"] {
			d.Fail(n, "a text needs a `pattern` that says which values it takes")
			return
		}
		if len(p.Pattern) > maxPattern {
			d.Fail(later[laterPattern], "the pattern has %d bytes; at most %d are allowed", len(p.Pattern), maxPattern)
			return
		}
		if err := p.compile(); err != nil {
			d.Fail(later[laterPattern], "not a regular expression: %v", err)
		}
	case OneOf:
		if !seen["values"] {
			d.Fail(n, "a one-of needs `values`")
			return
		}
		if len(p.Values) > maxChoices {
			d.Fail(later[laterValues], "a one-of has at most %d values", maxChoices)
		}
		for _, v := range p.Values {
			if why := valueProblem(v); why != "" {
				d.Fail(later[laterValues], "the value %q: %s", v, why)
			}
		}
	case Whole:
		if p.Min > p.Max {
			d.Fail(n, "min is more than max: there is no such number")
		}
	}
	if v := later[laterDefault]; v != nil && d.Err() == nil {
		if _, isNumber := v.(*ast.IntegerNode); isNumber {
			p.Default = strconv.Itoa(d.Number(v, "default", 0, maxNumber))
		} else {
			p.Default = d.Text(v, "default")
		}
		if d.Err() == nil {
			if why := p.refuses(p.Default); why != "" {
				d.Fail(v, "the default: %s", why)
			}
		}
	}
}

func (d *reader) stepFields(s *Step) []document.Field {
	return []document.Field{
		document.Key("name", func(v ast.Node) { s.Name = d.Name(v, "the step's name") }).Of(document.AnyName, "Stands in plans and the audit log; unique.").Needed(),
		document.Key("run", func(v ast.Node) { d.words(v, s) }).Of(document.ListOf(document.AnyText).AtLeast(1),
			"The program and its words, run as they are, by no shell. {name} is a parameter's value, {{ and }} are braces.").Needed(),
		document.Key("as", func(v ast.Node) { s.As = d.Name(v, "as") }).Of(document.AnyName, "User on the machine. Without it: its login user."),
		document.Key("cwd", func(v ast.Node) {
			if s.Cwd = d.Text(v, "cwd"); d.Err() == nil && (s.Cwd[0] != '/' || len(s.Cwd) > maxTitle) {
				d.Fail(v, "cwd must be an absolute path of at most %d bytes", maxTitle)
			}
		}).Of(document.Matching(pathForm), "Folder to run in. Without it: the user's home."),
		document.Key("targets", func(v ast.Node) { d.targets(v, &s.Targets) }).Of(document.Object(d.targetFields(&Targets{})...).AtLeast(1),
			"Machines, by tags and names; all that is given must hold. Without it, whoever runs the runbook names them."),
		document.Key("parallel", func(v ast.Node) { s.Parallel = d.Number(v, "parallel", 1, maxParallel) }).Of(document.Whole(1, maxParallel), "Machines at a time.").Else(defaultParallel),
		document.Key("stop_after", func(v ast.Node) { s.StopAfter = d.stop(v) }).Of(document.EitherOf(document.Matching(stopForm), document.Whole(1, 999)),
			"After so many failures, as 3 or 20%, no further machine and no further step is begun.").Else(1),
		document.Key("timeout", func(v ast.Node) {
			t, err := time.ParseDuration(d.Text(v, "timeout"))
			if s.Timeout = t; d.Err() == nil && (err != nil || t < time.Second || t > maxTimeout) {
				d.Fail(v, "timeout must be from 1s to 24h, as 90s or 5m")
			}
		}).Of(document.Matching(durationForm), "The command is ended after this time, on each machine."),
	}
}

func (d *reader) stop(v ast.Node) string {
	if _, isNumber := v.(*ast.IntegerNode); isNumber {
		return strconv.Itoa(d.Number(v, "stop_after", 1, 999))
	}
	s := d.Text(v, "stop_after")
	if d.Err() == nil && !stopForm.MatchString(s) {
		d.Fail(v, "stop_after must be a number from 1 to 999, or a share from 1%% to 100%%")
	}
	return s
}

func (d *reader) step(n ast.Node) Step {
	s := Step{Parallel: defaultParallel, StopAfter: defaultStop}
	seen := d.Mapping(n, "a step", d.stepFields(&s)...)
	for _, key := range []string{"name", "run"} {
		if d.Err() == nil && !seen[key] {
			d.Fail(n, "the key `%s` is missing in a step", key)
		}
	}
	if d.Err() == nil && len(s.uses()) > 0 {
		if why := s.steered(); why != "" {
			d.Fail(n, "the step %s: %s; a parameter may be a word that a program is given, and never choose what runs", s.Name, why)
		}
	}
	return s
}

// words reads the templates of a command.
func (d *reader) words(n ast.Node, s *Step) {
	d.List(n, "run", func(v ast.Node) {
		t, problem := parseWord(d.Text(v, "a word of run"))
		if problem != "" {
			d.Fail(v, "%s", problem)
		}
		for _, p := range t {
			if p.param && d.b.param(p.text) == nil {
				d.Fail(v, "there is no parameter %q under params", p.text)
			}
		}
		s.words = append(s.words, t)
	})
	if len(s.words) == 0 || len(s.words) > maxWords {
		d.Fail(n, "run has 1 to %d words, the program first", maxWords)
	}
}

// steered says how a value could choose what runs; "" when it can't.
func (s *Step) steered() string {
	return command.Steered(func(value string) []string {
		values := map[string]string{}
		for _, name := range s.uses() {
			values[name] = value
		}
		argv := make([]string, len(s.words))
		for i, w := range s.words {
			argv[i] = w.fill(values)
		}
		return argv
	})
}

func (d *reader) targetFields(t *Targets) []document.Field {
	names := document.ListOf(document.AnyName).AtLeast(1)
	return []document.Field{
		document.Key("tags", func(v ast.Node) {
			d.Pairs(v, "tags", func(key string, keyNode, value ast.Node) {
				d.Name(keyNode, "a tag's name")
				if _, isList := value.(*ast.SequenceNode); isList {
					t.tags = append(t.tags, tag{key, d.Globs(value, "a tag's values")})
				} else {
					t.tags = append(t.tags, tag{key, []glob.Glob{d.Glob(value, "a tag's value")}})
				}
			})
		}).Of(document.MapOf(document.EitherOf(document.AnyName, names)).AtLeast(1), "The machine must have every tag, with one of its values."),
		document.Key("names", func(v ast.Node) { t.names = d.Globs(v, "names") }).Of(names, "Names of machines, with * as wildcard."),
	}
}

func (d *reader) targets(n ast.Node, t *Targets) {
	d.Mapping(n, "targets", d.targetFields(t)...)
	if d.Err() == nil && !t.Named() {
		d.Fail(n, "targets is empty; give tags, names or both (names: [\"*\"] is every machine)")
	}
}
