package halves

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// self names the running program: the file that it was started from, also when
// another version has taken its place, and wherever the network half's user may look.
func self() (string, error) { return "/proc/self/exe", nil }

// bind makes this thread, and all that it starts, unable to gain rights.
func bind() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// harden keeps other processes of the same user out of this one, and this one's
// memory off the disk. It wants bind to have been there.
func harden() error {
	on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil || on != 1 {
		return fmt.Errorf("no_new_privs is not set (%v)", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
