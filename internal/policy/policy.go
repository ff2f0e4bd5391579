// Package policy says what a member may do on a target, and why.
//
// Purpose: one document a team (SPEC.md beside this file is the language), one
// evaluator. The console's list, the command line, apid and the agent all call
// Evaluate, so that no two of them can differ for the same Request and Snapshot.
//
// Invariants:
//   - Evaluate is pure. A nil policy, an empty request, an unknown kind and
//     whatever no rule covers are denied. The zero Verdict denies.
//   - A blocklist entry always wins.
//   - A pattern of a tier above `default` may match too much, never too little
//     of what can be read; a pattern of a tier below it may match too little,
//     never too much. A command that can't be read is never low.
//   - A verdict names the rule and the line that decided it. It never holds the
//     command: verdicts travel to servers, commands don't.
//
// A parsed Policy does not change and is safe for concurrent use.
//
// The package is pure. It must not import os, net/http, database/sql or
// log/slog, and of this module only internal/sanitize and the packages beside it:
// catalogue, command, document, glob, quorum, reach, variable and window.
package policy

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
)

// An Effect is what the policy says. The zero value denies. Effects are
// ordered: a smaller one is stricter.
type Effect uint8

const (
	Deny    Effect = iota
	Hold           // other people must approve first
	Confirm        // the operator must confirm first
	Allow
)

var effectNames = [...]string{Deny: "deny", Hold: "hold", Confirm: "confirm", Allow: "allow"}

// String returns the word of the document: "deny", "hold", "confirm", "allow".
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return "deny"
}

// A Kind is a kind of channel.
type Kind string

// The kinds. Every other one is denied.
const (
	Shell   Kind = "shell"
	Exec    Kind = "exec"
	Copy    Kind = "copy"
	Forward Kind = "forward"
	Proxy   Kind = "proxy"
	Observe Kind = "observe"
	Join    Kind = "join"
)

// Look is what an agent is asked before somebody asks for an exec that is held: which
// files its words name, and what is in them. It runs nothing, so no document speaks of
// it: whoever is not denied the exec may look.
const Look Kind = "look"

var kinds = [...]Kind{Shell, Exec, Copy, Forward, Proxy, Observe, Join}

// Kinds returns every kind.
func Kinds() []Kind { return slices.Clone(kinds[:]) }

func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return names
}

// kindBit returns one bit for each kind, 0 for an unknown one.
func kindBit(k Kind) uint8 {
	for i := range kinds {
		if kinds[i] == k {
			return 1 << i
		}
	}
	return 0
}

// A Request is what somebody wants to do. Member, Target and At are required.
type Request struct {
	Member    string            // e-mail, as in the roster
	MemberID  string            // as in the roster
	Roles     []string          // from the roster; a token may only narrow them
	Target    string            // the target's name in the roster
	Tags      map[string]string // the target's tags in the roster
	LoginUser string            // the target's login user in the roster
	Kind      Kind
	As        string // the user on the target; "" means LoginUser
	// Argv is an exec's command, and what a copy, a forward or a proxy asks for (package
	// reach); nil: not known (apid). Other kinds have none.
	Argv []string
	Cwd  string    // where Argv runs, absolute; "": not known
	At   time.Time // by the clock of whoever decides

	// BreakGlass says that the session is asked for without apid's grant.
	BreakGlass bool

	// Program is a program that starts inside a shell or an exec that runs
	// already: what the gate asks about. Argv is nil then.
	Program *command.Program
}

// A Person is a member of the roster, as one who might approve.
type Person struct {
	MemberID string
	Email    string
	Roles    []string
}

// A Snapshot is a policy together with the people it speaks of, at one head of
// the roster. It is read only.
type Snapshot struct {
	Policy  *Policy
	Version uint64   // of the policy-set statement
	Hash    [32]byte // SHA-256 of the document
	People  []Person
}

// A Verdict is the answer to a Request. The zero value denies.
type Verdict struct {
	Effect      Effect
	Rule        string // the entry that decided, or a key such as "commands.high"; "" when none covers the request
	Line        int    // of that entry in the document; 0 when there is none
	Reason      string // what, why and what to do next, in one line
	Tier        string // of the command: "critical", "high", "medium", "low"; "" when it is not known
	Risk        string // what makes it of that tier, as "deletes files"; "" where nothing is known to say
	Obligations Obligations
}

// Obligations come with every verdict but deny. Slices belong to the policy;
// do not change them.
type Obligations struct {
	Needs      quorum.Needs  // who must approve a hold, step by step: this is what counts
	Approvers  []string      // all of them: e-mail globs and "role:x"
	Quorum     int           // the least number of distinct people that can meet Needs
	AskFor     time.Duration // how long a hold waits for the decision
	UseFor     time.Duration // how long an approval can be used after that
	Record     string        // "required", "on" or "off"
	Gate       string        // least gate level: "enforced", "line", "advisory", "none"
	MaxSession time.Duration
	MaxOutput  int64         // bytes that an exec may print; 0: any number
	Grace      time.Duration // how long the agent keeps a terminal that nobody is attached to; 0: it ends at once
	MinSuite   int
	BreakGlass bool // the session rests on a quorum instead of apid's grant: tell everybody
}

// useFor is how long an approval can be used once it is complete.
const useFor = 5 * time.Minute

// gateLevels from weakest to strongest (gate.md).
var gateLevels = []string{"none", "advisory", "line", "enforced"}

// A Policy is a parsed document. Only Parse makes one.
type Policy struct {
	mode       string
	modeLine   int
	allow      []rule
	block      []rule
	commands   commandSet
	approvers  hold // for held commands of rules without a hold
	gate       string
	maxSession time.Duration
	maxExec    time.Duration // 0: maxSession
	maxOutput  int64         // bytes; 0: any
	grace      time.Duration
	minSuite   int
	breakGlass *BreakGlass
	tests      []test
}

// Lockdown says whether the mode is lockdown.
func (p *Policy) Lockdown() bool { return p != nil && p.mode == "lockdown" }

// Closes says whether a policy, in the place of another, can only close doors: then one
// admin alone may sign it into the roster. It is a lockdown, and has no break_glass; or
// else its document is the one before it but for the line `mode: lockdown`. What a
// lockdown leaves open is break-glass, and that goes by all of a document: by its
// commands, gate and times, too. Bytes are compared, so that all readers agree. document
// is p's own; before is empty where there is none.
func (p *Policy) Closes(document, before []byte) bool {
	if !p.Lockdown() {
		return false
	}
	if p.breakGlass == nil {
		return true
	}
	a, b := strings.Split(string(document), "\n"), strings.Split(string(before), "\n")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !(modeOnly.MatchString(a[i]) && modeOnly.MatchString(b[i])) {
			return false
		}
	}
	return true
}

// modeOnly matches a line that says the mode and nothing else.
var modeOnly = regexp.MustCompile(`^mode: *(allowlist|blocklist|lockdown) *(#.*)?\r?$`)
