package agents

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
)

// An Arrangement is how the list is shown. The zero value is all targets in their
// order.
type Arrangement struct {
	Filter  string   `json:"filter,omitempty"`  // as it is typed
	Sort    string   `json:"sort,omitempty"`    // "name", "state" or a tag's key; "-" before it turns it round; empty: the best match, then the backend's order
	Group   string   `json:"group,omitempty"`   // a tag's key; empty: no groups
	Columns []string `json:"columns,omitempty"` // tags' keys, a column each; empty: tags as text
}

// A Saved arrangement can be chosen by its name.
type Saved struct {
	Name string `json:"name"`
	Arrangement
}

// What a list can be sorted by, besides tags.
const (
	SortName  = "name"
	SortState = "state"
)

// A grouping puts each target into a group by the value of one tag.
type grouping struct {
	names []string // of the groups, in their order; the last is of targets without the tag
	of    []int32  // for each target, into names
	found []int    // for each group, how many of the last rows are its
}

// TagKeys are the keys of tags that targets have, those of most targets first.
func (ix *Index) TagKeys() []string {
	count := make(map[string]int)
	for _, t := range ix.Targets {
		for k := range t.Tags {
			count[k]++
		}
	}
	keys := slices.Collect(maps.Keys(count))
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), strings.Compare(a, b))
	})
	return keys
}

// Prepare does now what the first list of an arrangement needs once.
func (ix *Index) Prepare(a Arrangement) *Index {
	ix.order(a.Sort)
	ix.grouping(a.Group)
	return ix
}

// Arrange gives the rows of an arrangement: places in Targets, and -1-g before the
// rows of group g. Of a group that is folded only that is there. found counts the
// targets that match.
func (ix *Index) Arrange(a Arrangement, folded map[string]bool) (rows []int32, found int) {
	order := ix.order(a.Sort)
	if order == nil {
		rows = ix.Filter(a.Filter)
	} else {
		ix.narrow(a.Filter)
		rows = within(order, ix.match, len(ix.Targets))
	}
	found = len(rows)
	if g := ix.grouping(a.Group); g != nil {
		rows = g.arrange(rows, folded)
	}
	return rows, found
}

// within gives those of order that are among match.
func within(order, match []int32, n int) []int32 {
	has := make([]bool, n)
	for _, row := range match {
		has[row] = true
	}
	out := make([]int32, 0, len(match))
	for _, row := range order {
		if has[row] {
			out = append(out, row)
		}
	}
	return out
}

// order is all targets sorted; nil where nothing is to be sorted.
func (ix *Index) order(by string) []int32 {
	if by == "" {
		return nil
	}
	if known, ok := ix.orders[by]; ok {
		return known
	}
	key, down := strings.CutPrefix(by, "-")
	value := func(row int32) string { return ix.Targets[row].Tags[key] }
	switch key {
	case SortName:
		value = func(row int32) string { return ix.names[row] }
	case SortState:
		value = func(row int32) string { return ix.Targets[row].State.String() }
	}
	order := make([]int32, len(ix.Targets))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		va, vb := value(a), value(b)
		if (va == "") != (vb == "") { // what lacks it stands last, whichever way
			return cmp.Compare(len(vb), len(va))
		}
		if down {
			va, vb = vb, va
		}
		return natural(va, vb)
	})
	ix.orders[by] = order
	return order
}

// natural compares texts with their numbers as numbers: web-9 stands before web-10.
func natural(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits at the beginning.
func digits(s string) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// grouping is the groups of a tag; nil without one.
func (ix *Index) grouping(key string) *grouping {
	if key == "" {
		return nil
	}
	if known, ok := ix.groups[key]; ok {
		return known
	}
	at := make(map[string]int32)
	for _, t := range ix.Targets {
		if v := t.Tags[key]; v != "" {
			at[v] = 0
		}
	}
	g := &grouping{names: slices.SortedFunc(maps.Keys(at), natural), of: make([]int32, len(ix.Targets))}
	for i, name := range g.names {
		at[name] = int32(i)
	}
	g.names = append(g.names, "")
	for i, t := range ix.Targets {
		g.of[i] = int32(len(g.names) - 1)
		if v := t.Tags[key]; v != "" {
			g.of[i] = at[v]
		}
	}
	g.found = make([]int, len(g.names))
	ix.groups[key] = g
	return g
}

// arrange puts rows into their groups, each in the order of rows.
func (g *grouping) arrange(rows []int32, folded map[string]bool) []int32 {
	in := make([][]int32, len(g.names))
	for _, row := range rows {
		in[g.of[row]] = append(in[g.of[row]], row)
	}
	out := make([]int32, 0, len(rows)+len(in))
	for i, members := range in {
		g.found[i] = len(members)
		if len(members) == 0 {
			continue
		}
		out = append(out, -1-int32(i))
		if !folded[g.names[i]] {
			out = append(out, members...)
		}
	}
	return out
}

// Marks are targets that were chosen to do something with all of them.
type Marks map[backend.TargetID]bool

// MaxMarks bounds them: as many as one plan of a command may name.
const MaxMarks = 1000
