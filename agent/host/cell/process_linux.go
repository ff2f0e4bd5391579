package cell

import (
	"os"

	"golang.org/x/sys/unix"
)

// harden keeps other processes of the same user out of this one: it has a session's
// keys. What it runs is not concerned.
func harden() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// redirect makes a file the standard error.
func redirect(f *os.File) { unix.Dup3(int(f.Fd()), 2, 0) }
