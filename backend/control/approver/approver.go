// Package approver is the half of the backend that decides what others ask for: it lists
// what waits, shows it from the bytes that its operator signed, and signs this device's
// decision.
//
// Invariants:
//   - Decide signs nothing but what Pending has shown;
//   - who may decide is judged here, by the roster that this device has verified; apid's
//     word counts for nothing but where a request stands.
//
// It must not import control, a service or a screen.
package approver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	maxAsk   = 64 << 10 // bytes of an opened ask
	maxPages = 20       // pages of waiting approvals that are shown
	whoIn    = 2 * time.Second
	maxShown = 4096 // approvals of which it is remembered what was shown
)

// API is the part of wire.Client that is needed.
type API interface {
	Approvals(ctx context.Context, state, after string) (wire.ApprovalsPage, error)
	Approval(ctx context.Context, id token.ID, wait time.Duration) (wire.Approval, error)
	Decide(ctx context.Context, id token.ID, d wire.SealedDecision) (wire.Approval, error)
	Attend(ctx context.Context, id token.ID, over bool) error
}

// An Approver is safe for concurrent use. Its fields are set before the first call; all
// are required. It implements backend.Approver and backend.Attender.
type Approver struct {
	API  API
	Home *profile.Home
	// Known gives the newest roster that is to be had soon, also beside an error; Newest
	// asks apid for it.
	Known, Newest func(context.Context) (*roster.Roster, error)
	Me            func(*roster.Roster) (roster.Device, error) // this device's place on it
	Translate     func(error) error                           // makes the seam's errors of apid's
	Now           func() time.Time
	Logger        *slog.Logger

	mu    sync.Mutex
	shown map[token.ID]envelope.Hash // the asks that Pending has shown
}

var (
	_ backend.Approver = (*Approver)(nil)
	_ backend.Attender = (*Approver)(nil)

	_ backend.PlanApprover = (*Approver)(nil)
)

// Pending yields what waits, oldest first. Each is decoded from the bytes that
// its operator has signed; what can't be opened or does not verify is shown as
// just that, and can't be decided.
func (a *Approver) Pending(ctx context.Context) iter.Seq2[backend.Approval, error] {
	return func(yield func(backend.Approval, error) bool) {
		r, err := a.Known(ctx)
		if err != nil {
			a.Logger.Warn("the roster could not be refreshed", "error", err)
		}
		after := ""
		for range maxPages {
			page, err := a.API.Approvals(ctx, wire.Pending, after)
			if err != nil {
				yield(backend.Approval{}, a.Translate(err))
				return
			}
			for _, meta := range page.Approvals {
				ap, err := a.API.Approval(ctx, meta.ID, 0)
				if errors.Is(err, wire.ErrNotFound) {
					continue // decided and gone meanwhile
				}
				if err != nil {
					yield(backend.Approval{}, a.Translate(err))
					return
				}
				if !yield(a.show(r, ap), nil) {
					return
				}
			}
			if after = page.Next; after == "" {
				return
			}
		}
	}
}

// show makes an approval to look at.
func (a *Approver) show(r *roster.Roster, ap wire.Approval) backend.Approval {
	out := review.Outline(r, ap)
	c, err := a.Review(r, ap)
	if err != nil {
		out.WhyNot = err.Error()
		return out
	}
	a.remember(ap.ID, ap.AskHash)
	c.Show(&out, a.Home.Approved())
	return out
}

// Whom says in words whom a request waits for: what policy needs, and who could say yes
// now, as this device judges it, or that nobody could and what to do. Where that is not
// known soon, it says the need alone.
func (a *Approver) Whom(ctx context.Context, id backend.ApprovalID, needs string) string {
	tid, err := parseID(id)
	if err != nil {
		return needs
	}
	ctx, cancel := context.WithTimeout(ctx, whoIn)
	defer cancel()
	ap, err := a.API.Approval(ctx, tid, 0)
	if err != nil {
		return needs
	}
	who := a.show(a.Home.Roster(), ap).WhoCan()
	if who == "" {
		return needs
	}
	return needs + "; who can now: " + who
}

// remember notes what this process has shown under an approval's id: Decide signs
// nothing else, even where operator and apid put another text there meanwhile.
func (a *Approver) remember(id token.ID, ask envelope.Hash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shown == nil || len(a.shown) >= maxShown {
		a.shown = map[token.ID]envelope.Hash{} // who decides now must look again
	}
	a.shown[id] = ask
}

// Review opens and judges what apid shows of an approval.
func (a *Approver) Review(r *roster.Roster, ap wire.Approval) (*review.Review, error) {
	me, err := a.Me(r)
	if err != nil {
		return nil, err
	}
	plain, err := a.Home.Unsealer.Open(ap.Sealed, maxAsk)
	if err != nil {
		return nil, review.ErrSealed
	}
	return review.Open(plain, ap, r, me, a.Now())
}

