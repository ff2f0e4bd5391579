// Package breakglass makes, reads and judges what people hand each other when apid is
// gone: the plea of whoever needs a session, and the warrants of a quorum that stand in
// for the grant. Both are files, sealed to their readers, which may travel by any way.
//
// Invariants:
//   - what one of the quorum is shown, and signs, is decoded from the bytes that the
//     operator signed;
//   - who may sign, and what it opens, is judged here by the signed policy, as the
//     agent will judge it again;
//   - no server is asked anything.
//
// The package must not import net, net/http or backend/control.
package breakglass

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control/review"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Types of the files' blocks (RFC 7468).
const (
	pleaBlock    = "TUCDESK BREAK-GLASS PLEA"
	warrantBlock = "TUCDESK BREAK-GLASS WARRANT"
)

// maxFile bounds a file, in bytes; maxPlain what it holds.
const (
	MaxFile  = 256 << 10
	maxPlain = 64 << 10
)

// A Case is a plea that this device has opened, verified and judged.
type Case struct {
	Verified  approval.VerifiedPlea
	Plea      approval.Plea
	Operator  roster.Device
	Agent     roster.Agent
	Verdict   policy.Verdict
	Approvers []roster.Device // the devices of those who may sign
	Mine      bool
	Why       string // why this device may not sign; "" if it may

	home   *profile.Home
	roster *roster.Roster
	now    time.Time
}

// New makes the plea for a request, as a file for those who may sign. The roster is the
// home's: nobody is there to ask for a newer one.
func New(home *profile.Home, req backend.OpenRequest, now time.Time) (*Case, []byte, error) {
	r := home.Roster()
	a, err := r.AgentNamed(string(req.Target), now)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w; `tucdesk agents` lists them", backend.ErrNotFound, err)
	}
	me, err := r.Device(home.Identity.Kid(), now)
	if err != nil {
		return nil, nil, err
	}
	c := review.Command(req, true)
	plea := approval.Plea{
		ID: token.NewID(), TeamFP: r.TeamFP(), SessionID: token.NewID(), Agent: a.Kid, AgentName: a.Name, Operator: me.Kid,
		Kind: string(req.Kind), As: req.As, Command: c, PolicyHash: r.PolicyHash(), RosterHead: token.Head(r.Head()),
		Reason: req.Reason, Created: now.Unix(), Nonce: token.NewID(),
	}
	v := judge(r, me, a, plea, now)
	if v.Effect != policy.Hold {
		return nil, nil, fmt.Errorf("%w: %s", backend.ErrDenied, v.Reason)
	}
	plea.Tier, plea.Rule, plea.AskUntil = v.Tier, v.Rule, now.Add(v.Obligations.AskFor).Unix()
	signed, err := approval.SignPlea(home.Identity, plea)
	if err != nil {
		return nil, nil, err
	}
	made, err := open(home, signed, now)
	if err != nil {
		return nil, nil, err
	}
	if least := v.Obligations.Quorum; people(made.Approvers) < least {
		return nil, nil, fmt.Errorf("%w: %d others on the roster could sign, and it takes %d", backend.ErrDenied, people(made.Approvers), least)
	}
	readers := append(append(r.Auditors(), me.Recipient), review.Recipients(made.Approvers)...)
	file, err := seal(pleaBlock, signed, readers)
	return made, file, err
}

// Open reads a plea's file.
func Open(home *profile.Home, file []byte, now time.Time) (*Case, error) {
	plain, err := unseal(home, pleaBlock, file)
	if err != nil {
		return nil, err
	}
	return open(home, plain, now)
}

func open(home *profile.Home, plain []byte, now time.Time) (*Case, error) {
	r := home.Roster()
	u, err := approval.ParsePlea(plain)
	if err != nil {
		return nil, fmt.Errorf("not a plea as TucDesk makes them: %w", err)
	}
	v, err := u.Verify(devices(r, now), r.TeamFP(), now)
	if err != nil {
		return nil, fmt.Errorf("the plea does not verify: %w", err)
	}
	c := &Case{Verified: v, Plea: v.Body(), home: home, roster: r, now: now}
	if c.Operator, err = r.Device(c.Plea.Operator, now); err != nil {
		return nil, err
	}
	if c.Agent, err = r.Agent(c.Plea.Agent, now); err != nil {
		return nil, err
	}
	me, err := r.Device(home.Identity.Kid(), now)
	if err != nil {
		return nil, err
	}
	c.Verdict = judge(r, c.Operator, c.Agent, c.Plea, now)
	c.Approvers = r.Approvers(c.Verdict, c.Operator.MemberID, now)
	c.Mine = me.MemberID == c.Operator.MemberID
	switch {
	case c.Mine:
		c.Why = "nobody signs an own plea"
	case c.Verdict.Effect != policy.Hold:
		c.Why = c.Verdict.Reason
	case c.Plea.PolicyHash != r.PolicyHash():
		c.Why = "it was made under another policy than this device knows; both need the same roster"
	case !slices.ContainsFunc(c.Approvers, func(d roster.Device) bool { return d.Kid == me.Kid }):
		c.Why = "you are not one of " + strings.Join(c.Verdict.Obligations.Approvers, " or ")
	}
	return c, nil
}

