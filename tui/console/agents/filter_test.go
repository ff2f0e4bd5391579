package agents

import (
	"fmt"
	"slices"
	"testing"

	uv "github.com/charmbracelet/ultraviolet"
	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
)

func TestFilter(t *testing.T) {
	ix := NewIndex([]backend.Target{
		{ID: "0", Name: "web-1", Tags: map[string]string{"env": "prod", "role": "web"}},
		{ID: "1", Name: "db-1", Tags: map[string]string{"env": "prod", "role": "db"}},
		{ID: "2", Name: "Web-Old", Tags: map[string]string{"env": "staging"}},
		{ID: "3", Name: "worker-extra-big"},
		{ID: "4", Name: "web", Tags: map[string]string{"note": "a=b"}},
		{ID: "5", Name: "żółw", Tags: map[string]string{"env": "production"}},
	})
	for _, tc := range []struct {
		query string
		want  []int32
	}{
		{"", []int32{0, 1, 2, 3, 4, 5}},
		{"web", []int32{4, 0, 2, 3}}, // exact, beginnings, letters apart
		{"WEB", []int32{4, 0, 2, 3}},
		{"env:prod", []int32{0, 1, 5}},
		{"env=prod", []int32{0, 1, 5}},
		{"env:prod web", []int32{0}},
		{"web env:prod", []int32{0}},
		{"role", []int32{0, 1}},
		{"staging", []int32{2}},
		{"env:", []int32{0, 1, 2, 5}},
		{"nothing:", nil},
		{"note:a=b", []int32{4}},
		{"żó", []int32{5}},
		{"zzz", nil},
	} {
		if got := ix.Filter(tc.query); !slices.Equal(got, tc.want) {
			t.Errorf("%q = %v, want %v", tc.query, got, tc.want)
		}
	}
}

// TestNarrowing checks that a filter which grew by typing finds what a fresh
// one does.
func TestNarrowing(t *testing.T) {
	targets := manyTargets(300)
	rapid.Check(t, func(t *rapid.T) {
		query := rapid.StringMatching(`[webdpro:= 1-]{0,12}`).Draw(t, "query")
		typed := NewIndex(targets)
		for i := range query {
			typed.Filter(query[:i+1])
		}
		got := slices.Clone(typed.Filter(query))
		if want := NewIndex(targets).Filter(query); !slices.Equal(got, want) {
			t.Fatalf("%q: typed %d rows, fresh %d", query, len(got), len(want))
		}
		if !typedWithin(got, len(targets)) {
			t.Fatalf("%q: rows out of range or twice: %v", query, got)
		}
	})
}

func typedWithin(rows []int32, n int) bool {
	sorted := slices.Sorted(slices.Values(rows))
	return len(slices.Compact(sorted)) == len(rows) && (len(rows) == 0 || (sorted[0] >= 0 && int(sorted[len(sorted)-1]) < n))
}

func BenchmarkFilter100k(b *testing.B) {
	targets := manyTargets(100_000)
	for _, query := range []string{"w", "web-9", "env:prod db 77", "zone:z3 exmpl"} {
		b.Run(query, func(b *testing.B) {
			ix := NewIndex(targets)
			for b.Loop() {
				ix.query = "\x00" // nothing to narrow: the slowest key press
				ix.Filter(query)
			}
		})
	}
	b.Run("typing", func(b *testing.B) {
		ix := NewIndex(targets)
		for b.Loop() {
			for i := range "web-99.prod" {
				ix.Filter("web-99.prod"[:i+1])
			}
		}
	})
}

func BenchmarkIndex100k(b *testing.B) {
	targets := manyTargets(100_000)
	for b.Loop() {
		NewIndex(targets)
	}
}

func BenchmarkDraw100k(b *testing.B) {
	a := New(true)
	a.SetTargets(NewIndex(manyTargets(100_000)))
	st := canvas.NewStyles(true)
	for b.Loop() {
		c := canvas.New(uv.NewScreenBuffer(200, 50), st)
		a.Draw(c, c.Bounds())
	}
}

func manyTargets(n int) []backend.Target {
	roles := []string{"web", "db", "cache", "queue", "proxy", "build"}
	envs := []string{"prod", "staging", "dev"}
	out := make([]backend.Target, n)
	for i := range out {
		out[i] = backend.Target{
			ID: backend.TargetID(fmt.Sprintf("%07d", i)), Name: fmt.Sprintf("%s-%d.%s.example", roles[i%6], i, envs[i%3]), State: backend.Online,
			Tags: map[string]string{"env": envs[i%3], "role": roles[i%6], "zone": fmt.Sprintf("z%d", i%40)},
		}
	}
	return out
}
