// Package cage starts this program again as a process with nearly no rights: as
// another user, unable to gain rights and, on Linux with Landlock, to run programs or
// to touch files. The agent's network half lives in one.
//
// Invariants:
//   - what is started never is root, and holds no open file of this process but the
//     one socket that it is given;
//   - the confinement holds from the program's first instruction, and never for this
//     process or for what else it starts;
//   - what the program writes on its standard error becomes log lines, made harmless,
//     bounded in length and rate.
//
// The package knows nothing of what the program does. It must not import any package
// of the agent.
package cage
