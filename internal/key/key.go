package key

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	// ErrMalformed means that bytes or text are not a key of the expected kind.
	ErrMalformed = errors.New("key: malformed")
	// ErrWeak means a public key that would accept signatures its owner never
	// made: a point of small order, or one in a non-canonical encoding.
	ErrWeak = errors.New("key: weak public key refused (small order or non-canonical)")
)

var b64 = base64.RawURLEncoding.Strict()

// unbase64 refuses the line breaks that encoding/base64 skips, so that each key
// has one text.
func unbase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrMalformed
	}
	return b64.DecodeString(s)
}

// A Kid names an Ed25519 public key: the SHA-256 thumbprint of its JWK
// (RFC 7638, RFC 8037). Its text form is 43 characters of unpadded base64url,
// the same string that a token carries in cnf.jkt.
type Kid [32]byte

// ParseKid is the inverse of Kid.String.
func ParseKid(s string) (Kid, error) {
	var k Kid
	b, err := unbase64(s)
	if err != nil || len(b) != len(k) {
		return Kid{}, fmt.Errorf("%w: a key id is 43 characters of base64url", ErrMalformed)
	}
	copy(k[:], b)
	return k, nil
}

// String gives the 43 characters that ParseKid reads.
func (k Kid) String() string { return b64.EncodeToString(k[:]) }

// Short gives the first eight characters, for people. It identifies nothing.
func (k Kid) Short() string { return k.String()[:8] }

// IsZero reports whether k names no key.
func (k Kid) IsZero() bool { return k == Kid{} }

// MarshalText implements encoding.TextMarshaler.
func (k Kid) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kid) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKid(string(b))
	return err
}

// A Public is an Ed25519 public key that has passed ParsePublic. The zero
// value verifies nothing.
type Public struct {
	b  [ed25519.PublicKeySize]byte
	ok bool
}

// ParsePublic reads the 32 bytes of RFC 8032. It refuses small-order points and
// non-canonical encodings: with such a key crypto/ed25519 accepts a fixed
// signature on every message, so that signed evidence would mean nothing.
func ParsePublic(b []byte) (Public, error) {
	if len(b) != ed25519.PublicKeySize {
		return Public{}, fmt.Errorf("%w: an Ed25519 public key has 32 bytes, not %d", ErrMalformed, len(b))
	}
	p := Public{ok: true}
	copy(p.b[:], b)
	if !canonicalY(&p.b) || smallOrder(&p.b) {
		return Public{}, ErrWeak
	}
	return p, nil
}

// Bytes gives the 32 bytes that ParsePublic reads.
func (p Public) Bytes() []byte { return append([]byte(nil), p.b[:]...) }

// IsZero reports whether p holds no key.
func (p Public) IsZero() bool { return !p.ok }

// Kid gives the key's RFC 7638 thumbprint; the zero Kid for the zero key.
func (p Public) Kid() Kid {
	if !p.ok {
		return Kid{}
	}
	// RFC 7638 section 3: members in lexical order, no white space (RFC 8037 A.3).
	return sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64.EncodeToString(p.b[:]) + `"}`))
}

const publicPrefix = "tdp1"

// String gives "tdp1" and 43 characters of base64url.
func (p Public) String() string {
	if !p.ok {
		return publicPrefix
	}
	return publicPrefix + b64.EncodeToString(p.b[:])
}

// ParsePublicText is the inverse of Public.String.
func ParsePublicText(s string) (Public, error) {
	rest, ok := strings.CutPrefix(s, publicPrefix)
	b, err := unbase64(rest)
	if !ok || err != nil {
		return Public{}, fmt.Errorf("%w: a public key looks like %s… followed by 43 characters", ErrMalformed, publicPrefix)
	}
	return ParsePublic(b)
}

// MarshalText implements encoding.TextMarshaler.
func (p Public) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Public) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePublicText(string(b))
	return err
}

// MarshalCBOR writes the 32 bytes as one byte string.
func (p Public) MarshalCBOR() ([]byte, error) {
	return append([]byte{0x58, 32}, p.b[:]...), nil
}

// UnmarshalCBOR reads what MarshalCBOR writes, with ParsePublic's checks.
func (p *Public) UnmarshalCBOR(b []byte) (err error) {
	if len(b) != 34 || b[0] != 0x58 || b[1] != 32 {
		return fmt.Errorf("%w: a public key is a byte string of 32 bytes", ErrMalformed)
	}
	*p, err = ParsePublic(b[2:])
	return err
}

// A Signature is an Ed25519 signature (RFC 8032).
type Signature [ed25519.SignatureSize]byte

// Verify reports whether s is this key's signature, in this context, over the
// concatenation of parts. See Identity.Sign for the bytes signed.
func (p Public) Verify(context string, s Signature, parts ...[]byte) bool {
	return p.ok && ed25519.Verify(p.b[:], signed(context, parts), s[:])
}

// RawVerify checks a signature over msg itself, with no context. It exists for
// the two outside formats that fix their own bytes: JWS and signed notes.
func (p Public) RawVerify(msg, sig []byte) bool {
	return p.ok && len(sig) == ed25519.SignatureSize && ed25519.Verify(p.b[:], msg, sig)
}

