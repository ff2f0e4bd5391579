package roster

import (
	"errors"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// Version is the only statement version this package reads.
const Version = 1

// Signing contexts (SPEC.md, section 2).
const (
	contextGenesis   = "tucdesk genesis v1"
	contextStatement = "tucdesk statement v1"
)

// Limits of one statement. They bound what a verifier holds for a team.
const (
	MaxPolicy = 48 << 10 // bytes of a policy document: statement and bundle stay under 64 KiB
	maxText   = 256      // bytes of an e-mail, reason or address
	maxList   = 64       // roles, tags, keys or relays in one statement
)

var (
	// ErrGap means a statement that does not follow the head: earlier ones are missing.
	ErrGap = errors.New("roster: the statement does not follow the last one known; fetch the ones between")
	// ErrThreshold means too few signatures by admins for this kind of statement.
	ErrThreshold = errors.New("roster: too few admin signatures")
	// ErrRefused means a well-signed statement that contradicts the roster.
	ErrRefused = errors.New("roster: statement refused")
	// ErrEarly means a statement that is dated too far ahead of the reader's clock.
	ErrEarly = errors.New("roster: the statement is dated in the future")
	// ErrUnknown means a key or name that the roster does not hold.
	ErrUnknown = errors.New("roster: unknown")
	// ErrRevoked means a key that the roster has revoked or suspended.
	ErrRevoked = errors.New("roster: revoked")
	// ErrExpired means a key whose time is over; an admin renews it.
	ErrExpired = errors.New("roster: expired")
)

// A ForkError is proof of equivocation: two statements with one sequence
// number, each signed as its kind demands. Both are evidence to keep.
type ForkError struct {
	Seq           uint64
	Known, Second []byte // the two envelopes
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("roster: two different statements are signed as number %d: someone tells two stories; keep both as evidence and tell an admin of your team", e.Seq)
}

// A Head names a state of the roster: the number and payload hash of its last
// statement. Number 0 is the genesis.
type Head struct {
	Seq  uint64        `cbor:"seq" json:"seq"`
	Hash envelope.Hash `cbor:"hash" json:"hash"`
}

// Genesis is the first statement. The SHA-256 of its payload is the team's
// fingerprint, so nothing in it can ever change.
type Genesis struct {
	V         uint64        `cbor:"v"`
	TeamID    string        `cbor:"team_id"`
	Threshold uint64        `cbor:"threshold"` // k: admin signatures that widen power
	Admins    []AdminDevice `cbor:"admins"`
	Created   int64         `cbor:"created"` // Unix seconds
	Demo      bool          `cbor:"demo"`    // real agents refuse a demo's genesis
}

// An AdminDevice is a device whose signature counts toward the threshold. It
// is a device of its member in every other respect too.
type AdminDevice struct {
	MemberID string     `cbor:"member_id"`
	Email    string     `cbor:"email"`
	Roles    []string   `cbor:"roles"` // besides "admin", which is implied
	Device   DeviceBody `cbor:"device"`
}

// A DeviceBody is the part of a statement that describes one device.
type DeviceBody struct {
	Public    key.Public    `cbor:"public"`
	Recipient key.Recipient `cbor:"recipient"`
	Exp       int64         `cbor:"exp"` // Unix seconds, mandatory
}

// statement is the payload of every envelope after the genesis.
type statement struct {
	V      uint64        `cbor:"v"`
	TeamFP envelope.Hash `cbor:"team_fp"`
	Seq    uint64        `cbor:"seq"`
	Prev   envelope.Hash `cbor:"prev"` // payload hash of statement Seq-1
	Time   int64         `cbor:"time"` // Unix seconds, never before the previous one's
	Kind   Kind          `cbor:"kind"`
	Body   []byte        `cbor:"body"` // deterministic CBOR of the kind's type
}

// A Kind names what a statement does. An unknown kind is refused, so an old
// verifier never skips a rule that it does not understand.
type Kind string

// The kinds, each with the type of its body.
const (
	KindMemberAdd    Kind = "member-add"        // MemberAdd
	KindDeviceAdd    Kind = "device-add"        // DeviceAdd
	KindAgentAdd     Kind = "agent-add"         // AgentAdd
	KindRevoke       Kind = "revoke"            // Revoke
	KindAdminAdd     Kind = "admin-add"         // AdminDevice
	KindAdminRemove  Kind = "admin-remove"      // Revoke
	KindAdminSuspend Kind = "suspend-admin"     // Revoke
	KindThreshold    Kind = "threshold"         // Threshold
	KindPolicySet    Kind = "policy-set"        // PolicySet
	KindRunbookSet   Kind = "runbook-set"       // RunbookSet
	KindServerKeys   Kind = "server-keys"       // ServerKeys
	KindRecipients   Kind = "recipients"        // Recipients
	KindDelegate     Kind = "delegate-enroller" // Delegation
	KindRestart      Kind = "restart"           // Restart
)

// MemberAdd adds a person with a first device.
type MemberAdd struct {
	MemberID string     `cbor:"member_id"`
	Email    string     `cbor:"email"`
	Roles    []string   `cbor:"roles"`
	Device   DeviceBody `cbor:"device"`
}

// DeviceAdd adds a device to a member.
type DeviceAdd struct {
	MemberID string     `cbor:"member_id"`
	Device   DeviceBody `cbor:"device"`
}

// AgentAdd adds a machine. Its name is unique among agents that are not revoked.
// Admins sign it, or one enroller within the bounds of its Delegation.
type AgentAdd struct {
	Name      string            `cbor:"name"`
	Public    key.Public        `cbor:"public"`
	Recipient key.Recipient     `cbor:"recipient"`
	Tags      map[string]string `cbor:"tags"`
	LoginUser string            `cbor:"login_user"` // whom sessions run as unless policy's `as` says otherwise
	Exp       int64             `cbor:"exp"`
}

// Revoke ends a device's or an agent's key (one admin is enough), or removes or
// suspends an admin. A revoked key never comes back.
type Revoke struct {
	Kid    key.Kid `cbor:"kid"`
	Reason string  `cbor:"reason"`
}

// Threshold sets k.
type Threshold struct {
	K uint64 `cbor:"k"`
}

// PolicySet sets the policy. It carries the document, so that whoever holds the
// roster holds the policy it names.
type PolicySet struct {
	Version  uint64        `cbor:"version"` // rises by one each time
	Hash     envelope.Hash `cbor:"hash"`    // SHA-256 of Document
	Document []byte        `cbor:"document"`
}

// RunbookSet sets a runbook, or takes it away: then hash and document are empty. Like a
// PolicySet it carries the document.
type RunbookSet struct {
	Name     string        `cbor:"name"`     // the document's
	Version  uint64        `cbor:"version"`  // of this name; rises by one each time, also where it is taken away
	Hash     envelope.Hash `cbor:"hash"`     // SHA-256 of Document
	Document []byte        `cbor:"document"` // at most runbook.MaxDocument bytes
}

// MaxRunbooks bounds the names that a team's runbooks ever had.
const MaxRunbooks = 256

// A Purpose is what a server's key may sign. One key serves one purpose.
type Purpose string

// The purposes.
const (
	ServerGrant      Purpose = "grant"      // grants of apid
	ServerToken      Purpose = "token"      // access tokens of apid
	ServerLog        Purpose = "log"        // audit log checkpoints and apid's own entries
	ServerRendezvous Purpose = "rendezvous" // requests of rendezvousd to apid
)

// ServerKeys replaces the set of keys that servers may sign with, and the
// relays that agents may use. During a rotation a purpose has two keys.
type ServerKeys struct {
	Grant      []key.Public `cbor:"grant"`
	Token      []key.Public `cbor:"token"`
	Log        []key.Public `cbor:"log"`
	Rendezvous []key.Public `cbor:"rendezvous"`
	Relays     []string     `cbor:"relays"` // host:port
}

func (s *ServerKeys) of(p Purpose) []key.Public {
	switch p {
	case ServerGrant:
		return s.Grant
	case ServerToken:
		return s.Token
	case ServerLog:
		return s.Log
	case ServerRendezvous:
		return s.Rendezvous
	}
	return nil
}

// Recipients replaces the auditors that commands and recordings are sealed to.
type Recipients struct {
	Auditors []key.Recipient `cbor:"auditors"`
}

// A Restart lets the audit log go on from an older state, after a restore: the entries
// beyond it are lost, and admins say so. What was seen of the log before still counts up
// to Size, and what is seen after is held against it.
type Restart struct {
	Size   uint64        `cbor:"size"` // entries that are left
	Root   envelope.Hash `cbor:"root"` // their Merkle root (RFC 6962, section 2.1)
	Lost   uint64        `cbor:"lost"` // entries of the largest checkpoint that is known to have been signed
	Reason string        `cbor:"reason"`
}

// A Delegation lets one device add machines by itself, within bounds that admins
// have signed: an enroller, for a fleet. A later one for the same device takes
// its place and counts anew. Max 0 takes the right back, for which one admin is
// enough.
type Delegation struct {
	Kid       key.Kid           `cbor:"kid"`        // a device of a member
	Names     string            `cbor:"names"`      // how names of its machines begin; not empty
	Tags      map[string]string `cbor:"tags"`       // the tags that each of its machines bears, and no others: how the value of each begins; not empty
	LoginUser string            `cbor:"login_user"` // of its machines
	Max       uint64            `cbor:"max"`        // machines that it may add
	Exp       int64             `cbor:"exp"`        // Unix seconds: it adds none after
}

// EnrolledLife is how long the key of a machine that an enroller adds may be
// valid.
const EnrolledLife = 90 * 24 * time.Hour
