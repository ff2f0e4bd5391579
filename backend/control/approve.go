package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	maxAsks  = 256 // asks of this process that are remembered
	waitStep = wire.MaxWait * time.Second
)

// An ask is a request of this process that waits for approval, or has it.
type ask struct {
	body      approval.Ask
	req       backend.OpenRequest
	plan      *plan
	approvals [][]byte // once approved
}

// granted is an approved ask, taken out to be used.
type granted struct {
	ask       approval.Ask
	approvals [][]byte
}

// Ask signs the request with everything that will run, seals it to those who
// may approve and to the auditors, and files it. apid sees who, where and how
// risky, never the command.
func (b *Backend) Ask(ctx context.Context, req backend.OpenRequest) (backend.ApprovalID, error) {
	if b.isClosed() {
		return "", backend.ErrClosed
	}
	r, err := b.syncNow(ctx)
	if err != nil {
		return "", err
	}
	p, err := b.held(r, req)
	if err != nil {
		return "", err
	}
	if err := b.bind(ctx, p); err != nil {
		return "", err
	}
	return b.ask(ctx, p)
}

// held is what a held request asks for.
func (b *Backend) held(r *roster.Roster, req backend.OpenRequest) (*plan, error) {
	me, a, err := b.parties(r, req.Target)
	if err != nil {
		return nil, err
	}
	v, err := b.judge(r, me, a, req)
	return &plan{req: req, roster: r, me: me, agent: a, verdict: v, session: token.NewID(), command: review.Command(req, true)}, err
}

// ask files what a plan asks for.
func (b *Backend) ask(ctx context.Context, p *plan) (backend.ApprovalID, error) {
	a, approvers, err := b.prepare(p)
	if err != nil {
		return "", err
	}
	return b.file(ctx, a, approvers)
}

