package key

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// ErrLowOrder means that a key exchange gave the all-zero secret: the other
// side's point has low order, so the "secret" is known to everybody.
var ErrLowOrder = errors.New("key: key exchange with a low-order point refused")

// A SessionPublic is the public side of an X25519 key made for one session
// (RFC 7748). Two different byte strings can stand for one point, so its bytes
// are bound into transcripts and never used to identify anybody.
type SessionPublic [32]byte

// Aliases reports whether p and q are the same but for the bit that X25519
// ignores.
func (p SessionPublic) Aliases(q SessionPublic) bool {
	p[31] &= 0x7f
	q[31] &= 0x7f
	return p == q
}

// A SessionPrivate is the private side of an X25519 key made for one session.
// It is never stored; there is no text form. The zero value exchanges nothing.
//
// Wipe erases the scalar.
type SessionPrivate struct{ scalar func() *[32]byte } // a closure, as in Identity

// GenerateSessionPrivate makes a new key from crypto/rand.
func GenerateSessionPrivate() (SessionPrivate, error) {
	scalar := new([32]byte)
	if _, err := io.ReadFull(rand.Reader, scalar[:]); err != nil {
		return SessionPrivate{}, fmt.Errorf("key: no randomness: %w", err)
	}
	return SessionPrivate{func() *[32]byte { return scalar }}, nil
}

// SessionPrivateFromScalar takes the 32 bytes as they are, for test vectors.
func SessionPrivateFromScalar(scalar [32]byte) SessionPrivate {
	return SessionPrivate{func() *[32]byte { return &scalar }}
}

// IsZero reports whether p holds no key, because none was made or it was wiped.
func (p SessionPrivate) IsZero() bool { return p.scalar == nil || *p.scalar() == [32]byte{} }

func (p SessionPrivate) ecdh() (*ecdh.PrivateKey, error) {
	if p.IsZero() {
		return nil, errors.New("key: the session key was wiped or never made")
	}
	return ecdh.X25519().NewPrivateKey(p.scalar()[:])
}

// Public gives the public side.
func (p SessionPrivate) Public() (SessionPublic, error) {
	k, err := p.ecdh()
	if err != nil {
		return SessionPublic{}, err
	}
	defer Erase(k)
	return SessionPublic(k.PublicKey().Bytes()), nil
}

// Exchange computes the X25519 shared secret with peer. A low-order point of
// the peer is ErrLowOrder (RFC 7748, section 6.1).
func (p SessionPrivate) Exchange(peer SessionPublic) (SharedSecret, error) {
	k, err := p.ecdh()
	if err != nil {
		return SharedSecret{}, err
	}
	defer Erase(k)
	pub, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return SharedSecret{}, fmt.Errorf("%w: X25519 point", ErrMalformed)
	}
	// crypto/ecdh refuses the all-zero result here, not in NewPublicKey.
	b, err := k.ECDH(pub)
	if err != nil {
		return SharedSecret{}, ErrLowOrder
	}
	secret := (*[32]byte)(b)
	return SharedSecret{func() *[32]byte { return secret }}, nil
}

// Wipe erases the scalar in this copy and all copies of p.
func (p SessionPrivate) Wipe() {
	if p.scalar != nil {
		clear(p.scalar()[:])
	}
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (SessionPrivate) Format(f fmt.State, _ rune) {
	io.WriteString(f, "key.SessionPrivate(redacted)")
}

// MarshalText refuses: a session key is never written down.
func (SessionPrivate) MarshalText() ([]byte, error) {
	return nil, errors.New("key: a session key is not written as text")
}

// A SharedSecret is the result of a key exchange: input for a key derivation,
// never a key itself.
type SharedSecret struct{ b func() *[32]byte } // a closure, as in Identity

// Secret gives the 32 bytes themselves, not a copy, for the key derivation of
// internal/session. They are zero after Wipe. It is nil for the zero value.
func (s SharedSecret) Secret() []byte {
	if s.b == nil {
		return nil
	}
	return s.b()[:]
}

// Wipe erases the secret in this copy and all copies of s.
func (s SharedSecret) Wipe() {
	if s.b != nil {
		clear(s.b()[:])
	}
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (SharedSecret) Format(f fmt.State, _ rune) { io.WriteString(f, "key.SharedSecret(redacted)") }

// MarshalText refuses, as SessionPrivate.MarshalText does.
func (SharedSecret) MarshalText() ([]byte, error) {
	return nil, errors.New("key: a shared secret is not written as text")
}
