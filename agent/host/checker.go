package host

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/consent"
	"github.com/tucdesk/tucdesk/agent/host/gate"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/host/team"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// checker is trust.md 2.4: what the agent checks itself, in order. Steps 1 to 5
// are admit, before the handshake; steps 6 to 8 are decide (decide.go), at each
// channel.
type checker struct {
	kid      key.Kid // this agent's
	unsealer key.Unsealer
	team     *team.Team
	used     *ledger.Used
	now      func() time.Time
	refresh  func(context.Context) error // fetches the newest roster; bounded and rate limited
	levels   gate.Levels                 // of the gate, for shells here
}

// An admission is an offer that has passed steps 1 to 5, or, beside a refusal,
// as far as it got. operator is set once the proof is verified: before that
// nobody is known to have asked.
type admission struct {
	id       token.ID
	bundle   token.Bundle
	hash     envelope.Hash // of the bundle
	roster   *roster.Roster
	operator *roster.Device
	agent    roster.Agent
	proof    token.VerifiedProof
	grant    token.VerifiedGrant
	verdict  policy.Verdict // without the command
	quorum   []string       // of break-glass: who signed, by e-mail address
	life     time.Duration  // until ends_by
	at       time.Time      // when it was admitted
	spent    atomic.Int64   // when its approvals were used, unix seconds; 0: not yet
	back     bool           // to a session that runs
	typists  []string       // of a program start: members who have joined its shell
}

// breakGlass reports whether warrants of a quorum stand in for the grant.
func (a *admission) breakGlass() bool { return len(a.bundle.Warrants) > 0 }

// evaluate asks our own policy, as far as it goes without the command.
func (a *admission) evaluate(now time.Time) {
	p := a.proof.Body()
	req := a.roster.Request(*a.operator, a.agent, policy.Kind(p.Kind), p.As, nil, now)
	req.BreakGlass = a.breakGlass()
	a.verdict = policy.Evaluate(req, a.roster.Snapshot())
}

// admit checks an offer. The admission is never nil; the refusal is nil only if
// every check passed.
func (c *checker) admit(ctx context.Context, o wire.SignalOffer) (*admission, *refusal) {
	a := &admission{id: o.SessionID, at: c.now()}
	if c.now().After(time.Unix(o.Exp, 0).Add(token.Skew)) {
		return a, refuse(codeBundle, token.ErrExpired, "nobody waits for an answer any more")
	}

	// 1. The bundle opens, is strict and bounded.
	var err error
	if a.bundle, a.hash, err = token.OpenBundle(c.unsealer, o.Sealed); err != nil {
		return a, because(codeBundle, err)
	}
	proof, err := token.ParseProof(a.bundle.Proof)
	if err != nil {
		return a, because(codeBundle, err)
	}
	a.back = isReturn(proof)
	if a.back && a.breakGlass() {
		return a, refuse(codeBundle, nil, "break-glass opens a session; nobody comes back to one by it")
	}
	grant := token.UnverifiedGrant{}
	if !a.breakGlass() {
		if grant, err = token.ParseGrant(a.bundle.Grant); err != nil {
			return a, because(codeBundle, err)
		}
	}

	// 2. The roster is fresh and not lower than stored; the operator's device
	// stands in it.
	device, no := c.device(ctx, a, proof.InsecureSigner())
	if no != nil {
		c.former(a, proof)
		return a, no
	}
	if a.agent, err = a.roster.Agent(c.kid, c.now()); err != nil {
		return a, because(codeDevice, err)
	}

	// 3. The operator's proof.
	if a.proof, err = c.verifyProof(a, proof, device); err != nil {
		return a, because(codeProof, err)
	}
	a.operator = &device
	p := a.proof.Body()
	if p.SessionID != o.SessionID {
		return a, refuse(codeProof, token.ErrMismatch, "the proof is for another session")
	}
	if no := c.sameHead(ctx, a); no != nil {
		return a, no
	}
	if err := c.used.Check(c.sessionItem(a)); err != nil {
		return a, because(codeUsed, err)
	}

	// 4. The grant, or below the quorum that stands in for it.
	if !a.breakGlass() {
		if a.grant, err = c.verifyGrant(a, grant); err != nil {
			return a, because(codeGrant, err)
		}
	}

	// 5. Our own policy, as far as it goes without the command.
	if no := c.judge(a); no != nil {
		return a, no
	}
	return a, c.relay(a)
}

