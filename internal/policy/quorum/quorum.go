// Package quorum says how many people, and which, must say yes.
//
// Purpose: a hold of the policy asks for one number out of some people, or for
// steps, one after the other. What policy's tools, apid, an approver's device and
// the agent say of it comes from here, so that none of them counts in another way.
//
// Invariants:
//   - the zero Needs is never met;
//   - one person fills one place, in whichever steps they are named: whoever is a
//     lead and of security is one of the two, never both;
//   - who counts where is chosen so that as many of the first steps as possible are
//     complete. One more yes never makes less complete.
//
// The order of steps is for people: it says who is asked next. Whether a yes counts
// does not hang on when it was given, which nobody but its giver could prove.
//
// The package is pure and knows no person and no pattern. It must not import
// anything of this module.
package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of what a policy can ask for.
const (
	MaxSteps  = 4
	MaxParts  = 4  // of one step
	MaxPeople = 16 // of all steps together, at the most they can ask for
)

// A Part is a number of distinct people out of some.
type Part struct {
	Approvers []string `cbor:"approvers" json:"approvers"` // as the policy writes them
	Quorum    int      `cbor:"quorum" json:"quorum"`
}

// String writes "2 of role:approver, bob@example.com".
func (p Part) String() string {
	return fmt.Sprintf("%d of %s", p.Quorum, strings.Join(p.Approvers, ", "))
}

// A Step is complete with all of its parts, or, where Any says so, with one of them.
type Step struct {
	Any   bool   `cbor:"any" json:"any,omitempty"`
	Parts []Part `cbor:"parts" json:"parts"`
}

// String joins the parts by "and", or by "or".
func (s Step) String() string {
	texts := make([]string, len(s.Parts))
	for i, p := range s.Parts {
		texts[i] = p.String()
	}
	return strings.Join(texts, s.word())
}

func (s Step) word() string {
	if s.Any {
		return " or "
	}
	return " and "
}

// people is the least number that completes the step, and the most it can ask for.
func (s Step) people() (least, most int) {
	for i, p := range s.Parts {
		switch {
		case !s.Any:
			least, most = least+p.Quorum, most+p.Quorum
		case i == 0:
			least, most = p.Quorum, p.Quorum
		default:
			least, most = min(least, p.Quorum), max(most, p.Quorum)
		}
	}
	return least, most
}

// Needs are the steps of a hold, the first first.
type Needs []Step

// Of makes the needs of one step: that many of some people.
func Of(number int, approvers []string) Needs {
	return Needs{{Parts: []Part{{Approvers: approvers, Quorum: number}}}}
}

// String writes "1 of role:lead, then 1 of role:security and 1 of role:approver".
func (n Needs) String() string {
	texts := make([]string, len(n))
	for i, s := range n {
		texts[i] = s.String()
	}
	return strings.Join(texts, ", then ")
}

// People is the least number of people that can meet the needs, and the most that
// they can ask for.
func (n Needs) People() (least, most int) {
	for _, s := range n {
		l, m := s.people()
		least, most = least+l, most+m
	}
	return least, most
}

// Approvers are all who are named, each text once.
func (n Needs) Approvers() []string {
	var all []string
	for _, s := range n {
		for _, p := range s.Parts {
			for _, a := range p.Approvers {
				if !slices.Contains(all, a) {
					all = append(all, a)
				}
			}
		}
	}
	return all
}

// Check says what is wrong with needs that came from elsewhere; "" if nothing is.
func (n Needs) Check() string {
	if len(n) == 0 || len(n) > MaxSteps {
		return fmt.Sprintf("a hold has 1 to %d steps", MaxSteps)
	}
	for _, s := range n {
		if len(s.Parts) == 0 || len(s.Parts) > MaxParts {
			return fmt.Sprintf("a step has 1 to %d parts", MaxParts)
		}
		for _, p := range s.Parts {
			if p.Quorum < 1 || p.Quorum > MaxPeople || len(p.Approvers) == 0 {
				return fmt.Sprintf("a part asks for 1 to %d people, and names them", MaxPeople)
			}
		}
	}
	if _, most := n.People(); most > MaxPeople {
		return fmt.Sprintf("all steps together ask for up to %d people, at most %d", most, MaxPeople)
	}
	return ""
}

// A Named reports whether an entry of Approvers names a person.
type Named func(person, approver string) bool

// A Tally is how far some people have come. The zero Tally is not complete.
type Tally struct {
	Steps []Progress // one for each step
	Done  int        // how many of the first ones are complete
}

// Progress is where one step stands.
type Progress struct {
	By    []string // the people who count for it
	Waits string   // what it still needs, in words; "" when it is complete
}

// Complete reports whether nothing is missing.
func (t Tally) Complete() bool { return len(t.Steps) > 0 && t.Done == len(t.Steps) }

// Waits says what the first incomplete step needs; "" when all are complete.
func (t Tally) Waits() string {
	if t.Done < len(t.Steps) {
		return t.Steps[t.Done].Waits
	}
	return ""
}

// Count says how far these people have come, each of whom has said yes. Somebody
// who is listed twice counts once. Needs that do not pass Check are never met.
func (n Needs) Count(people []string, named Named) Tally {
	if n.Check() != "" {
		return Tally{}
	}
	voters := n.voters(people, named)
	best := n.best(voters)
	t := Tally{Done: best.done, Steps: make([]Progress, len(n))}
	for i := range n {
		t.Steps[i] = Progress{By: best.by[i], Waits: n.waits(best, i, voters)}
	}
	return t
}

// May reports whether this person can be asked for a yes now: a step that is
// complete, or the one that is next, names them.
func (n Needs) May(t Tally, person string, named Named) bool {
	return n[:min(len(n), t.Done+1)].places(person, named) != 0
}

// Reachable gives a function that answers whether all these people without one of
// them, who asks, could meet the needs. It costs little for each further asker.
func (n Needs) Reachable(people []string, named Named) func(asker string) bool {
	if n.Check() != "" {
		return func(string) bool { return false }
	}
	voters, known := n.voters(people, named), map[places]bool{}
	return func(asker string) bool {
		kind := n.places(asker, named)
		ok, done := known[kind]
		if !done {
			i := slices.IndexFunc(voters, func(v voter) bool { return v.may == kind })
			left := voters
			if i >= 0 { // whichever of them: they are alike
				left = slices.Delete(slices.Clone(voters), i, i+1)
			}
			ok = n.best(left).done == len(n)
			known[kind] = ok
		}
		return ok
	}
}
