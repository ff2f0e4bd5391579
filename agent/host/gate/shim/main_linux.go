package shim

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/gate/filter"
)

// Main is the shim. It returns only where the program could not be executed, and
// has told the agent why. The calling thread is lost to everything else.
func Main() error {
	runtime.LockOSThread()
	unix.CloseOnExec(socket)
	conn := os.NewFile(socket, "agent")
	var l launch
	// What is behind the launch is the one byte that says go: no read ahead.
	if err := gob.NewDecoder(oneByOne{io.LimitReader(conn, maxLaunch)}).Decode(&l); err != nil {
		return fmt.Errorf("shim: no word from the agent: %w", err)
	}
	features, listener, err := confine()
	if err == nil {
		err = unix.Sendmsg(socket, []byte{features}, unix.UnixRights(listener), nil, 0)
		unix.Close(listener)
	}
	if err != nil {
		fmt.Fprint(conn, err)
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return fmt.Errorf("shim: the agent went away: %w", err)
	}
	what, errno := l.exec()
	fmt.Fprintf(conn, "%c%c%s", errno&0xff, errno>>8, what)
	return fmt.Errorf("shim: %s: %w", what, errno)
}

// oneByOne is a reader that gob does not put a buffer of its own in front of.
type oneByOne struct{ io.Reader }

func (r oneByOne) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}

// confine puts this thread, and all that it will start, under the filter and into
// the domain.
func confine() (features byte, listener int, err error) {
	ok, err := isolate()
	if err != nil {
		return 0, -1, err
	}
	if ok {
		features |= hasLandlock
	}
	program, err := filter.For(runtime.GOARCH)
	if err != nil {
		return 0, -1, err
	}
	listener, err = install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err == nil {
		return features | hasKillable, listener, nil
	}
	if errors.Is(err, unix.EINVAL) { // older than the flag
		listener, err = install(program, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	return features, listener, err
}

func install(program []bpf.RawInstruction, flags uintptr) (listener int, err error) {
	code := make([]unix.SockFilter, len(program))
	for i, in := range program {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		return -1, fmt.Errorf("shim: seccomp: %w", errno)
	}
	return int(fd), nil
}

// isolate puts this thread into a Landlock domain of its own, which restricts no
// file and no mount. It is false where the kernel has no Landlock with scopes.
func isolate() (bool, error) {
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 6 {
		return false, nil
	}
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Offsetof(attr.Quiet_access_fs), 0)
	if errno != 0 {
		return false, fmt.Errorf("shim: landlock: %w", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return false, fmt.Errorf("shim: landlock: %w", errno)
	}
	return true, nil
}

// exec becomes the user on this thread and executes the program. What it returns is
// where it failed. Package syscall would change all threads, and could not: the
// others have no filter.
func (l *launch) exec() (what string, errno syscall.Errno) {
	if l.User {
		var groups unsafe.Pointer
		if len(l.Groups) > 0 {
			groups = unsafe.Pointer(&l.Groups[0])
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(l.Groups)), uintptr(groups), 0); e != 0 {
			return "setgroups", e
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(l.GID), uintptr(l.GID), uintptr(l.GID)); e != 0 {
			return "setresgid", e
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(l.UID), uintptr(l.UID), uintptr(l.UID)); e != 0 {
			return "setresuid", e
		}
	}
	if l.Dir != "" {
		if err := unix.Chdir(l.Dir); err != nil {
			return "chdir", errnoOf(err)
		}
	}
	return "execve", errnoOf(syscall.Exec(l.Path, l.Argv, l.Env))
}

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EINVAL
}