// AskTogether files the requests as one plan: who approves decides all of them or
// none, and reads which machines they are. The ids are in the order of the
// requests. When one can't be filed, those before it are taken back.
func (b *Backend) AskTogether(ctx context.Context, reqs []backend.OpenRequest) ([]backend.ApprovalID, error) {
	if len(reqs) == 1 {
		id, err := b.Ask(ctx, reqs[0])
		return []backend.ApprovalID{id}, err
	}
	if b.isClosed() {
		return nil, backend.ErrClosed
	}
	r, err := b.syncNow(ctx)
	if err != nil {
		return nil, err
	}
	plans := make([]*plan, len(reqs))
	for i, req := range reqs {
		if plans[i], err = b.held(r, req); err != nil {
			return nil, err
		}
	}
	if err := b.bind(ctx, plans...); err != nil {
		return nil, err
	}
	asks, approvers, parts := make([]*ask, len(reqs)), make([][]roster.Device, len(reqs)), make([]approval.Part, len(reqs))
	for i, p := range plans {
		req := p.req
		if asks[i], approvers[i], err = b.prepare(p); err != nil {
			return nil, fmt.Errorf("%s: %w", req.Target, err)
		}
		parts[i] = asks[i].body.Part()
	}
	together, err := approval.PlanOf(parts)
	if err != nil {
		return nil, err
	}
	ids := make([]backend.ApprovalID, 0, len(asks))
	for i, a := range asks {
		a.body.Plan = together
		id, err := b.file(ctx, a, approvers[i])
		if err != nil {
			undo, stop := context.WithTimeout(context.WithoutCancel(ctx), answerIn)
			defer stop()
			for _, id := range ids {
				if cerr := b.Cancel(undo, id); cerr != nil {
					b.logger.Warn("a request of a plan that came to nothing could not be taken back", "approval", id, "error", cerr)
				}
			}
			return nil, fmt.Errorf("%s: %w", reqs[i].Target, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// prepare makes the ask of a held request, and says who may approve it.
func (b *Backend) prepare(p *plan) (*ask, []roster.Device, error) {
	req, r, me, a, v := p.req, p.roster, p.me, p.agent, p.verdict
	if v.Effect == policy.Deny {
		return nil, nil, shown(v).Err()
	}
	if v.Effect != policy.Hold {
		return nil, nil, fmt.Errorf("control: policy does not hold this request (%s); open it", v.Effect)
	}
	now := b.now()
	approvers := r.Approvers(v, me.MemberID, now)
	if len(approvers) == 0 {
		return nil, nil, fmt.Errorf("%w: %s", backend.ErrDenied, review.Nobody(r, v, a.Name))
	}
	if err := p.command.Check(); err != nil {
		return nil, nil, err
	}
	if most := v.Obligations.MaxSession; req.Lasts < 0 || req.Lasts > most {
		return nil, nil, fmt.Errorf("control: it may last %v at most by policy, not %v; ask for less", most, req.Lasts)
	}
	return &ask{req: req, plan: p, body: approval.Ask{
		ID: token.NewID(), TeamFP: r.TeamFP(), SessionID: p.session, Agent: a.Kid, AgentName: a.Name, Operator: me.Kid,
		Kind: string(req.Kind), As: req.As, Command: p.command, Tier: v.Tier, Rule: v.Rule,
		PolicyHash: r.PolicyHash(), RosterHead: token.Head(r.Head()), Reason: req.Reason,
		Created: now.Unix(), AskUntil: now.Add(v.Obligations.AskFor).Unix(), Nonce: token.NewID(),
		Lasts: int64((req.Lasts + time.Second - 1) / time.Second),
	}}, approvers, nil
}

// file signs an ask, seals it to those who may read it, and tells apid of it.
func (b *Backend) file(ctx context.Context, a *ask, approvers []roster.Device) (backend.ApprovalID, error) {
	body, p := a.body, a.plan
	signed, err := approval.SignAsk(b.home.Identity, body)
	if err != nil {
		return "", err
	}
	readers := slices.Concat(review.Recipients(approvers), p.roster.Auditors(), []key.Recipient{p.me.Recipient})
	sealed, err := key.Seal(signed, readers...)
	if err != nil {
		return "", err
	}
	hash, err := envelope.PayloadHash(signed)
	if err != nil {
		return "", err
	}
	err = b.prove(ctx, p, token.ActAsk, func(ctx context.Context, proof []byte) (wire.Actor, error) {
		ap, err := b.api.Ask(ctx, wire.AskRequest{
			ID: body.ID, Proof: proof, Tier: body.Tier, Rule: body.Rule, AskHash: hash, AskUntil: body.AskUntil, Sealed: sealed,
		})
		if err != nil || ap.Actor == nil {
			return wire.Actor{}, err
		}
		return *ap.Actor, nil
	})
	if err != nil {
		return "", translate(err)
	}
	id := backend.ApprovalID(body.ID.String())
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asks) >= maxAsks {
		return "", errors.New("control: too many requests of this console wait for approval; close some")
	}
	b.asks[id] = a
	return id, nil
}

// Await waits until an ask of this process is decided. When ctx ends first the
// ask stays; Cancel takes it back.
func (b *Backend) Await(ctx context.Context, id backend.ApprovalID) error {
	b.mu.Lock()
	a, ok := b.asks[id]
	b.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: this console has not asked for approval %s", backend.ErrNotFound, id)
	}
	for {
		ap, err := b.api.Approval(ctx, a.body.ID, waitStep)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, wire.ErrUnavailable) || errors.Is(err, wire.ErrTooMany) {
			// A server that is away decides nothing: wait on, until nobody
			// could decide any more.
			if b.now().Unix() < a.body.AskUntil && review.Pause(ctx, 2*time.Second) == nil {
				continue
			}
		}
		if err != nil {
			return translate(err)
		}
		switch ap.State {
		case wire.Pending:
			continue
		case wire.Approved:
			return b.collect(a, ap)
		}
		b.forget(id)
		switch ap.State {
		case wire.Denied:
			return fmt.Errorf("%w: %s", backend.ErrDenied, review.Denial(b.home.Roster(), ap, b.home.Unsealer))
		case wire.Expired:
			return fmt.Errorf("%w: nobody decided in time; ask again", backend.ErrExpired)
		}
		return fmt.Errorf("%w: the request is %s", backend.ErrDenied, ap.State)
	}
}

func (b *Backend) forget(id backend.ApprovalID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.asks, id)
}

