// Package backend is the public seam between TucDesk's console and whatever
// lists targets and opens terminals on them.
//
// A Backend has three methods. Everything else a source of terminals may know
// (policy, approvals) is an optional capability, an interface of one or two
// methods that is found with As. The console sees only this package, so a
// backend that compiles against it needs nothing else of TucDesk.
//
// To add a backend, write a Driver, register it beside those of package
// backend/all, and run the suite of package backend/backendtest on it.
//
// Invariants:
//
//   - What is not said is refused: the zero Effect denies, and the zero
//     Assurance promises nothing.
//   - Text in a Target, an Approval or a Verdict may come from a network and
//     is handed on as it came. Whoever draws it cleans it first.
//   - A backend never receives an identity key through this package.
//
// The package imports only the standard library, and of that neither net nor
// os: a backend out of process can then be described by it alone.
package backend
