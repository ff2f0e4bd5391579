// Package layout divides a screen among panes that stand side by side. It knows
// panes by number and counts in cells.
//
// Invariants: the panes and the lines between them tile the area: they cover it,
// and no two of them overlap. Where Fits holds, no pane is smaller than MinCols by
// MinRows. The package must not import anything of this module.
package layout

import uv "github.com/charmbracelet/ultraviolet"

const (
	// MinCols and MinRows are the least size of a pane.
	MinCols, MinRows = 10, 3
	// whole is all of a side; a share is a part of it.
	whole = 1000
)

// A Tree is panes beside and below each other. It holds at least one.
type Tree struct{ root *node }

// A node is a pane, or two nodes.
type node struct {
	pane          int
	first, second *node // nil for a pane
	below         bool  // second is below first, not right of it
	share         int   // of first
}

// A Pane is where a pane is.
type Pane struct {
	ID   int
	Area uv.Rectangle
}

// New makes a tree of one pane.
func New(id int) *Tree { return &Tree{&node{pane: id}} }

func (n *node) leaf() bool { return n.first == nil }

// path returns the nodes from n to a pane, and nil where it is not among them.
func (n *node) path(id int) []*node {
	if n.leaf() {
		if n.pane == id {
			return []*node{n}
		}
		return nil
	}
	for _, c := range []*node{n.first, n.second} {
		if p := c.path(id); p != nil {
			return append([]*node{n}, p...)
		}
	}
	return nil
}

// Has says whether a pane is in the tree.
func (t *Tree) Has(id int) bool { return t.root.path(id) != nil }

// Alone says whether the tree holds one pane only.
func (t *Tree) Alone() bool { return t.root.leaf() }

// Split gives half of the place of a pane to a new one. It reports whether the
// pane is there.
func (t *Tree) Split(id, added int, below bool) bool {
	p := t.root.path(id)
	if p == nil {
		return false
	}
	n := p[len(p)-1]
	*n = node{first: &node{pane: id}, second: &node{pane: added}, below: below, share: whole / 2}
	return true
}

// Remove gives the place of a pane to what stands beside it. The last one stays.
func (t *Tree) Remove(id int) {
	p := t.root.path(id)
	if len(p) < 2 {
		return
	}
	gone, parent := p[len(p)-1], p[len(p)-2]
	if parent.first == gone {
		*parent = *parent.second
	} else {
		*parent = *parent.first
	}
}

// least is the least size of n.
func (n *node) least() (cols, rows int) {
	if n.leaf() {
		return MinCols, MinRows
	}
	ac, ar := n.first.least()
	bc, br := n.second.least()
	if n.below {
		return max(ac, bc), ar + br
	}
	return ac + 1 + bc, max(ar, br)
}

// Fits says whether every pane has its least size in an area of cols by rows.
func (t *Tree) Fits(cols, rows int) bool {
	c, r := t.root.least()
	return c <= cols && r <= rows
}

// cut is how many columns or rows of n's area are first's, and how many the line
// between them takes.
func (n *node) cut(area uv.Rectangle) (first, line int) {
	side, a, b := area.Dx(), 0, 0
	if n.below {
		side = area.Dy()
		_, a = n.first.least()
		_, b = n.second.least()
	} else {
		a, _ = n.first.least()
		b, _ = n.second.least()
		line = min(1, side)
	}
	side -= line
	return max(0, min(max(a, min(side*n.share/whole, side-b)), side)), line
}

// parts are the areas of first, of the line and of second.
func (n *node) parts(area uv.Rectangle) (first, line, second uv.Rectangle) {
	at, w := n.cut(area)
	x, y := area.Min.X, area.Min.Y
	if n.below {
		return uv.Rect(x, y, area.Dx(), at), uv.Rect(x, y+at, area.Dx(), 0), uv.Rect(x, y+at, area.Dx(), area.Dy()-at)
	}
	return uv.Rect(x, y, at, area.Dy()), uv.Rect(x+at, y, w, area.Dy()), uv.Rect(x+at+w, y, area.Dx()-at-w, area.Dy())
}

// Place divides an area. Lines stand between panes that are side by side.
func (t *Tree) Place(area uv.Rectangle) (panes []Pane, lines []uv.Rectangle) {
	var place func(*node, uv.Rectangle)
	place = func(n *node, area uv.Rectangle) {
		if n.leaf() {
			panes = append(panes, Pane{n.pane, area})
			return
		}
		first, line, second := n.parts(area)
		if !line.Empty() {
			lines = append(lines, line)
		}
		place(n.first, first)
		place(n.second, second)
	}
	place(t.root, area)
	return panes, lines
}

// A Direction is where a neighbour lies.
type Direction uint8

// The directions.
const (
	Left Direction = iota
	Right
	Up
	Down
)

// Toward returns the pane next to id in a direction, and false at the edge.
func (t *Tree) Toward(area uv.Rectangle, id int, d Direction) (int, bool) {
	panes, _ := t.Place(area)
	var here uv.Rectangle
	for _, p := range panes {
		if p.ID == id {
			here = p.Area
		}
	}
	// The cell behind the middle of the edge; one more for the line.
	x, y := (here.Min.X+here.Max.X)/2, (here.Min.Y+here.Max.Y)/2
	switch d {
	case Left:
		x = here.Min.X - 2
	case Right:
		x = here.Max.X + 1
	case Up:
		y = here.Min.Y - 1
	case Down:
		y = here.Max.Y
	}
	for _, p := range panes {
		if p.ID != id && x >= p.Area.Min.X-1 && x < p.Area.Max.X && y >= p.Area.Min.Y && y < p.Area.Max.Y {
			return p.ID, true
		}
	}
	return 0, false
}

// Resize moves the nearest edge of a pane that lies across a direction, by so many
// cells.
func (t *Tree) Resize(area uv.Rectangle, id int, d Direction, cells int) {
	var edge *node
	side := 0
	for _, n := range t.root.path(id) {
		if n.leaf() {
			break
		}
		first, line, second := n.parts(area)
		if n.below == (d == Up || d == Down) {
			edge, side = n, area.Dx()-line.Dx()
			if n.below {
				side = area.Dy()
			}
		}
		if area = second; n.first.path(id) != nil {
			area = first
		}
	}
	if edge == nil || side <= 0 {
		return
	}
	if d == Left || d == Up {
		cells = -cells
	}
	// Rounded up, so that as many cells as asked for are moved.
	edge.share = max(1, min(edge.share+(cells*whole+sign(cells)*(side-1))/side, whole-1))
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}
