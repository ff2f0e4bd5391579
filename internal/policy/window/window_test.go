package window

import (
	"testing"
	"time"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := ParseZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// Between two edges a window does not change, in a week without clock changes.
func TestEdges(t *testing.T) {
	for name, w := range map[string]Window{
		"by day":        {Days: 1<<time.Monday | 1<<time.Friday, From: 9 * 60, To: 18 * 60, Zone: berlin(t)},
		"over midnight": {Days: 1 << time.Friday, From: 22 * 60, To: 6 * 60, Zone: berlin(t)},
		"whole day":     {Days: 1 << time.Sunday, To: DayMinutes, Zone: time.UTC},
	} {
		start := time.Date(2026, time.June, 3, 11, 30, 0, 0, time.UTC)
		edges := w.Edges(start)
		opened := false
		for i, at := range edges {
			if !at.After(start) || i > 0 && at.Before(edges[i-1]) {
				t.Errorf("%s: edge %d at %s", name, i, at)
			}
		}
		last := w.Open(start)
		for at := start; at.Before(start.Add(7 * 24 * time.Hour)); at = at.Add(time.Minute) {
			if now := w.Open(at); now != last {
				found := false
				for _, e := range edges {
					found = found || e.Equal(at)
				}
				if !found {
					t.Errorf("%s changes at %s, which is no edge", name, at)
				}
				last, opened = now, opened || now
			}
		}
		if !opened {
			t.Errorf("%s never opens", name)
		}
	}
}

func TestAlways(t *testing.T) {
	day, night := Window{Days: AllDays, From: 8 * 60, To: 20 * 60, Zone: berlin(t)}, Window{Days: AllDays, From: 20 * 60, To: 8 * 60, Zone: berlin(t)}
	for name, tt := range map[string]struct {
		windows []Window
		want    bool
	}{
		"none":          {nil, false},
		"day":           {[]Window{day}, false},
		"day and night": {[]Window{day, night}, true},
		"whole days":    {[]Window{{Days: AllDays, To: DayMinutes, Zone: time.UTC}}, true},
		"not on sunday": {[]Window{{Days: AllDays &^ 1, To: DayMinutes, Zone: time.UTC}}, false},
		"a minute less": {[]Window{day, {Days: AllDays, From: 20 * 60, To: 8*60 - 1, Zone: berlin(t)}}, false},
	} {
		if got := Always(tt.windows); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
