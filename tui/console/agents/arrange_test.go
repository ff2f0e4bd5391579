package agents

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/backend"
)

func few() *Index {
	return NewIndex([]backend.Target{
		{ID: "0", Name: "web-10", State: backend.Online, Tags: map[string]string{"env": "prod", "role": "web"}},
		{ID: "1", Name: "db-1", State: backend.Offline, Tags: map[string]string{"env": "prod", "role": "db"}},
		{ID: "2", Name: "web-9", Tags: map[string]string{"env": "staging"}},
		{ID: "3", Name: "WEB-007", State: backend.Online},
	})
}

func TestNot(t *testing.T) {
	for query, want := range map[string][]int32{
		"!role:db": {0, 2, 3}, "env:prod !role:db": {0}, "!web": {1}, "!": {0, 1, 2, 3}, "!zzz": {0, 1, 2, 3}, "!env:": {3},
		"state:online": {0, 3}, "!state:on web": {2}, "state:off": {1}, "state:": {0, 1, 2, 3}, "web !w": nil,
	} {
		if got := few().Filter(query); !slices.Equal(got, want) {
			t.Errorf("%q = %v, want %v", query, got, want)
		}
		// The same, as it is typed.
		ix := few()
		for i := range query {
			ix.Filter(query[:i+1])
		}
		if got := ix.Filter(query); !slices.Equal(got, want) {
			t.Errorf("%q typed = %v, want %v", query, got, want)
		}
	}
}

func TestArrange(t *testing.T) {
	for _, tc := range []struct {
		a      Arrangement
		folded string
		want   []int32
	}{
		{Arrangement{}, "", []int32{0, 1, 2, 3}},
		{Arrangement{Sort: SortName}, "", []int32{1, 3, 2, 0}},
		{Arrangement{Sort: "-name", Filter: "web"}, "", []int32{0, 2, 3}},
		{Arrangement{Sort: SortState}, "", []int32{1, 0, 3, 2}},
		{Arrangement{Sort: "role"}, "", []int32{1, 0, 2, 3}},
		{Arrangement{Sort: "-role"}, "", []int32{0, 1, 2, 3}},
		{Arrangement{Group: "env"}, "", []int32{-1, 0, 1, -2, 2, -3, 3}},
		{Arrangement{Group: "env", Sort: SortName}, "prod", []int32{-1, -2, 2, -3, 3}},
		{Arrangement{Group: "env", Filter: "role:db"}, "", []int32{-1, 1}},
		{Arrangement{Group: "nothing"}, "", []int32{-1, 0, 1, 2, 3}},
	} {
		ix := few()
		got, found := ix.Arrange(tc.a, map[string]bool{tc.folded: tc.folded != ""})
		if !slices.Equal(got, tc.want) || found != len(ix.match) {
			t.Errorf("%+v folded %q: %v of %d, want %v", tc.a, tc.folded, got, found, tc.want)
		}
	}
}

// TestNatural: it is an order, and numbers count as numbers.
func TestNatural(t *testing.T) {
	sorted := []string{"", "a", "a1", "a01", "a2", "a10", "a10b", "a010b2", "b"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := natural(a, b); i < j && got > 0 || i > j && got < 0 {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.StringMatching(`[a0-3]{0,6}`)
		a, b, c := g.Draw(t, "a"), g.Draw(t, "b"), g.Draw(t, "c")
		if natural(a, b) != -natural(b, a) {
			t.Fatalf("%q and %q have no order", a, b)
		}
		if natural(a, b) <= 0 && natural(b, c) <= 0 && natural(a, c) > 0 {
			t.Fatalf("%q %q %q go round", a, b, c)
		}
	})
}

func TestMarks(t *testing.T) {
	a := New(false)
	targets := make([]backend.Target, MaxMarks+1)
	for i := range targets {
		targets[i] = backend.Target{ID: backend.TargetID(fmt.Sprintf("%05d", i)), Name: fmt.Sprintf("m-%d", i)}
	}
	a.SetTargets(NewIndex(targets))
	if a.MarkAll() || len(a.Marked()) != 0 {
		t.Error("too many were marked")
	}
	a.SetTargets(NewIndex(targets[:MaxMarks]))
	if !a.MarkAll() || len(a.Marked()) != MaxMarks {
		t.Error("not all were marked")
	}
	a.SetTargets(NewIndex(targets))
	a.Cursor = MaxMarks
	if a.Mark() {
		t.Error("one too many was marked")
	}
	a.Cursor = 0
	if !a.Mark() || a.Marked()[0].ID != "00001" || a.Cursor != 1 {
		t.Error("the first kept its mark, or the cursor its place")
	}
	a.SetTargets(NewIndex(targets[:5])) // the others are gone
	if got := len(a.Marked()); got != 4 {
		t.Errorf("%d are marked", got)
	}
	a.MarkAll()
	if !a.MarkAll() || a.Unmark() {
		t.Error("all marks stayed")
	}
}
