// Package certs gives a server its TLS: certificates from files, which are read
// again when they change, or from an ACME authority (RFC 8555).
//
// Invariants:
//   - TLS 1.3 and nothing older;
//   - a pair of files that can't be used never replaces one that can, but at the
//     start, where it is an error;
//   - private keys are in files that others can't read, and nowhere else;
//   - certificates are asked for names that the configuration lists, and for no
//     other, whatever a client asks for.
//
// The package must not import a service, nor what signs or verifies TucDesk's own
// formats: TLS hides who talks to whom, and no promise of the product rests on it.
package certs
