package token

import (
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// PresenceWindow is how far the time in a registration or a heartbeat may be
// from the verifier's, in either direction.
const PresenceWindow = 60 * time.Second

// A Registration is an agent's word that it is reachable at one rendezvous,
// signed by the agent's identity.
type Registration struct {
	V          uint64        `cbor:"v"`
	TeamFP     envelope.Hash `cbor:"team_fp"`
	TeamID     string        `cbor:"team_id"`
	Agent      key.Kid       `cbor:"agent"`
	Audience   string        `cbor:"audience"` // the rendezvous' own URL
	Time       int64         `cbor:"time"`     // unix seconds
	Nonce      ID            `cbor:"nonce"`
	Version    string        `cbor:"version"` // of the agent's program
	OS         string        `cbor:"os"`
	RosterHead Head          `cbor:"roster_head"`
}

// Context implements Body.
func (Registration) Context() string { return "tucdesk registration v1" }

// Check implements Body.
func (r Registration) Check(signer key.Kid) error {
	switch {
	case r.V != Version:
		return malformed("registration: unknown version %d", r.V)
	case r.TeamFP.IsZero(), r.Nonce.IsZero(), r.RosterHead.Hash.IsZero(), r.Time <= 0:
		return malformed("registration: team_fp, nonce, time or roster_head is missing")
	case r.Agent != signer || signer.IsZero():
		return malformed("registration: not signed by its agent")
	case sanitize.Name(r.TeamID) != nil:
		return malformed("registration: team_id is not a name that may enter the system")
	case r.Audience == "" || len(r.Audience) > maxURL:
		return malformed("registration: audience must have 1 to %d bytes", maxURL)
	case len(r.Version) > 64 || len(r.OS) > 64 || !plain(r.Version) || !plain(r.OS):
		return malformed("registration: version and os have at most 64 bytes of UTF-8")
	}
	return nil
}

// SignRegistration signs r with the agent's identity. It sets V.
func SignRegistration(id key.Identity, r Registration) ([]byte, error) {
	r.V = Version
	return Sign(id, r)
}

// An UnverifiedRegistration is a registration that nobody has checked.
type UnverifiedRegistration struct{ Unverified }

// ParseRegistration reads what SignRegistration makes.
func ParseRegistration(b []byte) (UnverifiedRegistration, error) {
	u, err := Parse(b)
	return UnverifiedRegistration{u}, err
}

// InsecureTeamID gives the team whose roster to check the signature against.
func (u UnverifiedRegistration) InsecureTeamID() (string, error) {
	var r Registration
	if err := u.InsecureDecode(&r); err != nil {
		return "", err
	}
	return r.TeamID, r.Check(u.InsecureSigner())
}

// ExpectRegistration is what a rendezvous knows by itself.
type ExpectRegistration struct {
	Now      time.Time
	TeamID   string
	TeamFP   envelope.Hash
	Audience string
}

// A VerifiedRegistration is one that is good now and here. Its nonce may still
// have been used before: the caller keeps that memory.
type VerifiedRegistration struct{ signedRegistration }

type signedRegistration = Signed[Registration]

// Verify checks signature, form, time, team and audience. keys answers agents
// of the roster that are valid now.
func (u UnverifiedRegistration) Verify(keys Keys, want ExpectRegistration) (VerifiedRegistration, error) {
	s, err := VerifySigned[Registration](u.Unverified, keys)
	if err != nil {
		return VerifiedRegistration{}, err
	}
	r := s.Body()
	if err := firstMismatch("registration", []pair{
		{"team_id", r.TeamID == want.TeamID},
		{"team_fp", r.TeamFP == want.TeamFP},
		{"audience", r.Audience == want.Audience},
	}); err != nil {
		return VerifiedRegistration{}, err
	}
	if err := near("registration", r.Time, want.Now); err != nil {
		return VerifiedRegistration{}, err
	}
	return VerifiedRegistration{s}, nil
}

// A Heartbeat is an agent's word that it is still there. It belongs to one
// registration and is numbered, so that no old one can stand in for a silent
// agent.
type Heartbeat struct {
	V            uint64        `cbor:"v"`
	Agent        key.Kid       `cbor:"agent"`
	Registration envelope.Hash `cbor:"registration"`
	Seq          uint64        `cbor:"seq"`  // from 1, by one
	Time         int64         `cbor:"time"` // unix seconds
	RosterHead   Head          `cbor:"roster_head"`
	Posture      *Posture      `cbor:"posture,omitempty"` // nil: it does not say
}

// A Posture is what an agent says of its machine, for people to read: nothing is decided
// by it. A field that is zero says nothing.
type Posture struct {
	OS      string `cbor:"os"`      // such as "linux/amd64"
	Version string `cbor:"version"` // of the agent's program
	Gate    string `cbor:"gate"`    // the levels of the exec gate that shells there can have
	Booted  int64  `cbor:"booted"`  // unix seconds
}

func (p *Posture) check() error {
	if p == nil {
		return nil
	}
	for _, s := range []string{p.OS, p.Version, p.Gate} {
		if len(s) > 64 || !plain(s) {
			return malformed("heartbeat: os, version and gate have at most 64 bytes of UTF-8")
		}
	}
	if p.Booted < 0 {
		return malformed("heartbeat: booted is before 1970")
	}
	return nil
}

// Context implements Body.
func (Heartbeat) Context() string { return "tucdesk heartbeat v1" }

// Check implements Body.
func (h Heartbeat) Check(signer key.Kid) error {
	switch {
	case h.V != Version:
		return malformed("heartbeat: unknown version %d", h.V)
	case h.Registration.IsZero(), h.RosterHead.Hash.IsZero(), h.Seq == 0, h.Time <= 0:
		return malformed("heartbeat: registration, roster_head, seq or time is missing")
	case h.Agent != signer || signer.IsZero():
		return malformed("heartbeat: not signed by its agent")
	}
	return h.Posture.check()
}

// SignHeartbeat signs h with the agent's identity. It sets V.
func SignHeartbeat(id key.Identity, h Heartbeat) ([]byte, error) {
	h.V = Version
	return Sign(id, h)
}

// An UnverifiedHeartbeat is a heartbeat that nobody has checked.
type UnverifiedHeartbeat struct{ Unverified }

// ParseHeartbeat reads what SignHeartbeat makes.
func ParseHeartbeat(b []byte) (UnverifiedHeartbeat, error) {
	u, err := Parse(b)
	return UnverifiedHeartbeat{u}, err
}

// ExpectHeartbeat is what a rendezvous knows of a registered agent.
type ExpectHeartbeat struct {
	Now          time.Time
	Agent        key.Kid
	Registration envelope.Hash
	AfterSeq     uint64 // the last heartbeat's number; 0 before the first
}

// A VerifiedHeartbeat is one that continues its registration now.
type VerifiedHeartbeat struct{ signedHeartbeat }

type signedHeartbeat = Signed[Heartbeat]

// Verify checks signature, form, time, and that the heartbeat continues the
// registration. keys answers the registered agent.
func (u UnverifiedHeartbeat) Verify(keys Keys, want ExpectHeartbeat) (VerifiedHeartbeat, error) {
	s, err := VerifySigned[Heartbeat](u.Unverified, keys)
	if err != nil {
		return VerifiedHeartbeat{}, err
	}
	h := s.Body()
	if err := firstMismatch("heartbeat", []pair{
		{"agent", h.Agent == want.Agent},
		{"registration", h.Registration == want.Registration},
		{"seq", h.Seq == want.AfterSeq+1},
	}); err != nil {
		return VerifiedHeartbeat{}, err
	}
	if err := near("heartbeat", h.Time, want.Now); err != nil {
		return VerifiedHeartbeat{}, err
	}
	return VerifiedHeartbeat{s}, nil
}

// LastWord reads an agent's latest registration or heartbeat, signed by its key, and gives
// the roster head that it had then and the time by its clock. False for anything else. It
// is a word of the past: nobody asks here whether it is fresh.
func LastWord(b []byte, by key.Public) (head Head, at time.Time, ok bool) {
	u, err := Parse(b)
	if err != nil {
		return head, at, false
	}
	keys := envelope.One(by)
	if beat, err := VerifySigned[Heartbeat](u, keys); err == nil {
		return beat.Body().RosterHead, time.Unix(beat.Body().Time, 0), true
	}
	if reg, err := VerifySigned[Registration](u, keys); err == nil {
		return reg.Body().RosterHead, time.Unix(reg.Body().Time, 0), true
	}
	return head, at, false
}

// LastPosture reads from an agent's latest registration or heartbeat what it says of its
// machine. Like LastWord it is a word of the past.
func LastPosture(b []byte, by key.Public) (Posture, bool) {
	u, err := Parse(b)
	if err != nil {
		return Posture{}, false
	}
	keys := envelope.One(by)
	if beat, err := VerifySigned[Heartbeat](u, keys); err == nil && beat.Body().Posture != nil {
		return *beat.Body().Posture, true
	}
	if reg, err := VerifySigned[Registration](u, keys); err == nil {
		return Posture{OS: reg.Body().OS, Version: reg.Body().Version}, true
	}
	return Posture{}, false
}
