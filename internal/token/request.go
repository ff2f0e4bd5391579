package token

import (
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// RequestHeader carries what SignRequest makes.
const RequestHeader = "TucDesk-Request"

const (
	maxURL    = 2048
	maxHeader = 8 << 10 // characters of a JWS or a request header
)

// A Request signs one HTTP request of an agent or of a server.
type Request struct {
	V          uint64        `cbor:"v"`
	Kid        key.Kid       `cbor:"kid"`
	Method     string        `cbor:"method"`
	URL        string        `cbor:"url"` // the whole of it, with its query, which names the team
	BodySHA256 envelope.Hash `cbor:"body_sha256"`
	Time       int64         `cbor:"time"` // unix seconds
	JTI        ID            `cbor:"jti"`
}

// Context implements Body.
func (Request) Context() string { return "tucdesk request v1" }

// Check implements Body.
func (r Request) Check(signer key.Kid) error {
	switch {
	case r.V != Version:
		return malformed("request: unknown version %d", r.V)
	case r.Kid != signer || signer.IsZero():
		return malformed("request: not signed by its key")
	case r.JTI.IsZero(), r.BodySHA256.IsZero(), r.Time <= 0:
		return malformed("request: jti, body_sha256 or time is missing")
	case r.Method == "" || len(r.Method) > 16 || r.URL == "" || len(r.URL) > maxURL:
		return malformed("request: method or url is missing or too long")
	}
	return nil
}

// SignRequest gives the header value. It sets V, Kid and, where zero, JTI.
func SignRequest(id key.Identity, r Request) (string, error) {
	r.V, r.Kid = Version, id.Kid()
	if r.JTI.IsZero() {
		r.JTI = NewID()
	}
	b, err := Sign(id, r)
	if err != nil {
		return "", err
	}
	return b64.EncodeToString(b), nil
}

// An UnverifiedRequest is a request that nobody has checked.
type UnverifiedRequest struct{ Unverified }

// ParseRequest reads a header value.
func ParseRequest(header string) (UnverifiedRequest, error) {
	if len(header) > maxHeader {
		return UnverifiedRequest{}, malformed("request: %d characters, at most %d", len(header), maxHeader)
	}
	b, err := unbase64(header)
	if err != nil {
		return UnverifiedRequest{}, err
	}
	u, err := Parse(b)
	return UnverifiedRequest{u}, err
}

// ExpectRequest is the request as it arrived.
type ExpectRequest struct {
	Now        time.Time
	Method     string
	URL        string
	BodySHA256 envelope.Hash
}

// A VerifiedRequest is one that signs this HTTP request now. Its jti may still
// have been used before: the caller keeps that memory.
type VerifiedRequest struct{ signedRequest }

type signedRequest = Signed[Request]

// Verify checks signature, form, time, and that the request is the one that
// arrived. keys answers the keys of the team that may make it.
func (u UnverifiedRequest) Verify(keys Keys, want ExpectRequest) (VerifiedRequest, error) {
	s, err := VerifySigned[Request](u.Unverified, keys)
	if err != nil {
		return VerifiedRequest{}, err
	}
	r := s.Body()
	if err := firstMismatch("request", []pair{
		{"method", r.Method == want.Method},
		{"url", r.URL == want.URL},
		{"body_sha256", r.BodySHA256 == want.BodySHA256},
	}); err != nil {
		return VerifiedRequest{}, err
	}
	if err := near("request", r.Time, want.Now); err != nil {
		return VerifiedRequest{}, err
	}
	return VerifiedRequest{s}, nil
}
