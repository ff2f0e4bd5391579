package runbook

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// A Kind says what values a parameter takes.
type Kind string

// The kinds.
const (
	Text  Kind = "text"   // what its pattern matches as a whole
	OneOf Kind = "one-of" // one of its values
	Whole Kind = "int"    // a whole number from Min to Max
)

var kinds = []string{string(Text), string(OneOf), string(Whole)}

// A Param is a parameter of a runbook.
type Param struct {
	Name, Title string
	Kind        Kind
	Pattern     string   // of Text: RE2, for the whole value
	Values      []string // of OneOf
	Min, Max    int      // of Whole
	Default     string   // "": it must be given

	whole *regexp.Regexp // of Pattern
}

// Takes says in words what values the parameter takes.
func (p *Param) Takes() string {
	switch p.Kind {
	case OneOf:
		return "one of " + strings.Join(p.Values, ", ")
	case Whole:
		return fmt.Sprintf("a whole number from %d to %d", p.Min, p.Max)
	}
	return "a text that matches " + p.Pattern
}

// refuses says why the parameter does not take a value; "" when it does.
func (p *Param) refuses(v string) string {
	if why := valueProblem(v); why != "" {
		return why
	}
	switch p.Kind {
	case OneOf:
		if slices.Contains(p.Values, v) {
			return ""
		}
	case Whole:
		if n, err := strconv.Atoi(v); err == nil && strconv.Itoa(n) == v && n >= p.Min && n <= p.Max {
			return ""
		}
	case Text:
		switch {
		case p.whole == nil || !p.whole.MatchString(v):
		case v[0] == '-' && !dashed(p.Pattern):
			return fmt.Sprintf("%q begins with \"-\" and would be read as an option; only a pattern that itself begins with \"-\" takes such a value", v)
		default:
			return ""
		}
	}
	return fmt.Sprintf("%q is not %s", v, p.Takes())
}

// dashed reports whether a pattern spells out that its values begin with "-".
func dashed(pattern string) bool {
	return strings.HasPrefix(pattern, "-") || strings.HasPrefix(pattern, `\-`)
}

// valueProblem says why no parameter takes a value.
func valueProblem(v string) string {
	switch {
	case v == "":
		return "it is empty"
	case len(v) > MaxValue:
		return fmt.Sprintf("its value has %d bytes; at most %d are allowed", len(v), MaxValue)
	case !utf8.ValidString(v) || sanitize.Clean(v).String() != v:
		return "its value holds controls, line ends, bidi marks, invisible runes or look-alike letters"
	}
	return ""
}

// isParamName reports whether s may name a parameter: a to z, digits, - and _, at most 32,
// beginning with a letter.
func isParamName(s string) bool {
	return s != "" && len(s) <= 32 && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// compile reads the pattern of a Text. It is compiled alone first, so that it can't close
// the group that binds it to the whole value.
func (p *Param) compile() error {
	if _, err := regexp.Compile(p.Pattern); err != nil {
		return err
	}
	var err error
	p.whole, err = regexp.Compile(`\A(?:` + p.Pattern + `)\z`)
	return err
}
