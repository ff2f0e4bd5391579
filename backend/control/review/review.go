// Package review is what an approver's device makes of a held request: its sealed
// bytes, opened, verified, and judged by the signed policy. What is shown, and what
// is signed, comes from here.
//
// Invariants:
//   - apid's word counts for nothing but where a request stands: who asks, where and
//     what comes from the operator's own signature;
//   - who may decide is judged here, by the roster that this device has verified;
//   - what does not verify can be shown as just that, and never be decided.
//
// The package is pure. It must not import net, os or backend/control.
package review

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// ErrSealed means a request that this device can't open.
var ErrSealed = errors.New("sealed to others: this device may not read the command")

// A Review is a request that this device has opened, verified and judged.
type Review struct {
	Verified  approval.VerifiedAsk
	Ask       approval.Ask
	Operator  roster.Device
	Agent     roster.Agent
	Verdict   policy.Verdict
	Approvers []roster.Device // who may decide now
	Mine      bool            // asked by the member whose device this is
	Why       string          // why this device may not decide; empty if it may
	Turn      string          // why it may not say yes yet; empty if it may
	Tally     quorum.Tally    // of the yeses whose signatures verify

	emails  map[string]string // of the members of Tally
	runbook string            // the step that it says it is, in words
	roster  *roster.Roster
	shown   wire.Approval
	now     time.Time
}

// Refusal says why this device may not decide so; empty if it may.
func (c *Review) Refusal(approve bool) string {
	if c.Why == "" && approve {
		return c.Turn
	}
	return c.Why
}

// Open reviews the opened bytes of what apid shows as ap, on the device me.
func Open(plain []byte, ap wire.Approval, r *roster.Roster, me roster.Device, now time.Time) (*Review, error) {
	u, err := approval.ParseAsk(plain)
	if err != nil {
		return nil, fmt.Errorf("not a request as TucDesk makes them: %w", err)
	}
	va, err := u.Verify(func(k key.Kid) (key.Public, bool) {
		d, err := r.Device(k, now)
		return d.Public, err == nil
	}, r.TeamFP(), now)
	if err != nil {
		return nil, fmt.Errorf("the request does not verify: %w", err)
	}
	a := va.Body()
	if a.ID != ap.ID || a.Operator != ap.Operator || a.Agent != ap.Target || va.Hash() != ap.AskHash {
		return nil, errors.New("apid shows this request under another name than its operator signed: do not decide, tell an admin")
	}
	if a.Kind != ap.Kind || a.As != ap.As {
		return nil, errors.New("apid shows this request as another kind of session, or as another user, than its operator signed: do not decide, tell an admin")
	}
	c := &Review{Verified: va, Ask: a, roster: r, shown: ap, now: now}
	if c.Operator, err = r.Device(a.Operator, now); err != nil {
		return nil, err
	}
	if c.Agent, err = r.Agent(a.Agent, now); err != nil {
		return nil, err
	}
	argv := a.Command.Argv
	if len(argv) == 0 || backend.Kind(a.Kind).Watches() {
		argv = nil // none, or the name of a shell
	}
	req := r.Request(c.Operator, c.Agent, policy.Kind(a.Kind), a.As, argv, now)
	req.Cwd = a.Command.Cwd
	c.Verdict = policy.Evaluate(req, r.Snapshot())
	c.Approvers = r.Approvers(c.Verdict, c.Operator.MemberID, now)
	c.Mine = me.MemberID == c.Operator.MemberID
	c.runbook = r.InstanceWords(a.Command.Runbook)
	notStep := r.CheckInstance(a.Command.Runbook, policy.Kind(a.Kind), a.As, a.Command.Cwd, a.Command.Argv, c.Agent)
	said := yes(r, ap, va.Hash(), now)
	c.Tally = r.Snapshot().Tally(c.Verdict, c.Operator.MemberID, said)
	c.emails = map[string]string{}
	for _, p := range r.Snapshot().People {
		if slices.Contains(said, p.MemberID) {
			c.emails[p.MemberID] = p.Email
		}
	}
	_, c.Turn = r.Snapshot().MayApprove(c.Verdict, c.Operator.MemberID, me.MemberID, said)
	switch {
	case c.Mine:
		c.Why = "nobody decides an own request"
	case notStep != nil:
		c.Why = "it is not the runbook's step that it says it is: " + notStep.Error()
	case c.Verdict.Effect != policy.Hold:
		c.Why = fmt.Sprintf("policy does not hold this any more (%s)", c.Verdict.Effect)
	case a.PolicyHash != r.PolicyHash():
		c.Why = "policy has changed since it was asked; it must be asked again"
	case !slices.ContainsFunc(c.Approvers, func(d roster.Device) bool { return d.Kid == me.Kid }):
		c.Why = "you are not one of " + strings.Join(c.Verdict.Obligations.Approvers, " or ")
	case slices.Contains(said, me.MemberID):
		c.Why = "you have decided already"
	case now.Unix() >= a.AskUntil:
		c.Why = "its time is over"
	}
	return c, nil
}

