// Package protocol is what both ends of a plugin's connection share: frames, the link
// that they go over, and the messages in them. SPEC.md in the folder above is its text.
//
// Invariants: whatever comes in has a limit; AppendFrame and ReadFrame are inverse;
// sending a message never waits, and sending data waits for room only. What a backend
// says is cut to a length when it becomes ours.
//
// It imports backend, internal/sanitize and the standard library, and starts nothing.
package protocol
