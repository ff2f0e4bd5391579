// Package onlook decides which shells of other members somebody may look at, by what the
// keeper knows of them and by the signed roster and its policy.
//
// Invariants:
//   - whoever names a shell that is not there for them hears the same, whatever the
//     reason: what runs on a machine is not to be found out by asking;
//   - who joins gets no more from a shell than from one of their own.
//
// It must not import agent/host or agent/ledger.
package onlook

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Errors of who may not look. They are for the operator.
var (
	// ErrRequest is a request to watch that names more than a session.
	ErrRequest = errors.New("who watches names one session, and nothing else: an observer has no terminal of their own, and who joins has one")
	// ErrNoShell is all that anybody hears who names a shell that is not there for them.
	ErrNoShell = errors.New("no shell that you may watch runs here by this name: it has ended, is another machine's, or runs as another user")
	// ErrRule means a gated shell that is not to be joined.
	ErrRule = errors.New("the programs that start in this shell are judged for its owner: to join it, policy must allow you a shell there by the same rule; it may let you observe it")
	// ErrUnrecorded means that policy wants what is watched recorded, and it is not.
	ErrUnrecorded = errors.New("policy wants a recording of what is watched here, and this shell has none")
	// ErrBreakGlass means a quorum's word in place of a grant.
	ErrBreakGlass = errors.New("break-glass opens shells of one's own; it does not watch others'")
	// ErrNoMore ends the looking of who may not any more.
	ErrNoMore = errors.New("policy does not let you watch this shell any more")
)

// Looks reports whether sessions of a kind look at a shell of another session.
func Looks(k policy.Kind) bool { return k == policy.Observe || k == policy.Join }

// Check wants a request to look to be about one shell, and nothing else.
func Check(m channel.OpenMessage) error {
	if len(m.Argv) != 1 || m.Cwd != "" || len(m.Bound) > 0 || (m.TTY != nil) != (m.Kind == live.Join) {
		return ErrRequest
	}
	for _, kv := range m.Env {
		if kv[0] != "TERM" {
			return ErrRequest
		}
	}
	return nil
}

// A Shell is a shell that runs. The zero value is none.
type Shell struct {
	Running  bool
	Owner    key.Kid // the device that sits there, or did last
	As       string  // as it was asked for
	Account  string  // that it runs as
	Gate     gate.Level
	Recorded bool
}

// Recording says, in the words of an Answer, whether the shell is recorded.
func (s Shell) Recording() string {
	if s.Recorded {
		return recorder.On
	}
	return recorder.Off
}

// An Onlooker is who wants to look.
type Onlooker struct {
	Operator, Agent key.Kid // devices
	Kind            policy.Kind
	As, Account     string // as in a Shell
	Record          string // what policy wants
}

// Sees answers nil where the onlooker, whom policy allows the kind, may look at a shell.
func (o Onlooker) Sees(s Shell, r *roster.Roster, now time.Time) error {
	switch {
	case !s.Running || s.Account != o.Account:
		return ErrNoShell
	case !o.mayType(s, r, now):
		return ErrRule
	case o.Record == recorder.Required && !s.Recorded:
		return ErrUnrecorded
	}
	return nil
}

// mayType reports whether who joins gets no more than from an own shell. What starts in a
// gated one is judged for its owner, and so it must be the same rule that gives both the
// shell.
func (o Onlooker) mayType(s Shell, r *roster.Roster, now time.Time) bool {
	if o.Kind == policy.Observe || s.Gate == gate.None {
		return true
	}
	mine, theirs := verdict(r, o.Operator, o.Agent, policy.Shell, s.As, now), verdict(r, s.Owner, o.Agent, policy.Shell, s.As, now)
	return mine.Effect == policy.Allow && mine.Rule == theirs.Rule && mine.Line == theirs.Line
}

// Still answers nil where the onlooker, who looks already, may go on by a newer roster.
func (o Onlooker) Still(s Shell, r *roster.Roster, now time.Time) error {
	if verdict(r, o.Operator, o.Agent, o.Kind, o.As, now).Effect == policy.Deny || !o.mayType(s, r, now) {
		return ErrNoMore
	}
	return nil
}

// verdict denies whom the roster does not know any more.
func verdict(r *roster.Roster, operator, agent key.Kid, kind policy.Kind, as string, now time.Time) policy.Verdict {
	device, err := r.Device(operator, now)
	if err != nil {
		return policy.Verdict{}
	}
	machine, err := r.Agent(agent, now)
	if err != nil {
		return policy.Verdict{}
	}
	return policy.Evaluate(r.Request(device, machine, kind, as, nil, now), r.Snapshot())
}

// Typists are the members who have joined a shell, ever. The zero value is nobody. They
// are safe for concurrent use.
type Typists struct {
	mu  sync.Mutex
	all []string
}

// Add adds a member; false if they are there already.
func (t *Typists) Add(member string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.all, member) {
		return false
	}
	t.all = append(t.all, member)
	return true
}

// All gives them.
func (t *Typists) All() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}
