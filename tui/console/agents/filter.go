package agents

import (
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/fuzzy"
)

// An Index finds targets among 100,000 while one types. A query is words
// between blanks, all of which must match: `key:value` or `key=value` by the
// beginning of a tag's value, anything else fuzzily in the name, or as a part
// of a tag.
type Index struct {
	Targets []backend.Target
	names   []string  // lower case
	tags    []string  // each distinct tag once, lower case, as key=value
	rowTags [][]int32 // for each target, into tags

	query string  // the last one
	match []int32 // what it matched, in the order of targets
	score []int32 // for each of match
}

// NewIndex makes an index of targets, in their order.
func NewIndex(targets []backend.Target) *Index {
	ix := &Index{
		Targets: targets,
		names:   make([]string, len(targets)),
		rowTags: make([][]int32, len(targets)),
	}
	ids := make(map[string]int32)
	for i, t := range targets {
		ix.names[i] = strings.ToLower(t.Name)
		row := make([]int32, 0, len(t.Tags))
		for k, v := range t.Tags {
			text := strings.ToLower(k + "=" + v)
			id, ok := ids[text]
			if !ok {
				id = int32(len(ix.tags))
				ids[text] = id
				ix.tags = append(ix.tags, text)
			}
			row = append(row, id)
		}
		ix.rowTags[i] = row
	}
	ix.reset()
	return ix
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
	text string
	tags []bool // for each of index.tags, whether the word matches it
	tag  bool   // only tags count
}

func (ix *Index) words(query string) []word {
	var out []word
	for text := range strings.FieldsSeq(query) {
		t := word{text: text, tags: make([]bool, len(ix.tags))}
		key, value, isTag := strings.Cut(strings.Replace(text, ":", "=", 1), "=")
		t.tag = isTag
		for i, tag := range ix.tags {
			if isTag {
				k, v, _ := strings.Cut(tag, "=")
				t.tags[i] = k == key && strings.HasPrefix(v, value)
			} else {
				t.tags[i] = strings.Contains(tag, text)
			}
		}
		out = append(out, t)
	}
	return out
}

// Filter returns the targets that match, best first; the order of targets
// among equals. The result is only valid until the next call.
func (ix *Index) Filter(query string) []int32 {
	query = strings.ToLower(query)
	// What matches a longer query matched the shorter one, unless a word
	// became a tag or the query grew in the middle.
	if !strings.HasPrefix(query, ix.query) || strings.ContainsAny(query[len(ix.query):], ":=") {
		ix.reset()
	}
	ix.query = query
	words := ix.words(query)
	kept := 0
	var top int32
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
	return byScore(ix.match, ix.score, top)
}

// rank says how well one target matches a word.
func (ix *Index) rank(t *word, row int32) (int32, bool) {
	if !t.tag {
		if s := fuzzy.Rank(ix.names[row], t.text); s > 0 {
			return s, true
		}
	}
	for _, tag := range ix.rowTags[row] {
		if t.tags[tag] {
			return 1, true
		}
	}
	return 0, false
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
