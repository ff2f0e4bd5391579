// Package advice finds what would have to change for a policy to answer better.
//
// Purpose: "denied" alone sends people to whoever wrote the policy. The smallest
// change that helps tells them what to do, or what to ask for: another user, kind,
// hour or machine, a role or a tag.
//
// Invariants: nothing is guessed. Every way was evaluated by policy.Evaluate and
// its verdict is the way's. No way with fewer changes exists among the values that
// the policy and the roster speak of, as far as the search goes: it is bounded (64
// values of a part, 20,000 evaluations).
//
// It is pure. Of this module it may import only internal/policy and what that
// imports.
package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
)

// Limits of a search.
const (
	maxChanges     = 3      // of one way
	maxValues      = 64     // of one Part
	maxEvaluations = 20_000 // of one search
	maxWays        = 8
)

// A Part is a part of a request that can be changed. Parts are ordered by who can
// change them: the member at once, the member by waiting or going elsewhere, an
// admin.
type Part uint8

const (
	User Part = iota
	Kind
	Time
	Target
	Role
	Tag
)

var costs = [...]int{User: 1, Kind: 1, Time: 2, Target: 3, Role: 8, Tag: 10}

var partNames = [...]string{User: "as", Kind: "session", Time: "at", Target: "target", Role: "role", Tag: "tag"}

func (p Part) String() string { return partNames[p] }

// A Change is one changed part.
type Change struct {
	Part Part
	To   string // the new value; of Role and Tag what is added, or after "-" what is taken away
}

// String says the change as a person would.
func (c Change) String() string {
	taken, isTaken := strings.CutPrefix(c.To, "-")
	switch c.Part {
	case User:
		return "as " + c.To
	case Kind:
		return "for " + c.To
	case Time:
		return "at " + c.To
	case Target:
		return "on " + c.To
	case Role:
		if isTaken {
			return "without role:" + taken
		}
		return "with role:" + c.To
	}
	if isTaken {
		return "if the target had no tag " + taken
	}
	return "if the target had the tag " + c.To
}

// A Way is a smallest set of changes, and what policy would answer then.
type Way struct {
	Changes []Change
	Verdict policy.Verdict
}

func (w Way) String() string {
	words := make([]string, len(w.Changes))
	for i, c := range w.Changes {
		words[i] = c.String()
	}
	return strings.Join(words, ", ")
}

// Ways returns the ways that need the fewest changes and lead to a better effect
// than the request's own, the best and cheapest first: at most eight. Where the
// effect can't be bettered there are none. A changed kind leaves the command out,
// so its verdict holds for what is low.
func Ways(req *policy.Request, snap *policy.Snapshot, targets []policy.Target) []Way {
	if req == nil || snap == nil || snap.Policy == nil {
		return nil
	}
	now := policy.Evaluate(req, snap)
	if now.Effect == policy.Allow {
		return nil
	}
	s := &search{snap: snap, least: now.Effect, tried: maxEvaluations}
	for part, values := range candidates(req, now, snap.Policy, targets) {
		for _, v := range values[:min(len(values), maxValues)] {
			s.steps = append(s.steps, step{Change{Part(part), v.to}, v.apply})
		}
	}
	for size := 1; size <= maxChanges && len(s.found) == 0; size++ {
		s.look(*req, nil, 0, size)
	}
	slices.SortStableFunc(s.found, func(a, b Way) int {
		return cmp.Or(cmp.Compare(b.Verdict.Effect, a.Verdict.Effect), cmp.Compare(a.cost(), b.cost()))
	})
	return pick(s.found)
}

func (w Way) cost() (sum int) {
	for _, c := range w.Changes {
		sum += costs[c.Part]
	}
	return sum
}

// pick keeps of ways that differ only in when, or only in where, the first.
func pick(ways []Way) []Way {
	var out []Way
	seen := map[string]bool{}
	for _, w := range ways {
		var key strings.Builder
		for _, c := range w.Changes {
			if fmt.Fprint(&key, c.Part, " "); c.Part != Time && c.Part != Target {
				fmt.Fprint(&key, c.To, " ")
			}
		}
		if seen[key.String()] || len(out) >= maxWays {
			continue
		}
		seen[key.String()] = true
		out = append(out, w)
	}
	return out
}

// A step changes one part of a request.
type step struct {
	Change
	apply func(*policy.Request)
}