// Decide signs this device's decision. What is signed is made from the operator's
// own signed bytes, opened and verified again here; they are those that Pending
// has shown.
func (a *Approver) Decide(ctx context.Context, id backend.ApprovalID, d backend.Decision) error {
	r, err := a.beforeDecision(ctx, d)
	if err != nil {
		return err
	}
	c, err := a.consider(ctx, r, id, d)
	if err != nil {
		return err
	}
	return a.decide(ctx, r, c, d)
}

// DecideTogether decides a whole plan. It signs nothing unless the approvals are
// exactly the plan's, each as Pending has shown it, and this device may decide
// every one. decided counts those that took the decision: fewer than all, beside
// the error, when one could not be delivered.
func (a *Approver) DecideTogether(ctx context.Context, ids []backend.ApprovalID, d backend.Decision) (decided int, err error) {
	r, err := a.beforeDecision(ctx, d)
	if err != nil {
		return 0, err
	}
	all, asks := make([]*review.Review, len(ids)), make([]approval.VerifiedAsk, len(ids))
	for i, id := range ids {
		if all[i], err = a.consider(ctx, r, id, d); err != nil {
			return 0, err
		}
		asks[i] = all[i].Verified
	}
	if err := approval.Whole(asks); err != nil && d.Approve { // what is not whole can only be refused
		return 0, fmt.Errorf("%w: %w", backend.ErrDenied, err)
	}
	for i, c := range all {
		err := a.decide(ctx, r, c, d)
		if !d.Approve && errors.Is(err, backend.ErrDecided) {
			continue // the first refusal made the operator take the others back
		}
		if err != nil {
			return i, fmt.Errorf("%s: %w", c.Agent.Name, err)
		}
	}
	return len(all), nil
}

// beforeDecision checks a decision's form and gives the newest roster.
func (a *Approver) beforeDecision(ctx context.Context, d backend.Decision) (*roster.Roster, error) {
	if !d.Approve {
		if err := approval.Reason(d.Reason); err != nil {
			return nil, fmt.Errorf("a refusal needs a reason for the person who asked: %w", err)
		}
	}
	return a.Newest(ctx)
}

// consider opens what waits under an id, if it is what was shown and this device
// may decide it so.
func (a *Approver) consider(ctx context.Context, r *roster.Roster, id backend.ApprovalID, d backend.Decision) (*review.Review, error) {
	tid, err := parseID(id)
	if err != nil {
		return nil, err
	}
	ap, err := a.API.Approval(ctx, tid, 0)
	if err != nil {
		return nil, a.Translate(err)
	}
	if ap.State != wire.Pending {
		return nil, fmt.Errorf("%w: it is %s", backend.ErrDecided, ap.State)
	}
	c, err := a.Review(r, ap)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDenied, err)
	}
	if why := c.Refusal(d.Approve); why != "" {
		return nil, fmt.Errorf("%w: %s", backend.ErrDenied, why)
	}
	a.mu.Lock()
	seen, ok := a.shown[tid]
	a.mu.Unlock()
	if !ok || seen != c.Verified.Hash() {
		return nil, fmt.Errorf("%w: what is asked for is not what was shown here; read it again before you decide", backend.ErrDenied)
	}
	return c, nil
}

func (a *Approver) decide(ctx context.Context, r *roster.Roster, c *review.Review, d backend.Decision) error {
	out, err := c.Decide(a.Home.Identity, r, d, a.Now())
	if err != nil {
		return err
	}
	if _, err := a.API.Decide(ctx, c.Ask.ID, out); err != nil {
		switch {
		case errors.Is(err, wire.ErrUsed), errors.Is(err, wire.ErrExpired), errors.Is(err, wire.ErrConflict):
			return fmt.Errorf("%w: %w", backend.ErrDecided, err)
		}
		return a.Translate(err)
	}
	if d.Approve {
		if err := c.Remember(a.Home, a.Now()); err != nil {
			a.Logger.Warn("what was approved is not remembered", "error", err)
		}
	}
	return nil
}

func parseID(id backend.ApprovalID) (token.ID, error) {
	tid, err := token.ParseID(string(id))
	if err != nil {
		err = fmt.Errorf("%w: %q is not an approval's id", backend.ErrNotFound, string(id))
	}
	return tid, err
}

const (
	attendAgain = wire.AttentionTime * time.Second / 3
	attendOver  = 2 * time.Second // bounds the last word
)

// Attend tells apid that this device reads a request to decide it, again and again until
// ctx is done.
func (a *Approver) Attend(ctx context.Context, id backend.ApprovalID) error {
	tid, err := parseID(id)
	if err != nil {
		return err
	}
	again := time.NewTicker(attendAgain)
	defer again.Stop()
	for {
		switch err := a.API.Attend(ctx, tid, false); {
		case err == nil, errors.Is(err, wire.ErrUnavailable), errors.Is(err, wire.ErrTooMany):
		case ctx.Err() == nil:
			return a.Translate(err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), attendOver)
			defer cancel()
			_ = a.API.Attend(last, tid, true) // else its time ends by itself
			return ctx.Err()
		}
	}
}
