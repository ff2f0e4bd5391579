// Package recording is the stored terminal: what a session showed, sealed on the
// agent before it reaches a disk or a network, so that the team's auditors, and
// nobody else, can play it. SPEC.md beside it has every byte.
//
// A recording is an asciicast v3 text, cut into chunks. Each chunk is sealed with
// age to the auditors of the roster, and appended to a segment. A segment is
// complete when its manifest is signed by the agent; manifests form a chain, and
// the last one says that it is the last.
//
//	Writer   events -> chunks -> segments, signed            (agent)
//	Spool    segments on the agent's disk until they are uploaded
//	Chain    manifests verified, then segments, then opened   (auditor)
//
// Invariants:
//   - plaintext is in memory only, for at most 5 s and 256 KiB;
//   - what can't be made durable is an error to the caller, at once, and the
//     Writer is dead from then on: nothing is recorded with a hole in it;
//   - nothing is opened before the chain of manifests and the segment's hash
//     are verified; a missing, swapped, cut or re-sealed segment is a
//     TamperError that names it;
//   - a chain without a final manifest is incomplete, and says up to which time
//     it is good. That is what a crash leaves; it can't be told from a server
//     that withholds the end, but for the digest in the audit log.
//
// What a Chain yields may hold any escape sequence. Show it through
// internal/recording/screen and nothing else.
//
// The package must not import net, net/http, a database, a screen or a service.
// Only Spool touches the operating system.
package recording
