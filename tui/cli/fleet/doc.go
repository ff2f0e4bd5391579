// Package fleet runs one command on many machines: a plan first, which says of
// each machine what policy answers; then a bounded number at a time; then results
// that are kept apart, and shown together where they are equal.
//
// Invariants:
//   - nothing runs on any machine before the whole plan may: what is denied, or
//     waits for people, is known before the first command starts;
//   - each machine gets a session of its own, so it judges by itself, and the
//     audit log has an entry of its own for it;
//   - after the failures that a Limit allows, no further machine is begun;
//   - output that is kept is bounded for each machine, and what was cut is said.
//
// The package knows the seam of backends only. It must not import backend/control,
// net or crypto packages.
package fleet
