package process

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalSession sends sig to every process of the session that sid leads or
// led: also to jobs in process groups of their own.
func signalSession(sid int, sig syscall.Signal) {
	unix.Kill(-sid, sig)
	for _, pid := range members(sid) {
		unix.Kill(pid, sig)
	}
}

// others reports whether the session holds more than its leader.
func others(sid int) bool { return len(members(sid)) > 0 }

// members gives the processes of a session but for its leader.
func members(sid int) (pids []int) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == sid {
			continue
		}
		if s, err := unix.Getsid(pid); err == nil && s == sid {
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitEnd waits until the leader has ended and gives the function that reaps
// it. Until then it is a zombie, so that its number, which names the session,
// can't be given to another process. It waits for a pidfd where there is one: to wait
// for a number would take stops of the leader that are the exec gate's.
func awaitEnd(cmd *exec.Cmd) (reap func()) {
	if fd, err := unix.PidfdOpen(cmd.Process.Pid, unix.PIDFD_NONBLOCK); err == nil {
		defer unix.Close(fd)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n == 1 || err != nil && err != unix.EINTR {
				break
			}
		}
	}
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	return func() { cmd.Wait() }
}
