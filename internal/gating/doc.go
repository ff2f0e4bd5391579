// Package gating is what an agent and an operator's device say to each other about
// programs that start inside a gated session. They speak on a channel of the session
// itself, of kind [Kind], which the device opens: no server sees a word of it.
//
//	device                                         agent
//	                <-- Event{1, hold, argv} --    a start waits
//	has it approved
//	                --- Answer{1, bundle} ------>  checks the bundle as for an exec
//	                <-- Event{1, started} -----    it runs
//	                <-- Event{2, refused} -----    policy denies a start
//
// # Bytes
//
// A message is its length (u32, big endian, at most [MaxMessage]) and one Event or
// Answer in deterministic CBOR, read strictly: the fields of the two types are the
// whole format. The agent sends Events, the device Answers.
//
// An Answer carries what opens an exec session of exactly the command that the Event
// names: a bundle with the device's proof, apid's grant and, where it is held, the
// approvals. The agent checks it as it checks that session's, marks session and
// approvals as used, and lets the waiting program start in place of a new one.
//
// The command is the Event's argv, cwd, env and bound, with "tty" as its standard input.
// Bound names the file that would start and the SHA-256 of what is in it; before the
// Answer is checked the agent reads the file again, and refuses what is not the same.
//
// Invariants: every message is bounded; an Answer of an unknown number does nothing; a
// device that does not open the channel can let nothing start that waits.
//
// The package is pure. Of this module it must import only envelope and token.
package gating
