package agents

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/fuzzy"
)

// An Index finds targets among 100,000 while one types. A query is words between
// blanks, all of which must hold: `key:value` or `key=value` by the beginning of a
// tag's value, `state:online` by the state, anything else fuzzily in the name, or as a
// part of a tag. A word after ! must not hold, and is no letters apart: a part of the
// name or of a tag.
//
// It is for one goroutine at a time.
type Index struct {
	Targets []backend.Target
	names   []string  // lower case, one behind the other in memory
	letters []uint64  // of names, as lettersOf
	tags    []string  // each distinct tag once, lower case, as key=value
	tagged  [][]int32 // for each of tags, the targets that have it

	query string  // the last one
	match []int32 // what it matched, in the order of targets
	score []int32 // for each of match

	orders map[string][]int32
	groups map[string]*grouping
}

// NewIndex makes an index of targets, in their order.
func NewIndex(targets []backend.Target) *Index {
	ix := &Index{
		Targets: targets,
		names:   make([]string, len(targets)),
		letters: make([]uint64, len(targets)),
		orders:  make(map[string][]int32),
		groups:  make(map[string]*grouping),
	}
	type tag struct{ key, value string }
	ids := make(map[tag]int)
	var all strings.Builder
	for i, t := range targets {
		all.WriteString(strings.ToLower(t.Name))
		for k, v := range t.Tags {
			id, ok := ids[tag{k, v}]
			if !ok {
				id = len(ix.tags)
				ids[tag{k, v}] = id
				ix.tags, ix.tagged = append(ix.tags, strings.ToLower(k+"="+v)), append(ix.tagged, nil)
			}
			ix.tagged[id] = append(ix.tagged[id], int32(i))
		}
	}
	for i, rest := 0, all.String(); i < len(targets); i++ {
		n := len(strings.ToLower(targets[i].Name))
		ix.names[i], rest = rest[:n], rest[n:]
		ix.letters[i] = lettersOf(ix.names[i])
	}
	ix.reset()
	return ix
}

// lettersOf has a bit for each byte of s, several bytes sharing some: a name that
// lacks a bit of a pattern lacks the pattern's letters.
func lettersOf(s string) (set uint64) {
	for i := range len(s) {
		set |= 1 << (s[i] & 63)
	}
	return set
}

// reset makes every target match.
func (ix *Index) reset() {
	ix.query = ""
	ix.match = make([]int32, len(ix.Targets))
	ix.score = make([]int32, len(ix.Targets))
	for i := range ix.match {
		ix.match[i] = int32(i)
	}
}

// A word is one part of a query.
type word struct {
	text    string
	letters uint64
	rows    []uint64 // a bit for each target whose tags or state fit; nil: none do
	tag     bool     // only tags and the state count
	not     bool
}

// words gives those of a query, the ones that cost least first.
func (ix *Index) words(query string) []word {
	var out []word
	for text := range strings.FieldsSeq(query) {
		var w word
		w.text, w.not = strings.CutPrefix(text, "!")
		if w.text == "" {
			continue // somebody begins to type
		}
		w.letters = lettersOf(w.text)
		key, value, isTag := strings.Cut(strings.Replace(w.text, ":", "=", 1), "=")
		w.tag = isTag
		for i, tag := range ix.tags {
			fits := strings.Contains(tag, w.text)
			if isTag {
				k, v, _ := strings.Cut(tag, "=")
				fits = k == key && strings.HasPrefix(v, value)
			}
			if fits {
				w.add(ix.tagged[i], len(ix.Targets))
			}
		}
		if isTag && key == "state" {
			var with []int32
			for i := range ix.Targets {
				if strings.HasPrefix(ix.Targets[i].State.String(), value) {
					with = append(with, int32(i))
				}
			}
			w.add(with, len(ix.Targets))
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b word) int {
		cost := map[bool]int{true: 0, false: 1}
		return cost[a.tag] - cost[b.tag]
	})
	return out
}

// add has the word fit rows, of n.
func (w *word) add(rows []int32, n int) {
	if w.rows == nil {
		w.rows = make([]uint64, (n+63)/64)
	}
	for _, row := range rows {
		w.rows[row/64] |= 1 << (row % 64)
	}
}

// has says whether a target's tags or state fit.
func (w *word) has(row int32) bool { return w.rows != nil && w.rows[row/64]&(1<<(row%64)) != 0 }

// Filter returns the targets that match, best first; the order of targets
// among equals. The result is only valid until the next call.
func (ix *Index) Filter(query string) []int32 {
	top := ix.narrow(query)
	return byScore(ix.match, ix.score, top)
}

// narrow keeps the targets that match, and gives the highest score.
func (ix *Index) narrow(query string) (top int32) {
	query = strings.ToLower(query)
	// What matches a longer query matched the shorter one, unless a word became a
	// tag, must not hold, or the query grew in the middle.
	if !strings.HasPrefix(query, ix.query) || strings.ContainsAny(query[len(ix.query):], ":=") || strings.Contains(query, "!") {
		ix.reset()
	}
	ix.query = query
	words := ix.words(query)
	kept := 0
	for _, row := range ix.match {
		total := int32(0)
		ok := true
		for i := range words {
			var s int32
			if s, ok = ix.rank(&words[i], row); !ok {
				break
			}
			total += s
		}
		if ok {
			ix.match[kept], ix.score[kept] = row, total
			kept++
			top = max(top, total)
		}
	}
	ix.match, ix.score = ix.match[:kept], ix.score[:kept]
	return top
}

// rank says how well one target fits a word, and whether it does.
func (ix *Index) rank(w *word, row int32) (int32, bool) {
	if w.not {
		return 0, !ix.holds(w, row)
	}
	if !w.tag && ix.letters[row]&w.letters == w.letters {
		if s := fuzzy.Rank(ix.names[row], w.text); s > 0 {
			return s, true
		}
	}
	if w.has(row) {
		return 1, true
	}
	return 0, false
}

// holds says whether a word holds without letters apart.
func (ix *Index) holds(w *word, row int32) bool {
	return !w.tag && ix.letters[row]&w.letters == w.letters && strings.Contains(ix.names[row], w.text) || w.has(row)
}

// byScore sorts rows by score, highest first, and keeps the order of equals.
// Scores are small, so it counts.
func byScore(rows, scores []int32, top int32) []int32 {
	start := make([]int32, top+2) // start[s]: where rows of score s go
	for _, s := range scores {
		start[s]++
	}
	slices.Reverse(start[:top+1])
	sum := int32(0)
	for i := range start {
		start[i], sum = sum, sum+start[i]
	}
	out := make([]int32, len(rows))
	for i, row := range rows {
		at := &start[top-scores[i]]
		out[*at] = row
		*at++
	}
	return out
}
