package token

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// Version is the format version of every signed object here.
const Version = 1

// Keys answers which public key a key id stands for. False means that the
// verifier does not accept that key for this purpose at this time.
type Keys = func(key.Kid) (key.Public, bool)

// A Body is what one key signs in an envelope.
type Body interface {
	// Context is the constant that the signature covers beside the body.
	Context() string
	// Check answers ErrMalformed unless every field is within its bounds and
	// signer is whom the body names as its signer. It needs no clock and no
	// knowledge of the team.
	Check(signer key.Kid) error
}

// Sign checks body and puts it into an envelope signed by id.
func Sign[T Body](id key.Identity, body T) ([]byte, error) {
	if id.IsZero() {
		return nil, fmt.Errorf("token: signing with the zero identity")
	}
	if err := body.Check(id.Kid()); err != nil {
		return nil, err
	}
	return envelope.Sign(body.Context(), body, id)
}

// An Unverified is an envelope with exactly one signature, which nobody has
// checked.
type Unverified struct{ env envelope.Unverified }

// Parse reads an envelope of at most envelope.MaxSize bytes that one key signed.
func Parse(b []byte) (Unverified, error) {
	env, err := envelope.Parse(b)
	if err != nil {
		return Unverified{}, fmt.Errorf("token: %w", err)
	}
	if n := len(env.Signers()); n != 1 {
		return Unverified{}, malformed("%d signatures, want 1", n)
	}
	return Unverified{env}, nil
}

// InsecureSigner gives the key that claims to have signed.
func (u Unverified) InsecureSigner() key.Kid {
	if ids := u.env.Signers(); len(ids) == 1 {
		return ids[0]
	}
	return key.Kid{}
}

// Bytes gives the encoded envelope. The caller must not change it.
func (u Unverified) Bytes() []byte { return u.env.Bytes() }

// InsecureDecode reads the body before any check. It exists to learn which
// team's keys to ask for, and for what can only take away from what is verified later.
func (u Unverified) InsecureDecode(into any) error {
	if err := envelope.Unmarshal(u.env.InsecurePayload(), into); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return nil
}

// A Signed is a body whose signature and form were checked. It says nothing of
// time and purpose: an auditor needs no more, an authoriser takes the Verified
// types. The zero value has the zero body.
type Signed[T Body] struct {
	body T
	env  envelope.Verified
}

// VerifySigned checks signature and form.
func VerifySigned[T Body](u Unverified, keys Keys) (Signed[T], error) {
	var s Signed[T]
	env, err := u.env.Verify(s.body.Context(), keys)
	if err != nil {
		return Signed[T]{}, fmt.Errorf("token: %w", err)
	}
	var body T
	if err := env.Decode(&body); err != nil {
		return Signed[T]{}, fmt.Errorf("token: %w", err)
	}
	if err := body.Check(env.Signers()[0]); err != nil {
		return Signed[T]{}, err
	}
	return Signed[T]{body, env}, nil
}

// Body gives what was signed.
func (s Signed[T]) Body() T { return s.body }

// Signer gives the key that signed; the zero Kid for the zero value.
func (s Signed[T]) Signer() key.Kid {
	if ids := s.env.Signers(); len(ids) == 1 {
		return ids[0]
	}
	return key.Kid{}
}

// Hash is the SHA-256 of the body's bytes: what other objects name it by.
func (s Signed[T]) Hash() envelope.Hash { return s.env.Hash() }

// Bytes gives the encoded envelope. The caller must not change it.
func (s Signed[T]) Bytes() []byte { return s.env.Bytes() }
