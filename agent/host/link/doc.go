// Package link lets two processes of an agent speak with each other: calls, answers
// and notes in frames over a stream socket of this machine, with descriptors that come
// along. SPEC.md has each byte. What is said is the caller's: packages halves and cell.
//
// Invariants:
//   - every frame has a bound, and what is allocated is what has arrived;
//   - so have the calls at a time, those without an answer, the time to write a frame
//     and, where the caller wants it, calls and notes a second;
//   - what is not in SPEC.md ends the connection; after that every call is ErrAway;
//   - a descriptor that came and that nobody takes is closed.
//
// It must not import any other package of the agent.
package link

import "errors"

// ErrAway means that the other process is not there, for now.
var ErrAway = errors.New("link: the other process is not there; it is being started again")
