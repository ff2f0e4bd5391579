package token

import (
	"errors"
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

const (
	// MaxBundle bounds a bundle's plaintext, in bytes.
	MaxBundle = 64 << 10
	// MaxSealedBundle bounds it sealed: age adds a header and 16 bytes for
	// each 64 KiB.
	MaxSealedBundle = MaxBundle + 8<<10

	maxStatements = 1024
)

// ErrBundle means a bundle that is for someone else, was changed or is not in
// the strict form.
var ErrBundle = errors.New("token: can't open the bundle")

// A Bundle is what an operator sends an agent with the first handshake message:
// everything the agent needs to check the request by itself. It is not signed;
// what is inside is, and the handshake's transcript covers its hash.
type Bundle struct {
	V          uint64      `cbor:"v"`
	Proof      []byte      `cbor:"proof"`
	Grant      []byte      `cbor:"grant"`
	Warrants   [][]byte    `cbor:"warrants,omitempty"` // of break-glass, where there is no grant
	Approvals  [][]byte    `cbor:"approvals"`
	Statements [][]byte    `cbor:"statements"` // of the roster, that the agent may lack
	Relay      RelayAccess `cbor:"relay"`      // the agent's side of the relay
}

// RelayAccess lets one side of one session use a relay. It prints without the
// password.
type RelayAccess struct {
	Addr     string `cbor:"addr"` // host:port
	Username string `cbor:"username"`
	Password string `cbor:"password"`
}

// Format implements fmt.Formatter: every verb leaves the password out.
func (r RelayAccess) Format(f fmt.State, _ rune) {
	io.WriteString(f, "token.RelayAccess("+r.Addr+" redacted)")
}

func (b Bundle) check() error {
	switch {
	case b.V != Version:
		return malformed("bundle: unknown version %d", b.V)
	case len(b.Proof) == 0:
		return malformed("bundle: the proof is missing")
	case (len(b.Grant) == 0) == (len(b.Warrants) == 0):
		return malformed("bundle: it holds a grant, or else the warrants that stand in for one")
	case len(b.Warrants) > 0 && len(b.Approvals) > 0:
		return malformed("bundle: warrants say all that approvals would")
	case len(b.Approvals) > maxApprovals || len(b.Warrants) > maxApprovals || len(b.Statements) > maxStatements:
		return malformed("bundle: more than %d approvals or %d statements", maxApprovals, maxStatements)
	case len(b.Relay.Addr) > 256 || len(b.Relay.Username) > 128 || len(b.Relay.Password) > 128:
		return malformed("bundle: relay access too long")
	}
	return nil
}

// SealBundle seals b to an agent. It sets V. The hash is of the plaintext and
// goes into the handshake.
func SealBundle(b Bundle, to key.Recipient) (sealed []byte, hash envelope.Hash, err error) {
	b.V = Version
	if err := b.check(); err != nil {
		return nil, envelope.Hash{}, err
	}
	plain, err := envelope.Marshal(b)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	if len(plain) > MaxBundle {
		return nil, envelope.Hash{}, malformed("bundle: %d bytes, at most %d; send fewer statements", len(plain), MaxBundle)
	}
	sealed, err = key.Seal(plain, to)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	return sealed, envelope.Sum(plain), nil
}

// OpenBundle is the inverse of SealBundle. It checks form, not signatures.
// Errors: ErrBundle.
func OpenBundle(by key.Unsealer, sealed []byte) (Bundle, envelope.Hash, error) {
	if len(sealed) > MaxSealedBundle {
		return Bundle{}, envelope.Hash{}, fmt.Errorf("%w: %d bytes, at most %d", ErrBundle, len(sealed), MaxSealedBundle)
	}
	plain, err := by.Open(sealed, MaxBundle)
	if err != nil {
		return Bundle{}, envelope.Hash{}, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	b, err := parseBundle(plain)
	if err != nil {
		return Bundle{}, envelope.Hash{}, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return b, envelope.Sum(plain), nil
}

func parseBundle(plain []byte) (b Bundle, err error) {
	if err := envelope.Unmarshal(plain, &b); err != nil {
		return Bundle{}, err
	}
	if err := b.check(); err != nil {
		return Bundle{}, err
	}
	return b, nil
}
