// Package ask is a held request as apid keeps it: the record of its state, what
// the asker's proof said, and blobs that apid can't open.
//
// Invariants:
//   - nothing here decides: internal/approval moves the state, the roster says
//     who may decide, and the agent judges all of it again;
//   - no command, only its commitment;
//   - who neither asked, nor may decide, nor audits, is told nothing of it.
//
// The package must not import net/http by itself.
package ask

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/webhook"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// An Ask is one held request. Its exported fields are what the store's Body
// holds, as deterministic CBOR.
type Ask struct {
	Record     approval.Record       `cbor:"record"`
	SessionID  token.ID              `cbor:"session_id"`
	Target     key.Kid               `cbor:"target"`
	Kind       string                `cbor:"kind"`
	As         string                `cbor:"as"`
	Commitment envelope.Hash         `cbor:"commitment"`
	PolicyHash envelope.Hash         `cbor:"policy_hash"`
	Tier       string                `cbor:"tier"`      // as the asker says; the agent judges
	Rule       string                `cbor:"rule"`      // as the asker says
	Approvers  []string              `cbor:"approvers"` // of the verdict at the time of the ask
	Needs      quorum.Needs          `cbor:"needs,omitzero"`
	ProofHash  envelope.Hash         `cbor:"proof_hash"`
	Created    int64                 `cbor:"created"` // unix seconds
	Sealed     []byte                `cbor:"sealed"`
	Decisions  []wire.SealedDecision `cbor:"decisions"`

	stored store.Approval // as it was read or written last
}

// Find gives an ask of this team, or door.NotFound.
func Find(tx store.Tx, id token.ID) (*Ask, error) {
	stored, err := tx.Approvals.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, door.NotFound()
	}
	if err != nil {
		return nil, err
	}
	return Read(stored)
}

// Read gives the ask in a row.
func Read(stored store.Approval) (*Ask, error) {
	a := new(Ask)
	if err := envelope.Unmarshal(stored.Body, a); err != nil {
		return nil, fmt.Errorf("ask: stored approval: %w", err)
	}
	if a.Needs == nil { // kept before holds had steps
		a.Needs = quorum.Of(a.Record.Quorum, a.Approvers)
	}
	a.stored = stored
	return a, nil
}

// Write stores an ask that is new or that was read in this transaction. Its
// row's AskUntil is when it expires next.
func (a *Ask) Write(tx store.Tx) error {
	body, err := envelope.Marshal(a)
	if err != nil {
		return err
	}
	if len(body) > store.MaxBody {
		return wire.NewProblem(wire.KindTooLarge, "the ask and its decisions are too large together", "seal to fewer people")
	}
	row := store.Approval{
		ID: a.Record.ID, Number: a.stored.Number, Version: a.stored.Version, State: string(a.Record.State),
		Operator: a.Record.Operator, Agent: a.Target, SessionID: a.SessionID, Created: time.Unix(a.Created, 0),
		AskUntil: time.Unix(a.Record.AskUntil, 0), Body: body,
	}
	if a.Record.State == approval.Approved {
		row.AskUntil = time.Unix(a.Record.UseUntil, 0)
	}
	if row.Number == 0 {
		a.stored, err = tx.Approvals.Insert(row)
	} else {
		a.stored, err = tx.Approvals.Update(row)
	}
	return err
}

// IsFor reports whether this is about the request of a proof.
func (a *Ask) IsFor(p token.Proof) bool {
	return a.SessionID == p.SessionID && a.Target == p.Target && a.Kind == p.Kind && a.As == p.As && a.Commitment == p.Commitment
}

// MayDecide reports whether a device is one of those that may decide now.
func (a *Ask) MayDecide(on *roster.Roster, kid key.Kid, now time.Time) bool {
	return slices.ContainsFunc(a.Deciders(on, now), func(d roster.Device) bool { return d.Kid == kid })
}

// Deciders are the devices that may decide now.
func (a *Ask) Deciders(on *roster.Roster, now time.Time) []roster.Device {
	return on.Approvers(a.hold(), a.Record.Requester, now)
}

// hold is the verdict that the ask was made for, as far as it says who decides.
func (a *Ask) hold() policy.Verdict {
	return policy.Verdict{Effect: policy.Hold, Rule: a.Rule, Obligations: policy.Obligations{Needs: a.Needs, Approvers: a.Approvers, Quorum: a.Record.Quorum}}
}

// Say is what a device's member has to say about this ask, now.
func (a *Ask) Say(on *roster.Roster, d roster.Device, now time.Time) approval.Say {
	people := on.Snapshot()
	_, turn := people.MayApprove(a.hold(), a.Record.Requester, d.MemberID, a.Record.Approved())
	return approval.Say{
		Eligible: a.MayDecide(on, d.Kid, now),
		Turn:     turn,
		Enough:   people.Enough(a.hold(), a.Record.Requester),
	}
}

