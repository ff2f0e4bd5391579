package approval

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

var (
	// ErrMismatch means an approval of something else.
	ErrMismatch = errors.New("approval: made for something else; ask again for this request")
	// ErrExpired means that the time for the decision, or for the use, is over.
	ErrExpired = errors.New("approval: expired; ask again")
	// ErrQuorum means that fewer people than needed have approved.
	ErrQuorum = errors.New("approval: not enough people have approved")
	// ErrNotEligible means a decision by somebody who may not decide this.
	ErrNotEligible = errors.New("approval: not one of those who may decide this")
	// ErrSelf means that a requester decided an own request.
	ErrSelf = errors.New("approval: nobody decides an own request")
	// ErrOlderRoster means that the approver knew a roster that the agent does
	// not know: it must catch up first.
	ErrOlderRoster = errors.New("approval: given on a newer roster than this one; get the latest roster statements and try again")
)

// Want is the request at hand, as the agent knows it by itself. Every field that
// is left zero refuses, except As.
type Want struct {
	TeamFP     envelope.Hash
	SessionID  token.ID
	Agent      key.Kid
	Operator   key.Kid
	Requester  string // member id of the operator
	Kind       string
	As         string
	Command    token.Command
	PolicyHash envelope.Hash
	Granted    []token.ID // the approvals that the grant names, which apid has used up
	Quorum     int        // of the verdict's obligations: the least number of people
	// Enough answers nil if these members, who are Quorum or more and have all said
	// yes, are whom the verdict asks for, step by step; else it says who is missing.
	Enough func(memberIDs []string) error
	// Eligible answers the member whose device this is, if that member may
	// decide this request by the agent's own roster and policy, now.
	Eligible func(key.Kid) (memberID string, ok bool)
	// HeadKnown reports whether the agent's own roster contains this head.
	HeadKnown func(token.Head) bool
	Now       time.Time
}

// Check answers nil if the approvals are a yes to exactly this request by at
// least Quorum distinct people who are Enough, none of them the requester. Every approval that
// was brought must be good; one bad one refuses all. All of them carry the same
// nonce, which the caller writes to its ledger before anything runs.
//
// Errors: ErrMismatch, ErrExpired, ErrQuorum, ErrNotEligible, ErrSelf,
// ErrOlderRoster, ErrMalformed.
func Check(approvals []VerifiedApproval, want Want) error {
	bodies := make([]Approval, len(approvals))
	for i, v := range approvals {
		bodies[i] = v.Body()
	}
	return check(bodies, want)
}

func check(approvals []Approval, want Want) error {
	if want.Quorum < 1 || want.Enough == nil || want.Eligible == nil || want.HeadKnown == nil || want.Requester == "" {
		return malformed("a check needs a quorum, a requester, and who is eligible on which roster")
	}
	if err := want.Command.Check(); err != nil {
		return err
	}
	members := make(map[string]bool)
	for i, a := range approvals {
		if err := want.same(a); err != nil {
			return err
		}
		if first := approvals[0]; i > 0 && (a.ID != first.ID || a.AskHash != first.AskHash || a.Nonce != first.Nonce) {
			return fmt.Errorf("%w: approvals of different asks", ErrMismatch)
		}
		switch now := want.Now.Unix(); {
		case now > a.UseUntil:
			return fmt.Errorf("%w: it had to be used by %s", ErrExpired, time.Unix(a.UseUntil, 0).UTC().Format(time.RFC3339))
		case a.Decided > now+int64(token.Skew/time.Second):
			return malformed("approved in the future; check the clock")
		case !want.HeadKnown(a.RosterHead):
			return ErrOlderRoster
		case a.Approver == want.Operator:
			return ErrSelf
		}
		member, ok := want.Eligible(a.Approver)
		switch {
		case !ok || member == "":
			return fmt.Errorf("%w: device %s", ErrNotEligible, a.Approver.Short())
		case member == want.Requester:
			return ErrSelf
		}
		members[member] = true
	}
	if len(members) < want.Quorum {
		return fmt.Errorf("%w: %d of %d", ErrQuorum, len(members), want.Quorum)
	}
	if err := want.Enough(slices.Sorted(maps.Keys(members))); err != nil {
		return fmt.Errorf("%w: %w", ErrQuorum, err)
	}
	return nil
}

// A Use is what must be remembered when approvals are used, so that they are used once.
type Use struct {
	Nonce             token.ID
	Decided, UseUntil int64 // unix seconds: the first decision, and until when the last can be used
}

// Uses gives each nonce of approvals once. All approvals of an ask share one.
func Uses(given []Approval) (uses []Use) {
	for _, a := range given {
		i := slices.IndexFunc(uses, func(u Use) bool { return u.Nonce == a.Nonce })
		if i < 0 {
			i, uses = len(uses), append(uses, Use{a.Nonce, a.Decided, a.UseUntil})
		}
		uses[i].Decided, uses[i].UseUntil = min(uses[i].Decided, a.Decided), max(uses[i].UseUntil, a.UseUntil)
	}
	return uses
}

// same compares every field that the agent knows by itself.
func (w Want) same(a Approval) error {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"v", a.V == token.Version},
		{"team_fp", a.TeamFP == w.TeamFP},
		{"session_id", a.SessionID == w.SessionID},
		{"agent", a.Agent == w.Agent},
		{"operator", a.Operator == w.Operator},
		{"kind", a.Kind == w.Kind},
		{"as", a.As == w.As},
		{"command", a.Command.Commitment() == w.Command.Commitment()},
		{"policy_hash", a.PolicyHash == w.PolicyHash},
		{"id", slices.Contains(w.Granted, a.ID)},
	} {
		if !f.same {
			return fmt.Errorf("%w: %s differs", ErrMismatch, f.name)
		}
	}
	return nil
}
