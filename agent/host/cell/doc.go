// Package cell runs a session half (package live) in a process of its own, and lets it
// find the keeper again when that was started anew. SPEC.md says what passes.
//
// [Half] is the keeper's side: it starts the process, or waits for one that an earlier
// keeper has started, and is to the keeper what a live.Session in its own process would
// be. [Main] is the other: a live.Session whose live.Keeper is at the end of a socket.
//
// Invariants:
//   - while there is no keeper, nothing is decided, committed or signed: a session goes
//     on with what it was allowed, for AwayTime, and opens nothing;
//   - who comes to the keeper's door is of its user and names a session with its secret;
//     both sides look who is there;
//   - everything that comes from a session half has a limit in size, number and time;
//     what is not in SPEC.md ends the connection, and with it the process;
//   - when a session is over nothing of it is left: on Linux with a control group of the
//     agent's own, no process that was started in it, however it hides.
//
// It must not import agent/ledger or agent/host.
package cell
