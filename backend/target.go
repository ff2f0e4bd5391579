package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A TargetID names a target within one backend. It is stable, unique, not
// empty, and opaque to everybody else.
type TargetID string

// A State says whether a target can be reached. The zero value is Unknown.
type State uint8

// The states of a target.
const (
	Unknown State = iota
	Offline
	Online
)

// String returns the word that is shown to a person.
func (s State) String() string {
	switch s {
	case Online:
		return "online"
	case Offline:
		return "offline"
	}
	return "unknown"
}

// A Target is what a terminal is opened on.
type Target struct {
	ID     TargetID
	Name   string            // for people; need not be unique
	Tags   map[string]string // such as env=prod; not to be changed by readers
	State  State
	Detail map[string]string // shown in the details: os, version, last seen
}

// A Kind is what Open starts.
type Kind string

// The kinds of an OpenRequest.
const (
	KindShell Kind = "shell" // a login shell; Argv is empty
	KindExec  Kind = "exec"  // Argv, without a shell in between

	// These are no terminals, but streams of bytes; not every backend has them. Argv
	// says what they reach, in the words of internal/policy/SPEC.md.
	KindCopy    Kind = "copy"
	KindForward Kind = "forward"
	KindProxy   Kind = "proxy"

	// These look at a shell of another session, which OpenRequest.Session names. Who
	// joins types, too. See Overseer.
	KindObserve Kind = "observe"
	KindJoin    Kind = "join"
)

// Ungated says of a kind what protects it less than a shell; empty: nothing.
func (k Kind) Ungated() string {
	if k == KindForward || k == KindProxy {
		return "not gated, not recorded"
	}
	return ""
}

// Watches reports whether what is opened looks at another session's shell.
func (k Kind) Watches() bool { return k == KindObserve || k == KindJoin }

// An OpenRequest asks for a terminal, for a verdict, or for an approval.
type OpenRequest struct {
	Target TargetID
	Kind   Kind
	Argv   []string // for KindExec; not empty, first element is the program
	As     string   // user on the target; empty means the target's login user

	TTY        bool // KindShell always has a PTY, whatever this says
	Cols, Rows uint16
	Term       string // such as xterm-256color

	// What follows is of a KindExec, and not every backend can do it: one that
	// can't refuses the request with an error that wraps errors.ErrUnsupported.
	Cwd   string      // absolute; empty: the user's home
	Env   [][2]string // name and value, over the user's own environment
	Stdin string      // "none", "sha256:" and 64 hexadecimal digits of exactly what is sent; empty: whatever is sent
	Files []string    // words of Argv that name files: if others must approve, they approve what is in these, too
	// Unbound: who approves approves words alone, and not what is in the program's file.
	Unbound bool
	// Runbook is the step of a runbook that Argv, As and Cwd are, word for word; nil:
	// none. What does not agree with the runbook that the team has signed is refused.
	Runbook *RunbookStep

	// Session is not empty where the terminal of a session that runs is meant, which
	// Sessions or Watchable has listed, instead of a new one.
	Session SessionID
	// Owner, where Session is another member's, is whose it is, as Watchable has listed
	// it. Where it is somebody else's, the request is refused with ErrDenied. Empty:
	// whosever it is.
	Owner string

	Reason string // why, in the member's words; for Ask and the audit log
	// Lasts is how long the terminal is needed at most, for Ask; 0: as long as policy lets.
	// It ends then.
	Lasts     time.Duration
	Confirmed bool       // the member confirmed a Confirm verdict
	Approval  ApprovalID // the granted approval that Open is to use
}

// Extra answers an error that wraps errors.ErrUnsupported where the request has
// what not every backend can do.
func (r OpenRequest) Extra() error {
	if r.Cwd != "" || len(r.Env) > 0 || r.Stdin != "" || len(r.Files) > 0 || r.Session != "" || r.Runbook != nil {
		return fmt.Errorf("a working directory, variables, a bound input, bound files, a runbook's step or a session that runs: %w", errors.ErrUnsupported)
	}
	return nil
}

// A RunbookStep names one step of a signed runbook, and the values of its parameters.
type RunbookStep struct {
	Name    string
	Version uint64
	Step    int         // from 1
	Args    [][2]string // name and value of every parameter, in the runbook's order
}

// A SessionID names a session within one backend.
type SessionID string

// A Session is a terminal that runs, whoever is in front of it.
type Session struct {
	ID     SessionID
	Owner  string // the member whose it is
	Target TargetID
	Kind   Kind
	As     string // as it was asked for; empty: the target's login user
	Device string // that has opened it: the fingerprint of its identity
	Here   bool   // it was this device
	Began  time.Time
	EndsBy time.Time // at the latest
	// Away is since when nobody is at it; zero: somebody is. Until is about when it
	// then ends if nobody comes.
	Away, Until time.Time
	// Returns reports whether Open may be asked for it. Observe and Join report whether
	// Open may be asked to look at it, as far as policy says.
	Returns, Observe, Join bool
}

// An Onlooker is somebody who looks at a terminal.
type Onlooker struct {
	N     uint64 // within its terminal
	Who   string // to be cleaned before it is drawn
	Types bool   // has joined: types, too
	Since time.Time
}

// A Past is what a terminal has shown before it was opened.
type Past struct {
	Output     []byte // the newest of it
	Lost       uint64 // bytes that came before and are gone
	Cols, Rows uint16 // the terminal's size when it showed them
}

