package quorum

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// roles are who these people are.
var roles = map[string][]string{
	"alice": {"sre"}, "bob": {"lead", "security"}, "carol": {"lead"}, "dora": {"security"},
	"erin": {"approver"}, "frank": {"approver"}, "grace": {"security", "approver"},
}

func named(person, approver string) bool { return slices.Contains(roles[person], approver) }

func one(n int, who ...string) Part { return Part{Approvers: who, Quorum: n} }

var ladder = Needs{
	{Parts: []Part{one(1, "lead")}},
	{Parts: []Part{one(1, "security"), one(1, "approver")}},
}

func TestCount(t *testing.T) {
	either := Needs{{Any: true, Parts: []Part{one(1, "lead"), one(2, "approver")}}, {Parts: []Part{one(1, "security")}}}
	for _, c := range []struct {
		name   string
		needs  Needs
		people string
		want   string // by step: who, and what it waits for
	}{
		{"nobody", ladder, "", "[] waits 1 of lead; [] waits 1 of security and 1 of approver"},
		{"the lead", ladder, "carol", "[carol] ok; [] waits 1 of security and 1 of approver"},
		{"half of the second step", ladder, "carol dora", "[carol] ok; [dora] waits 1 of approver"},
		{"all", ladder, "carol dora erin", "[carol] ok; [dora erin] ok"},
		{"a lead who is of security is one of them", ladder, "bob erin", "[bob] ok; [erin] waits 1 of security"},
		{"and makes room for another lead", ladder, "bob erin carol", "[carol] ok; [bob erin] ok"},
		{"the same human twice", ladder, "bob bob erin", "[bob] ok; [erin] waits 1 of security"},
		{"one person for two parts", ladder, "carol grace", "[carol] ok; [grace] waits 1 of approver"},
		{"the later step first", ladder, "dora erin", "[] waits 1 of lead; [dora erin] ok"},
		{"a stranger", ladder, "alice mallory ", "[] waits 1 of lead; [] waits 1 of security and 1 of approver"},
		{"any: none", either, "", "[] waits 1 of lead or 2 of approver; [] waits 1 of security"},
		{"any: one of two", either, "erin", "[erin] waits 1 of lead or 1 of approver; [] waits 1 of security"},
		{"any: by approvers", either, "erin frank", "[erin frank] ok; [] waits 1 of security"},
		{"any: whoever leaves most to others", either, "bob erin frank", "[erin frank] ok; [bob] ok"},
		{"any: by the lead", either, "carol bob", "[carol] ok; [bob] ok"},
		{"two of one", Of(2, []string{"approver"}), "erin", "[erin] waits 1 of approver"},
	} {
		tally := c.needs.Count(strings.Fields(c.people), named)
		var got []string
		for _, s := range tally.Steps {
			slices.Sort(s.By)
			state := "ok"
			if s.Waits != "" {
				state = "waits " + s.Waits
			}
			got = append(got, fmt.Sprint(s.By, " ", state))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, text, c.want)
		}
		if tally.Complete() != !strings.Contains(c.want, "waits") {
			t.Errorf("%s: complete is %v", c.name, tally.Complete())
		}
	}
}

func TestNothingIsNeverMet(t *testing.T) {
	everybody := []string{"alice", "bob", "carol", "dora", "erin", "frank", "grace"}
	yes := func(string, string) bool { return true }
	for name, n := range map[string]Needs{
		"no step":        nil,
		"no part":        {{}},
		"no part of any": {{Any: true}},
		"nobody of some": {{Parts: []Part{one(0, "lead")}}},
		"less":           {{Parts: []Part{one(-1, "lead")}}},
		"some of nobody": {{Parts: []Part{one(1)}}},
		"too many":       Of(MaxPeople+1, []string{"lead"}),
		"too many steps": append(append(append(slices.Clone(ladder), ladder...), ladder...), ladder...),
		"too many parts": {{Parts: slices.Repeat([]Part{one(1, "lead")}, MaxParts+1)}},
		"together":       {Of(MaxPeople, []string{"lead"})[0], Of(1, []string{"lead"})[0]},
	} {
		if tally := n.Count(everybody, yes); tally.Complete() || n.Check() == "" || n.Reachable(everybody, yes)("x") || n.May(tally, "bob", func(string, string) bool { return false }) {
			t.Errorf("%s: %+v is met, or passes", name, n)
		}
	}
	if (Tally{}).Complete() || ladder.Count(everybody, func(string, string) bool { return false }).Complete() {
		t.Error("complete out of nothing")
	}
	if ladder.Check() != "" || !ladder.Count(everybody, named).Complete() {
		t.Error("what can be met is not")
	}
}

