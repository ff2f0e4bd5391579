// Package live is one session: its handshake, its keys, its channels, and the programs
// that run on them, with their terminals and their recording. It is called the session
// half, and runs in a process of its own (package cell) or in the agent's.
//
// It decides nothing. Whatever needs the agent's identity, its roster, its ledger or
// its place in the audit log it asks of the Keeper, and it does not do what the keeper
// does not allow: also when there is nobody to ask.
//
// Invariants:
//   - no channel opens, and nothing runs, before the keeper has said yes to exactly
//     that, and has it on disk;
//   - session keys are nowhere but here, and go with the connection;
//   - argument lists, environments and streams never reach a log;
//   - what must be recorded is recorded before it is shown.
//
// It must not import agent/ledger, agent/host, internal/roster or internal/policy.
package live
