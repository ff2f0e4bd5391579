package recording

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// Version is the only manifest version this package reads.
const Version = 1

// MaxManifest bounds an encoded manifest, in bytes.
const MaxManifest = 1 << 10

// MaxSegments bounds the segments of one recording: 12 hours at one every few
// seconds, and then some.
const MaxSegments = 1 << 20

// A Manifest says what one segment is, signed by the agent that recorded it.
type Manifest struct {
	V         uint64        `cbor:"v"`
	TeamFP    envelope.Hash `cbor:"team_fp"`
	SessionID token.ID      `cbor:"session_id"`
	N         uint64        `cbor:"n"`      // from 1
	SHA256    envelope.Hash `cbor:"sha256"` // of the segment as it is stored
	Len       uint64        `cbor:"len"`    // its length, in bytes
	T0        int64         `cbor:"t0"`     // ms since the beginning: the end of the segment before, 0 for the first
	T1        int64         `cbor:"t1"`     // ms since the beginning: its last event
	Prev      envelope.Hash `cbor:"prev"`   // SHA-256 of the payload of manifest n-1; zero for the first
	Final     bool          `cbor:"final"`  // the recording ends here, as it should
}

// Context implements token.Body.
func (Manifest) Context() string { return "tucdesk manifest v1" }

// Check implements token.Body. Who may sign is for the caller to say.
func (m Manifest) Check(key.Kid) error {
	switch {
	case m.V != Version:
		return malformed("manifest: unknown version %d", m.V)
	case m.TeamFP.IsZero() || m.SessionID.IsZero() || m.SHA256.IsZero():
		return malformed("manifest: team_fp, session_id or sha256 is missing")
	case m.N == 0 || m.N > MaxSegments:
		return malformed("manifest: numbers are 1 to %d", MaxSegments)
	case (m.N == 1) != m.Prev.IsZero():
		return malformed("manifest: the first, and only the first, has no prev")
	case m.Len < uint64(len(segmentMagic)) || m.Len > MaxSegment:
		return malformed("manifest: a segment has %d to %d bytes", len(segmentMagic), MaxSegment)
	case m.T0 < 0 || m.T1 < m.T0 || m.T1 > maxTime.Milliseconds():
		return malformed("manifest: t0 and t1 are not in order, or out of range")
	case m.N == 1 && m.T0 != 0:
		return malformed("manifest: the first begins at 0")
	}
	return nil
}

// SignManifest signs m with the agent's identity. It sets V and gives the
// envelope with its payload's hash, the Prev of the next.
func SignManifest(id key.Identity, m Manifest) ([]byte, envelope.Hash, error) {
	m.V = Version
	b, err := token.Sign(id, m)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	u, err := envelope.Parse(b)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	return b, envelope.Sum(u.InsecurePayload()), nil
}

// An UnverifiedManifest is a manifest that nobody has checked.
type UnverifiedManifest struct{ token.Unverified }

