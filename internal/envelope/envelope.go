// Package envelope is TucDesk's one signature format: Ed25519 signatures, each
// over a context string and the payload bytes, with a payload in deterministic
// CBOR (RFC 8949 section 4.2.1). Roster statements, operator proofs, grants,
// approvals, registrations, audit entries and manifests are envelopes; SPEC.md
// in this folder has the bytes.
//
// Signatures are over the bytes received: nothing is decoded and encoded again
// before a check, and a payload is decoded only from a Verified.
//
// The package is pure: it must not import os, net or log/slog.
package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/tucdesk/tucdesk/internal/key"
)

const (
	// MaxSize bounds an encoded envelope, in bytes.
	MaxSize = 64 << 10
	// MaxSignatures bounds the signatures of one envelope.
	MaxSignatures = 16
)

var (
	// ErrMalformed means bytes that are not an envelope, or a payload that is
	// not the strict deterministic form of the expected type.
	ErrMalformed = errors.New("envelope: malformed")
	// ErrUnknownSigner means a signature by a key the verifier does not accept.
	ErrUnknownSigner = errors.New("envelope: signed by an unknown key")
	// ErrSignature means a signature that does not verify.
	ErrSignature = errors.New("envelope: bad signature")
)

// A Hash is a SHA-256. Its text form is 64 lower-case hexadecimal digits.
type Hash [sha256.Size]byte

// Sum hashes b.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// String gives 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zero.
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash is the inverse of String.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || s != hex.EncodeToString(b) {
		return Hash{}, fmt.Errorf("%w: a hash is 64 lower-case hexadecimal digits", ErrMalformed)
	}
	copy(h[:], b)
	return h, nil
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHash(string(b))
	return err
}

var (
	encoding = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16,
		NaNConvert:    cbor.NaNConvert7e00,
		InfConvert:    cbor.InfConvertFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		Time:          cbor.TimeUnix,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   16,
		MaxArrayElements:  4096,
		MaxMapPairs:       1024,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("envelope: internal error: " + err.Error())
	}
	return v
}

// Marshal gives the deterministic CBOR of v.
func Marshal(v any) ([]byte, error) {
	b, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("envelope: encode %T: %w", v, err)
	}
	return b, nil
}

// Unmarshal decodes b into v (a pointer) strictly: duplicate, unknown and
// case-variant keys, tags, trailing bytes and every non-deterministic form are
// ErrMalformed. The last is checked by encoding v again and comparing, which
// makes the encoding of each value unique.
func Unmarshal(b []byte, v any) error {
	if err := decoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encoding.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not in the deterministic form", ErrMalformed)
	}
	return nil
}

// wireEnvelope is the encoded form: [payload, [[kid, signature], …]].
type wireEnvelope struct {
	_          struct{} `cbor:",toarray"`
	Payload    []byte
	Signatures []wireSignature
}

type wireSignature struct {
	_   struct{} `cbor:",toarray"`
	Kid key.Kid
	Sig key.Signature
}

// Sign encodes payload and signs it with each identity. Signatures stand in
// order of key id, so that the same signers give the same bytes.
func Sign(context string, payload any, by ...key.Identity) ([]byte, error) {
	p, err := Marshal(payload)
	if err != nil {
		return nil, err
	}
	return SignBytes(context, p, by...)
}

// SignBytes is Sign for a payload that is encoded already.
func SignBytes(context string, payload []byte, by ...key.Identity) ([]byte, error) {
	w := wireEnvelope{Payload: payload}
	for _, id := range by {
		if id.IsZero() {
			return nil, errors.New("envelope: signing with the zero identity")
		}
		w.Signatures = append(w.Signatures, wireSignature{Kid: id.Kid(), Sig: id.Sign(context, payload)})
	}
	return w.encode()
}

func (w *wireEnvelope) encode() ([]byte, error) {
	slices.SortFunc(w.Signatures, func(a, b wireSignature) int { return bytes.Compare(a.Kid[:], b.Kid[:]) })
	if err := w.check(); err != nil {
		return nil, err
	}
	b, err := Marshal(w)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxSize)
	}
	return b, nil
}

func (w *wireEnvelope) check() error {
	if n := len(w.Signatures); n == 0 || n > MaxSignatures {
		return fmt.Errorf("%w: %d signatures, want 1 to %d", ErrMalformed, n, MaxSignatures)
	}
	for i := 1; i < len(w.Signatures); i++ {
		if bytes.Compare(w.Signatures[i-1].Kid[:], w.Signatures[i].Kid[:]) >= 0 {
			return fmt.Errorf("%w: signatures not in order of key id, or one key twice", ErrMalformed)
		}
	}
	return nil
}

// An Unverified is a parsed envelope whose signatures nobody has checked.
type Unverified struct {
	w   wireEnvelope
	raw []byte
}