func TestMay(t *testing.T) {
	for people, want := range map[string]string{"": "bob carol", "carol": "bob carol dora erin frank grace"} {
		tally := ladder.Count(strings.Fields(people), named)
		var may []string
		for p := range roles {
			if ladder.May(tally, p, named) {
				may = append(may, p)
			}
		}
		slices.Sort(may)
		if got := strings.Join(may, " "); got != want {
			t.Errorf("after %q: %s, want %s", people, got, want)
		}
	}
}

func TestReachable(t *testing.T) {
	can := ladder.Reachable([]string{"bob", "grace", "erin"}, named)
	for asker, want := range map[string]bool{"alice": true, "nobody": true, "": true, "bob": false, "erin": false, "grace": false} {
		if can(asker) != want {
			t.Errorf("%q asks: reachable is %v", asker, !want)
		}
	}
	var crowd []string
	for i := range 100_000 {
		crowd = append(crowd, fmt.Sprint("p", i))
	}
	if !Of(MaxPeople, []string{"x"}).Reachable(crowd, func(string, string) bool { return true })("p3") {
		t.Error("a crowd is not enough")
	}
}

func TestWords(t *testing.T) {
	if got := ladder.String(); got != "1 of lead, then 1 of security and 1 of approver" {
		t.Error(got)
	}
	if got := strings.Join(ladder.Approvers(), " "); got != "lead security approver" {
		t.Error(got)
	}
	if least, most := (Needs{{Any: true, Parts: []Part{one(1, "a"), one(3, "b")}}, {Parts: []Part{one(1, "a"), one(1, "b")}}}).People(); least != 3 || most != 5 {
		t.Error(least, most)
	}
}

// Whatever the needs and the people: the steps are complete exactly where a slow
// search finds a place for each; one more yes never completes less.
func TestCountAgreesWithSearch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		who := []string{"a", "b", "c"}
		var n Needs
		for range rapid.IntRange(1, 3).Draw(rt, "steps") {
			s := Step{Any: rapid.Bool().Draw(rt, "any")}
			for range rapid.IntRange(1, 2).Draw(rt, "parts") {
				s.Parts = append(s.Parts, one(rapid.IntRange(1, 2).Draw(rt, "quorum"), rapid.SampledFrom(who).Draw(rt, "who")))
			}
			n = append(n, s)
		}
		kinds := map[string]int{}
		var people []string
		for i := range rapid.IntRange(0, 5).Draw(rt, "people") {
			id := fmt.Sprint(i)
			kinds[id], people = rapid.IntRange(0, 7).Draw(rt, "kind"), append(people, id)
		}
		named := func(p, a string) bool { return kinds[p]&(1<<slices.Index(who, a)) != 0 }
		before := 0
		for i := range len(people) + 1 {
			tally := n.Count(people[:i], named)
			if tally.Done < before {
				rt.Fatalf("%v: with %d people %d steps, with one less %d", n, i, tally.Done, before)
			}
			before = tally.Done
			if want := search(n, people[:i], named); tally.Complete() != want {
				rt.Fatalf("%v with %v of kinds %v: complete is %v, a search says %v", n, people[:i], kinds, tally.Complete(), want)
			}
		}
	})
}

// search tries every person in every place, step by step.
func search(n Needs, people []string, named Named) bool {
	if len(n) == 0 {
		return true
	}
	first, rest := n[0], n[1:]
	if first.Any {
		return slices.ContainsFunc(first.Parts, func(p Part) bool {
			return search(append(Needs{{Parts: []Part{p}}}, rest...), people, named)
		})
	}
	if len(first.Parts) == 0 {
		return search(rest, people, named)
	}
	p := first.Parts[0]
	left := append([]Part{{Approvers: p.Approvers, Quorum: p.Quorum - 1}}, first.Parts[1:]...)
	if p.Quorum == 0 {
		left = first.Parts[1:]
		return search(append(Needs{{Parts: left}}, rest...), people, named)
	}
	for i, who := range people {
		if named(who, p.Approvers[0]) && search(append(Needs{{Parts: left}}, rest...), slices.Delete(slices.Clone(people), i, i+1), named) {
			return true
		}
	}
	return false
}