func judge(r *roster.Roster, operator roster.Device, a roster.Agent, p approval.Plea, now time.Time) policy.Verdict {
	argv := p.Command.Argv
	if len(argv) == 0 {
		argv = nil
	}
	q := r.Request(operator, a, policy.Kind(p.Kind), p.As, argv, now)
	q.Cwd, q.BreakGlass = p.Command.Cwd, true
	return policy.Evaluate(q, r.Snapshot())
}

func devices(r *roster.Roster, now time.Time) token.Keys {
	return func(k key.Kid) (key.Public, bool) {
		d, err := r.Device(k, now)
		return d.Public, err == nil
	}
}

func people(ds []roster.Device) int {
	seen := map[string]bool{}
	for _, d := range ds {
		seen[d.MemberID] = true
	}
	return len(seen)
}

// Show is the plea as the seam shows what waits for a yes.
func (c *Case) Show() backend.Approval {
	p := c.Plea
	out := backend.Approval{
		ID: backend.ApprovalID(p.ID.String()), Target: c.Agent.Name, Operator: c.Operator.Email, Kind: p.Kind, As: p.As,
		Argv: p.Command.Argv, Cwd: p.Command.Cwd, Stdin: p.Command.Stdin, Tier: c.Verdict.Tier, Reason: p.Reason,
		Asked: time.Unix(p.Created, 0), AskUntil: time.Unix(p.AskUntil, 0), State: backend.ApprovalWaiting,
		Mine: c.Mine, CanDecide: c.Why == "", WhyNot: c.Why, Quorum: c.Verdict.Obligations.Quorum, Unread: command.Unread(p.Command.Argv),
	}
	for _, kv := range p.Command.Env {
		out.Env = append(out.Env, kv[0]+"="+kv[1])
	}
	for _, d := range c.Approvers {
		if !slices.Contains(out.Approvers, d.Email) {
			out.Approvers = append(out.Approvers, d.Email)
		}
	}
	return out
}

// Warrant signs the plea with this device, as a file for the operator.
func (c *Case) Warrant() ([]byte, error) {
	if c.Why != "" {
		return nil, fmt.Errorf("%w: %s", backend.ErrDenied, c.Why)
	}
	// The first must outlive the wait for the last, as among approvals.
	until := time.Unix(c.Plea.AskUntil, 0).Add(c.Verdict.Obligations.UseFor)
	signed, err := approval.SignWarrant(c.home.Identity, c.Verified.Warrant(c.home.Identity.Kid(), token.Head(c.roster.Head()), c.now, until))
	if err != nil {
		return nil, err
	}
	return seal(warrantBlock, signed, append(c.roster.Auditors(), c.Operator.Recipient))
}

// Gather reads warrants of this plea from their files, and answers who signed. It
// wants all that the agent will want; ErrHeld says who is missing.
func (c *Case) Gather(files ...[]byte) (warrants [][]byte, who []string, err error) {
	if !c.Mine {
		return nil, nil, fmt.Errorf("%w: the plea is %s's", backend.ErrDenied, c.Operator.Email)
	}
	var members []string
	for _, f := range files {
		plain, err := unseal(c.home, warrantBlock, f)
		if err != nil {
			return nil, nil, err
		}
		u, err := approval.ParseWarrant(plain)
		if err != nil {
			return nil, nil, err
		}
		v, err := u.Verify(devices(c.roster, c.now))
		if err != nil {
			return nil, nil, fmt.Errorf("a warrant does not verify: %w", err)
		}
		d, err := c.roster.Device(v.Body().Approver, c.now)
		if err != nil {
			return nil, nil, err
		}
		if v.Body().AskHash != c.Verified.Hash() {
			return nil, nil, fmt.Errorf("%w: %s's warrant is for another plea", backend.ErrDenied, d.Email)
		}
		warrants = append(warrants, plain)
		if !slices.Contains(members, d.MemberID) {
			members, who = append(members, d.MemberID), append(who, d.Email)
		}
	}
	if tally := c.roster.Snapshot().Tally(c.Verdict, c.Operator.MemberID, members); !tally.Complete() {
		return nil, who, fmt.Errorf("%w: it waits for %s", backend.ErrHeld, tally.Waits())
	}
	return warrants, who, nil
}

func seal(block string, plain []byte, to []key.Recipient) ([]byte, error) {
	sealed, err := key.Seal(plain, to...)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: block, Bytes: sealed}), nil
}

var errFile = errors.New("this is no such file, or not a whole one")

func unseal(home *profile.Home, block string, file []byte) ([]byte, error) {
	b, rest := pem.Decode(file)
	if len(file) > MaxFile || b == nil || len(b.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: a block %q is expected", errFile, block)
	}
	if b.Type != block {
		return nil, fmt.Errorf("%w: it holds %q, and %q is expected", errFile, b.Type, block)
	}
	plain, err := home.Unsealer.Open(b.Bytes, maxPlain)
	if err != nil {
		return nil, errors.New("it is sealed to others: this device may not read it")
	}
	return plain, nil
}