// Meets reports whether those who have approved are whom another verdict on the same
// request asks for.
func (a *Ask) Meets(v policy.Verdict, on *roster.Roster) bool {
	return on.Snapshot().Tally(v, a.Record.Requester, a.Record.Approved()).Complete()
}

// Visible reports whether a caller is told of this ask.
func (a *Ask) Visible(c door.Caller, now time.Time) bool {
	return a.Record.Requester == c.Device.MemberID || c.Audits() || a.MayDecide(c.Roster, c.Kid, now)
}

// Outline gives what Visible needs of the ask, without its blobs: what is kept in
// memory to judge later who may be told of a change.
func (a *Ask) Outline() *Ask {
	return &Ask{Record: approval.Record{Requester: a.Record.Requester, Quorum: a.Record.Quorum}, Rule: a.Rule, Approvers: a.Approvers, Needs: a.Needs}
}

// Show gives the ask to a caller; its sealed blobs only when they are asked for.
func (a *Ask) Show(c door.Caller, now time.Time, blobs bool) wire.Approval {
	rec := a.Record.At(now)
	out := wire.Approval{
		ID: rec.ID, SessionID: a.SessionID, Operator: rec.Operator, Member: rec.Requester, Target: a.Target, Kind: a.Kind, As: a.As,
		Commitment: a.Commitment, Tier: a.Tier, Rule: a.Rule, AskHash: rec.AskHash, Created: a.Created, AskUntil: rec.AskUntil,
		UseUntil: rec.UseUntil, State: string(rec.State), Quorum: rec.Quorum, Mine: rec.Requester == c.Device.MemberID,
	}
	decided := false
	for _, d := range rec.Decisions {
		if d.Approve {
			out.Approved++
		}
		decided = decided || d.Member == c.Device.MemberID
	}
	switch {
	case !rec.State.Open():
		out.WhyNot = "it is " + string(rec.State)
	case out.Mine:
		out.WhyNot = "nobody decides an own request"
	case decided:
		out.WhyNot = "you have decided already"
	case !a.MayDecide(c.Roster, c.Kid, now):
		out.WhyNot = "it needs one of " + strings.Join(a.Approvers, ", ")
	default:
		out.CanDecide = true
	}
	if blobs {
		out.Sealed, out.Decisions = a.Sealed, a.Decisions
	}
	return out
}

// Entry is the record of a change of the ask.
func (a *Ask) Entry(on *roster.Roster, action string, by audit.Party, decisions ...[]byte) audit.Entry {
	e := audit.Entry{
		Type: audit.Approval, Action: action, Actor: by, Target: audit.Party{Kid: a.Target}, SessionID: a.SessionID,
		Policy: audit.PolicyResult{Hash: on.PolicyHash(), Version: on.PolicyVersion()}, Approvals: decisions,
		Command: audit.CommandContext{Tier: a.Tier, Commitment: a.Commitment},
	}
	if agent, ok := on.EverAgent(a.Target); ok {
		e.Target.Name = agent.Name
	}
	return e
}

// Problem turns a refusal of the state machine into a problem.
func Problem(err error) error {
	text := strings.TrimPrefix(err.Error(), "approval: ")
	switch {
	case errors.Is(err, approval.ErrExpired):
		return wire.NewProblem(wire.KindExpired, text, "ask again")
	case errors.Is(err, approval.ErrUsed), errors.Is(err, approval.ErrTwice), errors.Is(err, approval.ErrClosed):
		return wire.NewProblem(wire.KindUsed, text, "tucdesk approvals show tells who decided what")
	case errors.Is(err, approval.ErrPending), errors.Is(err, approval.ErrTurn):
		return wire.NewProblem(wire.KindHeld, text, "wait for the decision")
	case errors.Is(err, approval.ErrSelf), errors.Is(err, approval.ErrNotEligible), errors.Is(err, approval.ErrNotAsker),
		errors.Is(err, approval.ErrMismatch):
		return door.Denied(text, "tucdesk approvals show tells who may decide")
	}
	return door.Malformed(text, "")
}

// IsNew reports whether the ask has just been made: it waits, and nobody has decided.
func (a *Ask) IsNew() bool {
	return a.Record.State == approval.Pending && len(a.Record.Decisions) == 0
}

// Notice is what a webhook may say of the ask: names of the roster, and how risky it is.
func (a *Ask) Notice(team string, on *roster.Roster) webhook.Notice {
	n := webhook.Notice{
		ID: a.Record.ID.String(), Team: team, Target: a.Target.Short(), Operator: a.Record.Operator.Short(), Tier: a.Tier,
		AskUntil: time.Unix(a.Record.AskUntil, 0),
	}
	if m, ok := on.EverAgent(a.Target); ok {
		n.Target = m.Name
	}
	if d, ok := on.EverDevice(a.Record.Operator); ok {
		n.Operator = d.Email
	}
	return n
}
