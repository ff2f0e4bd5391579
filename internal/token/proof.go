package token

import (
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// What a proof asks for.
const (
	ActSession = "session" // a session, now
	ActAsk     = "ask"     // an approval for a session
	ActCancel  = "cancel"  // an own ask withdrawn
	ActResume  = "resume"  // the terminal of a session that runs, for its member
)

// AudienceAPI is the name of apid in a proof's audience.
const AudienceAPI = "apid"

const (
	// ProofLife bounds exp - iat.
	ProofLife = 60 * time.Second
	// Skew is how far a signer's clock may be ahead of the verifier's.
	Skew = 30 * time.Second

	maxCheckpoint = 4096 // bytes of a signed note
)

// A Proof is the operator's own statement of one sensitive request, signed by
// the operator's device. apid, the agent and later the auditors verify it.
type Proof struct {
	V          uint64        `cbor:"v"`
	JTI        ID            `cbor:"jti"`
	IAT        int64         `cbor:"iat"` // unix seconds
	Exp        int64         `cbor:"exp"` // at most iat + 60
	Aud        []string      `cbor:"aud"` // Audience(Target)
	TeamFP     envelope.Hash `cbor:"team_fp"`
	Operator   key.Kid       `cbor:"operator"` // the signing device
	Act        string        `cbor:"act"`
	Target     key.Kid       `cbor:"target"` // the agent
	SessionID  ID            `cbor:"session_id"`
	Kind       string        `cbor:"kind"`
	As         string        `cbor:"as"`         // empty: the agent's login user
	Commitment envelope.Hash `cbor:"commitment"` // of the Command; zero only to cancel
	Confirmed  bool          `cbor:"confirmed"`
	PolicyHash envelope.Hash `cbor:"policy_hash"` // zero: the team has no policy
	RosterHead Head          `cbor:"roster_head"`
	Checkpoint []byte        `cbor:"checkpoint"` // newest signed checkpoint seen; may be empty
	ActorSeq   uint64        `cbor:"actor_seq"`  // this device's proofs, from 1
	ActorPrev  envelope.Hash `cbor:"actor_prev"` // hash of its previous proof; zero for the first
}

// Audience is the one allowed audience of a proof about an agent.
func Audience(agent key.Kid) []string { return []string{AudienceAPI, agent.String()} }

// Context implements Body.
func (Proof) Context() string { return "tucdesk proof v1" }

// Check implements Body.
func (p Proof) Check(signer key.Kid) error {
	switch {
	case p.V != Version:
		return malformed("proof: unknown version %d", p.V)
	case p.JTI.IsZero(), p.SessionID.IsZero(), p.TeamFP.IsZero(), p.Target.IsZero(), p.RosterHead.Hash.IsZero():
		return malformed("proof: jti, session_id, team_fp, target or roster_head is missing")
	case p.Operator != signer || signer.IsZero():
		return malformed("proof: not signed by its operator")
	case p.IAT <= 0 || p.Exp <= p.IAT || p.Exp-p.IAT > int64(ProofLife/time.Second):
		return malformed("proof: exp must be 1 to %d seconds after iat", int64(ProofLife/time.Second))
	case !slices.Equal(p.Aud, Audience(p.Target)):
		return malformed("proof: aud must be apid and the target")
	case p.Act != ActSession && p.Act != ActAsk && p.Act != ActCancel && p.Act != ActResume:
		return malformed("proof: unknown act")
	case p.Commitment.IsZero() && p.Act != ActCancel:
		return malformed("proof: commitment is missing")
	case len(p.Checkpoint) > maxCheckpoint:
		return malformed("proof: checkpoint of %d bytes, at most %d", len(p.Checkpoint), maxCheckpoint)
	case p.ActorSeq == 0 || (p.ActorSeq == 1) != p.ActorPrev.IsZero():
		return malformed("proof: actor_seq starts at 1, and only the first proof has no actor_prev")
	}
	return CheckKind(p.Kind, p.As)
}

// SignProof signs p with the operator's device. It sets V and Aud.
func SignProof(id key.Identity, p Proof) ([]byte, error) {
	p.V, p.Aud = Version, Audience(p.Target)
	return Sign(id, p)
}

// An UnverifiedProof is a proof that nobody has checked.
type UnverifiedProof struct{ Unverified }

// ParseProof reads what SignProof makes.
func ParseProof(b []byte) (UnverifiedProof, error) {
	u, err := Parse(b)
	return UnverifiedProof{u}, err
}

// ExpectProof is what a verifier knows by itself.
type ExpectProof struct {
	Now      time.Time
	TeamFP   envelope.Hash
	Audience string // AudienceAPI, or the agent's own key id as text
	Act      string // ActSession, …
}

// A VerifiedProof is one that is good now, here and for this act. Its jti and
// session_id may still have been used before: the caller keeps that memory.
type VerifiedProof struct{ signedProof }

type signedProof = Signed[Proof]

// Verify checks signature, form, time, team, audience and act. keys answers
// devices of the roster that are valid now.
func (u UnverifiedProof) Verify(keys Keys, want ExpectProof) (VerifiedProof, error) {
	s, err := VerifySigned[Proof](u.Unverified, keys)
	if err != nil {
		return VerifiedProof{}, err
	}
	p := s.Body()
	if err := firstMismatch("proof", []pair{
		{"team_fp", p.TeamFP == want.TeamFP},
		{"aud", slices.Contains(p.Aud, want.Audience)},
		{"act", p.Act == want.Act},
	}); err != nil {
		return VerifiedProof{}, err
	}
	if err := within("proof", p.IAT, p.Exp, want.Now); err != nil {
		return VerifiedProof{}, err
	}
	return VerifiedProof{s}, nil
}
