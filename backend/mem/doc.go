// Package mem is the reference implementation of a backend.Backend: a team in
// memory. It shows what every other backend must do, and it is what the
// console and the suite are tested on.
//
// A World holds targets with scripted verdicts, and the approvals asked for.
// Each member sees it through a Backend of their own, so that one can ask and
// another can decide. Commands are Go functions; nothing leaves the process.
//
// The package imports only the standard library and backend. It holds no
// policy: a Target says its verdicts. Its terminals promise nothing beyond the
// Assurance that the script gives them.
package mem
