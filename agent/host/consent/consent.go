// Package consent checks, on the machine itself, that people have said yes to exactly
// what is about to run: the approvals of a held request, or the warrants by which a
// quorum stands in for a server's grant (break-glass).
//
// Invariants:
//   - who may say yes, and whose yeses are enough, comes from this agent's own roster
//     and verdict; a server's word counts for nothing;
//   - an approval is never taken for a warrant, nor a warrant for an approval;
//   - what is answered with a nil error must be put into the ledger before anything
//     runs: one yes, one use.
//
// It must not import agent/host.
package consent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// A Request is what is about to run, as the agent knows it by itself. Every field but
// Used and Typists is required.
type Request struct {
	Roster   *roster.Roster
	Agent    key.Kid
	Operator roster.Device
	Proof    token.Proof
	Command  token.Command
	Verdict  policy.Verdict // a hold: who must say yes
	Now      time.Time
	Used     time.Time // when a session that opens its channel again has used them; zero: Now
	// Typists are members who may have typed what is asked for, beside the operator:
	// their yes does not count, as the operator's own does not.
	Typists []string
}

// Approvals checks the approvals of a held request; granted are those that the grant
// names. Errors: those of approval.Check.
func (q Request) Approvals(given [][]byte, granted []token.ID) ([]ledger.Item, error) {
	var verified []approval.VerifiedApproval
	var bodies []approval.Approval
	for _, b := range given {
		u, err := approval.ParseApproval(b)
		if err != nil {
			return nil, err
		}
		var gone error
		v, err := u.Verify(q.devices(&gone))
		if err != nil {
			return nil, cmp.Or(gone, err)
		}
		verified, bodies = append(verified, v), append(bodies, v.Body())
	}
	w := q.want()
	w.Granted = granted
	if err := approval.Check(verified, w); err != nil {
		return nil, q.named(err, bodies)
	}
	return nonces(bodies), nil
}

// named says whose yes does not count because they may have typed it themselves.
func (q Request) named(err error, given []approval.Approval) error {
	if !errors.Is(err, approval.ErrNotEligible) {
		return err
	}
	for _, a := range given {
		if d, known := q.Roster.EverDevice(a.Approver); known && slices.Contains(q.Typists, d.MemberID) {
			return fmt.Errorf("%w: %s has joined this shell, and approves nothing that starts in it; somebody else must", approval.ErrNotEligible, d.Email)
		}
	}
	return err
}

// Lasts is how long the session may last that approvals are for; 0: none of them says. They
// need not be verified yet: this makes a session shorter only, and without approvals that
// are verified nothing runs in it.
func Lasts(given [][]byte) (least time.Duration) {
	for _, b := range given {
		var a approval.Approval
		u, err := approval.ParseApproval(b)
		if err != nil || u.InsecureDecode(&a) != nil || a.Lasts <= 0 {
			continue
		}
		if d := time.Duration(a.Lasts) * time.Second; least == 0 || d < least {
			least = d
		}
	}
	return least
}

// Warrants checks what stands in for a grant. Where the command is not known yet, the
// warrants' own is taken: it must be the one that the proof is about. who are the
// people, by their e-mail addresses.
func (q Request) Warrants(given [][]byte) (items []ledger.Item, who []string, err error) {
	if !q.Verdict.Obligations.BreakGlass {
		return nil, nil, fmt.Errorf("%w: this policy lets nothing stand in for a grant here", approval.ErrMismatch)
	}
	var verified []approval.VerifiedWarrant
	var bodies []approval.Approval
	for _, b := range given {
		u, err := approval.ParseWarrant(b)
		if err != nil {
			return nil, nil, err
		}
		var gone error
		v, err := u.Verify(q.devices(&gone))
		if err != nil {
			return nil, nil, cmp.Or(gone, err)
		}
		verified, bodies = append(verified, v), append(bodies, approval.Approval(v.Body()))
		if d, err := q.Roster.Device(v.Body().Approver, q.Now); err == nil && !slices.Contains(who, d.Email) {
			who = append(who, d.Email)
		}
	}
	if q.Command.V == 0 && len(bodies) > 0 {
		q.Command = bodies[0].Command
	}
	if q.Command.Commitment() != q.Proof.Commitment {
		return nil, nil, fmt.Errorf("%w: the warrants are for another command than the proof", approval.ErrMismatch)
	}
	if err := approval.CheckWarrants(verified, q.want()); err != nil {
		return nil, nil, err
	}
	return nonces(bodies), who, nil
}

// devices answers the keys of devices that are good now; gone becomes why somebody
// whom the roster knows may say nothing any more.
func (q Request) devices(gone *error) token.Keys {
	return func(k key.Kid) (key.Public, bool) {
		d, err := q.Roster.Device(k, q.Now)
		if err != nil && !errors.Is(err, roster.ErrUnknown) {
			*gone = fmt.Errorf("%w: %w", approval.ErrNotEligible, err)
		}
		return d.Public, err == nil
	}
}

func (q Request) want() approval.Want {
	may := map[key.Kid]bool{}
	for _, d := range q.Roster.Approvers(q.Verdict, q.Operator.MemberID, q.Now) {
		may[d.Kid] = !slices.Contains(q.Typists, d.MemberID)
	}
	used := q.Used
	if used.IsZero() {
		used = q.Now
	}
	return approval.Want{
		TeamFP: q.Roster.TeamFP(), SessionID: q.Proof.SessionID, Agent: q.Agent,
		Operator: q.Operator.Kid, Requester: q.Operator.MemberID, Kind: q.Proof.Kind, As: q.Proof.As,
		Command: q.Command, PolicyHash: q.Roster.PolicyHash(), Quorum: q.Verdict.Obligations.Quorum,
		Enough: q.Roster.Snapshot().Enough(q.Verdict, q.Operator.MemberID),
		Eligible: func(k key.Kid) (string, bool) {
			d, err := q.Roster.Device(k, q.Now)
			// The requester's other devices are known, so that Check can say why.
			return d.MemberID, err == nil && (may[k] || d.MemberID == q.Operator.MemberID)
		},
		HeadKnown: func(h token.Head) bool { return q.Roster.Knows(roster.Head(h)) },
		Now:       used,
	}
}

// nonces gives what the ledger remembers of yeses.
func nonces(given []approval.Approval) (items []ledger.Item) {
	for _, u := range approval.Uses(given) {
		items = append(items, ledger.Item{Kind: ledger.Nonce, ID: u.Nonce, Issued: time.Unix(u.Decided, 0), Expires: time.Unix(u.UseUntil, 0)})
	}
	return items
}
