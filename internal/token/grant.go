package token

import (
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

const (
	// StartWithin bounds start_by - iat.
	StartWithin = 60 * time.Second
	// MaxSession bounds ends_by - iat, whatever a policy says.
	MaxSession = 7 * 24 * time.Hour

	maxRule      = 256 // bytes of a rule's name
	maxApprovals = 16
)

// A Grant is apid's half of a yes: without it no agent starts a session, and
// by itself it starts none. It is signed by a key that the roster names as a
// grant key.
type Grant struct {
	V          uint64        `cbor:"v"`
	TeamFP     envelope.Hash `cbor:"team_fp"`
	SessionID  ID            `cbor:"session_id"`
	Operator   key.Kid       `cbor:"operator"`
	Agent      key.Kid       `cbor:"agent"`
	Kind       string        `cbor:"kind"`
	As         string        `cbor:"as"`
	Commitment envelope.Hash `cbor:"commitment"`
	Confirmed  bool          `cbor:"confirmed"`
	Effect     string        `cbor:"effect"` // "allow", "confirm" or "hold": what apid could see
	Rule       string        `cbor:"rule"`
	PolicyHash envelope.Hash `cbor:"policy_hash"`
	Approvals  []ID          `cbor:"approvals"` // used up by this grant
	ProofHash  envelope.Hash `cbor:"proof_hash"`
	Nonce      ID            `cbor:"nonce"`
	IAT        int64         `cbor:"iat"`      // unix seconds
	StartBy    int64         `cbor:"start_by"` // at most iat + 60
	EndsBy     int64         `cbor:"ends_by"`
}

// Context implements Body.
func (Grant) Context() string { return "tucdesk grant v1" }

// Check implements Body. Who may sign grants is the roster's to say.
func (g Grant) Check(key.Kid) error {
	switch {
	case g.V != Version:
		return malformed("grant: unknown version %d", g.V)
	case g.TeamFP.IsZero(), g.SessionID.IsZero(), g.Operator.IsZero(), g.Agent.IsZero(),
		g.Commitment.IsZero(), g.PolicyHash.IsZero(), g.ProofHash.IsZero(), g.Nonce.IsZero():
		return malformed("grant: team_fp, session_id, operator, agent, commitment, policy_hash, proof_hash or nonce is missing")
	case len(g.Rule) > maxRule || !utf8.ValidString(g.Rule):
		return malformed("grant: rule has more than %d bytes or is not UTF-8", maxRule)
	case len(g.Approvals) > maxApprovals:
		return malformed("grant: %d approvals, at most %d", len(g.Approvals), maxApprovals)
	case g.IAT <= 0 || g.StartBy <= g.IAT || g.StartBy-g.IAT > int64(StartWithin/time.Second):
		return malformed("grant: start_by must be 1 to %d seconds after iat", int64(StartWithin/time.Second))
	case g.EndsBy < g.StartBy || g.EndsBy-g.IAT > int64(MaxSession/time.Second):
		return malformed("grant: ends_by must be between start_by and %v after iat", MaxSession)
	}
	for i, id := range g.Approvals {
		if id.IsZero() {
			return malformed("grant: an approval without an id")
		}
		for _, other := range g.Approvals[:i] {
			if other == id {
				return malformed("grant: an approval is named twice")
			}
		}
	}
	switch g.Effect {
	case "allow":
	case "confirm":
		if !g.Confirmed {
			return malformed("grant: confirm without a confirmation")
		}
	case "hold":
		if len(g.Approvals) == 0 {
			return malformed("grant: hold without an approval")
		}
	default:
		return malformed("grant: effect must be allow, confirm or hold")
	}
	return CheckKind(g.Kind, g.As)
}

// SignGrant signs g with apid's grant key. It sets V.
func SignGrant(id key.Identity, g Grant) ([]byte, error) {
	g.V = Version
	return Sign(id, g)
}

// An UnverifiedGrant is a grant that nobody has checked.
type UnverifiedGrant struct{ Unverified }

// ParseGrant reads what SignGrant makes.
func ParseGrant(b []byte) (UnverifiedGrant, error) {
	u, err := Parse(b)
	return UnverifiedGrant{u}, err
}

// ExpectGrant is what an agent knows by itself.
type ExpectGrant struct {
	Now    time.Time
	TeamFP envelope.Hash
	Agent  key.Kid
}

// A VerifiedGrant is one that is good now and for this agent. Whether it
// answers a certain proof, GrantMatchesProof says.
type VerifiedGrant struct{ signedGrant }

type signedGrant = Signed[Grant]

// Verify checks signature, form, time, team and agent. keys answers grant keys
// of the roster.
func (u UnverifiedGrant) Verify(keys Keys, want ExpectGrant) (VerifiedGrant, error) {
	s, err := VerifySigned[Grant](u.Unverified, keys)
	if err != nil {
		return VerifiedGrant{}, err
	}
	g := s.Body()
	if err := firstMismatch("grant", []pair{
		{"team_fp", g.TeamFP == want.TeamFP},
		{"agent", g.Agent == want.Agent},
	}); err != nil {
		return VerifiedGrant{}, err
	}
	if err := within("grant", g.IAT, g.StartBy, want.Now); err != nil {
		return VerifiedGrant{}, err
	}
	return VerifiedGrant{s}, nil
}

// GrantMatchesProof answers a *MismatchError unless the grant was made for
// exactly this proof: every field that both have is equal, and the grant names
// the proof's hash.
func GrantMatchesProof(grant VerifiedGrant, proof VerifiedProof) error {
	g, p := grant.Body(), proof.Body()
	skew := int64(Skew / time.Second)
	return firstMismatch("grant", []pair{
		{"v", g.V == Version && p.V == Version},
		{"act", p.Act == ActSession || p.Act == ActResume},
		{"team_fp", g.TeamFP == p.TeamFP},
		{"session_id", g.SessionID == p.SessionID},
		{"operator", g.Operator == p.Operator},
		{"agent", g.Agent == p.Target},
		{"kind", g.Kind == p.Kind},
		{"as", g.As == p.As},
		{"commitment", g.Commitment == p.Commitment},
		{"confirmed", g.Confirmed == p.Confirmed},
		{"policy_hash", g.PolicyHash == p.PolicyHash},
		{"proof_hash", g.ProofHash == proof.Hash()},
		{"iat", g.IAT >= p.IAT-skew && g.IAT <= p.Exp+skew},
	})
}
