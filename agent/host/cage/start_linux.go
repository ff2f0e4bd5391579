package cage

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Self names the running program: the file that it was started from, also when
// another version has taken its place, and wherever the network half's user may look.
func Self() (string, error) { return "/proc/self/exe", nil }

// bind gives what makes a thread, and all that it starts, unable to gain rights and,
// where the kernel has Landlock, to use files.
func bind(exe string) (func() error, error) {
	// Whoever started this process may have left it open files.
	if err := unix.CloseRange(Socket, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("close_range: %w", err)
	}
	ruleset, err := cage(exe)
	if err != nil {
		return nil, err
	}
	return func() error {
		if ruleset >= 0 {
			defer unix.Close(ruleset)
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
		if ruleset < 0 {
			return nil
		}
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
			return fmt.Errorf("landlock: %w", errno)
		}
		return nil
	}, nil
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
