// Package lint finds what is legal in a policy and still likely a mistake.
//
// Purpose: a policy that parses and passes its tests can hold an entry that never
// decides, production without anybody's approval, or a role that nobody has.
//
// Invariants: findings never change what a policy means. An Error is what a write is
// refused for; the rest is for people to judge. Every finding names its line.
//
// It is pure. Of this module it may import only internal/policy and what that
// imports.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// A Severity says how bad a finding is.
type Severity uint8

const (
	Note    Severity = iota // worth knowing
	Warning                 // likely not what was meant
	Error                   // a write is refused
)

var severityNames = [...]string{Note: "note", Warning: "warning", Error: "error"}

func (s Severity) String() string { return severityNames[s] }

// A Finding is one thing that lint has found.
type Finding struct {
	Line     int
	Severity Severity
	Code     string // a word for scripts, such as "shadowed"
	Text     string // what, why and what to do next
}

// prodValues are values of tags, and prodKeys their keys, by which teams mark what
// customers use.
var (
	prodValues = []string{"prod", "production", "live", "prd"}
	prodKeys   = []string{"env", "environment", "stage", "tier"}
)

// Policy looks at a policy with the people and machines it speaks of; where there are
// none, nothing is said of them. Findings come in the order of lines.
func Policy(snap *policy.Snapshot, targets []policy.Target) []Finding {
	l := &linter{people: snap.People, targets: targets, entries: snap.Policy.Entries()}
	if len(l.people) > 0 {
		for _, p := range snap.Check() {
			l.report(p.Line, Error, "nobody-approves", "%s", p.Text)
		}
	}
	for i := range l.entries {
		l.shadow(i)
		l.names(&l.entries[i])
		l.windows(&l.entries[i])
		if !l.entries[i].Denies {
			l.reach(&l.entries[i])
			l.production(&l.entries[i], snap.Policy.Gate())
			l.unread(&l.entries[i], snap.Policy.Approvers())
		}
	}
	l.whole(snap)
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return l.findings
}

type linter struct {
	people   []policy.Person
	targets  []policy.Target
	entries  []policy.Entry
	findings []Finding
}

func (l *linter) report(line int, s Severity, code, format string, args ...any) {
	l.findings = append(l.findings, Finding{line, s, code, fmt.Sprintf(format, args...)})
}

// shadow looks for an entry that is asked before and covers everything that this one
// covers.
func (l *linter) shadow(i int) {
	e := &l.entries[i]
	for j := range l.entries[:i] {
		before := &l.entries[j]
		if !covers(before, e) {
			continue
		}
		if before.Denies && !e.Denies {
			l.report(e.Line, Warning, "shadowed", "%s never allows anything: the blocklist's %s (line %d) denies all that it covers", e.Name, before.Name, before.Line)
		} else {
			l.report(e.Line, Warning, "shadowed", "%s never decides: %s (line %d) covers all that it covers and is asked before; move it up, or remove it", e.Name, before.Name, before.Line)
		}
		return
	}
}

// covers says whether a covers every request that b covers. It may miss some, but
// says yes only where that is sure.
func covers(a, b *policy.Entry) bool {
	return (a.Members == nil || b.Members != nil && all(b.Members, func(m string) bool {
		return slices.ContainsFunc(a.Members, func(n string) bool { return coversMember(n, m) })
	})) &&
		all(a.Tags, func(t policy.Tag) bool {
			return slices.ContainsFunc(b.Tags, func(u policy.Tag) bool { return t.Key == u.Key && coversGlobs(t.Values, u.Values) })
		}) &&
		(a.Names == nil || b.Names != nil && coversGlobs(a.Names, b.Names)) &&
		(a.Sessions == nil || b.Sessions != nil && all(b.Sessions, func(k policy.Kind) bool { return slices.Contains(a.Sessions, k) })) &&
		coversUsers(a, b) && coversReach(a, b) &&
		(a.Windows == nil || window.Always(a.Windows) || b.Windows != nil && all(b.Windows, func(w window.Window) bool { return slices.Contains(a.Windows, w) }))
}

func all[T any](list []T, f func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !f(v) })
}

// coversReach: an entry that denies and names paths or destinations is about those only.
// One that allows some of them leaves others to later entries, and so it does where a
// server, which does not see them, judges.
func coversReach(a, b *policy.Entry) bool {
	if a.Denies {
		return !a.Copies && a.Forwards == nil
	}
	return !slices.Contains(b.Sessions, policy.Forward) && !slices.Contains(b.Sessions, policy.Proxy) &&
		(!a.Copies || !slices.Contains(b.Sessions, policy.Copy))
}

