package fuzzy

import "testing"

func TestRank(t *testing.T) {
	// Each fits better than the next.
	order := []string{"db", "db-1", "prod-db", "prodb", "d-b", "dxxb"}
	for i := 1; i < len(order); i++ {
		if a, b := Rank(order[i-1], "db"), Rank(order[i], "db"); a <= b || b == 0 {
			t.Errorf("%q ranks %d, %q ranks %d", order[i-1], a, order[i], b)
		}
	}
	if Rank("db", "db") != Best {
		t.Error("the name itself is not the best")
	}
	for _, name := range []string{"", "b-d", "d"} {
		if r := Rank(name, "db"); r != 0 {
			t.Errorf("%q ranks %d", name, r)
		}
	}
}
