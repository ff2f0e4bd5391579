// Package api is apid: the HTTPS interface at which members sign in, ask for
// sessions and decide on approvals, and at which agents leave their audit
// entries. It gives grants, and a grant is a veto not used: without the device
// signatures that it is added to, an agent does nothing with it.
//
// Invariants:
//   - Every route but the founding ones demands a proof of this one request:
//     a token with DPoP from a device, a signed request from an agent or a
//     server. The team is what the verified token, or the roster that the
//     signing key stands on, says; never what a body, path or query says.
//   - A route that names nobody who may call it refuses everybody.
//   - What belongs to another team, and what never was, are answered alike.
//   - An effect, the use of its proof and its audit entry are one transaction;
//     an answer is given after its commit.
//   - No command, no session key and no member's or admin's key is ever here.
//   - Every body, list, wait, cache and rate has a bound.
//
// Status of an answer (trust.md 3): 401 not authenticated; 404 foreign or
// unknown; 403 own team but denied; 409 used, held or not the next; 410 expired;
// 413 too large; 422 malformed; 429 too many; 503 not now.
//
// The package must not import another service, tui or backend.
package api
