package process

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open opens a file for reading with the rights of u, never with the agent's own: what
// u may not read, nobody learns through u. It does not wait for a device or a pipe.
func (u User) Open(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if u.self {
		return os.OpenFile(path, flags, 0)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		// The thread has the rights of u from here on. It is not unlocked, so that it
		// ends with this goroutine and runs nothing else.
		runtime.LockOSThread()
		if err := u.assume(); err != nil {
			done <- opened{nil, fmt.Errorf("process: take the rights of %q: %w", u.Name, err)}
			return
		}
		f, err := os.OpenFile(path, flags, 0)
		done <- opened{f, err}
	}()
	o := <-done
	return o.f, o.err
}

// assume gives this thread, and no other, the file rights of u. With a file-system user
// other than root the kernel takes away the capabilities that override permissions.
func (u User) assume() error {
	var groups unsafe.Pointer
	if len(u.groups) > 0 {
		groups = unsafe.Pointer(&u.groups[0])
	}
	// The wrappers of package syscall would change every thread.
	if _, _, e := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(u.groups)), uintptr(groups), 0); e != 0 {
		return e
	}
	unix.SetfsgidRetGid(int(u.gid))
	unix.SetfsuidRetUid(int(u.uid))
	gid, err1 := unix.SetfsgidRetGid(-1)
	uid, err2 := unix.SetfsuidRetUid(-1)
	if err1 != nil || err2 != nil || gid != int(u.gid) || uid != int(u.uid) {
		return unix.EPERM
	}
	return nil
}
