package token

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrMalformed means bytes or text that are not an object of the expected
	// kind in its one allowed form, or one with a field out of bounds.
	ErrMalformed = errors.New("token: malformed")
	// ErrUnknownKey means a JWS signed by a key that the verifier does not
	// accept. Envelopes answer envelope.ErrUnknownSigner.
	ErrUnknownKey = errors.New("token: signed by an unknown key")
	// ErrSignature means a JWS signature that does not verify. Envelopes
	// answer envelope.ErrSignature.
	ErrSignature = errors.New("token: bad signature")
	// ErrExpired means that the time for this object is over: make a new one.
	ErrExpired = errors.New("token: expired; make a new one, and check the clock")
	// ErrNotYet means an object made in the verifier's future.
	ErrNotYet = errors.New("token: made in the future; check the clock")
	// ErrMismatch means a valid object that was made for something else. The
	// error is a *MismatchError.
	ErrMismatch = errors.New("token: made for something else")
	// ErrNonce means a DPoP proof without a fresh server nonce (RFC 9449
	// section 8): take the one in the answer and sign again.
	ErrNonce = errors.New("token: the DPoP proof needs a fresh server nonce")
)

// A MismatchError names the first field that differs from what is expected. It
// holds no values: they may be hostile text.
type MismatchError struct {
	What  string // "proof", "grant", …
	Field string // "team_fp", "as", …
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("token: this %s was made for something else: %s differs; make a new one for this request", e.What, e.Field)
}

// Is makes errors.Is(err, ErrMismatch) true.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// firstMismatch answers a MismatchError for the first pair that differs.
func firstMismatch(what string, pairs []pair) error {
	for _, p := range pairs {
		if !p.same {
			return &MismatchError{What: what, Field: p.field}
		}
	}
	return nil
}

type pair struct {
	field string
	same  bool
}

// within answers ErrNotYet or ErrExpired unless from-Skew <= now <= until.
// Only the start has a tolerance: it costs an honest sender with a fast clock
// nothing, while a late end would lengthen every replay window.
func within(what string, from, until int64, now time.Time) error {
	switch {
	case now.Unix() < from-int64(Skew/time.Second):
		return fmt.Errorf("token: %s: %w", what, ErrNotYet)
	case now.Unix() > until:
		return fmt.Errorf("token: %s: %w", what, ErrExpired)
	}
	return nil
}

// near answers ErrNotYet or ErrExpired unless at is within PresenceWindow of now.
func near(what string, at int64, now time.Time) error {
	window := int64(PresenceWindow / time.Second)
	switch {
	case at > now.Unix()+window:
		return fmt.Errorf("token: %s: %w", what, ErrNotYet)
	case at < now.Unix()-window:
		return fmt.Errorf("token: %s: %w", what, ErrExpired)
	}
	return nil
}