// An Exit is how a program ended.
type Exit struct {
	Code   int    // the program's own code, 0-255; 128+n for signal n
	Signal string // without SIG, such as TERM; empty where none ended it
	Reason string // why TucDesk ended it; empty where the program ended by itself
}

// An Assurance is what is known to protect a terminal. The zero value is
// shown as "no policy, not recorded": a field that is not set promises
// nothing.
type Assurance struct {
	E2EE      bool          // end-to-end encrypted to Peer
	Peer      string        // fingerprint of the other end's identity
	Path      string        // how the bytes travel: "direct", "relay/udp", "relay/tcp", "relay/tls" or empty
	RTT       time.Duration // to the other end and back, lately; 0: not known
	Gate      string        // how commands inside are gated; empty means not at all
	Recording string        // recording state; empty means not recorded
	Policy    bool          // a policy allowed this terminal
}

// An ApprovalID names an approval within one backend.
type ApprovalID string

// An ApprovalState says where an approval stands.
type ApprovalState string

// The states of an Approval.
const (
	ApprovalWaiting  ApprovalState = "waiting"
	ApprovalApproved ApprovalState = "approved"
	ApprovalDenied   ApprovalState = "denied"
	ApprovalExpired  ApprovalState = "expired"
	ApprovalUsed     ApprovalState = "used"
)

// An Approval is a request that waits for people, with all that an approver
// needs to see. Its text comes from the requester and is to be cleaned before
// it is drawn.
type Approval struct {
	ID       ApprovalID
	Target   string // the target's name
	Operator string // who asks
	Kind     string // shell, exec, ...
	Argv     []string
	Env      []string // as KEY=value
	Stdin    string   // what the command reads, in words; empty means nothing known
	Cwd      string
	As       string
	Tier     string // critical, high, medium, low, default or empty
	Risk     string // what makes it of that tier, in words: "deletes files"; empty: nothing is known
	Reason   string // in the operator's words
	State    ApprovalState

	Lasts    time.Duration // after which what is opened ends; 0: as long as policy lets
	Asked    time.Time
	AskUntil time.Time // afterwards nobody can decide any more

	Mine      bool   // asked by this member
	CanDecide bool   // this member may decide now
	WhyNot    string // why CanDecide is false
	Approved  int    // how many approved so far
	Quorum    int    // how many must, at least
	Turn      string // why a yes of this member is not asked for yet, where CanDecide; a no always may be

	Steps     []ApprovalStep // what the policy asks for, one after the other; empty: not known
	Approvers []string       // people who may decide; empty: not known
	Awaits    []Awaited      // those of them whose yes it waits for now
	Nobody    string         // where it waits and nobody's yes could help: that, and what to do
	Readers   []Reader       // others who read it to decide it
	Content   []Content      // files whose content is approved, too; none: words alone are
	Unread    string         // a program whose content is not in Argv, so that who approves has not seen it
	Runbook   string         // the runbook's step that it is, and its values, in words; empty: none
	Step      int            // the number of that step, from 1
	Plan      string         // names those that were asked for together; empty: it stands alone
	PlanSize  int            // how many these are
}

// An ApprovalStep is where one step of an Approval stands.
type ApprovalStep struct {
	By    []string // people whose yes counts for it
	Waits string   // what it still needs, in words; empty when it is complete
}

// Progress says in words how far an approval has come: "1 of 2: bob; waits for 1 of
// role:approver", or "step 1 of 2 done: bob; waits for 1 of role:security".
func (a Approval) Progress() string {
	if len(a.Steps) == 0 {
		return fmt.Sprintf("%d of %d", a.Approved, a.Quorum)
	}
	done := 0
	var people []string
	for done < len(a.Steps) && a.Steps[done].Waits == "" {
		people = append(people, a.Steps[done].By...)
		done++
	}
	next := ApprovalStep{}
	if done < len(a.Steps) {
		next = a.Steps[done]
	}
	text := fmt.Sprintf("step %d of %d", max(done, 1), len(a.Steps))
	switch {
	case len(a.Steps) == 1:
		people = append(people, next.By...)
		text = fmt.Sprintf("%d of %d", len(people), a.Quorum)
	case done > 0:
		text += " done"
	}
	if len(people) > 0 {
		text += ": " + strings.Join(people, ", ")
	}
	if len(a.Steps) > 1 && len(next.By) > 0 {
		text += fmt.Sprintf("; step %d has %s", done+1, strings.Join(next.By, ", "))
	}
	if next.Waits != "" {
		text += "; waits for " + next.Waits
	}
	return text
}

// A Content is a file that runs with the content that was approved, or not at all.
type Content struct {
	Path   string // on the target
	SHA256 string // in hexadecimal digits
	Known  string // what this device knows of it, in words
}

// String is the file as people read it.
func (c Content) String() string {
	s := c.Path + " sha256 " + c.SHA256
	if c.Known != "" {
		s += "; " + c.Known
	}
	return s
}

// NotCovered says, where it is so, that what a program runs is not in the words that are
// approved.
func (a Approval) NotCovered() string {
	switch {
	case a.Unread == "" && len(a.Content) == 0 && a.Kind == string(KindExec) && len(a.Argv) > 0:
		return "NOT covered: which file has this program's name, and what is in it, when it runs"
	case a.Unread == "":
		return ""
	}
	if a.Kind != string(KindExec) {
		return "NOT covered: " + a.Unread + " is not in these words; who approves has not seen it"
	}
	return "NOT covered: what " + a.Unread + " runs is not in these words; who approves has not seen it"
}

// A Decision is a person's answer to an Approval.
type Decision struct {
	Approve bool
	Reason  string // required for a refusal
}
