package layout

import (
	"errors"
	"fmt"
	"slices"
)

// Limits of a Plan.
const (
	MaxPanes = 64
	maxDepth = 16
)

// A Plan is a tree without its panes: which targets stand where. It is what is written
// to a file.
type Plan struct {
	Target string `json:"target,omitempty"` // of a pane; empty for two parts
	Below  bool   `json:"below,omitempty"`  // Second is below First, not right of it
	Share  int    `json:"share,omitempty"`  // of First, in thousandths
	First  *Plan  `json:"first,omitempty"`
	Second *Plan  `json:"second,omitempty"`
}

// Plan gives the tree's plan; target names what a pane is on.
func (t *Tree) Plan(target func(id int) string) *Plan { return t.root.plan(target) }

func (n *node) plan(target func(int) string) *Plan {
	if n.leaf() {
		return &Plan{Target: target(n.pane)}
	}
	return &Plan{Below: n.below, Share: n.share, First: n.first.plan(target), Second: n.second.plan(target)}
}

// Check refuses a plan that is no tree of panes, or too large.
func (p *Plan) Check() error {
	panes := 0
	return p.check(0, &panes)
}

func (p *Plan) check(depth int, panes *int) error {
	if p == nil {
		return errors.New("layout: a part is missing")
	}
	if p.First == nil && p.Second == nil {
		if *panes++; *panes > MaxPanes {
			return fmt.Errorf("layout: more than %d panes", MaxPanes)
		}
		if p.Target == "" {
			return errors.New("layout: a pane has no target")
		}
		return nil
	}
	switch {
	case depth >= maxDepth:
		return fmt.Errorf("layout: nested more than %d deep", maxDepth)
	case p.Target != "" || p.Share < 1 || p.Share >= whole:
		return errors.New("layout: two parts have a share from 1 to 999, and no target")
	}
	if err := p.First.check(depth+1, panes); err != nil {
		return err
	}
	return p.Second.check(depth+1, panes)
}

// Targets are those of a checked plan, from the first pane on.
func (p *Plan) Targets() []string {
	if p.First == nil {
		return []string{p.Target}
	}
	return append(p.First.Targets(), p.Second.Targets()...)
}

// Tree makes a tree of a checked plan. pane opens what stands on a target and gives
// its number; where it can't, the place goes to what stands beside it. It returns nil
// where no pane could be opened.
func (p *Plan) Tree(pane func(target string) (id int, ok bool)) *Tree {
	if root := p.tree(pane); root != nil {
		return &Tree{root}
	}
	return nil
}

func (p *Plan) tree(pane func(string) (int, bool)) *node {
	if p.First == nil {
		id, ok := pane(p.Target)
		if !ok {
			return nil
		}
		return &node{pane: id}
	}
	first, second := p.First.tree(pane), p.Second.tree(pane)
	if first == nil || second == nil {
		if first == nil {
			return second
		}
		return first
	}
	return &node{first: first, second: second, below: p.Below, share: p.Share}
}

// Plans are the plans of panes, in their order: each tree where its first pane is, and
// the panes that are in none. Those without a target are left out, and trees with one.
func Plans(panes []int, trees []*Tree, target func(id int) string) (out []*Plan) {
	done := make(map[*Tree]bool)
	for _, id := range panes {
		var p *Plan
		if at := slices.IndexFunc(trees, func(t *Tree) bool { return t.Has(id) }); at < 0 {
			p = &Plan{Target: target(id)}
		} else if !done[trees[at]] {
			done[trees[at]] = true
			p = trees[at].Plan(target)
		}
		if p != nil && p.Check() == nil {
			out = append(out, p)
		}
	}
	return out
}
