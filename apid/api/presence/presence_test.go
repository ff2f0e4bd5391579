package presence

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// answers is a Source that says what a test put into it.
type answers struct {
	states []wire.AgentState
	err    error
	asked  int
}

func (a *answers) States(context.Context, string, []key.Kid) ([]wire.AgentState, error) {
	a.asked++
	return a.states, a.err
}

func TestCache(t *testing.T) {
	web, db := key.Kid{1}, key.Kid{2}
	online := wire.AgentState{Kid: web, State: wire.Online, LastSeen: 7}
	unknown := wire.AgentState{Kid: web, State: wire.Unknown}
	tests := map[string]struct {
		source answers
		want   wire.AgentState
		fails  bool
	}{
		"online":            {answers{states: []wire.AgentState{online}}, online, false},
		"down":              {answers{err: errors.New("down")}, unknown, true},
		"too few":           {answers{}, unknown, true},
		"too many":          {answers{states: []wire.AgentState{online, online}}, unknown, true},
		"another agent's":   {answers{states: []wire.AgentState{{Kid: db, State: wire.Online}}}, unknown, false},
		"no state":          {answers{states: []wire.AgentState{{Kid: web}}}, unknown, false},
		"a state of no use": {answers{states: []wire.AgentState{{Kid: web, State: "perhaps"}}}, unknown, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := NewCache(&tt.source, time.Now)
			got, err := c.States(t.Context(), "acme", []key.Kid{web})
			if len(got) != 1 || got[0] != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestCacheRemembersByTeam(t *testing.T) {
	web := key.Kid{1}
	source := &answers{states: []wire.AgentState{{Kid: web, State: wire.Online}}}
	now := time.Unix(0, 0)
	c := NewCache(source, func() time.Time { return now })
	for _, step := range []struct {
		team  string
		after time.Duration
		asked int
	}{
		{"acme", 0, 1}, {"acme", time.Second, 1}, {"eve-corp", 0, 2}, {"acme", time.Second, 3},
	} {
		now = now.Add(step.after)
		if _, err := c.States(t.Context(), step.team, []key.Kid{web}); err != nil || source.asked != step.asked {
			t.Errorf("%+v: asked %d times, %v", step, source.asked, err)
		}
	}
}
