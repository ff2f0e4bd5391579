package backend

import (
	"errors"
	"fmt"
	"time"
)

// An Effect is what a policy says. The zero value denies.
type Effect uint8

// The effects, from the strictest on.
const (
	Deny    Effect = iota // no
	Hold                  // after people approved
	Confirm               // after the member confirmed
	Allow                 // yes
)

// String returns "deny", "hold", "confirm" or "allow". What is none of these
// reads, and counts, as deny.
func (e Effect) String() string {
	switch e {
	case Hold:
		return "hold"
	case Confirm:
		return "confirm"
	case Allow:
		return "allow"
	}
	return "deny"
}

// A Verdict is a policy's answer to an OpenRequest. The zero value denies.
type Verdict struct {
	Effect    Effect
	Rule      string // the rule's name; empty where no rule matched
	Line      int    // its line in the policy document, from 1; 0 means unknown
	Reason    string
	Approvers string // for Hold: who could approve, in words
	// MaxSession is how long a terminal may last at most; 0: not known.
	MaxSession time.Duration
}

// Err returns nil for Allow, and else the error that Open returns for v:
// *DeniedError, *HeldError or *ConfirmError.
func (v Verdict) Err() error {
	switch v.Effect {
	case Allow:
		return nil
	case Confirm:
		return &ConfirmError{Verdict: v}
	case Hold:
		return &HeldError{Verdict: v}
	}
	return &DeniedError{Verdict: v}
}

// explain is the text of the three errors: which rule, where, and why.
func (v Verdict) explain(sentinel error) string {
	s := sentinel.Error()
	if v.Rule != "" {
		s += fmt.Sprintf(" by rule %q", v.Rule)
		if v.Line > 0 {
			s += fmt.Sprintf(" (line %d)", v.Line)
		}
	}
	if v.Reason != "" {
		s += ": " + quoteControls(v.Reason)
	}
	return s
}

// quoteControls returns s, or its quoted form where it holds anything that
// does not print.
func quoteControls(s string) string {
	if q := fmt.Sprintf("%+q", s); q != `"`+s+`"` {
		return q
	}
	return s
}

// A DeniedError says which rule denied. It wraps ErrDenied.
type DeniedError struct{ Verdict Verdict }

func (e *DeniedError) Error() string { return e.Verdict.explain(ErrDenied) }
func (e *DeniedError) Unwrap() error { return ErrDenied }

// A HeldError says which rule holds, and who could approve. It wraps ErrHeld.
type HeldError struct{ Verdict Verdict }

func (e *HeldError) Error() string { return e.Verdict.explain(ErrHeld) }
func (e *HeldError) Unwrap() error { return ErrHeld }

// A ConfirmError says which rule asks for confirmation. It wraps ErrConfirm.
type ConfirmError struct{ Verdict Verdict }

func (e *ConfirmError) Error() string { return e.Verdict.explain(ErrConfirm) }
func (e *ConfirmError) Unwrap() error { return ErrConfirm }

// VerdictOf returns the verdict that err carries. Where err wraps only a
// sentinel, the verdict has its effect and no rule. It returns false for any
// other error.
func VerdictOf(err error) (Verdict, bool) {
	var (
		denied  *DeniedError
		held    *HeldError
		confirm *ConfirmError
	)
	switch {
	case errors.As(err, &denied):
		return denied.Verdict, true
	case errors.As(err, &held):
		return held.Verdict, true
	case errors.As(err, &confirm):
		return confirm.Verdict, true
	case errors.Is(err, ErrDenied):
		return Verdict{Effect: Deny}, true
	case errors.Is(err, ErrHeld):
		return Verdict{Effect: Hold}, true
	case errors.Is(err, ErrConfirm):
		return Verdict{Effect: Confirm}, true
	}
	return Verdict{}, false
}
