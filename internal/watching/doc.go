// Package watching is what is said about a shell that others look at: by the machine to
// who watches it, and by the machine and the shell's owner to each other. SPEC.md has
// every byte. Both travel on channels of end-to-end encrypted sessions; no server sees
// a word.
//
// Invariants: every message is bounded, and read no further than that; who watches
// gets a [Screen] first, and after each one all output that follows it, in order.
//
// The package is pure. Of this module it must import only envelope.
package watching
