// Package trace lets a sleeping caller of execve go on, and stops it again before the
// first instruction of its new program, for a look at what the kernel has loaded.
//
// The way: seize the thread, let its call go on, and wait for one of two stops. At
// PTRACE_EVENT_EXEC the old program is gone and the new one has not begun: what
// differs from the claim is killed there. At PTRACE_EVENT_STOP the call has failed,
// and its caller sees why. Then the thread is let go: a debugger may have it from
// there on.
//
// Invariants:
//   - a program runs only after a look, and only if the look found nothing. If this
//     process dies in between, the kernel kills the program (PTRACE_O_EXITKILL);
//   - what is killed is also reaped here: its parent would wait for it in vain;
//   - threads are waited for by number and by the thread that seized them (__WALL,
//     __WNOTHREAD), never all at once: other children of this process are others'
//     business.
//
// Start blocks its thread until the kernel has loaded the program, and must be called
// on one that is the caller's own (runtime.LockOSThread). The package decides
// nothing. It must not import a package of this module.
package trace
