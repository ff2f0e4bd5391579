// Package hindsight asks two policies about the same requests and says who gains and who
// loses.
//
// Purpose: a change of a policy is judged by what people really do. The requests of
// the audit log are evaluated once by the policy in force and once by the proposed one.
//
// Invariants: both are asked by policy.Evaluate, at the time of the request. What was
// answered then is not compared: only two answers of one evaluator can be. The report
// is bounded, however many requests there are.
//
// It is pure. Of this module it may import only internal/policy and what that
// imports.
package hindsight

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy"
)

// MaxMoves bounds the moves that a Report lists, and the people.
const MaxMoves = 1000

// A Report says what a proposed policy would have changed.
type Report struct {
	Requests int // that were asked about
	Same     int // same effect on the same terms
	Terms    int // same effect, but other approvers, quorum, recording or limits
	Looser   int // a better effect for who asked
	Stricter int
	People   []Person // who gains or loses, most first
	Moves    []Move   // what changes, most often first
	Unlisted int      // requests whose change is in no Move, because there are too many kinds of them
}

// A Person is what changes for one member.
type Person struct {
	Member       string
	Gains, Loses int // requests
}

// A Move is requests that are alike and change alike.
type Move struct {
	Member, Target string
	Kind           policy.Kind
	As             string
	From, To       policy.Effect
	FromRule       string
	ToRule         string
	ToLine         int // in the proposed policy
	Terms          bool
	Count          int
	Last           time.Time // the newest of them
}

// A key is what makes requests alike.
type key struct {
	member, target, as string
	kind               policy.Kind
	from, to           policy.Effect
	fromRule, toRule   string
	terms              bool
}

// Compare asks both policies about each request. It stops at the first error of the
// requests, with what it has so far.
func Compare(requests iter.Seq2[*policy.Request, error], now, proposed *policy.Snapshot) (*Report, error) {
	c := comparison{moves: map[key]*Move{}, people: map[string]*Person{}}
	var failed error
	for req, err := range requests {
		if err != nil {
			failed = err
			break
		}
		c.add(req, policy.Evaluate(req, now), policy.Evaluate(req, proposed))
	}
	return c.report(), failed
}

type comparison struct {
	Report
	moves  map[key]*Move
	people map[string]*Person
}

func (c *comparison) add(req *policy.Request, old, neu policy.Verdict) {
	c.Requests++
	terms := old.Effect == neu.Effect && !sameTerms(old.Obligations, neu.Obligations)
	switch {
	case terms:
		c.Terms++
	case neu.Effect > old.Effect:
		c.Looser++
		c.person(req.Member).Gains++
	case neu.Effect < old.Effect:
		c.Stricter++
		c.person(req.Member).Loses++
	default:
		c.Same++
		return
	}
	k := key{req.Member, req.Target, cmp.Or(req.As, req.LoginUser), req.Kind, old.Effect, neu.Effect, old.Rule, neu.Rule, terms}
	m := c.moves[k]
	if m == nil {
		if len(c.moves) >= MaxMoves {
			c.Unlisted++
			return
		}
		m = &Move{
			Member: req.Member, Target: req.Target, Kind: req.Kind, As: k.as, From: old.Effect, To: neu.Effect,
			FromRule: old.Rule, ToRule: neu.Rule, ToLine: neu.Line, Terms: terms,
		}
		c.moves[k] = m
	}
	m.Count++
	if req.At.After(m.Last) {
		m.Last = req.At
	}
}

// person counts for a member; whoever is beyond the limit is counted together.
func (c *comparison) person(member string) *Person {
	p := c.people[member]
	if p == nil {
		if len(c.people) >= MaxMoves {
			member = "(others)"
		}
		if p = c.people[member]; p == nil {
			p = &Person{Member: member}
			c.people[member] = p
		}
	}
	return p
}

func sameTerms(a, b policy.Obligations) bool {
	return a.Needs.String() == b.Needs.String() && a.AskFor == b.AskFor && a.Record == b.Record &&
		a.Gate == b.Gate && a.MaxSession == b.MaxSession && a.MaxOutput == b.MaxOutput && a.Grace == b.Grace && a.MinSuite == b.MinSuite && a.BreakGlass == b.BreakGlass
}

func (c *comparison) report() *Report {
	for _, p := range c.people {
		c.People = append(c.People, *p)
	}
	for _, m := range c.moves {
		c.Moves = append(c.Moves, *m)
	}
	slices.SortFunc(c.People, func(a, b Person) int {
		return cmp.Or(cmp.Compare(b.Gains+b.Loses, a.Gains+a.Loses), cmp.Compare(a.Member, b.Member))
	})
	slices.SortFunc(c.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.As, b.As), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.FromRule, b.FromRule), cmp.Compare(a.ToRule, b.ToRule))
	})
	return &c.Report
}
