// Package insight is what a member's device finds out about one machine: what would
// change the policy's answer there, who has been on it lately, and what it says of itself.
//
// Invariants: what would change the answer is evaluated here, by the signed policy; what a
// machine says of itself counts only with its own signature; which sessions there were is
// apid's word, with the names of the roster, and only for reading. All of it is bounded.
//
// It must not import control, a service or a screen.
package insight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/advice"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// answerIn bounds the questions to servers.
	answerIn = 15 * time.Second
	// maxTargets is how many other machines are tried where one would be better.
	maxTargets = 256
)

// API is the part of wire.Client that is needed.
type API interface {
	Sessions(ctx context.Context) (wire.SessionsPage, error)
	Receipts(ctx context.Context, rendezvous string, kids []key.Kid) ([][]byte, error)
}

// A Teller is a device that finds out. It implements backend.Informer.
type Teller struct {
	API        API
	Rendezvous string  // its URL
	Self       key.Kid // this device
	Sync       func(context.Context) (*roster.Roster, error)
	Now        func() time.Time
	Translate  func(error) error // makes the seam's errors of a server's
}

var _ backend.Informer = Teller{}

// Inform implements backend.Informer.
func (t Teller) Inform(ctx context.Context, req backend.OpenRequest) (backend.Info, error) {
	r, _ := t.Sync(ctx) // what is known stands
	now := t.Now()
	a, err := r.AgentNamed(string(req.Target), now)
	if err != nil {
		return backend.Info{}, fmt.Errorf("%w: %w", backend.ErrNotFound, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	var out backend.Info
	me, err := r.Device(t.Self, now)
	if err != nil {
		err = fmt.Errorf("%w: %w", backend.ErrDenied, err)
	} else {
		q := r.Request(me, a, policy.Kind(req.Kind), req.As, req.Argv, now)
		q.Cwd = req.Cwd
		out.Ways = ways(q, r)
	}
	var postureErr, visitsErr error
	out.Posture, postureErr = t.posture(ctx, a)
	out.Visits, visitsErr = t.visits(ctx, r, a)
	return out, errors.Join(err, postureErr, visitsErr)
}

// ways says in words what would change an answer, and to what.
func ways(q *policy.Request, r *roster.Roster) (out []string) {
	var others []policy.Target
	for _, a := range r.Agents() {
		if len(others) == maxTargets {
			break
		}
		others = append(others, policy.Target{Name: a.Name, Tags: a.Tags, LoginUser: a.LoginUser})
	}
	for _, w := range advice.Ways(q, r.Snapshot(), others) {
		if len(out) == backend.MaxWays {
			break
		}
		s := w.String() + ": " + w.Verdict.Effect.String()
		if w.Verdict.Rule != "" {
			s += fmt.Sprintf(" by %s, line %d", w.Verdict.Rule, w.Verdict.Line)
		}
		out = append(out, s)
	}
	return out
}

// posture is what a machine that is online has signed of itself.
func (t Teller) posture(ctx context.Context, a roster.Agent) (map[string]string, error) {
	words, err := t.API.Receipts(ctx, t.Rendezvous, []key.Kid{a.Kid})
	if err != nil {
		return nil, t.Translate(err)
	}
	if len(words) != 1 || len(words[0]) == 0 {
		return nil, nil // it is not online
	}
	p, ok := token.LastPosture(words[0], a.Public)
	if !ok {
		return nil, fmt.Errorf("insight: what the rendezvous hands on is not signed by %s", a.Name)
	}
	out := map[string]string{"os": p.OS, "version": p.Version, "gate": p.Gate}
	if p.Booted > 0 {
		out["up since"] = time.Unix(p.Booted, 0).Local().Format(time.DateTime) + ", by its own clock"
	}
	for k, v := range out {
		if v == "" {
			delete(out, k)
		}
	}
	return out, nil
}

// states are the words for those of wire.Session.
var states = map[string]string{"granted": "granted", "started": "runs", "ended": "ended"}

// visits are the latest sessions on a machine among those that apid lists: those of the
// member, or of everybody for an auditor.
func (t Teller) visits(ctx context.Context, r *roster.Roster, a roster.Agent) (out []backend.Visit, _ error) {
	page, err := t.API.Sessions(ctx)
	if err != nil {
		return nil, t.Translate(err)
	}
	for _, s := range page.Sessions {
		if s.Target != a.Kid || len(out) == backend.MaxVisits {
			continue
		}
		v := backend.Visit{By: s.Operator.Short(), Kind: backend.Kind(s.Kind), As: s.As, State: states[s.State], Began: time.Unix(s.Started, 0)}
		if d, ok := r.EverDevice(s.Operator); ok {
			v.By = d.Email
		}
		out = append(out, v)
	}
	return out, nil
}
