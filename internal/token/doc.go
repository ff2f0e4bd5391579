// Package token holds the signed statements by which one request becomes one
// session: the access token (who), the DPoP proof of an API call, the
// operator's proof (this request), apid's grant (may), and the bundle that
// carries them to an agent; besides, what agents and servers sign about
// themselves: registration, heartbeat, request. SPEC.md has the fields.
//
// The access token and the DPoP proof are JWS (RFC 7515, RFC 9068, RFC 9449)
// with EdDSA and nothing else; all others are envelopes.
//
// Invariants:
//   - Parse gives an Unverified type, Verify turns it into the type that
//     handlers take; nothing reads a claim of an Unverified except through a
//     method that begins with Insecure;
//   - algorithm, type and header fields are fixed by the program, never chosen
//     by the token;
//   - every expectation that is left zero refuses;
//   - Verify does not remember what it has seen: refusing a second use of a
//     jti, a nonce or a session id is the caller's duty.
//
// The package is pure: it must not import os, net/http, database/sql or
// log/slog, it reads no clock, and all of it is safe for concurrent use.
package token
