package trace

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTraced means a thread that somebody else traces: what it starts can't be looked
// at, and so does not start.
var ErrTraced = errors.New("trace: another process traces it")

// A Result is how a program start ended.
type Result int

const (
	Failed  Result = iota // the call failed, or its caller has ended; nothing was loaded
	Started               // the program runs
	Killed                // it was not as claimed
)

// A Call is a sleeping caller of execve.
type Call struct {
	TID int
	// Asleep says that no signal wakes the caller but one that kills
	// (WAIT_KILLABLE_RECV).
	Asleep bool
	// Continue lets its call go on.
	Continue func() error
	// Valid reports whether it still waits.
	Valid func() bool
	// Look says what differs from the claim in what the kernel has loaded as process
	// pid; "" for nothing.
	Look func(pid int) string
}

const options = unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// Start lets c go on. differs is what the look found, where it killed. An error means
// that the call was not let go on: the caller still sleeps, or is gone.
func Start(c Call) (r Result, differs string, err error) {
	process := c.TID
	if unix.Tgkill(c.TID, c.TID, 0) != nil {
		process = processOf(c.TID)
	}
	if err := seize(c); err != nil {
		return Failed, "", err
	}
	if c.Asleep {
		// The interrupt waits for the call's end: no second call can begin in between.
		err = interrupt(c.TID)
	}
	if err == nil {
		err = c.Continue()
	}
	if err != nil || !c.Asleep {
		// Any earlier, it would have ended the call in place of its answer. Where
		// there is no call any more, it brings the stop that await waits for.
		_ = interrupt(c.TID)
	}
	r, differs = await(c, process)
	return r, differs, err
}

// seize begins to trace the caller.
func seize(c Call) error {
	for wait := 50 * time.Microsecond; ; wait *= 2 {
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(c.TID), 0, options, 0, 0)
		if errno == 0 {
			return nil
		}
		tracer := tracerOf(c.TID)
		if errno != unix.EPERM || tracer == 0 {
			return fmt.Errorf("trace: seize: %w", errno)
		}
		if !isOwn(tracer) {
			return ErrTraced
		}
		// A thread of ours has not let go yet of the call before this one: it is
		// about to, or its interrupt wakes the caller, which then asks anew.
		if !c.Valid() || wait > 10*time.Second {
			return fmt.Errorf("trace: seize: %w", errno)
		}
		time.Sleep(wait)
	}
}

func interrupt(tid int) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(tid), 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("trace: interrupt: %w", errno)
	}
	return nil
}

func detach(tid int, signal unix.Signal) {
	_, _, _ = unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
}

// await waits for one of the stops and deals with it.
func await(c Call, process int) (Result, string) {
	pid, status, err := wait(c.TID, process)
	switch {
	case err != nil || !status.Stopped():
		return Failed, "" // it has ended
	case status>>16 == unix.PTRACE_EVENT_EXEC:
		if differs := c.Look(pid); differs != "" {
			kill(pid)
			return Killed, differs
		}
		detach(pid, 0)
		return Started, ""
	case status>>16 == unix.PTRACE_EVENT_STOP:
		detach(pid, 0)
	default: // a signal came first; it gets through
		detach(pid, status.StopSignal())
	}
	return Failed, ""
}

// wait waits for a stop of a thread, or for its end. A thread that is not its
// process' first gets the process' number when its program starts: then nobody says
// that the old number is no more, and both have to be looked at again and again.
func wait(tid, process int) (int, unix.WaitStatus, error) {
	if tid == process {
		return wait4(tid, 0)
	}
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		pid, status, err := wait4(tid, unix.WNOHANG)
		if err == unix.ECHILD && process != 0 {
			pid, status, err = wait4(process, unix.WNOHANG)
		}
		if pid != 0 || err != nil {
			return pid, status, err
		}
		time.Sleep(pause)
	}
}

func wait4(pid, flags int) (got int, status unix.WaitStatus, err error) {
	for {
		got, err = unix.Wait4(pid, &status, unix.WALL|unix.WNOTHREAD|flags, nil)
		if err != unix.EINTR {
			return got, status, err
		}
	}
}

// kill ends a stopped program before its first instruction, and reaps it for its
// parent.
func kill(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		_, status, err := wait4(pid, 0)
		if err != nil || !status.Stopped() {
			return
		}
	}
}

// processOf gives the process of a thread, 0 if it is gone.
func processOf(tid int) int { return number(field(tid, "Tgid:")) }

// tracerOf gives the thread that traces one, 0 for none.
func tracerOf(tid int) int { return number(field(tid, "TracerPid:")) }

// isOwn reports whether a thread belongs to this process.
func isOwn(tid int) bool { return unix.Tgkill(os.Getpid(), tid, 0) == nil }

// ending are the signals with which people and systems ask a program to end.
const ending = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGTERM-1)

// IsAskedToEnd reports whether a signal that asks for its end waits until a sleeping
// thread wakes up. One that does not catch it has ended instead.
func IsAskedToEnd(tid int) bool {
	for _, name := range []string{"SigPnd:", "ShdPnd:"} {
		if mask, err := strconv.ParseUint(field(tid, name), 16, 64); err == nil && mask&ending != 0 {
			return true
		}
	}
	return false
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// field reads a line of a thread's status.
func field(tid int, name string) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
