package recording

import (
	"crypto/sha256"
	"hash"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// valid makes UTF-8 of any bytes, each wrong one replaced.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// crlf makes each line feed begin a line at its left.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// partial gives how many bytes at the end of b are the beginning of a character.
func partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		c := b[len(b)-n]
		if utf8.RuneStart(c) {
			if c >= 0xc0 && !utf8.FullRune(b[len(b)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// A hasher is a running SHA-256.
type hasher struct{ hash.Hash }

func newHasher() hasher { return hasher{sha256.New()} }

func (h hasher) hash() envelope.Hash { return envelope.Hash(h.Sum(nil)) }