// verifyProof wants the operator's proof to be good when the offer was admitted.
func (c *checker) verifyProof(a *admission, proof token.UnverifiedProof, by roster.Device) (token.VerifiedProof, error) {
	return proof.Verify(envelope.One(by.Public), token.ExpectProof{
		Now: a.at, TeamFP: a.roster.TeamFP(), Audience: c.kid.String(), Act: a.act(),
	})
}

// isReturn reports whether a proof says that it is for coming back to a session.
func isReturn(proof token.UnverifiedProof) bool {
	var p token.Proof
	return proof.InsecureDecode(&p) == nil && p.Act == token.ActResume
}

// act is what the proof must ask for.
func (a *admission) act() string {
	if a.back {
		return token.ActResume
	}
	return token.ActSession
}

// verifyGrant likewise, and that it is for what the proof is for.
func (c *checker) verifyGrant(a *admission, grant token.UnverifiedGrant) (token.VerifiedGrant, error) {
	grants := func(k key.Kid) (key.Public, bool) { return a.roster.ServerKey(roster.ServerGrant, k) }
	v, err := grant.Verify(grants, token.ExpectGrant{Now: a.at, TeamFP: a.roster.TeamFP(), Agent: c.kid})
	if err != nil {
		return v, err
	}
	return v, token.GrantMatchesProof(v, a.proof)
}

// sources are where a newer roster may come from, cheapest first: we have it,
// the bundle carries it, apid has it. A stranger can make us look, no more: what
// is not signed by admins is not taken.
func (c *checker) sources(ctx context.Context, a *admission) []func() error {
	return []func() error{
		func() error { return nil },
		func() error {
			if len(a.bundle.Statements) == 0 {
				return team.ErrNone
			}
			return c.team.Learn(a.bundle.Statements)
		},
		func() error { return c.refresh(ctx) },
	}
}

// device finds the operator, in a roster that sessions may rest on.
func (c *checker) device(ctx context.Context, a *admission, kid key.Kid) (roster.Device, *refusal) {
	var no *refusal
	for _, get := range c.sources(ctx, a) {
		if err := get(); err != nil && no != nil {
			continue // the last reason stands
		}
		r, err := c.team.Fresh()
		if err != nil {
			no = because(codeRoster, err)
			continue
		}
		a.roster = r
		d, err := r.Device(kid, c.now())
		if err == nil {
			return d, nil
		}
		no = because(codeDevice, err)
		if !errors.Is(err, roster.ErrUnknown) {
			break
		}
	}
	return roster.Device{}, no
}

// former finds out whether a refused operator is at least one that the roster
// once held: then it is known who tried, and that is evidence.
func (c *checker) former(a *admission, proof token.UnverifiedProof) {
	if a.roster == nil {
		return
	}
	d, ok := a.roster.EverDevice(proof.InsecureSigner())
	if !ok {
		return
	}
	var err error
	if a.proof, err = proof.Verify(envelope.One(d.Public), token.ExpectProof{
		Now: c.now(), TeamFP: a.roster.TeamFP(), Audience: c.kid.String(), Act: a.act(),
	}); err == nil {
		a.operator = &d
	}
}

// sameHead wants the operator to know the same roster as we do. Being behind
// ourselves, we catch up; an operator who is behind does.
func (c *checker) sameHead(ctx context.Context, a *admission) *refusal {
	want := a.proof.Body().RosterHead
	for _, get := range c.sources(ctx, a) {
		if get() != nil {
			continue
		}
		r, err := c.team.Fresh()
		if err != nil {
			return because(codeRoster, err)
		}
		if r != a.roster {
			// A newer roster may say otherwise about who asks, and whom.
			d, err := r.Device(a.operator.Kid, c.now())
			if err != nil {
				return because(codeDevice, err)
			}
			agent, err := r.Agent(c.kid, c.now())
			if err != nil {
				return because(codeDevice, err)
			}
			a.roster, a.operator, a.agent = r, &d, agent
		}
		if head(r) == want {
			return nil
		}
		if r.Knows(roster.Head(want)) {
			return refuse(codeRoster, nil, "the operator's roster (number %d) is older than this agent's (number %d); get the latest and try again", want.Seq, r.Head().Seq)
		}
	}
	return refuse(codeRoster, nil, "this agent does not know the operator's roster (number %d, its own is %d); send the statements along or try again when it has caught up", want.Seq, a.roster.Head().Seq)
}