// yes are the members who have signed a yes to an ask with a device that is good
// now, each once.
func yes(r *roster.Roster, ap wire.Approval, ask envelope.Hash, now time.Time) (members []string) {
	for _, d := range ap.Decisions {
		u, err := approval.ParseDecision(d.Decision)
		if err != nil {
			continue
		}
		v, err := u.Verify(r.Key)
		if err != nil || !v.Body().Approve || v.Body().ID != ap.ID || v.Body().AskHash != ask {
			continue
		}
		if by, err := r.Device(v.Body().Approver, now); err == nil && !slices.Contains(members, by.MemberID) {
			members = append(members, by.MemberID)
		}
	}
	return members
}

// Outline is what is known of an approval before it is opened: apid's word, with the
// roster's names.
func Outline(r *roster.Roster, ap wire.Approval) backend.Approval {
	out := backend.Approval{
		ID: backend.ApprovalID(ap.ID.String()), Kind: ap.Kind, As: ap.As, Tier: ap.Tier,
		Asked: time.Unix(ap.Created, 0), AskUntil: time.Unix(ap.AskUntil, 0), State: state(ap.State),
		Approved: ap.Approved, Quorum: ap.Quorum,
		Operator: ap.Operator.Short(), Target: ap.Target.Short(),
	}
	if d, ok := r.EverDevice(ap.Operator); ok {
		out.Operator = d.Email
	}
	if a, ok := r.EverAgent(ap.Target); ok {
		out.Target = a.Name
	}
	return out
}

// Show puts what the operator has signed into an outline.
func (c *Review) Show(out *backend.Approval, before profile.Approved) {
	cmd := c.Ask.Command
	out.Kind, out.As, out.Asked, out.AskUntil = c.Ask.Kind, c.Ask.As, time.Unix(c.Ask.Created, 0), time.Unix(c.Ask.AskUntil, 0)
	out.Argv, out.Cwd, out.Stdin, out.Reason, out.Lasts = cmd.Argv, cmd.Cwd, cmd.Stdin, c.Ask.Reason, time.Duration(c.Ask.Lasts)*time.Second
	var covered []string
	for _, b := range cmd.Bound {
		covered = append(covered, cmd.Argv[b.Word])
		out.Content = append(out.Content, content(b, c.Agent.Kid, before))
	}
	out.Tier, out.Risk = c.Verdict.Tier, c.Verdict.Risk
	switch {
	case backend.Kind(c.Ask.Kind).Watches():
	case !reach.Carries(c.Ask.Kind):
		out.Unread = command.Unread(cmd.Argv, covered...)
	case c.Ask.Kind != reach.KindCopy:
		out.Unread = "what goes through it"
	case cmd.Stdin == token.StdinStream:
		out.Unread = "what is in the files"
	}
	for _, kv := range cmd.Env {
		out.Env = append(out.Env, kv[0]+"="+kv[1])
	}
	if out.Runbook = c.runbook; cmd.Runbook != nil {
		out.Step = int(cmd.Runbook.Step)
	}
	if !c.Ask.Plan.IsZero() {
		out.Plan, out.PlanSize = c.Ask.Plan.Hash.String(), int(c.Ask.Plan.Size)
	}
	for _, d := range c.Approvers {
		if !slices.Contains(out.Approvers, d.Email) {
			out.Approvers = append(out.Approvers, d.Email)
		}
	}
	if out.State == backend.ApprovalWaiting {
		c.waits(out)
	}
	out.Mine, out.CanDecide, out.WhyNot = c.Mine, c.Why == "", c.Why
	if out.CanDecide {
		out.Turn = c.Turn
	}
	out.Quorum = max(out.Quorum, c.Verdict.Obligations.Quorum)
	for _, s := range c.Tally.Steps {
		step := backend.ApprovalStep{Waits: s.Waits}
		for _, id := range s.By {
			step.By = append(step.By, c.emails[id])
		}
		out.Steps = append(out.Steps, step)
	}
}

