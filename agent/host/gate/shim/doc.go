// Package shim starts a program under the exec gate's filter.
//
// The agent does not install the filter in itself: it starts itself again, as the
// shim, with the terminal, session and control group that the program is to have.
// The shim installs the filter on one thread, hands the listener to the agent,
// becomes the user on that thread and executes the program. No process is added:
// the program has the shim's number and parent.
//
// Invariants:
//   - the filter is installed by root and without no_new_privs: sudo, su and other
//     setuid programs work in the session, and stay gated;
//   - the program is the first that the agent is asked about: the filter holds
//     before there is a user's program;
//   - the shim keeps no copy of the listener, and its own environment is empty:
//     variables of a user reach the program, and never a process of root;
//   - where the kernel has it, a Landlock domain keeps the session, root's too, from
//     debugging processes outside of it (which could run programs for it) and from
//     their abstract sockets.
//
// The package decides nothing. Of this module it must import only filter.
package shim
