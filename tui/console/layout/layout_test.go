package layout

import (
	"math/rand/v2"
	"testing"

	uv "github.com/charmbracelet/ultraviolet"
)

// check fails where panes and lines do not tile area, or a pane is too small.
func check(t *testing.T, tree *Tree, area uv.Rectangle, want int) {
	t.Helper()
	panes, lines := tree.Place(area)
	if len(panes) != want {
		t.Fatalf("%d panes, want %d", len(panes), want)
	}
	covered := make(map[[2]int]int)
	add := func(r uv.Rectangle) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				covered[[2]int{x, y}]++
			}
		}
	}
	for _, l := range lines {
		add(l)
	}
	for _, p := range panes {
		add(p.Area)
		if tree.Fits(area.Dx(), area.Dy()) && (p.Area.Dx() < MinCols || p.Area.Dy() < MinRows) {
			t.Fatalf("pane %d is %v of %v", p.ID, p.Area, area)
		}
	}
	if len(covered) != area.Dx()*area.Dy() {
		t.Fatalf("%d cells of %v are covered", len(covered), area)
	}
	for at, n := range covered {
		if n != 1 || at[0] < area.Min.X || at[0] >= area.Max.X || at[1] < area.Min.Y || at[1] >= area.Max.Y {
			t.Fatalf("cell %v of %v is covered %d times", at, area, n)
		}
	}
}

func TestTiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		tree, ids := New(0), []int{0}
		for step := range 40 {
			id := ids[rng.IntN(len(ids))]
			switch op := rng.IntN(4); {
			case op == 0 && len(ids) < 12:
				if !tree.Split(id, step+1, rng.IntN(2) == 0) {
					t.Fatal("not split")
				}
				ids = append(ids, step+1)
			case op == 1 && len(ids) > 1:
				tree.Remove(id)
				for i := range ids {
					if ids[i] == id {
						ids = append(ids[:i], ids[i+1:]...)
						break
					}
				}
				if tree.Has(id) {
					t.Fatal("not removed")
				}
			default:
				tree.Resize(uv.Rect(0, 1, 80, 22), id, Direction(rng.IntN(4)), rng.IntN(30))
			}
			check(t, tree, uv.Rect(rng.IntN(3), rng.IntN(3), 1+rng.IntN(90), 1+rng.IntN(30)), len(ids))
		}
	}
}

func TestNeighbours(t *testing.T) {
	area := uv.Rect(0, 1, 40, 10)
	tree := New(1)
	tree.Split(1, 2, false)
	tree.Split(2, 3, true)
	if !tree.Fits(40, 10) || tree.Fits(40, 5) || tree.Fits(20, 10) {
		t.Error("what fits is not as it should be")
	}
	for _, tc := range []struct {
		from int
		d    Direction
		to   int
	}{{1, Right, 3}, {2, Left, 1}, {3, Left, 1}, {2, Down, 3}, {3, Up, 2}, {1, Left, 0}, {3, Down, 0}, {2, Right, 0}, {1, Up, 0}} {
		if got, ok := tree.Toward(area, tc.from, tc.d); got != tc.to || ok != (tc.to != 0) {
			t.Errorf("from %d in direction %d is %d, %v", tc.from, tc.d, got, ok)
		}
	}
}

func TestResizeMovesTheEdge(t *testing.T) {
	area := uv.Rect(0, 1, 81, 22)
	tree := New(1)
	tree.Split(1, 2, false)
	width := func() int { panes, _ := tree.Place(area); return panes[0].Area.Dx() }
	before := width()
	tree.Resize(area, 1, Right, 4)
	if got := width(); got != before+4 {
		t.Errorf("%d columns, not %d", got, before+4)
	}
	tree.Resize(area, 2, Left, 8)
	if got := width(); got < before-5 || got > before-3 {
		t.Errorf("%d columns", got)
	}
	tree.Resize(area, 2, Up, 8) // there is nothing above
	tree.Remove(1)
	tree.Remove(2) // stays
	if !tree.Alone() || !tree.Has(2) {
		t.Error("the last pane is gone")
	}
}
