package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// maxNamed bounds the approvals that one session names.
const maxNamed = 8

// An ask is what apid keeps of a held request: the record of its state, what the
// asker's proof said, and blobs that apid can't open.
type ask struct {
	Record     approval.Record       `cbor:"record"`
	SessionID  token.ID              `cbor:"session_id"`
	Target     key.Kid               `cbor:"target"`
	Kind       string                `cbor:"kind"`
	As         string                `cbor:"as"`
	Commitment envelope.Hash         `cbor:"commitment"`
	PolicyHash envelope.Hash         `cbor:"policy_hash"`
	Tier       string                `cbor:"tier"` // as the asker says; the agent judges
	Rule       string                `cbor:"rule"`
	Approvers  []string              `cbor:"approvers"` // of the verdict at the time of the ask
	ProofHash  envelope.Hash         `cbor:"proof_hash"`
	Created    int64                 `cbor:"created"`
	Sealed     []byte                `cbor:"sealed"`
	Decisions  []wire.SealedDecision `cbor:"decisions"`
}

// A row is an ask as it is stored.
type row struct {
	ask
	stored store.Approval
}

func readRow(stored store.Approval) (row, error) {
	r := row{stored: stored}
	if err := envelope.Unmarshal(stored.Body, &r.ask); err != nil {
		return row{}, fmt.Errorf("api: stored approval: %w", err)
	}
	return r, nil
}

// find gives an ask of this team.
func find(tx store.Tx, id token.ID) (row, error) {
	stored, err := tx.Approvals.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return row{}, notFound()
	}
	if err != nil {
		return row{}, err
	}
	return readRow(stored)
}

// write stores what changed. AskUntil of the row is when the sweeper looks at
// it next.
func (r *row) write(tx store.Tx) (err error) {
	r.stored.State = string(r.Record.State)
	r.stored.AskUntil = time.Unix(r.Record.AskUntil, 0)
	if r.Record.State == approval.Approved {
		r.stored.AskUntil = time.Unix(r.Record.UseUntil, 0)
	}
	if r.stored.Body, err = envelope.Marshal(r.ask); err != nil {
		return err
	}
	if len(r.stored.Body) > store.MaxBody {
		return wire.NewProblem(wire.KindTooLarge, "the ask and its decisions are too large together", "seal to fewer people")
	}
	if r.stored.Number == 0 {
		r.stored, err = tx.Approvals.Insert(r.stored)
	} else {
		r.stored, err = tx.Approvals.Update(r.stored)
	}
	return err
}

// hold is the verdict that says who may approve.
func (a *ask) hold() policy.Verdict {
	return policy.Verdict{Effect: policy.Hold, Rule: a.Rule, Obligations: policy.Obligations{Approvers: a.Approvers, Quorum: a.Record.Quorum}}
}

// mayDecide reports whether a device is one of those that may decide now.
func (a *ask) mayDecide(on *roster.Roster, kid key.Kid, now time.Time) bool {
	return slices.ContainsFunc(on.Approvers(a.hold(), a.Record.Requester, now), func(d roster.Device) bool { return d.Kid == kid })
}

// visible reports whether a caller is told of this ask.
func (a *ask) visible(c *caller, now time.Time) bool {
	return a.Record.Requester == c.device.MemberID || c.audits() || a.mayDecide(c.roster, c.kid, now)
}

// show gives the ask to a caller.
func (a *ask) show(c *caller, now time.Time, blobs bool) wire.Approval {
	rec := a.Record.At(now)
	out := wire.Approval{
		ID: rec.ID, SessionID: a.SessionID, Operator: rec.Operator, Member: rec.Requester, Target: a.Target, Kind: a.Kind, As: a.As,
		Commitment: a.Commitment, Tier: a.Tier, Rule: a.Rule, AskHash: rec.AskHash, Created: a.Created, AskUntil: rec.AskUntil,
		UseUntil: rec.UseUntil, State: string(rec.State), Quorum: rec.Quorum, Mine: rec.Requester == c.device.MemberID,
	}
	decided := false
	for _, d := range rec.Decisions {
		if d.Approve {
			out.Approved++
		}
		decided = decided || d.Member == c.device.MemberID
	}
	switch {
	case !rec.State.Open():
		out.WhyNot = "it is " + string(rec.State)
	case out.Mine:
		out.WhyNot = "nobody decides an own request"
	case decided:
		out.WhyNot = "you have decided already"
	case !a.mayDecide(c.roster, c.kid, now):
		out.WhyNot = "it needs one of " + strings.Join(a.Approvers, ", ")
	default:
		out.CanDecide = true
	}
	if blobs {
		out.Sealed, out.Decisions = a.Sealed, a.Decisions
	}
	return out
}

