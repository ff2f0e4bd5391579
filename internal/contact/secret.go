package contact

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

const secretSize = 16

// A secret is 128 random bits that a newcomer and an admin share for one
// meeting. Every fmt verb prints it redacted.
type secret struct {
	b func() [secretSize]byte // fmt never looks into a function
}

func newSecret() secret {
	var b [secretSize]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return secretOf(b)
}

func secretOf(b [secretSize]byte) secret {
	return secret{func() [secretSize]byte { return b }}
}

func (s secret) isZero() bool { return s.b == nil || s.b() == [secretSize]byte{} }

// Format implements fmt.Formatter.
func (secret) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }

// derive gives 32 bytes for one use (HKDF-SHA256, RFC 5869).
func (s secret) derive(info string) [32]byte {
	b := s.b()
	k, err := hkdf.Key(sha256.New, b[:], nil, info, 32)
	if err != nil {
		panic("contact: internal error: " + err.Error()) // the length is a constant
	}
	return [32]byte(k)
}

// mac gives HMAC-SHA256 over the parts, each with its length before it.
func (s secret) mac(info string, parts ...[]byte) []byte {
	k := s.derive(info)
	h := hmac.New(sha256.New, k[:])
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write(p)
	}
	return h.Sum(nil)
}

func (s secret) topic() envelope.Hash { return s.derive("tucdesk contact topic v1") }
