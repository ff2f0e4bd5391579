package runbook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Limits of a runbook. They bound what a team's roster holds, and what people can read.
const (
	MaxDocument = 16 << 10 // bytes
	MaxSteps    = 32
	MaxParams   = 16
	MaxValue    = 256 // bytes of a parameter's value
	maxWords    = 128 // of a step's command
)

// ErrMismatch means an Instance that is none of the runbook: a step that it does not
// have, values that it does not take, or another command than the step's.
var ErrMismatch = errors.New("runbook: not a step of the signed runbook")

// A ValueError says why a parameter can't have a value.
type ValueError struct {
	Param string
	Why   string // and what to give instead
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("runbook: parameter %s: %s", sanitize.Clean(e.Param), sanitize.Clean(e.Why))
}

// A Runbook is a parsed document. Only Parse makes one. It is read only.
type Runbook struct {
	Name   string
	Title  string
	Params []Param
	Steps  []Step
}

// A Step is one command, and where it runs.
type Step struct {
	Name      string
	As        string // user on the machine; "" is its login user
	Cwd       string // absolute; "" is the user's home
	Targets   Targets
	Parallel  int           // machines at a time
	StopAfter string        // as "3" or "20%": after so many failures no further machine, and no further step, is begun
	Timeout   time.Duration // of each command; 0: none

	words []template
}

// Targets choose machines: those that have every tag with one of its values, and one of
// the names. The zero value leaves the choice to whoever runs the step.
type Targets struct {
	tags  []tag
	names []glob.Glob
}

type tag struct {
	key    string
	values []glob.Glob
}

// Named reports whether the document says where the step runs.
func (t Targets) Named() bool { return len(t.tags)+len(t.names) > 0 }

// On reports whether a machine is among the targets.
func (t Targets) On(name string, tags map[string]string) bool {
	for _, want := range t.tags {
		if value, ok := tags[want.key]; !ok || !glob.Any(want.values, value) {
			return false
		}
	}
	return len(t.names) == 0 || glob.Any(t.names, name)
}

// String is how people read the targets.
func (t Targets) String() string {
	var parts []string
	for _, w := range t.tags {
		parts = append(parts, w.key+"="+list(w.values))
	}
	if len(t.names) > 0 {
		parts = append(parts, "named "+list(t.names))
	}
	return strings.Join(parts, ", ")
}

func list(globs []glob.Glob) string {
	var texts []string
	for _, g := range globs {
		texts = append(texts, g.String())
	}
	return strings.Join(texts, "|")
}

// A Command is what a step runs.
type Command struct {
	Argv []string
	As   string
	Cwd  string
}

// An Instance is one step of a signed runbook with the values of its parameters. It goes
// where the command goes, and whoever has the roster checks it (SPEC.md, section 4).
type Instance struct {
	Name    string      `cbor:"name"`
	Version uint64      `cbor:"version"` // of the runbook-set statement
	Step    uint64      `cbor:"step"`    // from 1
	Args    [][2]string `cbor:"args"`    // name and value of every parameter, in the document's order
}

// Check answers an error for an Instance that no runbook could have.
func (i Instance) Check() error {
	if sanitize.Name(i.Name) != nil || i.Version == 0 || i.Step == 0 || i.Step > MaxSteps || len(i.Args) > MaxParams {
		return fmt.Errorf("%w: it names no runbook, version or step", ErrMismatch)
	}
	for _, a := range i.Args {
		if !isParamName(a[0]) || valueProblem(a[1]) != "" {
			return fmt.Errorf("%w: a parameter's name or value is none", ErrMismatch)
		}
	}
	return nil
}

// Values gives every parameter its value, given or by default, in the document's order.
// Errors: *ValueError.
func (b *Runbook) Values(given map[string]string) ([][2]string, error) {
	args := [][2]string{}
	for _, p := range b.Params {
		v, ok := given[p.Name]
		switch {
		case !ok && p.Default == "":
			return nil, &ValueError{p.Name, "it has no value and no default; give " + p.Takes()}
		case !ok:
			v = p.Default
		}
		if why := p.refuses(v); why != "" {
			return nil, &ValueError{p.Name, why}
		}
		args = append(args, [2]string{p.Name, v})
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if b.param(name) == nil {
			return nil, &ValueError{name, "the runbook has no such parameter; " + b.knows()}
		}
	}
	return args, nil
}

