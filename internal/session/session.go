package session

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

var (
	// ErrHandshake is the one answer to every bad message of the other side:
	// wrong length, type, session, suite, key, tag, signature or confirmation.
	// It does not say which, so that nobody learns by probing.
	ErrHandshake = errors.New("session: handshake refused; start again with a fresh session")
	// ErrState: the call does not fit the state: the handshake is over, or the
	// session is closed. It never depends on bytes of the other side.
	ErrState = errors.New("session: not in a state for this call")
)

// An ID names one session: 16 random bytes chosen by the operator's side. Its
// text form is 32 lower-case hexadecimal digits.
type ID [16]byte

// NewID makes a random id.
func NewID() (ID, error) {
	var id ID
	if _, err := io.ReadFull(rand.Reader, id[:]); err != nil {
		return ID{}, fmt.Errorf("session: no randomness: %w", err)
	}
	return id, nil
}

// ParseID is the inverse of ID.String.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) || hex.EncodeToString(b) != s {
		return ID{}, errors.New("session: an id is 32 lower-case hexadecimal digits")
	}
	return ID(b), nil
}

// String gives the 32 digits that ParseID reads.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names no session.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// A Suite names the algorithms of a session. Higher is stronger; policy names
// the least that it takes.
type Suite uint16

const (
	// SuiteClassic is X25519, HKDF-SHA256, AES-256-GCM and Ed25519.
	SuiteClassic Suite = 0x0001
	// SuiteHybrid is SuiteClassic with ML-KEM-768 (FIPS 203) beside X25519:
	// who records today and has a quantum computer later reads nothing.
	SuiteHybrid Suite = 0x0002
)

// String names the suite for people.
func (s Suite) String() string {
	switch s {
	case SuiteClassic:
		return "X25519 AES-256-GCM"
	case SuiteHybrid:
		return "X25519+ML-KEM-768 AES-256-GCM"
	}
	return fmt.Sprintf("unknown suite 0x%04x", uint16(s))
}

func (s Suite) known() bool { return s == SuiteClassic || s == SuiteHybrid }

// Evidence is what each side tells the other under its signature, so that two
// honest parties notice when servers show them different worlds (trust.md 2.2
// and 4.4).
type Evidence struct {
	RosterSeq  uint64
	RosterHash [32]byte
	Time       time.Time // the sender's clock, whole seconds; not before 1970
	Checkpoint []byte    // latest signed audit checkpoint (a note), at most MaxCheckpoint; may be empty
}

// A Signer signs the transcript for one side: a [key.Identity], or one that another
// process keeps. What can't be signed gets the zero signature, which no peer takes.
type Signer interface {
	Kid() key.Kid
	Public() key.Public
	Sign(context string, parts ...[]byte) key.Signature
}

// SignResponder signs a handshake's transcript as the agent, for a Signer that asks
// another process: with the arguments that this was asked with, of which it takes
// those that an agent's side of a handshake has, and no others.
func SignResponder(id key.Identity, context string, parts ...[]byte) (key.Signature, error) {
	if context != contextAgent && context != resumeAgent || len(parts) != 2 || len(parts[0]) != hashSize || len(parts[1]) != hashSize {
		return key.Signature{}, errors.New("session: not what an agent signs in a handshake")
	}
	return id.Sign(context, parts...), nil
}

// A Config says who shakes hands with whom, about what. Both sides must agree
// on ID, TeamFP and BundleHash, or the handshake fails.
type Config struct {
	ID         ID
	Self       Signer
	Peer       key.Public // from the roster, never from a server's directory
	TeamFP     [32]byte   // SHA-256 of the team's genesis
	BundleHash [32]byte   // SHA-256 of the bundle: grant, proof, approvals
	Evidence   Evidence   // for the peer
	Suites     []Suite    // accepted, in order of preference; nil: hybrid, then classic
	MinSuite   Suite      // the floor of policy; suites below it are dropped
}

type (
	// An InitiatorConfig is the operator's Config.
	InitiatorConfig = Config
	// A ResponderConfig is the agent's Config.
	ResponderConfig = Config
)

// suites checks the configuration and gives the suites to accept.
func (c *Config) suites() ([]Suite, error) {
	switch {
	case c.ID.IsZero():
		return nil, errors.New("session: config: no session id")
	case c.Self == nil || c.Self.Public().IsZero():
		return nil, errors.New("session: config: no identity of our own")
	case c.Peer.IsZero():
		return nil, errors.New("session: config: no public key of the peer")
	case c.Self.Kid() == c.Peer.Kid():
		return nil, errors.New("session: config: the peer has our own key; a session needs two parties")
	case c.TeamFP == [32]byte{}:
		return nil, errors.New("session: config: no team fingerprint")
	case c.BundleHash == [32]byte{}:
		return nil, errors.New("session: config: no bundle hash")
	case len(c.Evidence.Checkpoint) > MaxCheckpoint:
		return nil, fmt.Errorf("session: config: checkpoint has %d bytes, at most %d", len(c.Evidence.Checkpoint), MaxCheckpoint)
	case c.Evidence.Time.Unix() < 0 || c.Evidence.Time.Unix() > maxSeconds:
		return nil, errors.New("session: config: the evidence has no sensible time")
	}
	wanted := c.Suites
	if wanted == nil {
		wanted = []Suite{SuiteHybrid, SuiteClassic}
	}
	var out []Suite
	for _, s := range wanted {
		if !s.known() || slices.Contains(out, s) {
			return nil, fmt.Errorf("session: config: %v is unknown or named twice", s)
		}
		if s >= c.MinSuite {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("session: config: no suite left at or above the policy's floor of %d", c.MinSuite)
	}
	return out, nil
}

// Established is a finished handshake: who is at the other end, what they said,
// and the keys. It is safe for concurrent use.
type Established struct {
	ID      ID
	PeerKid key.Kid
	Suite   Suite
	Peer    Evidence

	place   place // among the handshakes of this session
	records *Records

	mu       sync.Mutex
	exporter *secret // nil after Close
}

// Records is the record layer of the session. There is one; every call gives
// the same.
func (e *Established) Records() *Records { return e.records }

// Exporter derives n bytes (1 to 8160) that both ends have and nobody else, for
// one purpose named by label. Different labels give independent bytes. The
// error is ErrState after Close and for an n out of range.
func (e *Established) Exporter(label string, n int) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.exporter == nil || n < 1 || n > 255*hashSize {
		return nil, fmt.Errorf("%w: exporter of %d bytes", ErrState, n)
	}
	return e.exporter.expand("exp "+label, n), nil
}

// Close erases all keys. Records and exporter refuse from then on. It may be
// called more than once.
func (e *Established) Close() {
	e.records.close()
	e.forgetExporter()
}

// forgetExporter erases what later keys could be made of.
func (e *Established) forgetExporter() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.exporter != nil {
		e.exporter.wipe()
		e.exporter = nil
	}
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (e *Established) Format(f fmt.State, _ rune) { redact(f, "Established") }

// redact writes the only text that a value with keys in it prints.
func redact(f fmt.State, name string) { io.WriteString(f, "session."+name+"(redacted)") }