// postApproval takes an ask: the operator's proof says about what, the sealed
// blob says it to the approvers.
func (s *Server) postApproval(ctx context.Context, r *request, in wire.AskRequest) (wire.Approval, error) {
	switch {
	case in.ID.IsZero() || in.AskHash.IsZero() || len(in.Sealed) == 0:
		return wire.Approval{}, malformed("id, ask_hash or sealed is missing", "update the client")
	case len(in.Sealed) > wire.MaxSealed:
		return wire.Approval{}, wire.NewProblem(wire.KindTooLarge, fmt.Sprintf("sealed has %d bytes, at most %d", len(in.Sealed), wire.MaxSealed), "seal to fewer people")
	case !isWord(in.Tier, 32) || len(in.Rule) > 256:
		return wire.Approval{}, malformed("tier or rule is too long", "update the client")
	}
	var asked row
	var actor wire.Actor
	var refusal error
	err := s.effect(ctx, r.caller, func(t *team) error {
		v, err := s.operatorProof(t, r.caller, in.Proof, token.ActAsk)
		if err != nil {
			return err
		}
		p := v.Body()
		if stored, err := t.tx.Approvals.Get(in.ID); err == nil {
			asked, err = readRow(stored)
			if err == nil && (asked.ProofHash != v.Hash() || asked.Record.AskHash != in.AskHash) {
				err = wire.NewProblem(wire.KindUsed, "this approval id was used before", "choose a new one")
			}
			actor = wire.Actor{Seq: p.ActorSeq, Hash: v.Hash()}
			return err // the same ask again, after a lost answer
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := t.current(p); err != nil {
			return err
		}
		agent, err := s.target(t, p)
		if err != nil {
			return err
		}
		j := s.judge(t, r.caller, v, agent)
		if j.verdict.Effect != policy.Hold && j.verdict.Effect != policy.Deny && in.Tier == "" {
			return malformed("nothing about this request is held", "open the session")
		}
		if j.actor, err = s.useProof(t, v); err != nil {
			return err
		}
		actor = j.actor
		if j.verdict.Effect == policy.Deny {
			refusal = j.problem()
			return s.record(t, j.entry(audit.Verdict, r.caller, t.roster))
		}
		held := j.held(t)
		now := s.now()
		until := min(in.AskUntil, now.Add(held.Obligations.AskFor).Unix())
		record, err := approval.NewRecord(in.ID, in.AskHash, r.caller.kid, r.caller.device.MemberID, held.Obligations.Quorum, until, now)
		if err != nil {
			return approvalProblem(err)
		}
		if len(t.roster.Approvers(held, r.caller.device.MemberID, now)) == 0 {
			return denied("nobody on the roster could approve this now", "ask an admin of your team")
		}
		asked = row{ask: ask{
			Record: record, SessionID: p.SessionID, Target: p.Target, Kind: p.Kind, As: p.As, Commitment: p.Commitment,
			PolicyHash: p.PolicyHash, Tier: in.Tier, Rule: in.Rule, Approvers: held.Obligations.Approvers,
			ProofHash: v.Hash(), Created: now.Unix(), Sealed: in.Sealed,
		}, stored: store.Approval{ID: in.ID, Operator: p.Operator, Agent: p.Target, SessionID: p.SessionID, Created: now}}
		entry := j.entry(audit.Ask, r.caller, t.roster)
		entry.Command.Tier = in.Tier
		if err := s.record(t, entry); err != nil {
			return err
		}
		return asked.write(t.tx)
	})
	switch {
	case err != nil:
		return wire.Approval{}, err
	case refusal != nil:
		return wire.Approval{}, refusal
	}
	out := asked.show(&r.caller, s.now(), true)
	out.Actor = &actor
	return out, nil
}

// isWord reports whether s is short lower-case ASCII, or empty.
func isWord(s string, most int) bool {
	return len(s) <= most && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

// held is the verdict's hold: the rule's own, or the one that a command's tier
// brings, of which apid, which sees no command, takes the asker's word. The
// agent judges it again.
func (j *judgement) held(t *team) policy.Verdict {
	if j.verdict.Effect == policy.Hold {
		return j.verdict
	}
	return policy.HeldByTier(j.verdict, t.roster.Snapshot())
}

// namedApprovals are the approvals that a session relies on.
type namedApprovals struct {
	rows      []row
	decisions [][]byte // their Decision envelopes
	quorum    int      // the least of theirs; 0 where there are none
}

// namedApprovals checks that each approval is of this request, approved, and not
// used. Nothing is used up yet.
func (s *Server) namedApprovals(t *team, p token.Proof, ids []token.ID) (namedApprovals, error) {
	var named namedApprovals
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return named, malformed("an approval is named twice", "name each once")
		}
		r, err := find(t.tx, id)
		if err != nil {
			return named, err
		}
		if r.SessionID != p.SessionID || r.Target != p.Target || r.Kind != p.Kind || r.As != p.As || r.Commitment != p.Commitment {
			return named, denied("the approval is of another request", "ask for approval of this one")
		}
		if r.PolicyHash != p.PolicyHash {
			return named, wire.NewProblem(wire.KindExpired, "the policy has changed since the approval", "ask again")
		}
		if r.Record, err = r.Record.Use(p.Operator, s.now()); err != nil {
			return named, approvalProblem(err)
		}
		named.rows = append(named.rows, r)
		for _, d := range r.Decisions {
			named.decisions = append(named.decisions, d.Decision)
		}
		if named.quorum == 0 || r.Record.Quorum < named.quorum {
			named.quorum = r.Record.Quorum
		}
	}
	return named, nil
}

