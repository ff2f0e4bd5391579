package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// maxProblems bounds the problems that a Report holds; the rest are counted.
const maxProblems = 100

// A Class is what a problem means. The zero Class is no problem.
type Class uint8

// The classes; their order is not their weight, see Report.Class.
const (
	Sound      Class = iota
	Tampered         // something is there that nobody may have written, or differs from what was signed
	Incomplete       // what is there is genuine, but something is missing or too old
	BadInput         // not an export, or a damaged one
)

// String gives one or two words for people.
func (c Class) String() string {
	switch c {
	case Sound:
		return "ok"
	case Tampered:
		return "tampered"
	case Incomplete:
		return "incomplete"
	case BadInput:
		return "bad input"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// MarshalText implements encoding.TextMarshaler, for --json.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ExitCode gives `audit verify`'s exit code: 0 ok, 1 tampered, 2 incomplete,
// 3 bad input.
func (c Class) ExitCode() int { return int(c) }

// A Problem is one thing that is wrong. Its text is the verifier's own and
// quotes nothing from the file but numbers, ids and hashes.
type Problem struct {
	Class Class  `json:"class"`
	Index int64  `json:"index"` // of the entry; -1 where it is about something else
	What  string `json:"what"`  // "signature", "chain", "proof", "roster", "checkpoint", …
	Why   string `json:"why"`
}

// String gives one line for people.
func (p Problem) String() string {
	if p.Index < 0 {
		return fmt.Sprintf("%s: %s: %s", p.Class, p.What, p.Why)
	}
	return fmt.Sprintf("%s: entry %d: %s: %s", p.Class, p.Index, p.What, p.Why)
}

// A Report is what Verify found.
type Report struct {
	TeamFP     envelope.Hash `json:"team_fp"`
	TeamID     string        `json:"team_id"`
	Demo       bool          `json:"demo"`
	Head       roster.Head   `json:"roster_head"`
	Checkpoint Checkpoint    `json:"checkpoint"` // zero unless its signature is good
	Entries    int64         `json:"entries"`
	Signers    int           `json:"signers"`   // keys that signed entries
	Proofs     int           `json:"proofs"`    // operators' proofs that were checked
	Decisions  int           `json:"decisions"` // approvers' decisions that were checked
	Newest     time.Time     `json:"newest"`    // of the newest entry, by its signer's clock
	Problems   []Problem     `json:"problems"`  // at most 100
	More       int           `json:"more"`      // problems beyond those
}

// Class sums the problems up: tampered outweighs bad input, which outweighs
// incomplete.
func (r Report) Class() Class {
	worst := Sound
	for _, p := range r.Problems {
		switch {
		case p.Class == Tampered:
			return Tampered
		case p.Class == BadInput || worst == Sound:
			worst = p.Class
		}
	}
	return worst
}

// ExitCode is that of Class.
func (r Report) ExitCode() int { return r.Class().ExitCode() }

// sort puts the problems in the order of the log, with those about something
// else at the end.
func (r *Report) sort() {
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(uint64(a.Index), uint64(b.Index)), cmp.Compare(a.What, b.What), cmp.Compare(a.Why, b.Why))
	})
}

func (r *Report) add(c Class, index int64, what, format string, args ...any) {
	p := Problem{c, index, what, fmt.Sprintf(format, args...)}
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, p)
		return
	}
	r.More++
	// The class must not depend on how many harmless problems come first.
	if c == Tampered && r.Class() != Tampered {
		r.Problems[maxProblems-1] = p
	}
}
