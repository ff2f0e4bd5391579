package key

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/fxamacker/cbor/v2"
)

// A Recipient is an age hybrid (ML-KEM-768 with X25519) public key that things
// are sealed to. The zero value seals nothing. It keeps the text, which was
// parsed once, and not the expanded key: a roster holds 100,000 of them.
type Recipient struct{ s string }

// ParseRecipient reads "age1pq1…".
func ParseRecipient(s string) (Recipient, error) {
	r, err := age.ParseHybridRecipient(s)
	if err != nil || r.String() != s {
		return Recipient{}, fmt.Errorf("%w: not an age hybrid recipient (age1pq1…)", ErrMalformed)
	}
	return Recipient{s}, nil
}

// IsZero reports whether r holds no key.
func (r Recipient) IsZero() bool { return r.s == "" }

// String is the inverse of ParseRecipient.
func (r Recipient) String() string { return r.s }

// MarshalText implements encoding.TextMarshaler.
func (r Recipient) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Recipient) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRecipient(string(b))
	return err
}

// MarshalCBOR writes the text form.
func (r Recipient) MarshalCBOR() ([]byte, error) { return cbor.Marshal(r.String()) }

// UnmarshalCBOR reads what MarshalCBOR writes.
func (r *Recipient) UnmarshalCBOR(b []byte) error {
	var s string
	if err := cbor.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: a recipient is a text string", ErrMalformed)
	}
	return r.UnmarshalText([]byte(s))
}

// ErrSealed means that a sealed object could not be opened: it is for someone
// else, was changed, or is too large. It does not say which.
var ErrSealed = errors.New("key: can't open the sealed object")

// Seal encrypts plain so that each of the recipients, and nobody else, can open
// it. An empty list is an error, never a plaintext. age says nothing about the
// sender: what is inside must be signed.
func Seal(plain []byte, to ...Recipient) ([]byte, error) {
	if len(to) == 0 {
		return nil, errors.New("key: sealing needs at least one recipient")
	}
	rs := make([]age.Recipient, len(to))
	for i, r := range to {
		h, err := age.ParseHybridRecipient(r.s)
		if err != nil {
			return nil, errors.New("key: sealing to the zero recipient")
		}
		rs[i] = h
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, rs...)
	if err != nil {
		return nil, fmt.Errorf("key: seal: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("key: seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("key: seal: %w", err)
	}
	return out.Bytes(), nil
}

// An Unsealer is the private side of a Recipient. The zero value opens nothing.
type Unsealer struct {
	_ [0]func()
	i *age.HybridIdentity
}

// GenerateUnsealer makes a new one from crypto/rand.
func GenerateUnsealer() (Unsealer, error) {
	i, err := age.GenerateHybridIdentity()
	if err != nil {
		return Unsealer{}, fmt.Errorf("key: %w", err)
	}
	return Unsealer{i: i}, nil
}

// IsZero reports whether u holds no key.
func (u Unsealer) IsZero() bool { return u.i == nil }

// Recipient gives the public side.
func (u Unsealer) Recipient() Recipient {
	if u.i == nil {
		return Recipient{}
	}
	return Recipient{u.i.Recipient().String()}
}

// Open decrypts what Seal made, up to max bytes of plaintext. Every failure is
// ErrSealed.
func (u Unsealer) Open(sealed []byte, max int) ([]byte, error) {
	if u.i == nil {
		return nil, ErrSealed
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), u.i)
	if err != nil {
		return nil, ErrSealed
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err != nil || len(plain) > max {
		return nil, ErrSealed
	}
	return plain, nil
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (Unsealer) Format(f fmt.State, _ rune) { io.WriteString(f, "key.Unsealer(redacted)") }

// MarshalText refuses, as Identity.MarshalText does.
func (Unsealer) MarshalText() ([]byte, error) {
	return nil, errors.New("key: an unsealer is not written as text; internal/keyfile stores it")
}

// SecretText is the door to storage ("AGE-SECRET-KEY-PQ-1…"). Only
// internal/keyfile calls it.
func (u Unsealer) SecretText() string { return u.i.String() }

// ParseUnsealer is the inverse of SecretText. Its errors never quote the text.
func ParseUnsealer(s string) (Unsealer, error) {
	i, err := age.ParseHybridIdentity(s)
	if err != nil {
		return Unsealer{}, fmt.Errorf("%w: not the text of an unsealer", ErrMalformed)
	}
	return Unsealer{i: i}, nil
}
