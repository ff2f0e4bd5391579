package policy

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// An Entry is one entry of a list, as the document has it. It is for what looks
// at policies (the packages lint and advice), not for what decides: only Evaluate
// does. A nil list is a part that the entry does not give.
type Entry struct {
	Name        string
	Line        int
	Denies      bool     // it stands in the blocklist
	Members     []string // e-mail globs in lower case, "role:x"
	Tags        []Tag
	Names       []string // globs of targets' names
	Sessions    []Kind
	As          []string // globs of users
	Windows     []window.Window
	CopiesFrom  []string // paths on the target; Copies says whether it has any
	CopiesTo    []string
	Copies      bool     // it names paths: of a direction without any, none
	Forwards    []string // HOST:PORT
	Approvers   []string // of its hold; nil: it has none
	Record      string   // "required", "on", "off"; "" in the blocklist
	Catalogue   bool     // its commands are looked up in a shipped catalogue, too
	CommandsRun bool     // a command that no pattern covers runs
}

// A Tag is a tag that an entry asks for, with one of some values (globs).
type Tag struct {
	Key    string
	Values []string
}

// Entries returns the entries of both lists, the blocklist first, each in the
// order in which they are asked.
func (p *Policy) Entries() []Entry {
	if p == nil {
		return nil
	}
	var entries []Entry
	for i := range p.block {
		e := p.block[i].entry()
		e.Denies = true
		entries = append(entries, e)
	}
	for i := range p.allow {
		r := &p.allow[i]
		e, set := r.entry(), p.commandsOf(r)
		e.Record, e.Catalogue = r.record, set.catalogued()
		e.CommandsRun = set.effects[set.Default] == Allow
		if r.hold != nil {
			e.Approvers = r.hold.approvers
		}
		entries = append(entries, e)
	}
	return entries
}

func (r *rule) entry() Entry {
	e := Entry{Name: r.name, Line: r.line, Names: globTexts(r.names), As: globTexts(r.as), Windows: r.when}
	for _, m := range r.members {
		e.Members = append(e.Members, m.String())
	}
	for _, t := range r.tags {
		e.Tags = append(e.Tags, Tag{Key: t.key, Values: globTexts(t.values)})
	}
	for _, k := range Kinds() {
		if r.kinds&kindBit(k) != 0 {
			e.Sessions = append(e.Sessions, k)
		}
	}
	if r.copies != nil {
		e.Copies, e.CopiesFrom, e.CopiesTo = true, texts(r.copies.from), texts(r.copies.to)
	}
	e.Forwards = texts(r.forwards)
	return e
}

func texts[T fmt.Stringer](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, v.String())
	}
	return out
}

func globTexts(globs []glob.Glob) []string {
	var texts []string
	for _, g := range globs {
		texts = append(texts, g.String())
	}
	return texts
}

func (m *member) String() string {
	if m.role != "" {
		return rolePrefix + m.role
	}
	return m.email.String()
}

// Mode returns "allowlist", "blocklist" or "lockdown", and its line; "" and 0 of
// no policy.
func (p *Policy) Mode() (mode string, line int) {
	if p == nil {
		return "", 0
	}
	return p.mode, p.modeLine
}

// Approvers returns who approves what is held without a hold of its entry.
func (p *Policy) Approvers() []string { return p.approvers.approvers }

// Tests returns how many tests the document brings along.
func (p *Policy) Tests() int { return len(p.tests) }

// Gate returns the least gate level that a shell needs.
func (p *Policy) Gate() string { return p.gate }
