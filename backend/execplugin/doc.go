// Package execplugin is backends that are programs of their own: an executable
// tucdesk-backend-NAME on PATH, in any language, which TucDesk starts and speaks to over
// its standard input and output. SPEC.md beside this file is the protocol.
//
// Serve is all that a plugin in Go needs; Driver is the other side, a backend.Driver
// that the console opens like any other.
//
// Invariants:
//
//   - A plugin is given no key, no token and no variable of TucDesk's. It is a program
//     that its user runs, with the user's rights, and is trusted like one.
//   - Whatever a plugin does, the console goes on: each frame and each queue has a limit,
//     each answer a time. A plugin that breaks the protocol, or says nothing for too long,
//     is ended, and what was open on it ends with a reason.
//   - What a plugin does not declare is absent: no policy is made up, and a terminal
//     whose assurance it does not give is protected by nothing that is known.
//   - What a plugin says of itself on standard error is cleaned and bounded before
//     anybody sees it.
//
// The package imports backend, its protocol, internal/sanitize and the standard library only, and of
// that no network.
package execplugin
