package wire

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrID means text that is not an ID.
var ErrID = errors.New("wire: an id is 32 lower-case hexadecimal digits")

// An ID names a session or an approval: 16 random bytes, in text 32 lower-case
// hexadecimal digits. It grants nothing to whoever knows it.
type ID [16]byte

// NewID makes a random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// ParseID is the inverse of String.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != s {
		return ID{}, fmt.Errorf("%w: %d bytes of something else", ErrID, len(s))
	}
	copy(id[:], b)
	return id, nil
}

// String gives 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}
