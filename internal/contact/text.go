package contact

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

var (
	// ErrMalformed means a text or a message that is not of its format.
	ErrMalformed = errors.New("contact: malformed")
	// ErrTyped means a text that was cut or mistyped: its checksum does not fit.
	ErrTyped = errors.New("contact: the checksum does not fit: cut or mistyped; copy it again")
	// ErrMismatch means keys that are not the ones that words, key or token
	// stand for.
	ErrMismatch = errors.New("contact: these are other keys than the ones that were named")
	// ErrSecret means a message that was not made by who has the secret.
	ErrSecret = errors.New("contact: not from who has the secret")
	// ErrExpired means a token whose time is over.
	ErrExpired = errors.New("contact: expired; make a new one")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// maxText bounds a text that people carry, in bytes.
const maxText = 4096

const sumSize = 4 // bytes of SHA-256 behind the payload of a text

var b64 = base64.RawURLEncoding.Strict()

// write gives prefix and v, in CBOR with a checksum, as base64url.
func write(prefix string, v any) (string, error) {
	b, err := envelope.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(prefix), b...))
	return prefix + b64.EncodeToString(append(b, sum[:sumSize]...)), nil
}

// read is the inverse of write. White space, which mail adds, is dropped first.
func read(prefix, what, s string, into any) error {
	if len(s) > 2*maxText {
		return malformed("%s of more than %d characters", what, maxText)
	}
	rest, ok := strings.CutPrefix(strings.Join(strings.Fields(s), ""), prefix)
	if !ok {
		return malformed("%s begins with %s", what, prefix)
	}
	b, err := b64.DecodeString(rest)
	if err != nil || len(b) <= sumSize || len(rest) > maxText {
		return fmt.Errorf("%w (%s)", ErrTyped, what)
	}
	payload := b[:len(b)-sumSize]
	sum := sha256.Sum256(append([]byte(prefix), payload...))
	if string(sum[:sumSize]) != string(b[len(payload):]) {
		return fmt.Errorf("%w (%s)", ErrTyped, what)
	}
	if err := envelope.Unmarshal(payload, into); err != nil {
		return malformed("%s: %v", what, err)
	}
	return nil
}
