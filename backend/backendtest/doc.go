// Package backendtest is the conformance suite for any backend.Backend.
//
// Call Run from a test with a Harness that says how to open the backend and
// which commands to try on it, or Examine from a program. Every case checks one sentence of package
// backend's documentation. What a backend can't do is declared in
// Harness.Skip with a reason, and is printed; a missing piece that is not
// declared fails.
//
// The suite assumes nothing beyond package backend: no clock, no order of
// network events, no wall time other than its own patience. It does not import
// testing, since `tucdesk backend test` runs it too.
package backendtest