// waits says whose yes would count now, and which of those that may decide read it or are
// online: apid's word, of which nothing is taken about anybody else.
func (c *Review) waits(out *backend.Approval) {
	if c.Verdict.Effect != policy.Hold || c.Ask.PolicyHash != c.roster.PolicyHash() {
		out.Nobody = "nobody: policy has changed since it was asked; ask again"
		return
	}
	s, said := c.roster.Snapshot(), yes(c.roster, c.shown, c.Verified.Hash(), c.now)
	asked := map[string]bool{}
	for _, d := range c.Approvers {
		if asked[d.MemberID] {
			continue
		}
		asked[d.MemberID] = true
		if may, _ := s.MayApprove(c.Verdict, c.Operator.MemberID, d.MemberID, said); may && !slices.Contains(said, d.MemberID) {
			out.Awaits = append(out.Awaits, backend.Awaited{Who: d.Email, Online: slices.Contains(c.shown.Online, d.MemberID)})
		}
		at := slices.IndexFunc(c.shown.Deciding, func(x wire.Deciding) bool { return x.Member == d.MemberID })
		if at >= 0 {
			since := c.now.Add(-time.Duration(min(max(c.shown.Deciding[at].For, 0), maxReading)) * time.Second)
			out.Readers = append(out.Readers, backend.Reader{Who: d.Email, Since: since})
		}
	}
	if len(out.Awaits) == 0 {
		out.Nobody = Nobody(c.roster, c.Verdict, c.Agent.Name)
	}
}

// maxReading bounds for how many seconds apid can say that somebody reads a request.
const maxReading = 24 * 60 * 60

// Nobody says that nobody on a roster could approve what a verdict holds, and what to do.
func Nobody(r *roster.Roster, v policy.Verdict, target string) string {
	s := "nobody on the roster could approve this now (needs " + v.Obligations.Needs.String() + "); an admin can add somebody, or change the policy"
	if _, ok := r.Snapshot().Policy.BreakGlass(); ok {
		s += "; in an emergency: tucdesk breakglass ask " + target + " --reason WHY -o FILE"
	}
	return s
}

func state(s string) backend.ApprovalState {
	switch s {
	case wire.Pending:
		return backend.ApprovalWaiting
	case wire.Approved:
		return backend.ApprovalApproved
	case wire.Denied, wire.Cancelled:
		return backend.ApprovalDenied
	case wire.Used:
		return backend.ApprovalUsed
	}
	return backend.ApprovalExpired
}

// Decide makes the public decision and its sealed half.
func (c *Review) Decide(id key.Identity, r *roster.Roster, d backend.Decision, now time.Time) (wire.SealedDecision, error) {
	body := approval.Decision{
		ID: c.Ask.ID, AskHash: c.Verified.Hash(), Approver: id.Kid(), Approve: d.Approve, Decided: now.Unix(),
	}
	content, readers := []byte(d.Reason), append(r.Auditors(), c.Operator.Recipient)
	if d.Approve {
		useUntil := now
		if c.Verdict.Obligations.Quorum > 1 {
			useUntil = time.Unix(c.Ask.AskUntil, 0) // the first approval must outlive the wait for the last
		}
		a := c.Verified.Approve(body.Approver, token.Head(r.Head()), now, useUntil.Add(c.Verdict.Obligations.UseFor))
		signed, err := approval.SignApproval(id, a)
		if err != nil {
			return wire.SealedDecision{}, err
		}
		content, readers, body.UseUntil = signed, append(readers, c.Agent.Recipient), a.UseUntil
	}
	sealed, err := key.Seal(content, readers...)
	if err != nil {
		return wire.SealedDecision{}, err
	}
	body.SealedHash = envelope.Sum(sealed)
	signed, err := approval.SignDecision(id, body)
	return wire.SealedDecision{Decision: signed, Sealed: sealed}, err
}