// coversMember knows that "*" is everybody, also of whatever role.
func coversMember(a, b string) bool {
	if a == b || a == "*" {
		return true
	}
	return !isRole(a) && !isRole(b) && coversGlob(a, b)
}

func isRole(s string) bool { return strings.HasPrefix(s, "role:") }

// coversGlob: a star of b is covered by a star of a only, so b's text may be matched
// as it stands.
func coversGlob(a, b string) bool { return glob.New(a).Match(b) }

func coversGlobs(a, b []string) bool {
	return all(b, func(v string) bool { return slices.ContainsFunc(a, func(u string) bool { return coversGlob(u, v) }) })
}

// coversUsers knows that an allowing entry without `as` is about the login user, and
// that no glob of one reaches root.
func coversUsers(a, b *policy.Entry) bool {
	switch {
	case a.Denies && a.As == nil:
		return true
	case a.As == nil:
		return b.As == nil
	case b.As == nil:
		// The login user may be anybody, but not root.
		return !b.Denies && slices.Contains(a.As, "*")
	}
	return all(b.As, func(u string) bool {
		return slices.ContainsFunc(a.As, func(v string) bool { return coversGlob(v, u) && (a.Denies || u != "root" || v == "root") })
	})
}

// names looks for roles, people, tags and machines that are not there.
func (l *linter) names(e *policy.Entry) {
	l.members(e.Line, e.Name, "members", e.Members)
	l.members(e.Line, e.Name, "approvers", e.Approvers)
	if len(l.targets) == 0 {
		return
	}
	for _, tag := range e.Tags {
		if !slices.ContainsFunc(l.targets, func(t policy.Target) bool { _, has := t.Tags[tag.Key]; return has }) {
			l.report(e.Line, Warning, "unknown-tag", "%s asks for the tag %s, which no machine of the team has", e.Name, tag.Key)
			continue
		}
		for _, v := range tag.Values {
			g := glob.New(v)
			if !slices.ContainsFunc(l.targets, func(t policy.Target) bool { have, has := t.Tags[tag.Key]; return has && g.Match(have) }) {
				l.report(e.Line, Warning, "unknown-tag", "%s asks for the tag %s=%s, which no machine of the team has", e.Name, tag.Key, v)
			}
		}
	}
	for _, name := range e.Names {
		g := glob.New(name)
		if !slices.ContainsFunc(l.targets, func(t policy.Target) bool { return g.Match(t.Name) }) {
			l.report(e.Line, Warning, "unknown-target", "%s names %s, and the team has no such machine", e.Name, name)
		}
	}
}

func (l *linter) members(line int, entry, what string, members []string) {
	if len(l.people) == 0 {
		return
	}
	for _, m := range members {
		if role, ok := strings.CutPrefix(m, "role:"); ok {
			if !slices.ContainsFunc(l.people, func(p policy.Person) bool { return slices.Contains(p.Roles, role) }) {
				l.report(line, Warning, "unknown-role", "%s of %s names role:%s, which nobody has", what, entry, role)
			}
			continue
		}
		g := glob.New(m)
		if !slices.ContainsFunc(l.people, func(p policy.Person) bool { return g.MatchFold(p.Email) }) {
			l.report(line, Warning, "unknown-member", "%s of %s names %s, and nobody has such an address", what, entry, m)
		}
	}
}

// windows looks for windows that never close.
func (l *linter) windows(e *policy.Entry) {
	switch {
	case e.Windows == nil:
	case window.Always(e.Windows):
		l.report(e.Line, Warning, "open-ended", "the windows of %s leave no time out; give them days, from and to, or leave `when` out", e.Name)
	case slices.ContainsFunc(e.Windows, func(w window.Window) bool { return w.WholeDay() }):
		l.report(e.Line, Note, "open-ended", "a window of %s has no from and to and is open the whole day", e.Name)
	}
}

// unread looks for commands that can't be read, which are always held, where nobody
// could approve them. Snapshot.Check finds what a pattern holds.
func (l *linter) unread(e *policy.Entry, approvers []string) {
	if len(l.people) == 0 || e.Approvers != nil || !slices.Contains(e.Sessions, policy.Exec) || slices.ContainsFunc(l.findings, func(f Finding) bool { return f.Code == "nobody-approves" }) {
		return
	}
	if !slices.ContainsFunc(l.people, func(p policy.Person) bool { return isOneOf(approvers, p) }) {
		l.report(e.Line, Warning, "nobody-approves", "a command that can't be read is held under %s, and nobody is one of %s; give somebody that role, or set `approvers`", e.Name, strings.Join(approvers, ", "))
	}
}

