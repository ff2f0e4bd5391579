package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// maxNamed bounds the approvals that one session names.
const maxNamed = 8

// postApproval takes an ask: the operator's proof says about what, the sealed
// blob says it to the approvers.
func (s *Server) postApproval(ctx context.Context, r *door.Request, in wire.AskRequest) (wire.Approval, error) {
	switch {
	case in.ID.IsZero() || in.AskHash.IsZero() || len(in.Sealed) == 0:
		return wire.Approval{}, door.Malformed("id, ask_hash or sealed is missing", "update the client")
	case len(in.Sealed) > wire.MaxSealed:
		return wire.Approval{}, wire.NewProblem(wire.KindTooLarge, fmt.Sprintf("sealed has %d bytes, at most %d", len(in.Sealed), wire.MaxSealed), "seal to fewer people")
	case !isWord(in.Tier, 32) || len(in.Rule) > 256:
		return wire.Approval{}, door.Malformed("tier or rule is too long", "update the client")
	}
	var asked *ask.Ask
	var actor wire.Actor
	var refusal error
	err := s.effect(ctx, r.Caller, func(t *team) error {
		asked, refusal = nil, nil
		v, err := s.operatorProof(t, r.Caller, in.Proof, token.ActAsk)
		if err != nil {
			return err
		}
		p := v.Body()
		if stored, err := t.tx.Approvals.Get(in.ID); err == nil {
			asked, err = ask.Read(stored)
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
		j := s.judge(t, r.Caller, v, agent)
		if j.verdict.Effect != policy.Hold && j.verdict.Effect != policy.Deny && in.Tier == "" {
			return door.Malformed("nothing about this request is held", "open the session")
		}
		if j.actor, err = s.useProof(t, v); err != nil {
			return err
		}
		actor = j.actor
		if j.verdict.Effect == policy.Deny {
			refusal = j.problem()
			return s.record(t, j.entry(audit.Verdict, r.Caller, t.roster))
		}
		held := j.held(t)
		now := s.now()
		until := min(in.AskUntil, now.Add(held.Obligations.AskFor).Unix())
		record, err := approval.NewRecord(in.ID, in.AskHash, r.Caller.Kid, r.Caller.Device.MemberID, held.Obligations.Quorum, until, now)
		if err != nil {
			return ask.Problem(err)
		}
		if len(t.roster.Approvers(held, r.Caller.Device.MemberID, now)) == 0 {
			return door.Denied("nobody on the roster could approve this now", "ask an admin of your team")
		}
		asked = &ask.Ask{
			Record: record, SessionID: p.SessionID, Target: p.Target, Kind: p.Kind, As: p.As, Commitment: p.Commitment,
			PolicyHash: p.PolicyHash, Tier: in.Tier, Rule: in.Rule, Approvers: held.Obligations.Approvers, Needs: held.Obligations.Needs,
			ProofHash: v.Hash(), Created: now.Unix(), Sealed: in.Sealed,
		}
		entry := j.entry(audit.Ask, r.Caller, t.roster)
		entry.Command.Tier = in.Tier
		if err := s.record(t, entry); err != nil {
			return err
		}
		return t.keep(asked)
	})
	switch {
	case err != nil:
		return wire.Approval{}, err
	case refusal != nil:
		return wire.Approval{}, refusal
	}
	out := asked.Show(r.Caller, s.now(), true)
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
	rows      []*ask.Ask
	decisions [][]byte // their Decision envelopes
}

// namedApprovals checks that each approval is of this request, approved, and not
// used. Nothing is used up yet.
func (s *Server) namedApprovals(t *team, p token.Proof, ids []token.ID) (namedApprovals, error) {
	var named namedApprovals
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return named, door.Malformed("an approval is named twice", "name each once")
		}
		r, err := ask.Find(t.tx, id)
		if err != nil {
			return named, err
		}
		if !r.IsFor(p) {
			return named, door.Denied("the approval is of another request", "ask for approval of this one")
		}
		if r.PolicyHash != p.PolicyHash {
			return named, wire.NewProblem(wire.KindExpired, "the policy has changed since the approval", "ask again")
		}
		if r.Record, err = r.Record.Use(p.Operator, s.now()); err != nil {
			return named, ask.Problem(err)
		}
		named.rows = append(named.rows, r)
		for _, d := range r.Decisions {
			named.decisions = append(named.decisions, d.Decision)
		}
	}
	return named, nil
}