// maxOpened bounds an opened approval, in bytes.
const maxOpened = 64 << 10

// Approvals gives the signed approvals that were sealed to us.
func Approvals(ap wire.Approval, us key.Unsealer) (got [][]byte) {
	for _, d := range ap.Decisions {
		plain, err := us.Open(d.Sealed, maxOpened)
		if err != nil {
			continue // a reason, or not for us
		}
		if u, err := approval.ParseApproval(plain); err == nil && len(u.Bytes()) > 0 {
			got = append(got, plain)
		}
	}
	return got
}

// Denial gives the reason of whoever denied, as it was sealed to us.
func Denial(r *roster.Roster, ap wire.Approval, us key.Unsealer) string {
	for _, d := range ap.Decisions {
		u, err := approval.ParseDecision(d.Decision)
		if err != nil {
			continue
		}
		v, err := u.Verify(r.Key)
		if err != nil || v.Body().Approve || v.Body().ID != ap.ID {
			continue
		}
		who := "an approver"
		if dev, ok := r.EverDevice(v.Body().Approver); ok {
			who = dev.Email
		}
		if envelope.Sum(d.Sealed) != v.Body().SealedHash {
			return who + " said no, and apid hands on another reason than they gave: ask them"
		}
		if why, err := us.Open(d.Sealed, approval.MaxReason); err == nil {
			return who + " said no: " + string(why)
		}
		return who + " said no"
	}
	return "the request was denied"
}

// Command is what a request runs, with a fresh salt; held where it waits for somebody's
// yes.
func Command(req backend.OpenRequest, held bool) token.Command {
	c := token.Command{V: token.Version, Argv: slices.Clone(req.Argv), Cwd: req.Cwd, Salt: token.NewID(), Stdin: cmp.Or(req.Stdin, token.StdinStream)}
	if c.Argv == nil {
		c.Argv = []string{}
	}
	c.Env = append([][2]string{}, req.Env...)
	if s := req.Runbook; s != nil {
		c.Runbook = &runbook.Instance{Name: s.Name, Version: s.Version, Step: uint64(s.Step), Args: append([][2]string{}, s.Args...)}
	}
	switch {
	case req.Kind.Watches():
		c.Argv, c.Stdin = []string{string(req.Session)}, token.StdinNone
		if req.Kind == backend.KindJoin {
			c.Stdin = token.StdinTTY
		}
	case req.Kind == backend.KindShell || req.TTY:
		c.Stdin = token.StdinTTY
		if req.Term != "" && !slices.ContainsFunc(c.Env, func(kv [2]string) bool { return kv[0] == "TERM" }) {
			c.Env = append(c.Env, [2]string{"TERM", req.Term})
		}
	case held && c.Stdin == token.StdinStream && !reach.Carries(string(req.Kind)):
		c.Stdin = token.StdinNone // what an approver did not see must not steer what it approved
	}
	return c
}

// Recipients are to whom devices have sealed what they may read.
func Recipients(ds []roster.Device) []key.Recipient {
	out := make([]key.Recipient, len(ds))
	for i, d := range ds {
		out[i] = d.Recipient
	}
	return out
}

// Pause waits between two questions about a request, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Recorded reports whether the log's last proof of this device is the given one.
func Recorded(actor wire.Actor, proof []byte) bool {
	h, err := envelope.PayloadHash(proof)
	return err == nil && actor.Hash == h
}
