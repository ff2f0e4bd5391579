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
// log/slog, and of this module only internal/sanitize.
package policy

import (
	_ "embed"
	"strings"
	"time"
	_ "time/tzdata" // windows mean the same on hosts without a zone database
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

// kindBit returns one bit for each kind, 0 for an unknown one.
func kindBit(k Kind) uint8 {
	switch k {
	case Shell:
		return 1
	case Exec:
		return 2
	case Copy:
		return 4
	case Forward:
		return 8
	case Proxy:
		return 16
	case Observe:
		return 32
	case Join:
		return 64
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
	As        string    // the user on the target; "" means LoginUser
	Argv      []string  // of an exec; nil: not known (apid). Other kinds have none
	At        time.Time // by the clock of whoever decides
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
	Obligations Obligations
}

// Obligations come with every verdict but deny. Slices belong to the policy;
// do not change them.
type Obligations struct {
	Approvers  []string      // who may approve a hold: e-mail globs and "role:x"
	Quorum     int           // how many distinct people must approve a hold
	AskFor     time.Duration // how long a hold waits for the decision
	UseFor     time.Duration // how long an approval can be used after that
	Record     string        // "required", "on" or "off"
	Gate       string        // least gate level: "enforced", "line", "advisory", "none"
	MaxSession time.Duration
	MinSuite   int
}

// useFor is how long an approval can be used once it is complete.
const useFor = 5 * time.Minute

// gateLevels from weakest to strongest (gate.md).
var gateLevels = []string{"none", "advisory", "line", "enforced"}

// GateMeets says whether a gate of level have is enough where need is asked
// for. Unknown levels are never enough.
func GateMeets(have, need string) bool {
	h, n := -1, -1
	for i, level := range gateLevels {
		if level == have {
			h = i
		}
		if level == need {
			n = i
		}
	}
	return h >= 0 && n >= 0 && h >= n
}

// BreakGlass says which quorum of devices may stand in for apid's grant.
type BreakGlass struct {
	Members []string // e-mail globs and "role:x"
	Quorum  int
	Expires time.Duration
	Notify  string // "all"
}

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
	minSuite   int
	breakGlass *BreakGlass
	breakLine  int
	tests      []test
}

// Lockdown says whether the mode is lockdown: one admin alone may sign such a
// policy into the roster.
func (p *Policy) Lockdown() bool { return p != nil && p.mode == "lockdown" }

// BreakGlass returns what the policy says of break-glass; false when it does
// not opt in.
func (p *Policy) BreakGlass() (BreakGlass, bool) {
	if p == nil || p.breakGlass == nil {
		return BreakGlass{}, false
	}
	return *p.breakGlass, true
}

//go:embed schema.json
var schema string

// Schema returns the JSON Schema of the document, for editors.
func Schema() []byte { return []byte(schema) }

// A rule is one entry of the allowlist or the blocklist.
type rule struct {
	name     string
	line     int
	members  []member
	tags     []tagMatch
	names    []glob
	kinds    uint8 // bits of kindBit; 0 means any (blocklist only)
	as       []glob
	when     []window
	hold     *hold
	record   string
	commands *commandSet // nil: those of the policy

	allowed string // the reasons of its verdicts, made once
	held    string
}

// A hold says who must approve.
type hold struct {
	approvers []string // as written
	members   []member
	quorum    int
	expires   time.Duration
	line      int
}

// A member is an e-mail glob or a role.
type member struct {
	role  string
	email glob // ASCII lower case
}

func (m *member) matches(email string, roles []string) bool {
	if m.role != "" {
		for _, r := range roles {
			if r == m.role {
				return true
			}
		}
		return false
	}
	return m.email.matchFold(email)
}

func anyMember(members []member, email string, roles []string) bool {
	for i := range members {
		if members[i].matches(email, roles) {
			return true
		}
	}
	return false
}

// A tagMatch wants a tag with one of some values.
type tagMatch struct {
	key    string
	values []glob
}

func anyGlob(globs []glob, s string) bool {
	for i := range globs {
		if globs[i].match(s) {
			return true
		}
	}
	return false
}

// A miss says which part of a rule did not hold.
type miss uint8

const (
	hit miss = iota
	missMember
	missTag
	missName
	missKind
	missAs
	missRoot
	missWhen
)

var missTexts = [...]string{
	hit:        "",
	missMember: "`members` does not name this person or a role of theirs",
	missTag:    "`targets.tags` asks for tags this target does not have",
	missName:   "`targets.names` does not name this target",
	missKind:   "`sessions` does not list this kind",
	missAs:     "`as` does not list this user",
	missRoot:   "it has no `as`, and the target's login user is root: root must be spelled out in `as`",
	missWhen:   "no window of `when` is open",
}

// covers says which part of the rule the request misses, if any. as is the
// user it resolves to.
func (r *rule) covers(req *Request, as string, blocks bool) miss {
	if len(r.members) > 0 && !anyMember(r.members, req.Member, req.Roles) {
		return missMember
	}
	for i := range r.tags {
		value, ok := req.Tags[r.tags[i].key]
		if !ok || !anyGlob(r.tags[i].values, value) {
			return missTag
		}
	}
	if len(r.names) > 0 && !anyGlob(r.names, req.Target) {
		return missName
	}
	if r.kinds != 0 && r.kinds&kindBit(req.Kind) == 0 {
		return missKind
	}
	if m := r.coversUser(req, as, blocks); m != hit {
		return m
	}
	if len(r.when) > 0 {
		for i := range r.when {
			if r.when[i].open(req.At) {
				return hit
			}
		}
		return missWhen
	}
	return hit
}

// coversUser judges the user on the target. An allowing rule without `as`
// covers the login user, and root only where it is spelled out: a glob never
// reaches root. A blocking rule without `as` covers every user.
func (r *rule) coversUser(req *Request, as string, blocks bool) miss {
	switch {
	case len(r.as) == 0 && blocks:
		return hit
	case len(r.as) == 0:
		return coversLoginUser(req, as)
	}
	for i := range r.as {
		if r.as[i].match(as) && (blocks || as != rootUser || r.as[i].isLiteral()) {
			return hit
		}
	}
	return missAs
}

const rootUser = "root"

func coversLoginUser(req *Request, as string) miss {
	switch {
	case as != req.LoginUser:
		return missAs
	case as == rootUser:
		return missRoot
	}
	return hit
}

// parseMember reads an e-mail glob or "role:x". Role names are literal.
func parseMember(s string) (member, string) {
	if role, ok := strings.CutPrefix(s, "role:"); ok {
		if role == "" || strings.ContainsAny(role, "*|") {
			return member{}, "is not a role: write role: and one plain name"
		}
		return member{role: role}, ""
	}
	if strings.Contains(s, "*") || strings.Contains(s, "@") {
		return member{email: newGlob(lowerASCII(s))}, ""
	}
	return member{}, "is neither an e-mail address (globs with * are allowed) nor role:NAME"
}
