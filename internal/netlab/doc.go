// Package netlab is a network for real programs on one Linux machine: hosts that
// are network namespaces, and between them a router of ours that loses, delays,
// reorders, doubles and slows packets, blocks UDP, fragments, and moves a host to
// another address. It needs root and /dev/net/tun, and no traffic control in the
// kernel. Its tests run with
//
//	go test -tags netlab ./internal/netlab
//
// A [Lab] is the network, a [Site] the servers, an operator and an agent of a team
// on three hosts of it, as separate processes of the programs that people get.
//
// Invariants:
//   - nothing of the lab reaches the machine's own network, and all of it goes away
//     with Close;
//   - hosts have IPv4 only, and reach each other through the router only;
//   - what a host sends waits in bounded queues, or is lost.
//
// It is for tests and benchmarks: no program imports it, and it imports nothing of
// this module but internal/memnet and internal/wire.
package netlab
