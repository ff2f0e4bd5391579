package fleet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
)

// MaxMachines bounds a plan.
const MaxMachines = 1000

// A Machine is one machine of a plan.
type Machine struct {
	Name    string
	State   backend.State
	Request backend.OpenRequest
	Verdict backend.Verdict
}

// blocked says why the command can't run there; "" when it can, perhaps after a
// confirmation or an approval.
func (m Machine) blocked() string {
	switch {
	case m.Verdict.Effect == backend.Deny:
		return "denied: " + m.Verdict.Reason
	case m.State == backend.Offline:
		return "offline"
	}
	return ""
}

// A Plan is what shall run where.
type Plan []Machine

// A BlockedError says that machines of a plan can't run its command.
type BlockedError struct {
	Names  []string // in the order of the plan
	Why    string   // of the first
	Denied bool     // by policy, at least one of them
}

func (e *BlockedError) Error() string {
	more := ""
	if n := len(e.Names) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more can't either", n)
	}
	return fmt.Sprintf("nothing was run: %s is %s%s; --skip leaves such machines out", e.Names[0], e.Why, more)
}

// Is makes a plan with a denied machine backend.ErrDenied, else ErrUnavailable.
func (e *BlockedError) Is(target error) bool {
	if e.Denied {
		return target == backend.ErrDenied
	}
	return target == backend.ErrUnavailable
}

// Runnable gives the machines on which the command can run. With skip it leaves
// the others out; without, one of them is a *BlockedError.
func (p Plan) Runnable(skip bool) (run, left Plan, err error) {
	if len(p) > MaxMachines {
		return nil, nil, fmt.Errorf("fleet: %d machines match, at most %d in one plan; narrow it with --tag", len(p), MaxMachines)
	}
	blocked := &BlockedError{}
	for _, m := range p {
		why := m.blocked()
		if why == "" {
			run = append(run, m)
			continue
		}
		if len(left) == 0 {
			blocked.Why = why
		}
		left = append(left, m)
		blocked.Names = append(blocked.Names, m.Name)
		blocked.Denied = blocked.Denied || m.Verdict.Effect == backend.Deny
	}
	switch {
	case len(left) > 0 && (!skip || len(run) == 0):
		return nil, left, blocked
	case len(run) == 0:
		return nil, nil, fmt.Errorf("fleet: %w: no machine matches; `tucdesk agents` lists them", backend.ErrNotFound)
	}
	return run, left, nil
}

// With gives the places in the plan of machines whose verdict is e.
func (p Plan) With(e backend.Effect) (at []int) {
	for i, m := range p {
		if m.Verdict.Effect == e {
			at = append(at, i)
		}
	}
	return at
}

// A Limit says after how many failures no further machine is begun. The zero value
// is none.
type Limit struct{ count, percent int }

// ParseLimit reads a number, as 3, or a share of the plan's machines, as 20%.
// Empty is no limit.
func ParseLimit(s string) (Limit, error) {
	if s == "" {
		return Limit{}, nil
	}
	text, share := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || share && n > 100 {
		return Limit{}, errors.New("fleet: a limit of failures is a number from 1, or a share from 1% to 100%")
	}
	if share {
		return Limit{percent: n}, nil
	}
	return Limit{count: n}, nil
}

// Reached reports whether so many failures of so many machines are too many.
func (l Limit) Reached(failures, machines int) bool {
	return l.count > 0 && failures >= l.count || l.percent > 0 && failures*100 >= l.percent*machines
}

// Without gives the plan without machines of these names.
func (p Plan) Without(names map[string]bool) (out Plan) {
	for _, m := range p {
		if !names[m.Name] {
			out = append(out, m)
		}
	}
	return out
}
