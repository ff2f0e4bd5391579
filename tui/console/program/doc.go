// Package program runs a model on a terminal: it reads keys, has the model take
// messages one after another, and paints at once.
//
// It keeps Bubble Tea's Msg and Cmd and replaces its Program, which paints on a
// ticker: a key's echo then waits for up to 8 ms, here for none (decision 0042).
//
// Parts: runner.go is the loop; router.go cuts what was typed into messages;
// screen.go holds the terminal's modes and its cells; outbox.go is what lies
// between the loop and a terminal that may not read.
//
// Invariants:
//
//   - Whatever ends the program restores the terminal: a quit, a signal, a panic in
//     the model or in a command. What nobody can catch is for a supervisor, which
//     is given Restore's bytes.
//   - The loop never waits for the terminal. One that does not read gets fewer
//     frames, and none is half.
//   - Bytes for a program in a terminal reach it as they were typed.
//   - What the terminal answers to our questions does not leak into the shell.
//
// The package knows no backend, and starts no program.
package program
