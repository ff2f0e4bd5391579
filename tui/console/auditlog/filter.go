package auditlog

import (
	"strings"

	"github.com/tucdesk/tucdesk/backend"
)

// A query is words between blanks, all of which must hold: `field:value` by what the field
// contains, anything else by what the entry contains. A word after ! must not hold.
type query []word

type word struct {
	field, text string // in lower case; field is empty for the whole entry
	not         bool
}

// fields are what a word may name, and where it then looks.
var fields = map[string]func(*backend.LogEntry) string{
	"actor":   func(e *backend.LogEntry) string { return e.Actor },
	"target":  func(e *backend.LogEntry) string { return e.Target },
	"kind":    func(e *backend.LogEntry) string { return e.Type + " " + e.Action },
	"effect":  func(e *backend.LogEntry) string { return e.Effect },
	"rule":    func(e *backend.LogEntry) string { return e.Rule },
	"tier":    func(e *backend.LogEntry) string { return e.Tier },
	"session": func(e *backend.LogEntry) string { return e.Session },
}

func parse(s string) query {
	var q query
	for part := range strings.FieldsSeq(strings.ToLower(s)) {
		var w word
		w.text, w.not = strings.CutPrefix(part, "!")
		if name, value, ok := strings.Cut(w.text, ":"); ok && fields[name] != nil {
			w.field, w.text = name, value
		}
		if w.text != "" { // else somebody begins to type
			q = append(q, w)
		}
	}
	return q
}

// matches says whether an entry fits; text is all of it, in lower case. What does not
// verify fits always: no filter hides it.
func (q query) matches(e *backend.LogEntry, text string) bool {
	if e.Problem != "" {
		return true
	}
	for _, w := range q {
		in := text
		if w.field != "" {
			in = strings.ToLower(fields[w.field](e))
		}
		if strings.Contains(in, w.text) == w.not {
			return false
		}
	}
	return true
}

// texts is what a word without a field is looked for in.
func texts(entries []backend.LogEntry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = strings.ToLower(strings.Join(append([]string{
			e.Actor, e.Type, e.Action, e.Target, e.Session, e.Effect, e.Rule, e.Tier, e.Reason, e.Signal,
		}, e.Argv...), " "))
	}
	return out
}
