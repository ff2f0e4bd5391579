//go:build unix && !linux

package cage

import (
	"os"

	"golang.org/x/sys/unix"
)

// Self names the running program.
func Self() (string, error) { return os.Executable() }

// bind has nothing to do: these systems have no such promise.
func bind(string) (func() error, error) { return func() error { return nil }, nil }

// harden keeps this process' memory off the disk.
func harden() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
