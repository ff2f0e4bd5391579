package store

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/internal/key"
)

// The checks below are what every implementation refuses before it writes, as
// ErrInvalid.

// CheckText refuses text that not every database can hold or compare: what is
// not UTF-8, and NUL.
func CheckText(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%w: text is UTF-8 without NUL", ErrInvalid)
	}
	return nil
}

// CheckTeam refuses a team id that is empty, long or no text.
func CheckTeam(team string) error {
	if team == "" || len(team) > MaxTeam || CheckText(team) != nil {
		return fmt.Errorf("%w: a team id has 1 to %d bytes of UTF-8, and no NUL", ErrInvalid, MaxTeam)
	}
	return nil
}

// Check refuses a statement that can't be stored.
func (s Statement) Check() error {
	if s.Seq > math.MaxInt64 {
		return fmt.Errorf("%w: statement number %d", ErrInvalid, s.Seq)
	}
	return checkBytes("statement", s.Bytes)
}

// Check refuses a target that can't be stored.
func (t Target) Check() error {
	if t.Kid.IsZero() {
		return fmt.Errorf("%w: a target without a key id", ErrInvalid)
	}
	if t.Name == "" || len(t.Name) > 256 || len(t.LoginUser) > 256 || len(t.Tags) > 256 {
		return fmt.Errorf("%w: a target's name has 1 to 256 bytes, its login user at most 256, its tags at most 256", ErrInvalid)
	}
	return errors.Join(CheckText(t.Name), CheckText(t.LoginUser))
}

// CheckUse refuses a proof id that can't be stored.
func CheckUse(signer key.Kid, jti string) error {
	if signer.IsZero() || jti == "" || len(jti) > MaxJTI {
		return fmt.Errorf("%w: a proof has a signer and an id of 1 to %d bytes", ErrInvalid, MaxJTI)
	}
	return nil
}

// Check refuses an approval that can't be stored.
func (a Approval) Check() error { return checkRow("approval", a.ID, a.State, a.Body) }

// Check refuses a session that can't be stored.
func (s Session) Check() error { return checkRow("session", s.ID, s.State, s.Body) }

// CheckEntry refuses an entry that can't be stored.
func CheckEntry(entry []byte) error { return checkBytes("entry", entry) }

// CheckCheckpoint refuses a checkpoint that can't be stored.
func CheckCheckpoint(size int64, note []byte) error {
	if size < 0 {
		return fmt.Errorf("%w: a checkpoint of size %d", ErrInvalid, size)
	}
	return checkBytes("checkpoint", note)
}

// CheckChain refuses a chain that can't be stored.
func CheckChain(name string, signer key.Kid, seq uint64) error {
	if name == "" || len(name) > 64 || signer.IsZero() || seq == 0 || seq > math.MaxInt64 {
		return fmt.Errorf("%w: a chain has a name, a signer and a number from 1 on", ErrInvalid)
	}
	return CheckText(name)
}

func checkRow(what string, id [16]byte, state string, body []byte) error {
	if id == [16]byte{} || state == "" || len(state) > 64 {
		return fmt.Errorf("%w: a %s has an id and a state", ErrInvalid, what)
	}
	if len(body) > MaxBody {
		return fmt.Errorf("%w: a %s of %d bytes, at most %d", ErrInvalid, what, len(body), MaxBody)
	}
	return CheckText(state)
}

func checkBytes(what string, b []byte) error {
	if len(b) == 0 || len(b) > MaxBody {
		return fmt.Errorf("%w: a %s of %d bytes, want 1 to %d", ErrInvalid, what, len(b), MaxBody)
	}
	return nil
}

// Millis is the form in which times are kept: Unix milliseconds.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// FromMillis is the inverse of Millis, in UTC.
func FromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
