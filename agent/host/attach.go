package host

import (
	"context"
	"net/netip"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// maxReturns bounds the operators who are on their way back to one session.
const maxReturns = 4

// meant refuses an offer of a new session for one that runs (d), and of coming back to
// one that does not run here.
func (s *sessions) meant(d *ward, a *admission) *refusal {
	switch {
	case !a.back && d != nil:
		return refuse(codeUsed, nil, "this session is open already")
	case a.back && d == nil:
		return refuse(codeRequest, nil, "no such session runs here: it has ended, or it is another machine's")
	case a.back:
		return d.mayReturn(a)
	}
	return nil
}

// holder is the admission of whoever has the session now.
func (d *ward) holder() *admission {
	if a := d.by.Load(); a != nil {
		return a
	}
	return d.a
}

// mayReturn refuses whoever is not the session's member, and what the session was not
// opened for.
func (d *ward) mayReturn(a *admission) *refusal {
	its, p := d.a.proof.Body(), a.proof.Body()
	switch {
	case a.operator.MemberID != d.a.operator.MemberID:
		return refuse(codeProof, token.ErrMismatch, "this session is another member's")
	case p.Kind != its.Kind || p.As != its.As:
		return refuse(codeProof, token.ErrMismatch, "this session is not for what the operator's device says")
	case policy.Kind(p.Kind) != policy.Shell:
		return refuse(codeRequest, nil, "only a shell can be come back to")
	case a.verdict.Effect == policy.Hold && a.operator.Kid != d.holder().operator.Kid:
		return refuse(codeApproval, nil, "this session was approved for another device; come back to it from that one, or ask for a session of this device's own")
	}
	return nil
}

// expect notes an operator who is on the way back.
func (d *ward) expect(a *admission) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returns = append(d.returns, a)
	if len(d.returns) > maxReturns {
		d.returns = d.returns[1:]
	}
}

func (d *ward) expected(bundle envelope.Hash) *admission {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, a := range d.returns {
		if a.hash == bundle {
			d.returns = append(d.returns[:i:i], d.returns[i+1:]...)
			return a
		}
	}
	return nil
}

// handshake is what the session half answers an offer with.
func (s *sessions) handshake(a *admission, o wire.SignalOffer, peer netip.AddrPort) live.Handshake {
	return live.Handshake{
		Operator: a.operator.Public, BundleHash: a.hash, MinSuite: session.Suite(a.verdict.Obligations.MinSuite), Peer: peer, HS1: o.HS1,
		Evidence: s.checker.said(a.roster, s.compare.Newest(a.roster)),
	}
}

// Attach implements live.Doorkeeper: trust.md 2.4, steps 6 to 8, of a terminal that runs.
func (d *ward) Attach(ctx context.Context, bundle envelope.Hash, said session.Evidence, m channel.OpenMessage) (channel.Answer, error) {
	a := d.expected(bundle)
	if a == nil {
		return channel.Answer{}, &live.Refusal{Answer: refuse(codeUsed, nil, "%s", errAgain).answer()}
	}
	t, no := d.s.checker.decide(ctx, a, m)
	if no == nil {
		no = d.mayReturn(a)
	}
	if no == nil {
		if err := d.s.compare.Rosters(said); err != nil {
			no = because(codeRoster, err)
		}
	}
	if no == nil {
		if err := d.s.use(d.s.checker.sessionItem(a)); err != nil {
			no = because(codeUsed, err)
		}
	}
	if no == nil {
		if err := d.s.evidence.attached(a); err != nil {
			no = because(codeLedger, err)
		}
	}
	if no != nil {
		d.s.metrics.Refusals.WithLabelValues(no.code).Inc()
		d.s.logger.Warn("coming back refused", "session", d.a.id, "operator", a.operator.Email, "code", no.code)
		d.s.evidence.refused(a, t, no)
		return channel.Answer{}, &live.Refusal{Answer: no.answer()}
	}
	d.s.running.Go(func() { d.s.compare.Meet(d.s.ctx, a.operator.Email, said) })
	d.by.Store(a)
	if err := d.remember(); err != nil {
		return channel.Answer{}, &live.Refusal{Answer: because(codeLedger, err).answer()}
	}
	d.s.logger.Info("attached", "session", d.a.id, "operator", a.operator.Email, "device", a.operator.Kid)
	return channel.Answer{Effect: channel.Allow, Rule: t.verdict.Rule, Line: t.verdict.Line, Reason: t.verdict.Reason}, nil
}

// Away implements live.Doorkeeper.
func (d *ward) Away(_ context.Context, away bool) error {
	return d.s.evidence.away(d.holder(), away)
}
