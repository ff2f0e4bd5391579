// Package tunnel carries one connection over a stream of bytes: a forward, or a proxy.
// SPEC.md beside this file has the format.
//
// [Serve] is the target's end and makes the connection, [Connect] the operator's.
// [SSH] tells by the first bytes of either end that they are about to speak SSH.
//
// Invariants:
//   - nothing is connected before the operator's side says so;
//   - an address that a name or a wildcard must not lead to is not connected to,
//     whatever a resolver answers;
//   - bytes are passed as they are, and each direction ends by itself.
//
// It must not import internal/channel, agent, backend or tui.
package tunnel
