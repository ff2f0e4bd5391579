package presence

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// fleet is teams with as many pages of one agent as a test says.
type fleet struct {
	teams []string
	pages int
	state string
	fails bool
	asked map[string]int
	told  map[string]int
}

func (f *fleet) watch() *Watch {
	f.asked, f.told = map[string]int{}, map[string]int{}
	return &Watch{
		Teams: func() []string { return f.teams },
		Page: func(_ context.Context, team, after string) ([]wire.AgentState, string, error) {
			f.asked[team]++
			if f.fails {
				return nil, "", errors.New("down")
			}
			n := 0
			fmt.Sscan(after, &n)
			next := ""
			if n+1 < f.pages {
				next = fmt.Sprint(n + 1)
			}
			return []wire.AgentState{{Kid: key.Kid{byte(n), byte(n >> 8), 1}, State: f.state}}, next, nil
		},
		Changed: func(team string, agents []wire.AgentState) { f.told[team] += len(agents) },
	}
}

func TestWatchTellsOfChangesOnly(t *testing.T) {
	f := &fleet{teams: []string{"acme"}, pages: 3, state: wire.Online}
	w := f.watch()
	steps := []struct {
		what, state string
		fails       bool
		told        int // in all
	}{
		{"first seen", wire.Online, false, 0},
		{"the same", wire.Online, false, 0},
		{"not known", wire.Unknown, false, 0},
		{"can't be asked", wire.Offline, true, 0},
		{"gone", wire.Offline, false, 3},
		{"still gone", wire.Offline, false, 3},
		{"back", wire.Online, false, 6},
	}
	for _, s := range steps {
		f.state, f.fails = s.state, s.fails
		if w.pass(t.Context()); f.told["acme"] != s.told {
			t.Errorf("%s: told of %d changes, want %d", s.what, f.told["acme"], s.told)
		}
	}
	f.teams = nil
	if w.pass(t.Context()); len(w.teams) != 0 || w.n != 0 {
		t.Errorf("%d teams and %d states of nobody are remembered", len(w.teams), w.n)
	}
}

// A pass asks a bounded number of pages, and every team has its turn.
func TestWatchIsBoundedAndFair(t *testing.T) {
	f := &fleet{pages: 20, state: wire.Online}
	for i := range 100 {
		f.teams = append(f.teams, fmt.Sprintf("team-%02d", i))
	}
	w := f.watch()
	all := func() (n int) {
		for _, asked := range f.asked {
			n += asked
		}
		return n
	}
	for pass := 1; pass <= 25; pass++ {
		w.pass(t.Context())
		if n := all(); n != pass*passPages {
			t.Fatalf("%d pages after %d passes", n, pass)
		}
	}
	for _, team := range f.teams {
		if f.asked[team] != teamPages {
			t.Errorf("%s was asked %d times", team, f.asked[team])
		}
	}
	w.n = maxKnown
	before := len(w.teams["team-00"].states)
	for range 100 {
		w.pass(t.Context())
	}
	if n := len(w.teams["team-00"].states); n != before {
		t.Errorf("%d states beyond the bound", n-before)
	}
}
