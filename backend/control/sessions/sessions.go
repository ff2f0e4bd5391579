// Package sessions makes of apid's list of sessions what a member can go back to. apid
// says that they run and whether anybody is at them, from what machines have signed;
// names and grace times are from the signed roster and its policy. The machine has the
// last word when somebody comes back.
//
// It must not import control.
package sessions

import (
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// started is the state of a row whose session runs.
const started = "started"

// Running gives the sessions of a member that run, in the order of the page.
func Running(page wire.SessionsPage, r *roster.Roster, me roster.Device, now time.Time) []backend.Session {
	out := []backend.Session{}
	each(page, r, func(s wire.Session, owner roster.Device, a roster.Agent, one backend.Session) {
		if owner.MemberID != me.MemberID {
			return
		}
		one.Owner, one.Here = me.Email, s.Operator == me.Kid
		v := policy.Evaluate(r.Request(me, a, policy.Kind(s.Kind), s.As, nil, now), r.Snapshot())
		grace := v.Obligations.Grace
		one.Returns = one.Kind == backend.KindShell && v.Effect != policy.Deny && grace > 0
		if s.Away > 0 {
			one.Until = one.Away.Add(grace)
		}
		out = append(out, one)
	})
	return out
}

// Watchable gives the shells of others that run and that a member may look at, as far as
// policy says, in the order of the page.
func Watchable(page wire.SessionsPage, r *roster.Roster, me roster.Device, now time.Time) []backend.Session {
	out := []backend.Session{}
	each(page, r, func(s wire.Session, owner roster.Device, a roster.Agent, one backend.Session) {
		if owner.MemberID == me.MemberID || one.Kind != backend.KindShell {
			return
		}
		may := func(k policy.Kind) bool {
			return policy.Evaluate(r.Request(me, a, k, s.As, nil, now), r.Snapshot()).Effect != policy.Deny
		}
		if one.Observe, one.Join = may(policy.Observe), may(policy.Join); one.Observe || one.Join {
			out = append(out, one)
		}
	})
	return out
}

// each gives the sessions of a page that run, whose device and machine the roster knows,
// and what is shown of them to whoever asks.
func each(page wire.SessionsPage, r *roster.Roster, do func(s wire.Session, owner roster.Device, a roster.Agent, one backend.Session)) {
	agents := map[key.Kid]roster.Agent{}
	for _, a := range r.Agents() {
		agents[a.Kid] = a
	}
	for _, s := range page.Sessions {
		a, known := agents[s.Target]
		owner, ok := r.EverDevice(s.Operator)
		if !ok || !known || s.State != started {
			continue
		}
		one := backend.Session{
			ID: backend.SessionID(s.ID.String()), Owner: owner.Email, Target: backend.TargetID(a.Name), Kind: backend.Kind(s.Kind), As: s.As,
			Device: s.Operator.String(), Began: time.Unix(s.Started, 0), EndsBy: time.Unix(s.EndsBy, 0),
		}
		if s.Away > 0 {
			one.Away = time.Unix(s.Away, 0)
		}
		do(s, owner, a, one)
	}
}