type search struct {
	snap  *policy.Snapshot
	steps []step
	least policy.Effect // what must be bettered
	tried int           // evaluations that are left
	found []Way
}

// look tries every set of size more steps, of different parts, from the given one on.
func (s *search) look(req policy.Request, made []Change, from, size int) {
	for i := from; i < len(s.steps) && s.tried > 0; i++ {
		st := &s.steps[i]
		if len(made) > 0 && made[len(made)-1].Part == st.Part {
			continue
		}
		changed := req
		st.apply(&changed)
		way := append(slices.Clip(made), st.Change)
		if size > 1 {
			s.look(changed, way, i+1, size-1)
			continue
		}
		s.tried--
		if v := policy.Evaluate(&changed, s.snap); v.Effect > s.least {
			s.found = append(s.found, Way{way, v})
		}
	}
}

// A value is one that a part could have.
type value struct {
	to    string
	apply func(*policy.Request)
}

// candidates collects, for each part, the values that the policy or the roster
// speaks of. Every other value acts like one of them or like the present one.
func candidates(req *policy.Request, now policy.Verdict, p *policy.Policy, targets []policy.Target) [len(partNames)][]value {
	var out [len(partNames)][]value
	add := func(part Part, to string, apply func(*policy.Request)) {
		if !slices.ContainsFunc(out[part], func(v value) bool { return v.to == to }) {
			out[part] = append(out[part], value{to, apply})
		}
	}
	user := cmp.Or(req.As, req.LoginUser)
	asUser := func(name string) {
		if name != "" && name != user && !strings.Contains(name, "*") {
			add(User, name, func(r *policy.Request) { r.As = name })
		}
	}
	asUser(req.LoginUser)
	for _, e := range p.Entries() {
		for _, name := range e.As {
			asUser(name)
		}
		for _, m := range e.Members {
			if role, ok := strings.CutPrefix(m, "role:"); ok {
				addRole(add, req, role)
			}
		}
		for _, tag := range e.Tags {
			addTag(add, req, tag)
		}
	}
	for _, kind := range policy.Kinds() {
		// Where the command decided, another kind would only not ask about it.
		// Nor is it known what a copy or a forward would then ask for.
		if kind != req.Kind && req.Program == nil && now.Tier == "" && !reach.Carries(string(kind)) {
			add(Kind, string(kind), func(r *policy.Request) { r.Kind, r.Argv = kind, nil })
		}
	}
	for _, at := range edges(p, req.At) {
		add(Time, at.Format("Mon 2006-01-02 15:04 MST"), func(r *policy.Request) { r.At = at })
	}
	for _, t := range targets {
		if t.Name != req.Target {
			add(Target, t.Name, func(r *policy.Request) { r.Target, r.Tags, r.LoginUser = t.Name, t.Tags, t.LoginUser })
		}
	}
	return out
}

func addRole(add func(Part, string, func(*policy.Request)), req *policy.Request, role string) {
	if !slices.Contains(req.Roles, role) {
		add(Role, role, func(r *policy.Request) { r.Roles = append(slices.Clip(r.Roles), role) })
		return
	}
	add(Role, "-"+role, func(r *policy.Request) {
		r.Roles = slices.DeleteFunc(slices.Clone(r.Roles), func(have string) bool { return have == role })
	})
}

func addTag(add func(Part, string, func(*policy.Request)), req *policy.Request, tag policy.Tag) {
	for _, v := range tag.Values {
		v = strings.ReplaceAll(v, "*", "")
		if v == "" {
			v = "x"
		}
		if req.Tags[tag.Key] == v {
			continue
		}
		add(Tag, tag.Key+"="+v, func(r *policy.Request) {
			tags := maps.Clone(r.Tags)
			if tags == nil {
				tags = map[string]string{}
			}
			tags[tag.Key] = v
			r.Tags = tags
		})
	}
	if _, has := req.Tags[tag.Key]; has {
		add(Tag, "-"+tag.Key, func(r *policy.Request) {
			r.Tags = maps.Clone(r.Tags)
			delete(r.Tags, tag.Key)
		})
	}
}

// edges returns when a window of the policy opens or closes next, in order.
func edges(p *policy.Policy, after time.Time) []time.Time {
	var all []time.Time
	for _, e := range p.Entries() {
		for i := range e.Windows {
			all = append(all, e.Windows[i].Edges(after)...)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}
