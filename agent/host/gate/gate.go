package gate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/agent/host/gate/claim"
	"github.com/tucdesk/tucdesk/internal/policy/variable"
)

// MaxHolds is how many program starts of one session may wait for a decision.
const MaxHolds = 16

// A Level is how sure it is that each program start is decided. README.md says what
// each stops.
type Level string

// The levels, from the weakest.
const (
	None     Level = "none"
	Advisory Level = "advisory"
	Line     Level = "line"
	Enforced Level = "enforced"
)

// Levels are those that an agent can give a shell.
type Levels []Level

func (l Levels) String() string {
	words := make([]string, len(l))
	for i, level := range l {
		words[i] = string(level)
	}
	return strings.Join(words, ", ")
}

// Everywhere are the levels that need no kernel.
var Everywhere = Levels{None, Advisory, Line}

// For gives the level of a shell for which policy wants at least need: the kernel's gate
// where there is one, and else what was asked for. false: there is no such shell here.
func (l Levels) For(need string) (Level, bool) {
	level := Level(need)
	if slices.Contains(l, Enforced) && slices.Contains(Everywhere, level) {
		return Enforced, true
	}
	return level, slices.Contains(l, level)
}

var (
	// ErrUnsupported means a system on which no session can be gated.
	ErrUnsupported = errors.New("gate: this system has no exec gate")
	// ErrRefused means a session whose first program did not start.
	ErrRefused = errors.New("gate: the session's first program was not started")
)

// A Program is one program start that waits for its answer.
type Program struct {
	*claim.Claim
	TID    int    // the thread that asks, as this process sees it
	Caller string // the file of the program that asks; "" if it can't be told
}

// An Answer is what a Judge says at once. The zero value refuses.
type Answer uint8

const (
	Refuse Answer = iota
	Hold          // Decide says later
	Start
)

// An Outcome is how a program start ended.
type Outcome uint8

const (
	Refused  Outcome = iota // it was refused; its caller got EACCES, or what the kernel would say
	Started                 // it runs
	Failed                  // it might start, but its call failed, or its caller ended
	Killed                  // it was not what was judged: an alarm
	Canceled                // it was held, and nobody waits for it any more
)

func (o Outcome) String() string {
	return [...]string{"refused", "started", "failed", "killed", "canceled"}[o]
}

// A Judge decides about the program starts of one session. Its methods are called
// from several goroutines at a time.
type Judge interface {
	// Judge answers at once: each program start of the session waits for it.
	Judge(*Program) Answer
	// Decide waits for the decision about a program that Judge holds. nil lets it
	// start. ctx ends when nobody waits for it any more.
	Decide(ctx context.Context, p *Program) error
	// Ended tells how a program start that Judge saw has ended, and why. A claim that
	// could not be read has a Program with nothing but TID.
	Ended(p *Program, o Outcome, why string)
}

// LoadingEnv gives the variables that put code into a program, but for those that its
// session began with.
func (p *Program) LoadingEnv(begin []string) []string {
	var out []string
	for _, kv := range p.Env {
		name, _, _ := strings.Cut(kv, "=")
		if variable.Loads(name) != "" && !slices.Contains(begin, kv) {
			out = append(out, kv)
		}
	}
	return out
}
