// Package gate holds each program start of a session until it is decided: the exec
// gate. README.md beside it says what may be promised of it, and what not.
//
// How: the session's first program is started by package shim under the filter of
// package filter, which makes the kernel ask at each execve. Package notify takes the
// question, claim reads what is to start, a Judge decides, and trace compares what the
// kernel has loaded with what was judged, before its first instruction.
//
// Invariants:
//   - nothing starts that no Judge has answered for; the zero Answer refuses, and so do
//     an error, a full list of holds and a closed session;
//   - what starts is the file, arguments, folder and risky variables that were judged;
//     else it is killed before its first instruction, and the Judge is told;
//   - a held program start sleeps until its decision, and ends with Ctrl-C, its
//     process, or its session. At most MaxHolds of a session sleep;
//   - if this process ends, the session starts no more programs.
//
// The package knows no policy and no people. Of this module it must import only the
// packages below it.
package gate