// signed builds the bytes under a signature:
//
//	"tucdesk-sig-v1" 0x00 context 0x00 parts…
//
// No JWS signing input and no signed note begins with those bytes, so a raw
// signature can't be replayed as one with a context.
func signed(context string, parts [][]byte) []byte {
	if context == "" || strings.IndexByte(context, 0) >= 0 {
		panic("key: internal error: a signing context is a non-empty constant without NUL")
	}
	n := len(sigLabel) + len(context) + 2
	for _, p := range parts {
		n += len(p)
	}
	m := make([]byte, 0, n)
	m = append(m, sigLabel...)
	m = append(m, 0)
	m = append(m, context...)
	m = append(m, 0)
	for _, p := range parts {
		m = append(m, p...)
	}
	return m
}

const sigLabel = "tucdesk-sig-v1"

// An Identity is the private side of an Ed25519 key: of a device, an agent, or
// a server's purpose. The zero value can't sign.
type Identity struct {
	// k is a closure, not the key: fmt calls no Format method of what sits in an
	// unexported field of somebody's struct, but it never looks into a function.
	// It also makes an Identity incomparable; == is not constant-time.
	k func() ed25519.PrivateKey
}

func newIdentity(k ed25519.PrivateKey) Identity {
	return Identity{func() ed25519.PrivateKey { return k }}
}

// GenerateIdentity makes a new identity from crypto/rand.
func GenerateIdentity() (Identity, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
		return Identity{}, fmt.Errorf("key: no randomness: %w", err)
	}
	return IdentityFromSeed(seed), nil
}

// IdentityFromSeed makes the identity of an RFC 8032 seed, for test vectors and
// for ParseIdentity.
func IdentityFromSeed(seed [32]byte) Identity {
	return newIdentity(ed25519.NewKeyFromSeed(seed[:]))
}

// IsZero reports whether i holds no key.
func (i Identity) IsZero() bool { return i.k == nil }

// Public gives the public side.
func (i Identity) Public() Public {
	if i.IsZero() {
		return Public{}
	}
	p := Public{ok: true}
	copy(p.b[:], i.k().Public().(ed25519.PublicKey))
	return p
}

// Kid is shorthand for Public().Kid().
func (i Identity) Kid() Kid { return i.Public().Kid() }

// Sign signs the concatenation of parts in a context, a constant that names
// what is being said, so that a signature made for one purpose is worth nothing
// for another. The caller frames parts: they are concatenated as they are.
func (i Identity) Sign(context string, parts ...[]byte) Signature {
	if i.IsZero() {
		panic("key: internal error: signing with the zero identity")
	}
	return Signature(ed25519.Sign(i.k(), signed(context, parts)))
}

// RawSigner gives a crypto.Signer that signs messages without a context, for
// the two outside formats that fix their own bytes: JWS and signed notes.
func (i Identity) RawSigner() crypto.Signer { return rawSigner(i) }

// rawSigner hides the key's bytes from fmt and from type assertions.
type rawSigner struct{ k func() ed25519.PrivateKey }

func (s rawSigner) Public() crypto.PublicKey { return s.k().Public() }
func (s rawSigner) Sign(r io.Reader, m []byte, o crypto.SignerOpts) ([]byte, error) {
	return s.k().Sign(r, m, o)
}
func (rawSigner) String() string             { return "key.Identity(redacted)" }
func (rawSigner) Format(f fmt.State, _ rune) { io.WriteString(f, "key.Identity(redacted)") }

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (Identity) Format(f fmt.State, _ rune) { io.WriteString(f, "key.Identity(redacted)") }

// MarshalText refuses: an identity never enters JSON, YAML or a log by accident.
func (Identity) MarshalText() ([]byte, error) {
	return nil, errors.New("key: an identity is not written as text; internal/keyfile stores it")
}

const secretPrefix = "tds1"

// SecretText is the door to storage: "tds1" and the seed in base64url. Only
// internal/keyfile calls it.
func (i Identity) SecretText() string { return secretPrefix + b64.EncodeToString(i.k().Seed()) }

// ParseIdentity is the inverse of SecretText. Its errors never quote the text.
func ParseIdentity(s string) (Identity, error) {
	rest, ok := strings.CutPrefix(s, secretPrefix)
	b, err := unbase64(rest)
	if !ok || err != nil || len(b) != ed25519.SeedSize {
		return Identity{}, fmt.Errorf("%w: not the text of an identity", ErrMalformed)
	}
	return IdentityFromSeed([32]byte(b)), nil
}

// canonicalY reports whether the y coordinate is below 2^255-19 (RFC 8032 5.1.3)
// and whether the sign bit is not set on x = 0.
func canonicalY(b *[32]byte) bool {
	var y [4]uint64
	for i := range y {
		y[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	y[3] &^= 1 << 63
	if y[3] == 0x7fffffffffffffff && y[2] == ^uint64(0) && y[1] == ^uint64(0) && y[0] >= 0xffffffffffffffed {
		return false
	}
	// x is 0 only for y = 1 and y = -1; both are of small order and refused
	// there, with either sign.
	return true
}

// smallOrder reports whether the encoded point has order 1, 2, 4 or 8. The y
// coordinates of those eight points are few, so comparing them is enough; the
// sign bit does not matter.
func smallOrder(b *[32]byte) bool {
	c := *b
	c[31] &= 0x7f
	for _, y := range smallOrderY {
		if c == y {
			return true
		}
	}
	return false
}

// smallOrderY are the canonical y coordinates of the points of small order on
// edwards25519: 1 (order 1), -1 (order 2), 0 (order 4), and the two of order 8.
var smallOrderY = [...][32]byte{
	{0: 1},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}
