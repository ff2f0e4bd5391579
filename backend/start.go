package backend

// A StartState says how a program start inside a terminal stands.
type StartState string

// The states. StartConfirm and StartHold wait; the others are ends.
const (
	StartConfirm  StartState = "confirm"  // until the member has confirmed it
	StartHold     StartState = "hold"     // until others have approved it
	StartRuns     StartState = "started"  // it waited, and runs
	StartRefused  StartState = "refused"  // by policy or by people
	StartKilled   StartState = "killed"   // it was not what was judged
	StartCanceled StartState = "canceled" // nobody waits for it any more
	StartNoticed  StartState = "noticed"  // policy would not let it run, and nothing stops it here
)

// Waits reports whether a start in this state still waits.
func (s StartState) Waits() bool { return s == StartConfirm || s == StartHold }

// A Start is a program that is about to start inside a terminal, and that policy does
// not simply let run. Its text comes from the target and is to be cleaned before it is
// drawn.
type Start struct {
	ID    uint64 // within its terminal
	State StartState
	Argv  []string // by the file's own name
	Cwd   string
	Env   []string // KEY=value: what makes it do something else
	Tier  string
	// Reason says what, why and what to do next.
	Reason string
	// Approval waits for it, where State is StartHold; empty: nobody could be asked.
	Approval  ApprovalID
	Approvers string // who may approve, in words
}