// spend uses the approvals up, in the transaction of the grant.
func (n *namedApprovals) spend(t *team) error {
	for i := range n.rows {
		if err := n.rows[i].write(t.tx); err != nil {
			return err
		}
	}
	return nil
}

// approvalProblem turns a refusal of the state machine into a problem.
func approvalProblem(err error) error {
	text := strings.TrimPrefix(err.Error(), "approval: ")
	switch {
	case errors.Is(err, approval.ErrExpired):
		return wire.NewProblem(wire.KindExpired, text, "ask again")
	case errors.Is(err, approval.ErrUsed), errors.Is(err, approval.ErrTwice), errors.Is(err, approval.ErrClosed):
		return wire.NewProblem(wire.KindUsed, text, "tucdesk approvals show tells who decided what")
	case errors.Is(err, approval.ErrPending):
		return wire.NewProblem(wire.KindHeld, text, "wait for the decision")
	case errors.Is(err, approval.ErrSelf), errors.Is(err, approval.ErrNotEligible), errors.Is(err, approval.ErrNotAsker),
		errors.Is(err, approval.ErrMismatch):
		return denied(text, "tucdesk approvals show tells who may decide")
	}
	return malformed(text, "")
}

// getApprovals gives a page of approvals, newest first.
func (s *Server) getApprovals(ctx context.Context, r *request) (wire.ApprovalsPage, error) {
	before, err := r.number("after", 0)
	if err != nil {
		return wire.ApprovalsPage{}, err
	}
	state, now := r.text("state"), s.now()
	if !isWord(state, 16) {
		return wire.ApprovalsPage{}, malformed("unknown state", "pending, approved, denied, expired, cancelled or used")
	}
	page := wire.ApprovalsPage{Approvals: []wire.Approval{}}
	err = s.store.View(ctx, r.caller.team, func(tx store.Tx) error {
		// One page of rows, of which the caller may be told only some.
		rows, err := tx.Approvals.List(store.Filter{State: state}, before, wire.MaxApprovals)
		if err != nil {
			return err
		}
		for _, stored := range rows {
			a, err := readRow(stored)
			if err != nil {
				return err
			}
			if !a.visible(&r.caller, now) {
				continue
			}
			if shown := a.show(&r.caller, now, false); state == "" || shown.State == state {
				page.Approvals = append(page.Approvals, shown)
			}
		}
		if len(rows) == wire.MaxApprovals {
			page.Next = strconv.FormatUint(rows[len(rows)-1].Number, 10)
		}
		return nil
	})
	return page, err
}

// getApproval gives one approval. With wait it answers when the approval is no
// longer pending, or when the seconds are over.
func (s *Server) getApproval(ctx context.Context, r *request) (wire.Approval, error) {
	id, err := r.id()
	if err != nil {
		return wire.Approval{}, err
	}
	wait, err := r.number("wait", 0)
	if err != nil || wait > wire.MaxWait {
		return wire.Approval{}, malformed(fmt.Sprintf("wait is 0 to %d seconds", wire.MaxWait), "")
	}
	end := time.NewTimer(time.Duration(wait) * time.Second)
	defer end.Stop()
	for {
		changed, leave, err := s.waiters.join(id, r.caller.kid)
		if err != nil {
			return wire.Approval{}, err
		}
		shown, err := s.readApproval(ctx, r.caller, id)
		over := true
		if err == nil && shown.State == wire.Pending {
			over, err = await(ctx, changed, time.Unix(shown.AskUntil+1, 0).Sub(s.now()), end.C)
		}
		leave()
		if err != nil || over {
			return shown, err
		}
	}
}

