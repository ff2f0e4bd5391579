package policy

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/catalogue"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/document"
)

// A commandSet is a `commands` block.
type commandSet struct {
	command.Set
	owner         string             // the rule it belongs to; "" for the policy's
	lines         [command.Tiers]int // of the lists
	defaultLine   int
	catalogueLine int
	effects       [command.Tiers]Effect
}

func newCommandSet() commandSet {
	return commandSet{effects: [...]Effect{command.Low: Allow, command.Medium: Confirm, command.High: Hold, command.Critical: Deny}}
}

// catalogued says whether a shipped catalogue is asked.
func (s *commandSet) catalogued() bool {
	return s.catalogueLine > 0 && len(s.Catalogue[command.High]) > 0
}

// inherit returns a copy; what a rule's own `commands` does not say holds as
// the policy says it.
func (s *commandSet) inherit() commandSet { return *s }

func (d *docReader) commandFields(what string, set *commandSet) []document.Field {
	var fields []document.Field
	for t := command.Critical; ; t-- {
		fields = append(fields, document.Key(t.String(), func(v ast.Node) { set.Patterns[t], set.lines[t] = d.patterns(v), document.LineOf(v) }).
			Of(document.ListOf(document.AnyText), "Patterns over the words of commands of this tier."))
		if t == command.Low {
			break
		}
	}
	return append(fields,
		document.Key("default", func(v ast.Node) { set.Default, set.defaultLine = d.tier(v, what+".default"), document.LineOf(v) }).
			Of(document.Words(command.TierNames()...), "The tier of what no pattern covers.").Else(command.Low.String()),
		document.Key("tiers", func(v ast.Node) { d.tiers(v, set) }).
			Of(document.Object(d.tierFields(set)...), "What follows from a tier; not laxer upwards."),
		document.Key("catalogue", func(v ast.Node) { d.catalogue(v, what+".catalogue", set) }).
			Of(document.Whole(0, catalogue.Newest), "The shipped catalogue of commands to ask besides.").Else(0),
	)
}

func (d *docReader) commands(n ast.Node, what string, set *commandSet) {
	d.Mapping(n, what, d.commandFields(what, set)...)
}

// catalogue reads the number of a shipped catalogue; 0 is none.
func (d *docReader) catalogue(n ast.Node, what string, set *commandSet) {
	set.Catalogue, set.catalogueLine = catalogue.Catalogue{}, document.LineOf(n)
	if number := d.Number(n, what, 0, catalogue.Newest); number > 0 {
		c, err := catalogue.Open(number)
		if err != nil {
			d.Fail(n, "%v", err)
			return
		}
		set.Catalogue = *c
	}
}

func (d *docReader) tier(n ast.Node, what string) command.Tier {
	name := d.OneOf(n, what, "critical", "high", "medium", "low")
	return command.Tier(max(slices.Index(command.TierNames(), name), 0))
}

func (d *docReader) tierFields(set *commandSet) []document.Field {
	var fields []document.Field
	for t, effect := range newCommandSet().effects {
		fields = append(fields, document.Key(command.Tier(t).String(), func(v ast.Node) {
			word := d.OneOf(v, "the effect of a tier", effectNames[:]...)
			set.effects[t] = Effect(max(slices.Index(effectNames[:], word), 0))
		}).Of(document.Words(effectNames[:]...), "").Else(effect.String()))
	}
	return fields
}

func (d *docReader) tiers(n ast.Node, set *commandSet) {
	d.Mapping(n, "tiers", d.tierFields(set)...)
	for t := command.Low; t < command.Critical; t++ {
		if set.effects[t] < set.effects[t+1] {
			d.Fail(n, "tiers: %s is %s but %s is %s; a stricter tier must not get a laxer effect",
				t, set.effects[t], t+1, set.effects[t+1])
		}
	}
}

func (d *docReader) patterns(n ast.Node) []command.Pattern {
	out := []command.Pattern{} // an empty list is a statement here: this tier lists nothing
	d.List(n, "a list of commands", func(v ast.Node) {
		text := d.Text(v, "a command pattern")
		if d.Err() != nil {
			return
		}
		p, err := command.ParsePattern(text)
		if err != nil {
			d.Fail(v, "pattern %q: %v", text, err)
		}
		p.Line = document.LineOf(v)
		out = append(out, p)
	})
	return out
}

// source names the key that gave a command its tier.
func (s *commandSet) source(j command.Judgement) (rule string, line int) {
	prefix := "commands."
	if s.owner != "" {
		prefix = s.owner + ".commands."
	}
	switch {
	case j.Catalogued:
		return prefix + "catalogue", s.catalogueLine
	case j.Pattern != nil:
		return prefix + j.Tier.String(), j.Pattern.Line
	case j.Opaque != "":
		return prefix + j.Tier.String(), s.lines[j.Tier]
	}
	return prefix + "default", s.defaultLine
}

func (s *commandSet) describe(j command.Judgement) string {
	rule, line := s.source(j)
	at := ""
	if line > 0 {
		at = fmt.Sprintf(" (line %d)", line)
	}
	switch {
	case j.Pattern != nil:
		text := fmt.Sprintf("%s%s, pattern %q", rule, at, j.Pattern.Text)
		if j.Partly {
			text += ", which it may become when the shell fills in the rest"
		}
		if j.Pattern.Why != "" {
			text += ": it " + j.Pattern.Why
		}
		return text
	case j.Opaque != "":
		return fmt.Sprintf("%s%s, because %s", rule, at, j.Opaque)
	}
	return rule + at
}
