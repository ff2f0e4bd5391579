//go:build unix

package filecopy

import "syscall"

// nonblock has a pipe that took a file's place not hold up who opens it.
const nonblock = syscall.O_NONBLOCK

func isLocal(string) bool { return true }
