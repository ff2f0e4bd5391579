// Package notify serves seccomp listeners: through one, the kernel asks whether a
// system call may go on, and lets the caller sleep until there is an answer.
//
// A Pool serves all listeners of a process with a few threads and one epoll. Its
// threads belong to it for their life, so that what they run may use ptrace, which
// is a matter of threads. A handler that does not answer keeps only its caller
// waiting: the answer may be given later, by anybody.
//
// Invariants:
//   - a notification that is never answered never lets a call go on; when its
//     listener is closed, the kernel answers ENOSYS;
//   - a thread takes a notification only when there is one: none sleeps in one
//     listener while another one asks;
//   - there always is a thread that waits, up to maxWorkers.
//
// See seccomp_unotify(2). The package knows nothing of what is asked. It must not
// import a package of this module.
package notify
