// Package host is the agent: it dials out, accepts sessions of operators, checks
// by itself whether each may be, runs what they ask for and signs what happened.
//
// Purpose: nobody who controls a server can make this machine run anything. The
// agent believes signatures that chain to the roster pinned by team_fp, its own
// clock and its own ledger. A server's grant is needed and never enough.
//
// The agent is cut in three:
//
//   - the keeper, this package, has the identity, the roster (team), the checks of
//     trust.md 2.4 (checker), the ledger and the audit entries (evidence). A ward is
//     what it has of one session;
//   - a session half, package live, has one session's keys, channels, programs and
//     recording. What it may ask of the keeper is live.Keeper;
//   - the network half, package uplink, holds sockets: rendezvous, roster polls,
//     upload of entries, paths. It forwards sealed bytes and decides nothing.
//     What it may ask of the keeper is uplink.Inside, what it is asked is the
//     interface outside.
//
// With Config.Apart the network half is a process of its own (package halves),
// confined (package cage), and so is each session half (package cell): sessions outlive
// the network half, and the keeper. Without, all are in one process.
//
// Invariants:
//   - nothing runs before the checks 1 to 8 of trust.md 2.4, in that order; the
//     first that fails stops; whatever is missing, empty or unknown refuses;
//   - a session id and an approval's nonce are on disk, synced, before anything
//     of theirs happens, and so is the signed entry that says what will run;
//   - somebody who is not on the roster gets no answer at all;
//   - argument lists, environments and streams never reach a log; entries carry
//     a command only sealed to the roster's auditors.
//
// It must not import store, sqlite, pgx, bubbletea, apid, rendezvousd, relayd or
// tui.
package host
