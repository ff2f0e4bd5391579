//go:build unix

package line

import "golang.org/x/sys/unix"

// makePipe makes a pipe with a name, for its owner alone.
func makePipe(name string) error { return unix.Mkfifo(name, 0o600) }