func isOneOf(members []string, p policy.Person) bool {
	return slices.ContainsFunc(members, func(m string) bool {
		role, ok := strings.CutPrefix(m, "role:")
		return ok && slices.Contains(p.Roles, role) || !ok && glob.New(m).MatchFold(p.Email)
	})
}

// reach looks for forwards that lead nowhere, and for recordings that can't be.
func (l *linter) reach(e *policy.Entry) {
	if e.Denies {
		return
	}
	if slices.Contains(e.Sessions, policy.Forward) && e.Forwards == nil {
		l.report(e.Line, Warning, "forward-nowhere", "%s lists forward and names no destination, so none is reached; give it `forwards`", e.Name)
	}
	for _, kind := range []policy.Kind{policy.Forward, policy.Proxy} {
		if e.Record == "required" && slices.Contains(e.Sessions, kind) {
			l.report(e.Line, Warning, "unrecordable", "%s lists %s and wants everything recorded, which is denied: what goes through can't be recorded; give it an entry of its own with `record: on`", e.Name, kind)
		}
	}
}

// production looks at what an entry lets people do where customers are.
func (l *linter) production(e *policy.Entry, gate string) {
	where := l.reachesProduction(e)
	if where == "" {
		return
	}
	acts := slices.DeleteFunc(slices.Clone(e.Sessions), func(k policy.Kind) bool { return k == policy.Observe })
	if len(acts) == 0 {
		return
	}
	if e.Approvers == nil {
		l.report(e.Line, Warning, "prod-without-approval", "%s lets people in on %s without anybody's approval; give it a `hold`", e.Name, where)
	}
	if e.Windows == nil {
		l.report(e.Line, Note, "prod-any-time", "%s lets people in on %s at any time; give it `when` if nobody should work there at night", e.Name, where)
	}
	for _, kind := range []policy.Kind{policy.Forward, policy.Proxy} {
		if slices.Contains(acts, kind) {
			l.report(e.Line, Warning, "prod-ungated", "%s allows %s on %s: what goes through it is neither judged nor recorded", e.Name, kind, where)
		}
	}
	if e.Record == "off" {
		l.report(e.Line, Warning, "prod-unrecorded", "%s switches recording off on %s", e.Name, where)
	}
	if slices.Contains(acts, policy.Shell) && gate == "none" {
		l.report(e.Line, Warning, "prod-ungated", "%s allows shells on %s, and the policy's `gate: none` judges nothing that runs in them", e.Name, where)
	}
	if slices.Contains(acts, policy.Exec) && e.CommandsRun && !e.Catalogue {
		l.report(e.Line, Note, "no-catalogue", "%s runs every command on %s that no pattern names; `commands: {catalogue: 1}` knows the dangerous ones", e.Name, where)
	}
}

// reachesProduction names something of production that the entry covers; "" if there
// is nothing, as far as tags tell.
func (l *linter) reachesProduction(e *policy.Entry) string {
	for _, t := range l.targets {
		if isProduction(t.Tags) && coversTarget(e, t) {
			return t.Name
		}
	}
	for _, tag := range e.Tags {
		for _, v := range tag.Values {
			if slices.Contains(prodKeys, tag.Key) && slices.Contains(prodValues, v) {
				return "machines with " + tag.Key + "=" + v
			}
		}
	}
	return ""
}

func isProduction(tags map[string]string) bool {
	return slices.ContainsFunc(prodKeys, func(k string) bool { return slices.Contains(prodValues, tags[k]) })
}

func coversTarget(e *policy.Entry, t policy.Target) bool {
	return all(e.Tags, func(tag policy.Tag) bool {
		have, ok := t.Tags[tag.Key]
		return ok && slices.ContainsFunc(tag.Values, func(v string) bool { return glob.New(v).Match(have) })
	}) && (e.Names == nil || slices.ContainsFunc(e.Names, func(n string) bool { return glob.New(n).Match(t.Name) }))
}

// whole looks at the policy as a whole.
func (l *linter) whole(snap *policy.Snapshot) {
	p := snap.Policy
	mode, line := p.Mode()
	if mode == "blocklist" {
		l.report(line, Note, "blocklist", "mode is blocklist: what nobody thought of is allowed")
	}
	if p.Tests() == 0 && len(l.entries) > 0 {
		l.report(1, Note, "no-tests", "the policy has no `tests`; a few would refuse a write that breaks what must hold")
	}
	b, ok := p.BreakGlass()
	if ok && b.Quorum < 2 {
		l.report(1, Warning, "lonely-break-glass", "break_glass needs one person only, so one stolen device opens everything; use quorum: 2")
	}
	if ok {
		l.members(1, "break_glass", "members", b.Members)
	}
}
