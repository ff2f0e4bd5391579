//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalSession sends sig to the leader's process group. Jobs in groups of
// their own get SIGHUP from the kernel when their terminal goes away.
func signalSession(sid int, sig syscall.Signal) { unix.Kill(-sid, sig) }

// others reports whether the leader's process group lives on.
func others(sid int) bool { return unix.Kill(-sid, 0) == nil }

// awaitEnd waits for the leader and reaps it.
func awaitEnd(cmd *exec.Cmd) (reap func()) {
	cmd.Wait()
	return func() {}
}
