// Package local is a backend of one target: this machine. It opens login
// shells and commands as the user who runs TucDesk, on a PTY or on pipes.
//
// It has no policy, records nothing and encrypts nothing, and its terminals
// say so: their Assurance is the zero value. It has none of the optional
// capabilities of a backend.
//
// The package imports backend, creack/pty and x/sys only, and never a network.
package local
