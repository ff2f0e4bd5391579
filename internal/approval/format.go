package approval

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Bounds, whatever a policy says.
const (
	MaxAskFor = 24 * time.Hour // ask_until - created
	MaxUseFor = 25 * time.Hour // use_until - decided: an hour after the latest ask_until
	MaxReason = 1024           // bytes
)

// ErrMalformed means an object with a field out of bounds.
var ErrMalformed = errors.New("approval: malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// An Ask is the operator's request for approval, signed by the operator's
// device and sealed to the approvers and the auditors. All approvals of one ask
// carry its id and its nonce.
type Ask struct {
	V          uint64        `cbor:"v"`
	ID         token.ID      `cbor:"id"`
	TeamFP     envelope.Hash `cbor:"team_fp"`
	SessionID  token.ID      `cbor:"session_id"`
	Agent      key.Kid       `cbor:"agent"`
	AgentName  string        `cbor:"agent_name"` // for people; the key counts
	Operator   key.Kid       `cbor:"operator"`   // the signing device
	Kind       string        `cbor:"kind"`
	As         string        `cbor:"as"`
	Command    token.Command `cbor:"command"`
	Tier       string        `cbor:"tier"`
	Rule       string        `cbor:"rule"`
	PolicyHash envelope.Hash `cbor:"policy_hash"`
	RosterHead token.Head    `cbor:"roster_head"`
	Reason     string        `cbor:"reason"`
	Created    int64         `cbor:"created"`   // unix seconds
	AskUntil   int64         `cbor:"ask_until"` // unix seconds; for the decision
	Nonce      token.ID      `cbor:"nonce"`
	Plan       Plan          `cbor:"plan"`            // what it was asked together with
	Lasts      int64         `cbor:"lasts,omitempty"` // seconds that the session needs at most; 0: as long as policy lets
}

// Context implements token.Body.
func (Ask) Context() string { return "tucdesk ask v1" }

// Check implements token.Body.
func (a Ask) Check(signer key.Kid) error {
	switch {
	case a.V != token.Version:
		return malformed("ask: unknown version %d", a.V)
	case a.ID.IsZero(), a.TeamFP.IsZero(), a.SessionID.IsZero(), a.Agent.IsZero(),
		a.PolicyHash.IsZero(), a.RosterHead.Hash.IsZero(), a.Nonce.IsZero():
		return malformed("ask: id, team_fp, session_id, agent, policy_hash, roster_head or nonce is missing")
	case a.Operator != signer || signer.IsZero():
		return malformed("ask: not signed by its operator")
	case sanitize.Name(a.AgentName) != nil:
		return malformed("ask: agent_name is not a name that may enter the system")
	case len(a.Tier) > 32 || len(a.Rule) > 256 || !utf8.ValidString(a.Tier+a.Rule):
		return malformed("ask: tier or rule too long or not UTF-8")
	case len(a.Reason) > MaxReason || !utf8.ValidString(a.Reason):
		return malformed("ask: reason has more than %d bytes or is not UTF-8", MaxReason)
	case a.Created <= 0 || a.AskUntil <= a.Created || a.AskUntil-a.Created > int64(MaxAskFor/time.Second):
		return malformed("ask: ask_until must be at most %v after created", MaxAskFor)
	case a.Lasts < 0 || a.Lasts > int64(token.MaxSession/time.Second):
		return malformed("ask: lasts must be at most %v", token.MaxSession)
	case !a.Plan.IsZero() && (a.Plan.Hash.IsZero() || a.Plan.Size < 2 || a.Plan.Size > MaxPlan):
		return malformed("ask: a plan has a hash and 2 to %d requests", MaxPlan)
	}
	return checkRun(a.Kind, a.As, a.Command)
}

// checkRun checks what ask and approval say will run. Standard input that
// nobody has seen can't be approved: it is none, a terminal, or bound by hash. What is
// copied to a target, or goes through a forward, is not what runs there: it may stream,
// and whoever approves is told that its content is not covered.
func checkRun(kind, as string, c token.Command) error {
	if err := token.CheckKind(kind, as); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	if c.Stdin == token.StdinStream && !reach.Carries(kind) {
		return malformed("a held command gets no standard input, unless its SHA-256 is part of the request")
	}
	return nil
}

// SignAsk signs a with the operator's device. It sets V.
func SignAsk(id key.Identity, a Ask) ([]byte, error) {
	a.V = token.Version
	return token.Sign(id, a)
}

// An UnverifiedAsk is an ask that nobody has checked.
type UnverifiedAsk struct{ token.Unverified }

// ParseAsk reads what SignAsk makes.
func ParseAsk(b []byte) (UnverifiedAsk, error) {
	u, err := token.Parse(b)
	return UnverifiedAsk{u}, err
}

// A VerifiedAsk is what an approver is shown.
type VerifiedAsk struct{ signedAsk }

type signedAsk = token.Signed[Ask]

// Verify checks signature, form, team and times. keys answers devices of the
// roster that are valid now.
func (u UnverifiedAsk) Verify(keys token.Keys, teamFP envelope.Hash, now time.Time) (VerifiedAsk, error) {
	s, err := token.VerifySigned[Ask](u.Unverified, keys)
	if err != nil {
		return VerifiedAsk{}, err
	}
	if err := s.Body().timely(teamFP, now); err != nil {
		return VerifiedAsk{}, err
	}
	return VerifiedAsk{s}, nil
}

// timely answers nil if the ask is of this team and can be decided now.
func (a Ask) timely(teamFP envelope.Hash, now time.Time) error {
	switch {
	case a.TeamFP != teamFP:
		return fmt.Errorf("%w: team_fp of the ask", ErrMismatch)
	case a.Created > now.Add(token.Skew).Unix():
		return fmt.Errorf("%w: made in the future; check the clock", ErrMalformed)
	case now.Unix() > a.AskUntil:
		return fmt.Errorf("%w: nobody decided in time; ask again", ErrExpired)
	}
	return nil
}

// Approve makes the approval of exactly this ask, to be signed by approver.
// head is the approver's own roster: an agent with an older one refuses. Where
// several people must approve, useUntil counts from ask_until, so that the first
// approval outlives the wait for the last.
func (v VerifiedAsk) Approve(approver key.Kid, head token.Head, decided, useUntil time.Time) Approval {
	return v.Body().approve(v.Hash(), approver, head, decided, useUntil)
}

func (a Ask) approve(hash envelope.Hash, approver key.Kid, head token.Head, decided, useUntil time.Time) Approval {
	return Approval{
		V: token.Version, ID: a.ID, TeamFP: a.TeamFP, SessionID: a.SessionID, Agent: a.Agent, Operator: a.Operator,
		Kind: a.Kind, As: a.As, Command: a.Command, PolicyHash: a.PolicyHash, RosterHead: head, AskHash: hash,
		UseUntil: useUntil.Unix(), Nonce: a.Nonce, Approver: approver, Decided: decided.Unix(), Lasts: a.Lasts,
	}
}

// An Approval is one approver's yes to one use of one command, signed by the
// approver's device and sealed to the operator, the agent and the auditors.
type Approval struct {
	V          uint64        `cbor:"v"`
	ID         token.ID      `cbor:"id"` // of the ask
	TeamFP     envelope.Hash `cbor:"team_fp"`
	SessionID  token.ID      `cbor:"session_id"`
	Agent      key.Kid       `cbor:"agent"`
	Operator   key.Kid       `cbor:"operator"`
	Kind       string        `cbor:"kind"`
	As         string        `cbor:"as"`
	Command    token.Command `cbor:"command"`
	PolicyHash envelope.Hash `cbor:"policy_hash"`
	RosterHead token.Head    `cbor:"roster_head"` // the approver's
	AskHash    envelope.Hash `cbor:"ask_hash"`
	UseUntil   int64         `cbor:"use_until"`       // unix seconds
	Nonce      token.ID      `cbor:"nonce"`           // of the ask
	Approver   key.Kid       `cbor:"approver"`        // the signing device
	Decided    int64         `cbor:"decided"`         // unix seconds
	Lasts      int64         `cbor:"lasts,omitempty"` // of the ask: the session ends so many seconds after its grant, or sooner
}

// Context implements token.Body.
func (Approval) Context() string { return "tucdesk approval v1" }

// Check implements token.Body.
func (a Approval) Check(signer key.Kid) error {
	switch {
	case a.V != token.Version:
		return malformed("approval: unknown version %d", a.V)
	case a.ID.IsZero(), a.TeamFP.IsZero(), a.SessionID.IsZero(), a.Agent.IsZero(), a.Operator.IsZero(),
		a.PolicyHash.IsZero(), a.RosterHead.Hash.IsZero(), a.AskHash.IsZero(), a.Nonce.IsZero():
		return malformed("approval: id, team_fp, session_id, agent, operator, policy_hash, roster_head, ask_hash or nonce is missing")
	case a.Approver != signer || signer.IsZero():
		return malformed("approval: not signed by its approver")
	case a.Lasts < 0 || a.Lasts > int64(token.MaxSession/time.Second):
		return malformed("approval: lasts must be at most %v", token.MaxSession)
	case a.Approver == a.Operator:
		return malformed("approval: nobody approves an own request")
	}
	if err := checkUse(a.Decided, a.UseUntil); err != nil {
		return err
	}
	return checkRun(a.Kind, a.As, a.Command)
}

func checkUse(decided, useUntil int64) error {
	if decided <= 0 || useUntil <= decided || useUntil-decided > int64(MaxUseFor/time.Second) {
		return malformed("use_until must be at most %v after decided", MaxUseFor)
	}
	return nil
}

// SignApproval signs a with the approver's device. It sets V.
func SignApproval(id key.Identity, a Approval) ([]byte, error) {
	a.V = token.Version
	return token.Sign(id, a)
}

// An UnverifiedApproval is an approval that nobody has checked.
type UnverifiedApproval struct{ token.Unverified }

// ParseApproval reads what SignApproval makes.
func ParseApproval(b []byte) (UnverifiedApproval, error) {
	u, err := token.Parse(b)
	return UnverifiedApproval{u}, err
}

// A VerifiedApproval is one whose signature and form were checked. What it is
// worth for a certain request, Check says.
type VerifiedApproval struct{ signedApproval }

type signedApproval = token.Signed[Approval]

// Verify checks signature and form. keys answers devices of the roster that are
// valid now.
func (u UnverifiedApproval) Verify(keys token.Keys) (VerifiedApproval, error) {
	s, err := token.VerifySigned[Approval](u.Unverified, keys)
	return VerifiedApproval{s}, err
}

// A Decision tells apid what an approver decided, and nothing of what about. It
// is signed by the approver's device and becomes part of the audit log.
type Decision struct {
	V          uint64        `cbor:"v"`
	ID         token.ID      `cbor:"id"` // of the ask
	AskHash    envelope.Hash `cbor:"ask_hash"`
	Approver   key.Kid       `cbor:"approver"`
	Approve    bool          `cbor:"approve"`
	UseUntil   int64         `cbor:"use_until"`   // unix seconds; 0 when denied
	Decided    int64         `cbor:"decided"`     // unix seconds
	SealedHash envelope.Hash `cbor:"sealed_hash"` // of the sealed approval, or of the sealed reason of a deny
}

// Context implements token.Body.
func (Decision) Context() string { return "tucdesk decision v1" }

// Check implements token.Body.
func (d Decision) Check(signer key.Kid) error {
	switch {
	case d.V != token.Version:
		return malformed("decision: unknown version %d", d.V)
	case d.ID.IsZero(), d.AskHash.IsZero(), d.SealedHash.IsZero(), d.Decided <= 0:
		return malformed("decision: id, ask_hash, sealed_hash or decided is missing")
	case d.Approver != signer || signer.IsZero():
		return malformed("decision: not signed by its approver")
	case d.Approve:
		return checkUse(d.Decided, d.UseUntil)
	case d.UseUntil != 0:
		return malformed("decision: a deny has no use_until")
	}
	return nil
}

// SignDecision signs d with the approver's device. It sets V.
func SignDecision(id key.Identity, d Decision) ([]byte, error) {
	d.V = token.Version
	return token.Sign(id, d)
}

// An UnverifiedDecision is a decision that nobody has checked.
type UnverifiedDecision struct{ token.Unverified }

// ParseDecision reads what SignDecision makes.
func ParseDecision(b []byte) (UnverifiedDecision, error) {
	u, err := token.Parse(b)
	return UnverifiedDecision{u}, err
}

// A VerifiedDecision is one whose signature and form were checked.
type VerifiedDecision struct{ signedDecision }

type signedDecision = token.Signed[Decision]

// Verify checks signature and form. keys answers devices of the roster that are
// valid now; an auditor's, devices that ever were.
func (u UnverifiedDecision) Verify(keys token.Keys) (VerifiedDecision, error) {
	s, err := token.VerifySigned[Decision](u.Unverified, keys)
	return VerifiedDecision{s}, err
}

// Reason bounds the text that goes with a deny: at most MaxReason bytes of
// UTF-8, not empty, for the person who asked.
func Reason(s string) error {
	if strings.TrimSpace(s) == "" || len(s) > MaxReason || !utf8.ValidString(s) {
		return malformed("a deny needs a reason of 1 to %d bytes", MaxReason)
	}
	return nil
}
