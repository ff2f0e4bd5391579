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
	agents := map[key.Kid]roster.Agent{}
	for _, a := range r.Agents() {
		agents[a.Kid] = a
	}
	out := []backend.Session{}
	for _, s := range page.Sessions {
		a, known := agents[s.Target]
		if d, ok := r.EverDevice(s.Operator); !ok || d.MemberID != me.MemberID || s.State != started || !known {
			continue
		}
		one := backend.Session{
			ID: backend.SessionID(s.ID.String()), Owner: me.Email, Target: backend.TargetID(a.Name), Kind: backend.Kind(s.Kind), As: s.As,
			Device: s.Operator.String(), Here: s.Operator == me.Kid, Began: time.Unix(s.Started, 0), EndsBy: time.Unix(s.EndsBy, 0),
		}
		v := policy.Evaluate(r.Request(me, a, policy.Kind(s.Kind), s.As, nil, now), r.Snapshot())
		grace := v.Obligations.Grace
		one.Returns = one.Kind == backend.KindShell && v.Effect != policy.Deny && grace > 0
		if s.Away > 0 {
			one.Away = time.Unix(s.Away, 0)
			one.Until = one.Away.Add(grace)
		}
		out = append(out, one)
	}
	return out
}

// Watchable gives the shells of others that run and that a member may look at, as far as
// policy says, in the order of the page.
func Watchable(page wire.SessionsPage, r *roster.Roster, me roster.Device, now time.Time) []backend.Session {
	agents := map[key.Kid]roster.Agent{}
	for _, a := range r.Agents() {
		agents[a.Kid] = a
	}
	out := []backend.Session{}
	for _, s := range page.Sessions {
		a, known := agents[s.Target]
		d, ok := r.EverDevice(s.Operator)
		if !ok || d.MemberID == me.MemberID || s.State != started || !known || backend.Kind(s.Kind) != backend.KindShell {
			continue
		}
		one := backend.Session{
			ID: backend.SessionID(s.ID.String()), Owner: d.Email, Target: backend.TargetID(a.Name), Kind: backend.Kind(s.Kind), As: s.As,
			Device: s.Operator.String(), Began: time.Unix(s.Started, 0), EndsBy: time.Unix(s.EndsBy, 0),
		}
		if s.Away > 0 {
			one.Away = time.Unix(s.Away, 0)
		}
		may := func(k policy.Kind) bool {
			return policy.Evaluate(r.Request(me, a, k, s.As, nil, now), r.Snapshot()).Effect != policy.Deny
		}
		if one.Observe, one.Join = may(policy.Observe), may(policy.Join); one.Observe || one.Join {
			out = append(out, one)
		}
	}
	return out
}