// spend uses the approvals up, in the transaction of the grant.
func (n *namedApprovals) spend(t *team) error {
	for i := range n.rows {
		if err := t.keep(n.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// getApprovals gives a page of approvals, newest first.
func (s *Server) getApprovals(ctx context.Context, r *door.Request) (wire.ApprovalsPage, error) {
	before, err := r.Number("after", 0)
	if err != nil {
		return wire.ApprovalsPage{}, err
	}
	state, now := r.Text("state"), s.now()
	if !isWord(state, 16) {
		return wire.ApprovalsPage{}, door.Malformed("unknown state", "pending, approved, denied, expired, cancelled or used")
	}
	page := wire.ApprovalsPage{Approvals: []wire.Approval{}}
	err = s.store.View(ctx, r.Caller.Team, func(tx store.Tx) error {
		// One page of rows, of which the caller may be told only some.
		rows, err := tx.Approvals.List(store.Filter{State: state}, before, wire.MaxApprovals)
		if err != nil {
			return err
		}
		for _, stored := range rows {
			a, err := ask.Read(stored)
			if err != nil {
				return err
			}
			if !a.Visible(r.Caller, now) {
				continue
			}
			if shown := s.attention.Show(r.Caller, a, false); state == "" || shown.State == state {
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
func (s *Server) getApproval(ctx context.Context, r *door.Request) (wire.Approval, error) {
	id, err := r.ID()
	if err != nil {
		return wire.Approval{}, err
	}
	wait, err := r.Number("wait", 0)
	if err != nil || wait > wire.MaxWait {
		return wire.Approval{}, door.Malformed(fmt.Sprintf("wait is 0 to %d seconds", wire.MaxWait), "")
	}
	end := time.NewTimer(time.Duration(wait) * time.Second)
	defer end.Stop()
	for {
		changed, leave, err := s.waiters.Join(id, r.Caller.Kid)
		if err != nil {
			return wire.Approval{}, err
		}
		shown, err := s.readApproval(ctx, r.Caller, id)
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

func (s *Server) readApproval(ctx context.Context, c door.Caller, id token.ID) (shown wire.Approval, err error) {
	err = s.store.View(ctx, c.Team, func(tx store.Tx) error {
		a, err := ask.Find(tx, id)
		if err != nil {
			return err
		}
		if !a.Visible(c, s.now()) {
			return door.Denied("this approval is another person's", "who asked, who may decide and who audits can see it")
		}
		shown = s.attention.Show(c, a, true)
		return nil
	})
	return shown, err
}

// postDecision takes a person's decision.
func (s *Server) postDecision(ctx context.Context, r *door.Request, in wire.SealedDecision) (wire.Approval, error) {
	id, err := r.ID()
	if err != nil {
		return wire.Approval{}, err
	}
	u, err := approval.ParseDecision(in.Decision)
	if err != nil || len(in.Decision) > wire.MaxEnvelope {
		return wire.Approval{}, door.Malformed("the decision is not one", "update the client")
	}
	if len(in.Sealed) == 0 || len(in.Sealed) > wire.MaxDecision {
		return wire.Approval{}, door.Malformed(fmt.Sprintf("sealed has %d bytes, want 1 to %d", len(in.Sealed), wire.MaxDecision), "seal to operator, agent and auditors only")
	}
	var a *ask.Ask
	err = s.effect(ctx, r.Caller, func(t *team) error {
		v, err := u.Verify(envelope.One(r.Caller.Device.Public))
		switch {
		case errors.Is(err, envelope.ErrSignature), errors.Is(err, envelope.ErrUnknownSigner):
			return door.Unauthenticated()
		case err != nil:
			return door.Malformed("the decision is not one", "update the client")
		case v.Body().SealedHash != envelope.Sum(in.Sealed):
			return door.Malformed("sealed is not what the decision was signed over", "send both together")
		}
		if a, err = ask.Find(t.tx, id); err != nil {
			return err
		}
		if slices.ContainsFunc(a.Record.Decisions, func(d approval.Decided) bool { return d.Hash == v.Hash() }) {
			return nil // the same decision again, after a lost answer
		}
		say := a.Say(t.roster, r.Caller.Device, s.now())
		if a.Record, err = a.Record.Decide(v, r.Caller.Device.MemberID, say, s.now()); err != nil {
			return ask.Problem(err)
		}
		a.Decisions = append(a.Decisions, in)
		action := "approve"
		if !v.Body().Approve {
			action = "deny"
		}
		if err := s.record(t, a.Entry(t.roster, action, party(r.Caller), in.Decision)); err != nil {
			return err
		}
		return t.keep(a)
	})
	if err != nil {
		return wire.Approval{}, err
	}
	return a.Show(r.Caller, s.now(), true), nil
}

// postCancel takes an own ask back.
func (s *Server) postCancel(ctx context.Context, r *door.Request, in wire.CancelRequest) (wire.Approval, error) {
	id, err := r.ID()
	if err != nil {
		return wire.Approval{}, err
	}
	var a *ask.Ask
	var actor wire.Actor
	err = s.effect(ctx, r.Caller, func(t *team) error {
		v, err := s.operatorProof(t, r.Caller, in.Proof, token.ActCancel)
		if err != nil {
			return err
		}
		if a, err = ask.Find(t.tx, id); err != nil {
			return err
		}
		p := v.Body()
		if p.SessionID != a.SessionID || p.Target != a.Target {
			return door.Malformed("the proof is about another request", "sign one that cancels this ask")
		}
		if a.Record, err = a.Record.Cancel(r.Caller.Device.MemberID, s.now()); err != nil {
			return ask.Problem(err)
		}
		if actor, err = s.useProof(t, v); err != nil {
			return err
		}
		entry := a.Entry(t.roster, "cancel", party(r.Caller))
		entry.Type, entry.Proof = audit.Ask, v.Bytes()
		if err := s.record(t, entry); err != nil {
			return err
		}
		return t.keep(a)
	})
	if err != nil {
		return wire.Approval{}, err
	}
	shown := a.Show(r.Caller, s.now(), true)
	shown.Actor = &actor
	return shown, nil
}
