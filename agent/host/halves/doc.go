// Package halves runs the agent's network half as a process of its own, with no
// rights, and speaks with it over an inherited socket. SPEC.md says what passes.
//
// The privileged process has the keys, the roster, the ledger, the checks and the
// sessions. The network half has what faces a network: TLS and WebSocket to the
// servers, TURN and ICE, uploads. Whoever takes it over can keep this agent from
// being reached, lose what it was to deliver, and send what anybody on the network
// could send; nothing it says is believed.
//
// [Network] is the privileged side: it starts the process and starts it again, and
// is to the sessions what an uplink.Uplink in the same process would be. [Serve] is
// the other.
//
// Invariants:
//   - everything that comes from the network half has a limit in size, in number
//     and in rate; what is not in SPEC.md ends the process, and another one is
//     started after a pause;
//   - no text that it says is shown or stored but its log lines, made harmless;
//   - a datagram passes on a socket of its session's own, and not by the privileged
//     process: that keeps both ends, and the socket to the relay, so that a session
//     outlives the network half;
//   - the network half never runs as root, and gains no rights by running programs;
//     where the kernel has Landlock it runs none, writes no file, and reads what name
//     resolution and TLS need.
//
// Like uplink, it must not import internal/session, internal/channel, agent/ledger
// or agent/host.
package halves
