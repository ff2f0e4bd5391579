// Package together is how people read requests that were asked for together: a plan, which
// is decided as a whole. It says how many there are and on which machines, and shows once
// what is the same on several.
//
// Invariants: every machine is named; two requests are shown as one only where they differ
// in nothing but their machine; what is not whole says so.
//
// It must not import a service, or anything of this module but backend.
package together

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
)

// A Plan is requests that were asked for together, or one that stands alone. It is never
// empty.
type Plan []backend.Approval

// IsOne reports whether it is a request that stands alone.
func (p Plan) IsOne() bool { return len(p) == 1 && p[0].Plan == "" }

// IsWhole reports whether all of it is here. What is not whole can only be denied.
func (p Plan) IsWhole() bool { return p.IsOne() || len(p) == p[0].PlanSize }

// Machines are the names of its machines, each once, in its order.
func (p Plan) Machines() (names []string) {
	seen := map[string]bool{}
	for _, a := range p {
		if !seen[a.Target] {
			seen[a.Target] = true
			names = append(names, a.Target)
		}
	}
	return names
}

// Place says in short where it is about.
func (p Plan) Place() string {
	names := p.Machines()
	switch {
	case p.IsOne():
		return names[0]
	case p.IsWhole() && len(names) == 1:
		return fmt.Sprintf("%s (%d requests)", names[0], len(p))
	case p.IsWhole():
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return fmt.Sprintf("%s and others", names[0])
}

// Size says how much is decided at once.
func (p Plan) Size() string {
	if !p.IsWhole() {
		return fmt.Sprintf("%d requests; it is decided as a whole", p[0].PlanSize)
	}
	if n := len(p.Machines()); n != len(p) {
		return fmt.Sprintf("%d requests on %d machine(s); it is decided as a whole", len(p), n)
	}
	return fmt.Sprintf("%d machines; it is decided as a whole", len(p))
}

// Missing says that it is not whole, and what follows; "" where it is.
func (p Plan) Missing() string {
	if p.IsWhole() {
		return ""
	}
	return fmt.Sprintf("only %d of its requests are here (yet): it can't be approved", len(p))
}

// Word is what somebody types who approves it, and what it is called.
func (p Plan) Word() (word, called string) {
	switch {
	case p.IsOne():
		return p[0].Target, "the target's name"
	case len(p.Machines()) == len(p):
		return strconv.Itoa(len(p)), "the number of machines"
	}
	return strconv.Itoa(len(p)), "the number of requests"
}

// Groups gives one request for all that differ in nothing but their machine: its Target
// names all of these. They are in the order of their steps.
func (p Plan) Groups() []backend.Approval {
	var groups []Plan
	for _, a := range slices.SortedStableFunc(slices.Values(p), func(a, b backend.Approval) int { return cmp.Compare(a.Step, b.Step) }) {
		at := slices.IndexFunc(groups, func(g Plan) bool { return alike(g[0], a) })
		if at < 0 {
			at, groups = len(groups), append(groups, nil)
		}
		groups[at] = append(groups[at], a)
	}
	out := make([]backend.Approval, len(groups))
	for i, g := range groups {
		out[i] = g[0]
		out[i].Target = strings.Join(g.Machines(), ", ")
	}
	return out
}

// alike reports whether two requests of a plan differ in nothing but their machine.
func alike(p, q backend.Approval) bool {
	return slices.Equal(p.Argv, q.Argv) && slices.Equal(p.Env, q.Env) && p.Cwd == q.Cwd && p.As == q.As && p.Runbook == q.Runbook &&
		p.Stdin == q.Stdin && p.Reason == q.Reason && p.Lasts == q.Lasts && p.Operator == q.Operator && p.Tier == q.Tier && p.Risk == q.Risk && slices.Equal(p.Content, q.Content) && p.Unread == q.Unread && p.Kind == q.Kind &&
		p.Progress() == q.Progress() && p.Turn == q.Turn && p.WhyNot == q.WhyNot && p.CanDecide == q.CanDecide && p.State == q.State && p.AskUntil.Equal(q.AskUntil)
}
