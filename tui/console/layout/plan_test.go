package layout

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestPlan(t *testing.T) {
	tree := New(1)
	tree.Split(1, 2, false)
	tree.Split(2, 3, true)
	plan := tree.Plan(func(id int) string { return fmt.Sprintf("m%d", id) })
	if err := plan.Check(); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"share":500,"first":{"target":"m1"},"second":{"below":true,"share":500,"first":{"target":"m2"},"second":{"target":"m3"}}}`; string(b) != want {
		t.Errorf("written %s", b)
	}
	next := 10
	again := plan.Tree(func(target string) (int, bool) {
		next++
		return next, target != "m2"
	})
	if !again.Has(11) || again.Has(12) || !again.Has(13) {
		t.Error("what could not be opened has a place, or what could has none")
	}
	if plan.Tree(func(string) (int, bool) { return 0, false }) != nil {
		t.Error("a tree of nothing")
	}
}

func TestPlansThatAreNone(t *testing.T) {
	leaf := &Plan{Target: "m"}
	deep := leaf
	for range maxDepth + 1 {
		deep = &Plan{Share: 500, First: leaf, Second: deep}
	}
	wide := leaf
	for n := 1; n <= MaxPanes; n *= 2 {
		wide = &Plan{Share: 500, First: wide, Second: wide}
	}
	for name, p := range map[string]*Plan{
		"nil": nil, "empty": {}, "one part": {Share: 500, First: leaf}, "no share": {First: leaf, Second: leaf}, "all": {Share: 1000, First: leaf, Second: leaf},
		"both": {Target: "m", Share: 500, First: leaf, Second: leaf}, "deep": deep, "wide": wide,
	} {
		if p.Check() == nil {
			t.Errorf("%s is a plan", name)
		}
	}
}
