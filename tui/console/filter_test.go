package console

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/backend"
)

func TestFilter(t *testing.T) {
	ix := newIndex([]backend.Target{
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
		if got := ix.filter(tc.query); !slices.Equal(got, tc.want) {
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
		typed := newIndex(targets)
		for i := range query {
			typed.filter(query[:i+1])
		}
		got := slices.Clone(typed.filter(query))
		if want := newIndex(targets).filter(query); !slices.Equal(got, want) {
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

func TestSplitWords(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string // nil: refused
	}{
		{"uname -a", []string{"uname", "-a"}},
		{"  a   b\tc ", []string{"a", "b", "c"}},
		{`echo 'a  b' "c d" e\ f`, []string{"echo", "a  b", "c d", "e f"}},
		{`a''b "" ''`, []string{"ab", "", ""}},
		{`echo '$HOME | wc'`, []string{"echo", "$HOME | wc"}},
		{`echo "say \"hi\" \$x \\"`, []string{"echo", `say "hi" $x \`}},
		{`echo "a\n"`, []string{"echo", `a\n`}},
		{`echo \| żółw`, []string{"echo", "|", "żółw"}},
		{"", nil},
		{"   ", nil},
		{"''", nil},
		{"a | b", nil},
		{"a > b", nil},
		{"a; b", nil},
		{"a && b", nil},
		{"echo $HOME", nil},
		{`echo "$HOME"`, nil},
		{"echo `id`", nil},
		{"rm *", nil},
		{"ls ~", nil},
		{"echo {a,b}", nil},
		{"echo 'open", nil},
		{`echo "open`, nil},
		{`echo \`, nil},
		{"echo \xff", nil},
	} {
		got, err := splitWords(tc.line)
		if (err != nil) != (tc.want == nil) || !slices.Equal(got, tc.want) {
			t.Errorf("%q = %q, %v; want %q", tc.line, got, err, tc.want)
		}
	}
}

// FuzzSplitWords checks that quoting any words gives them back.
func FuzzSplitWords(f *testing.F) {
	for _, s := range []string{"a b", "it's", `"`, `\`, "", "a\x00b", "żółw", "$x|y", "\xff"} {
		f.Add("cmd", s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		_, _ = splitWords(first + " " + second)
		if first == "" || !utf8.ValidString(first) || !utf8.ValidString(second) {
			return
		}
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := splitWords(quote(first) + " " + quote(second))
		if err != nil || !slices.Equal(got, []string{first, second}) {
			t.Fatalf("%q, %q came back as %q, %v", first, second, got, err)
		}
	})
}

func TestWrapKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-c 漢é]{0,60}`).Draw(t, "s")
		n := rapid.IntRange(2, 20).Draw(t, "cells")
		if got := strings.Join(wrap(s, n, false), ""); got != s {
			t.Fatalf("exact: %q became %q", s, got)
		}
		squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := strings.Join(wrap(s, n, true), ""); squeeze(got) != squeeze(s) {
			t.Fatalf("words: %q became %q", s, got)
		}
	})
}

func BenchmarkFilter100k(b *testing.B) {
	targets := manyTargets(100_000)
	for _, query := range []string{"w", "web-9", "env:prod db 77", "zone:z3 exmpl"} {
		b.Run(query, func(b *testing.B) {
			ix := newIndex(targets)
			for b.Loop() {
				ix.query = "\x00" // nothing to narrow: the slowest key press
				ix.filter(query)
			}
		})
	}
	b.Run("typing", func(b *testing.B) {
		ix := newIndex(targets)
		for b.Loop() {
			for i := range "web-99.prod" {
				ix.filter("web-99.prod"[:i+1])
			}
		}
	})
}

func BenchmarkIndex100k(b *testing.B) {
	targets := manyTargets(100_000)
	for b.Loop() {
		newIndex(targets)
	}
}

func BenchmarkDraw100k(b *testing.B) {
	a := newAgents(true)
	a.setTargets(newIndex(manyTargets(100_000)))
	st := newStyles(true)
	for b.Loop() {
		c := newCanvas(200, 50, st)
		a.draw(c, c.Bounds())
		_ = c.Render()
	}
}
