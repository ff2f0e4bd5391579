package approval

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A State is where an ask stands. The zero State is none of them, and nothing
// leads out of it.
type State string

// The states, and what leads from one to the next.
//
//	pending  -> approved (quorum), denied (one deny), expired (ask_until), cancelled (asker)
//	approved -> used (a grant names it), denied, expired (use_until), cancelled
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Denied    State = "denied"
	Expired   State = "expired"
	Cancelled State = "cancelled"
	Used      State = "used"
)

// Open reports whether s can still change.
func (s State) Open() bool { return s == Pending || s == Approved }

var (
	// ErrTwice means a second decision by one member.
	ErrTwice = errors.New("approval: this member has decided already")
	// ErrUsed means that the approval was used: one approval, one use.
	ErrUsed = errors.New("approval: used before; ask again")
	// ErrClosed means an ask that was denied or cancelled.
	ErrClosed = errors.New("approval: this ask is closed")
	// ErrPending means that the decision is still to come.
	ErrPending = errors.New("approval: not approved yet")
	// ErrTurn means a yes for a step that is not the next one yet.
	ErrTurn = errors.New("approval: not this step's turn")
	// ErrNotAsker means a cancel by somebody else.
	ErrNotAsker = errors.New("approval: only who asked can cancel")
)

// A Record is what apid keeps of an ask: no command, and nothing it could
// decide by itself. Its methods return a changed copy and leave the receiver as
// it was; an error comes with the receiver, which may have expired meanwhile.
type Record struct {
	ID        token.ID
	AskHash   envelope.Hash
	Operator  key.Kid
	Requester string // member id of the operator
	Quorum    int
	AskUntil  int64 // unix seconds
	UseUntil  int64 // unix seconds: the earliest of the approvals; 0 before the first
	State     State
	Decisions []Decided // at most one for each member
}

// Decided is one member's decision.
type Decided struct {
	Member   string
	Approver key.Kid
	Approve  bool
	At       int64 // unix seconds, by apid's clock
	UseUntil int64 // unix seconds; 0 when denied
	Hash     envelope.Hash
}

// NewRecord makes the record of a new ask. Errors: ErrMalformed, ErrExpired.
func NewRecord(id token.ID, askHash envelope.Hash, operator key.Kid, requester string, quorum int, askUntil int64, now time.Time) (Record, error) {
	r := Record{ID: id, AskHash: askHash, Operator: operator, Requester: requester, Quorum: quorum, AskUntil: askUntil, State: Pending}
	switch {
	case id.IsZero() || askHash.IsZero() || operator.IsZero() || requester == "":
		return Record{}, malformed("an ask needs an id, a hash, an operator and a requester")
	case quorum < 1 || quorum > MaxQuorum:
		return Record{}, malformed("a quorum is 1 to %d", MaxQuorum)
	case askUntil > now.Add(MaxAskFor+token.Skew).Unix():
		return Record{}, malformed("ask_until is more than %v ahead", MaxAskFor)
	case now.Unix() > askUntil:
		return Record{}, ErrExpired
	}
	return r, nil
}

// MaxQuorum bounds how many people one approval can need, and MaxDecisions how
// many may decide one ask.
const (
	MaxQuorum    = 16
	MaxDecisions = 16
)

// At gives the record as it stands at a time: what was open may have expired.
func (r Record) At(now time.Time) Record {
	if r.State == Pending && now.Unix() > r.AskUntil || r.State == Approved && now.Unix() > r.UseUntil {
		r.State = Expired
	}
	return r
}

// Say is what roster and policy say of somebody who decides.
type Say struct {
	Eligible bool // may decide this
	// Turn is empty, or says which step of the policy comes before this one's yes.
	// A no waits for no step.
	Turn string
	// Enough answers nil if these members, who have all approved, are whom the policy
	// asks for.
	Enough func(memberIDs []string) error
}

// Decide adds a verified decision. member is whose device signed it by the roster.
//
// Errors: ErrMismatch, ErrSelf, ErrNotEligible, ErrTurn, ErrTwice, ErrExpired, ErrUsed,
// ErrClosed, ErrMalformed.
func (r Record) Decide(v VerifiedDecision, member string, say Say, now time.Time) (Record, error) {
	r = r.At(now)
	d := v.Body()
	skew := int64(token.Skew / time.Second)
	switch {
	case d.ID != r.ID || d.AskHash != r.AskHash || r.ID.IsZero():
		return r, fmt.Errorf("%w: the decision names another ask", ErrMismatch)
	case member == "" || say.Enough == nil || !say.Eligible && member != r.Requester:
		return r, ErrNotEligible
	case member == r.Requester || d.Approver == r.Operator:
		return r, ErrSelf
	case r.decided(member):
		return r, ErrTwice
	case len(r.Decisions) >= MaxDecisions:
		return r, malformed("more than %d decisions on one ask", MaxDecisions)
	}
	if err := r.mustBeOpen(); err != nil {
		return r, err
	}
	switch {
	case d.Decided > now.Unix()+skew:
		return r, malformed("decided in the future; check the clock")
	case d.Decided > r.AskUntil, d.Approve && now.Unix() > d.UseUntil:
		return r, ErrExpired
	case d.Approve && say.Turn != "":
		return r, fmt.Errorf("%w: %s", ErrTurn, say.Turn)
	}
	r.Decisions = append(slices.Clip(r.Decisions), Decided{
		Member: member, Approver: d.Approver, Approve: d.Approve, At: now.Unix(), UseUntil: d.UseUntil, Hash: v.Hash(),
	})
	if !d.Approve {
		r.State = Denied
		return r, nil
	}
	if r.UseUntil == 0 || d.UseUntil < r.UseUntil {
		r.UseUntil = d.UseUntil
	}
	if yes := r.Approved(); r.State == Pending && len(yes) >= r.Quorum && say.Enough(yes) == nil {
		r.State = Approved
	}
	return r, nil
}

// Approved are the members who have said yes, each once.
func (r Record) Approved() (members []string) {
	for _, d := range r.Decisions {
		if d.Approve {
			members = append(members, d.Member)
		}
	}
	return members
}

func (r Record) decided(member string) bool {
	return slices.ContainsFunc(r.Decisions, func(d Decided) bool { return d.Member == member })
}

// mustBeOpen says why nothing can change any more.
func (r Record) mustBeOpen() error {
	switch r.State {
	case Pending, Approved:
		return nil
	case Expired:
		return ErrExpired
	case Used:
		return ErrUsed
	case Denied, Cancelled:
		return fmt.Errorf("%w: it was %s; ask again", ErrClosed, r.State)
	}
	return malformed("unknown state")
}

// Cancel takes the ask back. Errors: ErrNotAsker, ErrExpired, ErrUsed, ErrClosed.
func (r Record) Cancel(member string, now time.Time) (Record, error) {
	r = r.At(now)
	if member == "" || member != r.Requester {
		return r, ErrNotAsker
	}
	if err := r.mustBeOpen(); err != nil {
		return r, err
	}
	r.State = Cancelled
	return r, nil
}

// Use spends an approved ask on a grant for this operator, once. Errors:
// ErrMismatch, ErrPending, ErrExpired, ErrUsed, ErrClosed.
func (r Record) Use(operator key.Kid, now time.Time) (Record, error) {
	r = r.At(now)
	if operator.IsZero() || operator != r.Operator {
		return r, fmt.Errorf("%w: another operator asked", ErrMismatch)
	}
	if err := r.mustBeOpen(); err != nil {
		return r, err
	}
	if r.State != Approved {
		return r, ErrPending
	}
	r.State = Used
	return r, nil
}
