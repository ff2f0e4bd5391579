package wire

import (
	"errors"
	"fmt"
	"net/http"
)

// What a refused request can be told by, with errors.Is. Each is one problem
// type; ErrUnavailable is also what the client says when no answer came, and is
// the only one worth a retry.
var (
	ErrUnauthenticated = errors.New("wire: not signed in")        // 401
	ErrDenied          = errors.New("wire: denied")               // 403
	ErrNotFound        = errors.New("wire: not found")            // 404: foreign or unknown
	ErrHeld            = errors.New("wire: held")                 // 409: needs an approval
	ErrConfirm         = errors.New("wire: needs a confirmation") // 409
	ErrUsed            = errors.New("wire: used before")          // 409: replay, or a state that is over
	ErrConflict        = errors.New("wire: conflict")             // 409: not the next one of a chain
	ErrExpired         = errors.New("wire: expired")              // 410
	ErrTooLarge        = errors.New("wire: too large")            // 413
	ErrMalformed       = errors.New("wire: malformed")            // 422
	ErrTooMany         = errors.New("wire: too many")             // 429
	ErrUnavailable     = errors.New("wire: unavailable")          // 5xx, or no answer
)

// Refused reports whether a server has said no, and would say so again: not one that
// is away, and not one that wants another attempt.
func Refused(err error) bool {
	for _, no := range []error{ErrNotFound, ErrDenied, ErrConflict, ErrMalformed, ErrTooLarge} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// A Kind says which problem it is: the last part of its type URI.
type Kind string

// The problem types, and the errors and statuses they stand for.
const (
	KindUnauthenticated Kind = "unauthenticated"
	KindNonce           Kind = "use-dpop-nonce" // 401: try again with the nonce in the DPoP-Nonce header
	KindDenied          Kind = "denied"
	KindNotFound        Kind = "not-found"
	KindHeld            Kind = "held"
	KindConfirm         Kind = "confirm" // 409: the operator must confirm and sign so
	KindUsed            Kind = "used"
	KindConflict        Kind = "conflict"
	KindExpired         Kind = "expired"
	KindTooLarge        Kind = "too-large"
	KindMalformed       Kind = "malformed"
	KindTooMany         Kind = "too-many"
	KindUnavailable     Kind = "unavailable"
	KindDamaged         Kind = "damaged" // 500: stored rows that do not verify; no later attempt helps
	KindInternal        Kind = "internal"
)

var kinds = map[Kind]struct {
	status int
	err    error
	title  string
}{
	KindUnauthenticated: {http.StatusUnauthorized, ErrUnauthenticated, "Not signed in"},
	KindNonce:           {http.StatusUnauthorized, ErrUnauthenticated, "A fresh nonce is needed"},
	KindDenied:          {http.StatusForbidden, ErrDenied, "Denied"},
	KindNotFound:        {http.StatusNotFound, ErrNotFound, "Not found"},
	KindHeld:            {http.StatusConflict, ErrHeld, "Held for approval"},
	KindConfirm:         {http.StatusConflict, ErrConfirm, "Needs a confirmation"},
	KindUsed:            {http.StatusConflict, ErrUsed, "Used before"},
	KindConflict:        {http.StatusConflict, ErrConflict, "Not the next one"},
	KindExpired:         {http.StatusGone, ErrExpired, "Expired"},
	KindTooLarge:        {http.StatusRequestEntityTooLarge, ErrTooLarge, "Too large"},
	KindMalformed:       {http.StatusUnprocessableEntity, ErrMalformed, "Malformed"},
	KindTooMany:         {http.StatusTooManyRequests, ErrTooMany, "Too many requests"},
	KindUnavailable:     {http.StatusServiceUnavailable, ErrUnavailable, "Unavailable"},
	KindDamaged:         {http.StatusInternalServerError, ErrUnavailable, "Damaged data"},
	KindInternal:        {http.StatusInternalServerError, ErrUnavailable, "Internal error"},
}

const typePrefix = "https://tucdesk.app/problems/"

// ContentTypeProblem is the media type of RFC 9457.
const ContentTypeProblem = "application/problem+json"

// A ProblemError is RFC 9457's problem object with what TucDesk adds: what to do
// next and, for a policy's no, the rule and line that said it. It wraps the
// error of its kind. Its texts come from a network: show them through
// internal/sanitize.
type ProblemError struct {
	Type      string   `json:"type"`
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Detail    string   `json:"detail,omitempty"`
	Next      string   `json:"next,omitempty"`      // what the caller can do
	Rule      string   `json:"rule,omitempty"`      // the policy rule that decided
	Line      int      `json:"line,omitempty"`      // its line in the policy document
	Approvers []string `json:"approvers,omitempty"` // who could approve, when held
	Needs     string   `json:"needs,omitempty"`     // the same in words, step by step
	Quorum    int      `json:"quorum,omitempty"`    // how many of them, when held
	AskFor    int64    `json:"ask_for,omitempty"`   // seconds that an ask may stay open, when held
	UseFor    int64    `json:"use_for,omitempty"`   // seconds that a yes stays good, when held
	// Actor is where the device's chain stands now. It is there whenever the
	// answer depends on the chain: a refusal that was recorded has moved it.
	Actor *Actor `json:"actor,omitempty"`
	// Head is the roster head that the answer was judged by, on a conflict.
	Head *Head `json:"head,omitempty"`

	wrapped error // of a request that got no answer
}

// NewProblem makes a problem of a kind. detail says what is wrong and why; next
// says what the caller can do about it.
func NewProblem(kind Kind, detail, next string) *ProblemError {
	k, ok := kinds[kind]
	if !ok {
		kind, k = KindInternal, kinds[KindInternal]
	}
	return &ProblemError{Type: typePrefix + string(kind), Title: k.title, Status: k.status, Detail: detail, Next: next}
}

// Kind gives the problem's kind; KindInternal for a type we do not know.
func (e *ProblemError) Kind() Kind {
	if len(e.Type) > len(typePrefix) && e.Type[:len(typePrefix)] == typePrefix {
		if k := Kind(e.Type[len(typePrefix):]); kinds[k].status == e.Status {
			return k
		}
	}
	return KindInternal
}

func (e *ProblemError) Error() string {
	s := "wire: " + e.Title
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Rule != "" {
		s += fmt.Sprintf(" (rule %s, line %d)", e.Rule, e.Line)
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

// Unwrap gives the error of the problem's kind, and the cause when the request
// got no answer.
func (e *ProblemError) Unwrap() []error {
	err := kinds[e.Kind()].err
	if e.wrapped != nil {
		return []error{err, e.wrapped}
	}
	return []error{err}
}

// GetStatus is the HTTP status, for huma.
func (e *ProblemError) GetStatus() int { return e.Status }

// ContentType is the media type of the answer that carries the problem, for huma.
func (e *ProblemError) ContentType(string) string { return ContentTypeProblem }
