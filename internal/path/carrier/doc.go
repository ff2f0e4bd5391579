// Package carrier connects to relays: over UDP, over TCP, and over TLS, the last
// two also through an HTTP proxy. A carrier moves STUN messages and ChannelData
// (RFC 8656) between one client and one relay, each as one datagram of a
// [net.PacketConn].
//
// Invariants:
//   - a carrier of streams never blocks for long: what does not fit into its
//     queue is lost, as on any network, and a stream that takes nothing ends;
//   - TLS is version 1.3, and the relay's name or key is checked;
//   - a proxy's name and password are sent to the proxy and nowhere else, and no
//     error holds them;
//   - every read from a proxy has a limit and a deadline.
//
// The package must not import what allocates or decides which carrier is used: the
// package path does.
package carrier
