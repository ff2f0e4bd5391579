package token

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// An ID is 128 random bits: the name of a session, an ask or a proof, or a
// nonce. Its text form is 32 lower-case hexadecimal digits. The zero ID names
// nothing and is refused in every signed object.
type ID [16]byte

// NewID makes one from crypto/rand.
func NewID() (id ID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// ParseID is the inverse of ID.String.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || s != hex.EncodeToString(b) {
		return ID{}, fmt.Errorf("%w: an id is 32 lower-case hexadecimal digits", ErrMalformed)
	}
	copy(id[:], b)
	return id, nil
}

// String gives the 32 digits that ParseID reads.
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