// await waits for a change or for expiry, and reports over when the waiting ends
// before either.
func await(ctx context.Context, changed <-chan struct{}, expiry time.Duration, end <-chan time.Time) (over bool, err error) {
	expired := time.NewTimer(expiry)
	defer expired.Stop()
	select {
	case <-changed:
	case <-expired.C:
	case <-end:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
	return false, nil
}

func (s *Server) readApproval(ctx context.Context, c caller, id token.ID) (shown wire.Approval, err error) {
	err = s.store.View(ctx, c.team, func(tx store.Tx) error {
		a, err := find(tx, id)
		if err != nil {
			return err
		}
		if !a.visible(&c, s.now()) {
			return denied("this approval is another person's", "who asked, who may decide and who audits can see it")
		}
		shown = a.show(&c, s.now(), true)
		return nil
	})
	return shown, err
}

// postDecision takes a person's decision.
func (s *Server) postDecision(ctx context.Context, r *request, in wire.SealedDecision) (wire.Approval, error) {
	id, err := r.id()
	if err != nil {
		return wire.Approval{}, err
	}
	u, err := approval.ParseDecision(in.Decision)
	if err != nil || len(in.Decision) > wire.MaxEnvelope {
		return wire.Approval{}, malformed("the decision is not one", "update the client")
	}
	if len(in.Sealed) == 0 || len(in.Sealed) > wire.MaxDecision {
		return wire.Approval{}, malformed(fmt.Sprintf("sealed has %d bytes, want 1 to %d", len(in.Sealed), wire.MaxDecision), "seal to operator, agent and auditors only")
	}
	var a row
	err = s.effect(ctx, r.caller, func(t *team) error {
		v, err := u.Verify(envelope.One(r.caller.device.Public))
		switch {
		case errors.Is(err, envelope.ErrSignature), errors.Is(err, envelope.ErrUnknownSigner):
			return unauthenticated()
		case err != nil:
			return malformed("the decision is not one", "update the client")
		case v.Body().SealedHash != envelope.Sum(in.Sealed):
			return malformed("sealed is not what the decision was signed over", "send both together")
		}
		if a, err = find(t.tx, id); err != nil {
			return err
		}
		if slices.ContainsFunc(a.Record.Decisions, func(d approval.Decided) bool { return d.Hash == v.Hash() }) {
			return nil // the same decision again, after a lost answer
		}
		may := a.mayDecide(t.roster, r.caller.kid, s.now())
		if a.Record, err = a.Record.Decide(v, r.caller.device.MemberID, may, s.now()); err != nil {
			return approvalProblem(err)
		}
		a.Decisions = append(a.Decisions, in)
		action := "approve"
		if !v.Body().Approve {
			action = "deny"
		}
		if err := s.record(t, a.entry(t, action, r.caller.party(), in.Decision)); err != nil {
			return err
		}
		return a.write(t.tx)
	})
	if err != nil {
		return wire.Approval{}, err
	}
	s.waiters.changed(id)
	return a.show(&r.caller, s.now(), true), nil
}

// entry is the record of a change of an ask.
func (a *ask) entry(t *team, action string, by audit.Party, decisions ...[]byte) audit.Entry {
	e := audit.Entry{
		Type: audit.Approval, Action: action, Actor: by, Target: audit.Party{Kid: a.Target}, SessionID: a.SessionID,
		Policy: audit.PolicyResult{Hash: t.roster.PolicyHash(), Version: t.roster.PolicyVersion()}, Approvals: decisions,
		Command: audit.CommandContext{Tier: a.Tier, Commitment: a.Commitment},
	}
	if agent, ok := t.roster.EverAgent(a.Target); ok {
		e.Target.Name = agent.Name
	}
	return e
}

// postCancel takes an own ask back.
func (s *Server) postCancel(ctx context.Context, r *request, in wire.CancelRequest) (wire.Approval, error) {
	id, err := r.id()
	if err != nil {
		return wire.Approval{}, err
	}
	var a row
	var actor wire.Actor
	err = s.effect(ctx, r.caller, func(t *team) error {
		v, err := s.operatorProof(t, r.caller, in.Proof, token.ActCancel)
		if err != nil {
			return err
		}
		if a, err = find(t.tx, id); err != nil {
			return err
		}
		p := v.Body()
		if p.SessionID != a.SessionID || p.Target != a.Target {
			return malformed("the proof is about another request", "sign one that cancels this ask")
		}
		if a.Record, err = a.Record.Cancel(r.caller.device.MemberID, s.now()); err != nil {
			return approvalProblem(err)
		}
		if actor, err = s.useProof(t, v); err != nil {
			return err
		}
		entry := a.entry(t, "cancel", r.caller.party())
		entry.Type, entry.Proof = audit.Ask, v.Bytes()
		if err := s.record(t, entry); err != nil {
			return err
		}
		return a.write(t.tx)
	})
	if err != nil {
		return wire.Approval{}, err
	}
	s.waiters.changed(id)
	shown := a.show(&r.caller, s.now(), true)
	shown.Actor = &actor
	return shown, nil
}