// Parse reads an envelope. Whatever it accepts is the only encoding of that
// envelope. It checks no signature.
func Parse(b []byte) (Unverified, error) {
	if len(b) > MaxSize {
		return Unverified{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxSize)
	}
	u := Unverified{raw: bytes.Clone(b)}
	if err := Unmarshal(u.raw, &u.w); err != nil {
		return Unverified{}, err
	}
	if err := u.w.check(); err != nil {
		return Unverified{}, err
	}
	return u, nil
}

// Signers gives the key ids that claim to have signed, in order.
func (u Unverified) Signers() []key.Kid {
	ids := make([]key.Kid, len(u.w.Signatures))
	for i, s := range u.w.Signatures {
		ids[i] = s.Kid
	}
	return ids
}

// Bytes gives the encoded envelope. The caller must not change it.
func (u Unverified) Bytes() []byte { return u.raw }

// InsecurePayload gives the payload before any check. It exists to learn which
// key to ask for, and for nothing else.
func (u Unverified) InsecurePayload() []byte { return u.w.Payload }

// PayloadHash gives the hash of what an envelope's bytes carry, checked or not: the same
// as Verified.Hash.
func PayloadHash(b []byte) (Hash, error) {
	u, err := Parse(b)
	if err != nil {
		return Hash{}, err
	}
	return Sum(u.InsecurePayload()), nil
}

// AddSignature gives the envelope with one more signature, for statements that
// need k signers who are not in one place.
func (u Unverified) AddSignature(context string, by key.Identity) (Unverified, error) {
	if by.IsZero() {
		return Unverified{}, errors.New("envelope: signing with the zero identity")
	}
	w := wireEnvelope{Payload: u.w.Payload, Signatures: slices.Clone(u.w.Signatures)}
	w.Signatures = append(w.Signatures, wireSignature{Kid: by.Kid(), Sig: by.Sign(context, w.Payload)})
	b, err := w.encode()
	if err != nil {
		return Unverified{}, err
	}
	return Parse(b)
}

// With gives the envelope with the signatures that o carries beside its own. Both have the
// same payload; the signatures are checked by Verify.
func (u Unverified) With(o Unverified) (Unverified, error) {
	if !bytes.Equal(u.w.Payload, o.w.Payload) {
		return Unverified{}, fmt.Errorf("%w: signatures of another payload", ErrMalformed)
	}
	w := wireEnvelope{Payload: u.w.Payload, Signatures: slices.Clone(u.w.Signatures)}
	for _, s := range o.w.Signatures {
		if !slices.ContainsFunc(w.Signatures, func(have wireSignature) bool { return have.Kid == s.Kid }) {
			w.Signatures = append(w.Signatures, s)
		}
	}
	b, err := w.encode()
	if err != nil {
		return Unverified{}, err
	}
	return Parse(b)
}

// Verify checks every signature in the given context. keys answers which public
// key a key id stands for; a signature by a key it does not know is an error,
// so that no signature is ever carried along unchecked.
func (u Unverified) Verify(context string, keys func(key.Kid) (key.Public, bool)) (Verified, error) {
	if err := u.w.check(); err != nil {
		return Verified{}, err
	}
	for _, s := range u.w.Signatures {
		pub, ok := keys(s.Kid)
		if !ok || pub.Kid() != s.Kid {
			return Verified{}, fmt.Errorf("%w: %s", ErrUnknownSigner, s.Kid.Short())
		}
		if !pub.Verify(context, s.Sig, u.w.Payload) {
			return Verified{}, fmt.Errorf("%w: by %s", ErrSignature, s.Kid.Short())
		}
	}
	return Verified{u: u}, nil
}

// A Verified is an envelope whose every signature was checked. The zero value
// decodes to an error.
type Verified struct{ u Unverified }

// Decode reads the payload strictly into v, a pointer.
func (v Verified) Decode(out any) error {
	if v.u.raw == nil {
		return fmt.Errorf("%w: nothing was verified", ErrMalformed)
	}
	return Unmarshal(v.u.w.Payload, out)
}

// Signers gives the key ids that have signed, in order.
func (v Verified) Signers() []key.Kid { return v.u.Signers() }

// Payload gives the signed bytes. The caller must not change them.
func (v Verified) Payload() []byte { return v.u.w.Payload }

// Hash is the SHA-256 of the payload: what other objects name this one by. It
// does not depend on who signed.
func (v Verified) Hash() Hash { return Sum(v.u.w.Payload) }

// Bytes gives the encoded envelope. The caller must not change it.
func (v Verified) Bytes() []byte { return v.u.raw }

// One is the key lookup for an envelope that exactly one known key signs.
func One(p key.Public) func(key.Kid) (key.Public, bool) {
	return func(k key.Kid) (key.Public, bool) { return p, !p.IsZero() && k == p.Kid() }
}
