// Package process runs what a session may run: one program from an argument
// list, or a login shell on a terminal.
//
// Invariants:
//   - No shell stands between an argument list and its program. argv[0] is looked
//     up in a fixed path, never in the agent's own.
//   - A program sees a clean environment: who it is, where it is, its terminal
//     and language, and what the Spec names. Nothing of the agent's own.
//   - Each program leads a session (setsid) of its own. Kill ends that session
//     as a whole: SIGHUP, and SIGKILL to what is left after the grace.
//   - Who it runs as is decided before it starts. No fall-back to another user.
//
// A program that moves into a session of its own (setsid, a daemon) outlives
// Kill; the control group of gate.md will end it. Beyond Linux, Kill reaches the
// leader's process group; background jobs of a shell get the SIGHUP that the
// kernel sends when their terminal goes away.
//
// Windows is not supported yet: Start answers ErrUnsupported.
//
// The package decides nothing about policy, and must not import it.
package process