// sessionItem is what the ledger remembers of a session: that it was; or of who came back
// to it: with which proof.
func (c *checker) sessionItem(a *admission) ledger.Item {
	p := a.proof.Body()
	id := p.SessionID
	if a.back {
		id = p.JTI
	}
	return ledger.Item{
		Kind: ledger.Session, ID: id,
		Issued: time.Unix(p.IAT, 0), Expires: time.Unix(p.Exp, 0),
	}
}

func (c *checker) judge(a *admission) *refusal {
	p, now := a.proof.Body(), c.now()
	if p.PolicyHash != a.roster.PolicyHash() {
		return refuse(codePolicy, nil, "the operator's policy is not this agent's (version %d); get the latest roster and try again", a.roster.PolicyVersion())
	}
	a.evaluate(now)
	if a.verdict.Effect == policy.Deny {
		return byPolicy(a.verdict, a.roster.PolicyVersion())
	}
	begun, ends := a.grant.Body().IAT, a.grant.Body().EndsBy
	if a.breakGlass() {
		var err error
		if _, a.quorum, err = c.consent(a, a.roster, a.verdict).Warrants(a.bundle.Warrants); err != nil {
			return because(codeApproval, err)
		}
		begun = p.IAT
		ends = time.Unix(begun, 0).Add(a.verdict.Obligations.MaxSession).Unix()
	}
	a.life = time.Unix(ends, 0).Sub(now)
	if most := a.verdict.Obligations.MaxSession; most > 0 {
		a.life = min(a.life, time.Unix(begun, 0).Add(most).Sub(now))
	}
	if asked := consent.Lasts(a.bundle.Approvals); asked > 0 {
		a.life = min(a.life, time.Unix(begun, 0).Add(asked).Sub(now))
	}
	if a.life <= 0 {
		return refuse(codeGrant, token.ErrExpired, "the session's time is over")
	}
	return c.oblige(a)
}

// oblige refuses what policy asks for and this version can't give. It says so
// instead of doing less.
func (c *checker) oblige(a *admission) *refusal {
	o := a.verdict.Obligations
	if o.Record == recorder.Required && len(a.roster.Auditors()) == 0 {
		return unmet(codePolicy, a.verdict, "policy requires a recording, and the roster names no auditors to seal it to; an admin signs recording-recipients")
	}
	_, no := c.gateLevel(a.verdict)
	return no
}

// gateLevel is the gate's level for a session; a shell that can't have what policy wants
// is refused.
func (c *checker) gateLevel(v policy.Verdict) (gate.Level, *refusal) {
	level, ok := c.levels.For(v.Obligations.Gate)
	if !ok {
		return gate.None, unmet(codeGate, v, "policy wants the gate level %s for shells, and this agent has only %s; use exec, or have an admin sign a policy whose key gate names one of these", v.Obligations.Gate, c.levels)
	}
	return level, nil
}

// relay wants a relay that the roster names, and a credential for our side of
// this session. Otherwise an operator could send this agent anywhere.
func (c *checker) relay(a *admission) *refusal {
	r := a.bundle.Relay
	if !slices.Contains(a.roster.Relays(), r.Addr) {
		return refuse(codeRelay, nil, "the bundle names a relay that is not in the roster")
	}
	if n, err := cred.ParseName(r.Username); err != nil || n.Session != [16]byte(a.id) || n.Side != cred.Agent {
		return refuse(codeRelay, nil, "the relay credential is not for this side of this session")
	}
	return nil
}

// head gives a roster's head as signed objects name it.
func head(r *roster.Roster) token.Head { return token.Head(r.Head()) }

// said is what this agent tells an operator in a handshake.
func (c *checker) said(r *roster.Roster, checkpoint []byte) session.Evidence {
	h := r.Head()
	return session.Evidence{RosterSeq: h.Seq, RosterHash: h.Hash, Time: c.now().Truncate(time.Second), Checkpoint: checkpoint}
}
