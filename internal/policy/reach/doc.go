// Package reach reads what copies, forwards and proxies ask for, and the patterns by
// which a policy names what they may reach.
//
// A copy, a forward and a proxy carry what they ask for where an exec carries its
// command, as words: so it is committed to, sealed, approved and judged like one.
//
//	copy            from|to [-r] PATH
//	forward, proxy  HOST:PORT
//
// Invariants:
//   - what can't be read exactly is an error: there is one spelling of every path,
//     address and port;
//   - a pattern that allows never reaches this machine itself, its link or a cloud's
//     metadata service by a wildcard: such an address must be spelled out.
//
// It is pure, and imports of this module only the package glob beside it.
package reach