func (b *Runbook) knows() string {
	if len(b.Params) == 0 {
		return "it has none"
	}
	var names []string
	for _, p := range b.Params {
		names = append(names, p.Name)
	}
	return "it has " + strings.Join(names, ", ")
}

func (b *Runbook) param(name string) *Param {
	at := slices.IndexFunc(b.Params, func(p Param) bool { return p.Name == name })
	if at < 0 {
		return nil
	}
	return &b.Params[at]
}

// Match gives the step that i means, and the command that it runs with these values.
// Whether i names this runbook's version, who holds the roster knows. Errors wrap
// ErrMismatch.
func (b *Runbook) Match(i Instance) (*Step, Command, error) {
	if err := i.Check(); err != nil {
		return nil, Command{}, err
	}
	if i.Name != b.Name || i.Step > uint64(len(b.Steps)) {
		return nil, Command{}, fmt.Errorf("%w: %s has %d steps, and no number %d", ErrMismatch, b.Name, len(b.Steps), i.Step)
	}
	given := make(map[string]string, len(i.Args))
	for _, a := range i.Args {
		given[a[0]] = a[1]
	}
	args, err := b.Values(given)
	if err != nil {
		return nil, Command{}, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if !slices.Equal(args, i.Args) {
		return nil, Command{}, fmt.Errorf("%w: it gives each parameter once, in the order of the document", ErrMismatch)
	}
	s := &b.Steps[i.Step-1]
	c := Command{As: s.As, Cwd: s.Cwd}
	for _, w := range s.words {
		c.Argv = append(c.Argv, w.fill(given))
	}
	return s, c, nil
}

// String names the instance in one line for people. It is text of whoever made it.
func (i Instance) String() string {
	return fmt.Sprintf("%s v%d, step %d%s", i.Name, i.Version, i.Step, i.values())
}

func (i Instance) values() string {
	var values []string
	for _, a := range i.Args {
		values = append(values, a[0]+"="+a[1])
	}
	if values == nil {
		return ""
	}
	return ": " + strings.Join(values, ", ")
}

// Describe is i.String with the step's name, and how many there are.
func (b *Runbook) Describe(i Instance) string {
	if i.Step == 0 || i.Step > uint64(len(b.Steps)) {
		return i.String()
	}
	return fmt.Sprintf("%s v%d, step %d of %d (%s)%s", i.Name, i.Version, i.Step, len(b.Steps), b.Steps[i.Step-1].Name, i.values())
}

// A template is a word of a command with its marked parts.
type template []piece

// A piece is fixed text, or the place of a parameter.
type piece struct {
	text  string
	param bool // text is its name
}

func (t template) fill(values map[string]string) string {
	var w strings.Builder
	for _, p := range t {
		if p.param {
			w.WriteString(values[p.text])
		} else {
			w.WriteString(p.text)
		}
	}
	return w.String()
}

// String is the word as the document has it.
func (t template) String() string {
	var w strings.Builder
	for _, p := range t {
		if p.param {
			w.WriteString("{" + p.text + "}")
		} else {
			w.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(p.text))
		}
	}
	return w.String()
}

// parseWord reads a word: {name} is a parameter, {{ and }} are braces.
func parseWord(s string) (t template, problem string) {
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			t = append(t, piece{text: text.String()})
			text.Reset()
		}
	}
	for s != "" {
		switch {
		case strings.HasPrefix(s, "{{"), strings.HasPrefix(s, "}}"):
			text.WriteByte(s[0])
			s = s[2:]
		case s[0] == '}':
			return nil, "a } that ends nothing; write }} for a brace"
		case s[0] == '{':
			name, rest, ok := strings.Cut(s[1:], "}")
			if !ok || !isParamName(name) {
				return nil, "a { that begins no {parameter}; write {{ for a brace"
			}
			flush()
			t = append(t, piece{text: name, param: true})
			s = rest
		default:
			text.WriteByte(s[0])
			s = s[1:]
		}
	}
	flush()
	return t, ""
}

// Words are the step's command as the document has it.
func (s *Step) Words() []string {
	out := make([]string, len(s.words))
	for i, w := range s.words {
		out[i] = w.String()
	}
	return out
}

// uses lists the parameters of the step, each once.
func (s *Step) uses() (names []string) {
	for _, w := range s.words {
		for _, p := range w {
			if p.param && !slices.Contains(names, p.text) {
				names = append(names, p.text)
			}
		}
	}
	return names
}