// collect opens the approvals of an approved ask. What apid says counts for
// nothing here: the agent wants the approvers' own signatures.
func (b *Backend) collect(a *ask, ap wire.Approval) error {
	got := review.Approvals(ap, b.home.Unsealer)
	if len(got) < a.plan.verdict.Obligations.Quorum {
		return fmt.Errorf("%w: apid says approved, but hands out %d of %d signed approvals", backend.ErrUnavailable, len(got), a.plan.verdict.Obligations.Quorum)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a.approvals = got
	return nil
}

// take hands out an approved ask, once, for the request that it was made for.
func (b *Backend) take(req backend.OpenRequest) (*granted, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.asks[req.Approval]
	if !ok {
		return nil, fmt.Errorf("%w: no open approval %s of this console", backend.ErrNotFound, req.Approval)
	}
	if a.approvals == nil {
		return nil, shown(a.plan.verdict).Err()
	}
	same := req
	// How large the window is and how the reason is worded changes nothing that was approved.
	same.Approval, same.Cols, same.Rows, same.Reason, same.Confirmed = a.req.Approval, a.req.Cols, a.req.Rows, a.req.Reason, a.req.Confirmed
	if !reflect.DeepEqual(same, a.req) {
		return nil, fmt.Errorf("%w: approval %s was given for another request", backend.ErrDenied, req.Approval)
	}
	delete(b.asks, req.Approval)
	return &granted{a.body, a.approvals}, nil
}

// Cancel takes back an own ask, whichever process of this member made it.
func (b *Backend) Cancel(ctx context.Context, id backend.ApprovalID) error {
	b.mu.Lock()
	a, ok := b.asks[id]
	b.mu.Unlock()
	if !ok {
		var err error
		if a, err = b.recall(ctx, id); err != nil {
			return err
		}
	}
	b.forget(id)
	return translate(b.prove(ctx, a.plan, token.ActCancel, func(ctx context.Context, proof []byte) (wire.Actor, error) {
		ap, err := b.api.Cancel(ctx, a.body.ID, proof)
		if err != nil || ap.Actor == nil {
			return wire.Actor{}, err
		}
		return *ap.Actor, nil
	}))
}

// recall reads an own ask that another process has made.
func (b *Backend) recall(ctx context.Context, id backend.ApprovalID) (*ask, error) {
	tid, err := token.ParseID(string(id))
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not an approval's id", backend.ErrNotFound, string(id))
	}
	r, err := b.syncNow(ctx)
	if err != nil {
		return nil, err
	}
	ap, err := b.api.Approval(ctx, tid, 0)
	if err != nil {
		return nil, translate(err)
	}
	c, err := b.Review(r, ap)
	if err != nil {
		return nil, err
	}
	if !c.Mine {
		return nil, fmt.Errorf("%w: it is another person's request; `tucdesk approvals deny` refuses it", backend.ErrDenied)
	}
	me, err := b.me(r)
	if err != nil {
		return nil, err
	}
	req := backend.OpenRequest{Target: backend.TargetID(c.Agent.Name), Kind: backend.Kind(c.Ask.Kind), Argv: c.Ask.Command.Argv, As: c.Ask.As}
	return &ask{body: c.Ask, req: req, plan: &plan{
		req: req, roster: r, me: me, agent: c.Agent, verdict: c.Verdict, session: c.Ask.SessionID, command: c.Ask.Command,
	}}, nil
}