// ParseManifest reads what SignManifest makes. It checks no signature.
func ParseManifest(b []byte) (UnverifiedManifest, error) {
	if len(b) > MaxManifest {
		return UnverifiedManifest{}, malformed("manifest: %d bytes, at most %d", len(b), MaxManifest)
	}
	u, err := token.Parse(b)
	if err != nil {
		return UnverifiedManifest{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return UnverifiedManifest{u}, nil
}

// A VerifiedManifest is one whose signature and form were checked.
type VerifiedManifest struct{ token.Signed[Manifest] }

// Verify checks signature and form. keys answers the agents that may have signed.
func (u UnverifiedManifest) Verify(keys token.Keys) (VerifiedManifest, error) {
	s, err := token.VerifySigned[Manifest](u.Unverified, keys)
	if err != nil {
		return VerifiedManifest{}, fmt.Errorf("recording: %w", err)
	}
	return VerifiedManifest{s}, nil
}

// Follows reports why m can't come after prev, the zero value for the first.
func (m VerifiedManifest) Follows(prev VerifiedManifest) error {
	b, p := m.Body(), prev.Body()
	if p.V == 0 {
		if b.N != 1 {
			return tampered(1, "missing: the manifests begin with number %d", b.N)
		}
		return nil
	}
	switch {
	case b.TeamFP != p.TeamFP || b.SessionID != p.SessionID:
		return tampered(p.N+1, "its manifest belongs to another recording")
	case m.Signer() != prev.Signer():
		return tampered(p.N+1, "its manifest is signed by another agent")
	case p.Final:
		return tampered(b.N, "it comes after the final one")
	case b.N > p.N+1:
		return tampered(p.N+1, "missing")
	case b.N != p.N+1:
		return tampered(b.N, "it stands after segment %d", p.N)
	case b.Prev != prev.Hash():
		return tampered(b.N, "its manifest does not follow the one before: one of the two was exchanged")
	case b.T0 != p.T1:
		return tampered(b.N, "it does not begin where the one before ends")
	}
	return nil
}

// ErrTampered means a recording that is not as its agent made it. The error is a
// *TamperError.
var ErrTampered = errors.New("recording: tampered with")

// A TamperError says which segment is not as it should be, and how.
type TamperError struct {
	N    uint64 // the segment's number, from 1; 0: the recording as a whole
	What string
}

func (e *TamperError) Error() string {
	if e.N == 0 {
		return "recording: tampered with: " + e.What
	}
	return fmt.Sprintf("recording: tampered with: segment %d: %s", e.N, e.What)
}

func (e *TamperError) Unwrap() error { return ErrTampered }

func tampered(n uint64, format string, args ...any) error {
	return &TamperError{n, fmt.Sprintf(format, args...)}
}

// A Chain is the verified manifests of one recording, from the first on, without
// a gap. It is immutable.
type Chain struct{ links []VerifiedManifest }

// VerifyChain checks the manifests of the recording of a session: every
// signature, by one agent, numbers and hashes without a gap. keys answers the
// agents that the roster ever held. The list may end early: see Complete.
func VerifyChain(teamFP envelope.Hash, session token.ID, keys token.Keys, manifests [][]byte) (*Chain, error) {
	if len(manifests) == 0 || len(manifests) > MaxSegments {
		return nil, malformed("a recording has 1 to %d manifests, not %d", MaxSegments, len(manifests))
	}
	c := &Chain{}
	var last VerifiedManifest
	for i, b := range manifests {
		u, err := ParseManifest(b)
		if err != nil {
			return nil, tampered(uint64(i+1), "its manifest is malformed")
		}
		m, err := u.Verify(keys)
		if err != nil {
			return nil, tampered(uint64(i+1), "its manifest is not signed by an agent of the team")
		}
		if m.Body().TeamFP != teamFP || m.Body().SessionID != session {
			return nil, tampered(uint64(i+1), "its manifest belongs to another recording")
		}
		if err := m.Follows(last); err != nil {
			return nil, err
		}
		c.links, last = append(c.links, m), m
	}
	return c, nil
}

func (c *Chain) last() VerifiedManifest { return c.links[len(c.links)-1] }

// Agent gives the key that signed every manifest.
func (c *Chain) Agent() key.Kid { return c.last().Signer() }

// Head is the hash of the last manifest: what the session's end in the audit log
// names.
func (c *Chain) Head() envelope.Hash { return c.last().Hash() }

// Names reports whether h is the hash of one of the manifests.
func (c *Chain) Names(h envelope.Hash) bool {
	return slices.ContainsFunc(c.links, func(m VerifiedManifest) bool { return m.Hash() == h })
}

// Complete reports whether the last manifest is the final one. If not, the
// recording is good up to Length, and what came then is not here.
func (c *Chain) Complete() bool { return c.last().Body().Final }

// Length is the recorded time.
func (c *Chain) Length() time.Duration { return time.Duration(c.last().Body().T1) * time.Millisecond }

// Segments is how many there are.
func (c *Chain) Segments() uint64 { return uint64(len(c.links)) }

// Size is the sum of the segments' lengths, in bytes.
func (c *Chain) Size() (n uint64) {
	for _, m := range c.links {
		n += m.Body().Len
	}
	return n
}

// At gives the number of the segment that holds time t, the last one for later
// times. It is the seek index: a segment opens by itself, and begins with the
// size of the terminal.
func (c *Chain) At(t time.Duration) uint64 {
	for _, m := range c.links {
		if b := m.Body(); t.Milliseconds() <= b.T1 {
			return b.N
		}
	}
	return c.Segments()
}
