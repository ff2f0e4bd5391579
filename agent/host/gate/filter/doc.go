// Package filter makes the seccomp filter of the exec gate: a small program that
// the kernel runs before each system call of a session.
//
// It answers, in every ABI that a machine's kernel takes:
//
//   - execve and execveat: ask the listener, which is the agent. Without one the
//     kernel answers ENOSYS: if the agent is gone, nothing more can start;
//   - seccomp that wants a listener of its own: EBUSY. Of two listeners the inner
//     one is asked, and it could be a session's own;
//   - x32, the third ABI of x86-64, which hardly a kernel has: ENOSYS;
//   - any ABI that is not in the table: the process is killed;
//   - all else: allowed.
//
// The package is tables and what is made of them: it makes no system call, so that
// the filter of each architecture is tested on any of them. It must not import a
// package of this module.
package filter
