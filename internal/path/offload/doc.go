// Package offload makes UDP sockets whose datagrams pass the system many at a time:
// what waits to be sent goes with one call, and what has come together is taken with
// one (udp(7): UDP_SEGMENT, UDP_GRO). internal/decisions/0014 says why here.
//
// Invariants:
//   - datagrams are sent as they were written, each once, those to one address in
//     order; one that is alone goes at once;
//   - what was written is sent before Close returns, unless that takes too long;
//   - a socket on which nothing comes holds no buffer;
//   - queues are bounded: a writer waits for room.
//
// The package is a leaf: it must not import any other of this module.
package offload
