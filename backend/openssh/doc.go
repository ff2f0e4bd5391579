// Package openssh is a backend of the hosts that the user's OpenSSH configuration
// names. The system's own ssh program opens every terminal, so that jump hosts,
// agents, known hosts, GSSAPI and whatever else that file says work as they do in a
// shell (decision 0200).
//
// It has no policy, records nothing and judges no command. ssh encrypts to its
// server, but this package neither sees the server's key nor whether anything has
// checked it, so that the Assurance of its terminals is the zero value. It has none
// of the optional capabilities of a backend.
//
// Invariants:
//
//   - Nothing asks a question that nobody sees: ssh runs in its batch mode. A new host
//     key, a password or a passphrase ends the terminal with an error that says what
//     to do.
//   - Only a host that the configuration names is handed to ssh, and never one that
//     ssh or a shell could take for more than a name.
//   - An exit code is the remote program's own. Where ssh does not say that it is,
//     Wait returns an error.
//
// The package imports backend, backend/local and internal/sanitize, and never a network.
package openssh
