package contact

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

const (
	keyPrefix = "tdk1"
	// alphabet is Crockford's base32, in lower case: no i, l, o, u.
	alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	hashSize = 16
	keySum   = 3 // bytes of checksum
	keyBytes = hashSize + secretSize + keySum
	keyChars = keyBytes * 8 / 5 // 56, without a rest
)

// A Key is a pairing key: it names one request of one agent, and holds the
// secret under which it is answered. An agent shows it, an admin types it. Every
// fmt verb prints it redacted.
type Key struct {
	hash   [hashSize]byte // the first bytes of the request's hash
	secret secret
}

// NewKey makes the pairing key of a request.
func NewKey(request envelope.Hash) Key {
	return Key{hash: [hashSize]byte(request[:hashSize]), secret: newSecret()}
}

// Format implements fmt.Formatter.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "contact.Key(redacted)") }

// Text gives the key for people: tdk1 and fourteen groups of four.
func (k Key) Text() string {
	s := k.secret.b()
	b := append(append([]byte{}, k.hash[:]...), s[:]...)
	b = append(b, keySumOf(b)...)
	var out strings.Builder
	out.WriteString(keyPrefix)
	bits, n := uint32(0), 0
	chars := 0
	for _, c := range b {
		bits, n = bits<<8|uint32(c), n+8
		for ; n >= 5; n -= 5 {
			if chars%4 == 0 {
				out.WriteByte('-')
			}
			out.WriteByte(alphabet[bits>>(n-5)&31])
			chars++
		}
	}
	return out.String()
}

func keySumOf(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("tucdesk pairing key v1\x00"), b...))
	return sum[:keySum]
}

// ParseKey reads what Text gives, as people type it: in capitals, with other
// groups or none, and with the letters that look like digits.
func ParseKey(s string) (Key, error) {
	if len(s) > 256 {
		return Key{}, malformed("a pairing key has %d characters after %s", keyChars, keyPrefix)
	}
	text := strings.ToLower(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, s))
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return Key{}, malformed("a pairing key begins with %s; tucdesk-agent pair shows it", keyPrefix)
	}
	if len(rest) != keyChars {
		return Key{}, malformed("a pairing key has %d characters after %s, this one %d", keyChars, keyPrefix, len(rest))
	}
	b := make([]byte, 0, keyBytes)
	bits, n := uint32(0), 0
	for i := range rest {
		v := strings.IndexByte(alphabet, alike(rest[i]))
		if v < 0 {
			return Key{}, malformed("character %d of the pairing key is none of its alphabet", i+1)
		}
		bits, n = bits<<5|uint32(v), n+5
		if n >= 8 {
			b = append(b, byte(bits>>(n-8)))
			n -= 8
		}
	}
	body := b[:keyBytes-keySum]
	if !bytes.Equal(keySumOf(body), b[len(body):]) {
		return Key{}, fmt.Errorf("%w (a pairing key)", ErrTyped)
	}
	k := Key{hash: [hashSize]byte(body[:hashSize]), secret: secretOf([secretSize]byte(body[hashSize:]))}
	if k.secret.isZero() {
		return Key{}, malformed("a pairing key without a secret")
	}
	return k, nil
}

// alike gives the character that one stands for which people take for it.
func alike(c byte) byte {
	switch c {
	case 'o':
		return '0'
	case 'i', 'l':
		return '1'
	}
	return c
}

// Meeting gives the meeting of this key: of its agent and an admin.
func (k Key) Meeting() Meeting {
	return Meeting{topic: k.secret.topic(), secret: k.secret, expect: func(r VerifiedRequest) error {
		h := r.Hash()
		if r.Body().Email != "" || [hashSize]byte(h[:hashSize]) != k.hash {
			return fmt.Errorf("%w: the server shows another agent than the one that printed the pairing key; trust neither, and look at the server", ErrMismatch)
		}
		return nil
	}}
}
