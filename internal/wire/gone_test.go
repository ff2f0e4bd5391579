package wire

import (
	"errors"
	"fmt"
	"testing"
)

// Only an agent's own words say that a session is gone.
func TestIsGone(t *testing.T) {
	gone := NewProblem(KindDenied, "the agent refused: "+ReasonGone, "")
	for name, row := range map[string]struct {
		err  error
		want bool
	}{
		"gone":              {fmt.Errorf("resume: %w", gone), true},
		"another refusal":   {NewProblem(KindDenied, "the agent refused: relay: the agent can't use this relay", ""), false},
		"another kind":      {NewProblem(KindUnavailable, "the agent refused: "+ReasonGone, ""), false},
		"another error":     {errors.New(ReasonGone), false},
		"nothing":           {nil, false},
		"words that follow": {NewProblem(KindDenied, ReasonGone+" not", ""), false},
	} {
		if IsGone(row.err, ReasonGone) != row.want {
			t.Errorf("%s: %v", name, !row.want)
		}
		if IsGone(row.err, ReasonTaken) {
			t.Errorf("%s: taken", name)
		}
	}
	taken := NewProblem(KindDenied, "the agent refused: "+ReasonTaken, "")
	if !IsGone(taken, ReasonTaken) || !IsGone(taken, ReasonGone) {
		t.Error("a session that was taken is gone, too")
	}
}
