// Package cred mints and checks what lets one side of one session use a relay.
//
// A credential is a user name that says session, side, expiry and which secret of the
// relay it was made with, and a password that only holders of that secret can compute
// for that name. apid mints them, relayd checks them, and neither keeps a list.
//
// Invariants:
//   - a password is good for exactly one session, one side and one expiry;
//   - a user name has exactly one spelling, so that two names are never the
//     same allocation;
//   - neither secret nor password shows under any fmt verb.
//
// The package is a leaf: it must not import net, os or any other package of
// this module.
package cred

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Errors that callers branch on.
var (
	ErrMalformed = errors.New("cred: not a relay user name; want <unix seconds>.<session, 32 hex digits>.<o or a>.<secret, 8 hex digits>")
	ErrSecret    = errors.New("cred: made with a secret that this relay does not have; restart relayd with the secret that apid uses")
	ErrExpired   = errors.New("cred: relay credential has expired; ask apid for a new one")
)

// Side is one of the two ends of a session. The zero value is neither.
type Side byte

// The sides, as they stand in a user name.
const (
	Operator Side = 'o'
	Agent    Side = 'a'
)

// Valid reports whether s is one of the two sides.
func (s Side) Valid() bool { return s == Operator || s == Agent }

// RelayedAddr is where a relay has this side of every session: the dummy address of RFC
// 7600 and, for a port, the side's letter (internal/decisions/0010). So a side knows it
// before the relay has answered.
func (s Side) RelayedAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 0, 8}), uint16(s))
}

func (s Side) String() string {
	switch s {
	case Operator:
		return "operator"
	case Agent:
		return "agent"
	}
	return "invalid"
}

// Name is what a user name says.
type Name struct {
	Expiry  time.Time // whole seconds
	Session [16]byte
	Side    Side
	Secret  SecretID // that the credential was made with
}

// A SecretID tells secrets apart, and says nothing else of one.
type SecretID [4]byte

// String is the user name; [ParseName] is its inverse.
func (n Name) String() string {
	return strconv.FormatInt(n.Expiry.Unix(), 10) + "." + hex.EncodeToString(n.Session[:]) + "." + string(rune(n.Side)) + "." + hex.EncodeToString(n.Secret[:])
}

// ParseName reads a user name. It accepts only the spelling that String gives.
func ParseName(text string) (Name, error) {
	parts := strings.Split(text, ".")
	if len(text) > 64 || len(parts) != 4 {
		return Name{}, ErrMalformed
	}
	unix, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || unix <= 0 {
		return Name{}, ErrMalformed
	}
	n := Name{Expiry: time.Unix(unix, 0)}
	if len(parts[1]) != 2*len(n.Session) || len(parts[2]) != 1 || len(parts[3]) != 2*len(n.Secret) {
		return Name{}, ErrMalformed
	}
	if _, err := hex.Decode(n.Session[:], []byte(parts[1])); err != nil {
		return Name{}, ErrMalformed
	}
	if _, err := hex.Decode(n.Secret[:], []byte(parts[3])); err != nil {
		return Name{}, ErrMalformed
	}
	n.Side = Side(parts[2][0])
	if !n.Side.Valid() || n.String() != text {
		return Name{}, ErrMalformed
	}
	return n, nil
}

// Credential is what one side shows to the relay.
type Credential struct {
	Username string
	Password Password
}

// Password is the secret half of a [Credential]. Converting it to a string is
// the door to the wire.
type Password string

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (Password) Format(f fmt.State, _ rune) { io.WriteString(f, "cred.Password(redacted)") }

// Secret is shared by apid and one relay. The zero value mints nothing and
// admits nobody.
type Secret struct{ key [32]byte }

const secretPrefix = "tdr1"

// NewSecret makes a secret from the system's random numbers.
func NewSecret() Secret {
	var s Secret
	rand.Read(s.key[:]) // never fails: crypto/rand ends the program instead
	return s
}

// ParseSecret reads the text of [Secret.SecretText].
func ParseSecret(text string) (Secret, error) {
	var s Secret
	rest, ok := strings.CutPrefix(text, secretPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || len(b) != len(s.key) {
		return Secret{}, errors.New("cred: not a relay secret; want tdr1 and 43 base64url characters")
	}
	copy(s.key[:], b)
	if s.IsZero() {
		return Secret{}, errors.New("cred: a relay secret of zeros; make a new one")
	}
	return s, nil
}

// SecretText is the door to storage: "tdr1" and the secret in base64url.
func (s Secret) SecretText() string {
	return secretPrefix + base64.RawURLEncoding.EncodeToString(s.key[:])
}

// IsZero reports whether the secret is the zero value.
func (s Secret) IsZero() bool { return s == Secret{} }

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "cred.Secret(redacted)") }

// MarshalText refuses, so that no encoder writes a secret by accident.
func (Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("cred: a relay secret is not for encoding")
}

// Mint makes the credential of one side of a session, good until exp (whole
// seconds, rounded down). It panics on the zero secret or an invalid side:
// both are bugs of the caller that would hand out something worthless.
func (s Secret) Mint(session [16]byte, side Side, exp time.Time) Credential {
	if s.IsZero() || !side.Valid() {
		panic("cred: Mint needs a secret and a side")
	}
	n := Name{Expiry: exp, Session: session, Side: side, Secret: s.ID()}.String()
	return Credential{Username: n, Password: s.password(n)}
}

// ID is the first four bytes of HMAC-SHA256 of "tucdesk-relay-secret-id".
func (s Secret) ID() SecretID {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte("tucdesk-relay-secret-id")) // no user name: it has no dot
	return SecretID(mac.Sum(nil)[:4])
}

// A Ring is the secrets that a relay takes: more than one while they are rotated. The
// empty one admits nobody.
type Ring []Secret

// Check reads a user name that a client sent and gives the password that must
// come with it. The name is not yet believed: the caller compares passwords,
// or lets TURN's message integrity do so. now decides about expiry.
func (r Ring) Check(username string, now time.Time) (Name, Password, error) {
	n, err := ParseName(username)
	if err != nil {
		return Name{}, "", err
	}
	if !now.Before(n.Expiry) {
		return Name{}, "", ErrExpired
	}
	for _, s := range r {
		if !s.IsZero() && s.ID() == n.Secret {
			return n, s.password(username), nil
		}
	}
	return Name{}, "", ErrSecret
}

func (s Secret) password(username string) Password {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(username))
	return Password(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// Vouch gives the text with which a relay shows apid that it has the secret, for a request
// whose body has this SHA-256: the secret's ID in hex, a dot, and HMAC-SHA256 of
// "tucdesk-relay-report", a zero byte and the sum, in unpadded base64url. No user name
// begins so: they begin with digits.
func (s Secret) Vouch(sum [32]byte) string {
	id := s.ID()
	return hex.EncodeToString(id[:]) + "." + base64.RawURLEncoding.EncodeToString(s.voucher(sum))
}

func (s Secret) voucher(sum [32]byte) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte("tucdesk-relay-report\x00"))
	mac.Write(sum[:])
	return mac.Sum(nil)
}

// Vouched reports whether a text is [Secret.Vouch] of a secret of the ring for this sum.
func (r Ring) Vouched(sum [32]byte, text string) bool {
	_, mac, _ := strings.Cut(text, ".")
	got, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	for _, s := range r {
		if err == nil && !s.IsZero() && hmac.Equal(got, s.voucher(sum)) && text == s.Vouch(sum) {
			return true
		}
	}
	return false
}
