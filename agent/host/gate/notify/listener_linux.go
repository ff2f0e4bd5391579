package notify

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrGone means that the caller does not wait any more: it was killed, or a signal
// has come in between.
var ErrGone = errors.New("notify: the caller does not wait any more")

// A Notification is a call that sleeps until it is answered (struct seccomp_notif).
type Notification struct {
	ID    uint64
	TID   uint32 // the thread, as this process sees it; 0: it does not
	Flags uint32
	Nr    uint32
	Arch  uint32 // AUDIT_ARCH_*
	_     uint64 // where the call was made
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// Numbers that golang.org/x/sys does not have (linux/seccomp.h).
const (
	ioctlIDValid  = 0x4008_2102
	ioctlSetFlags = 0x4008_2104
)

// A Listener is where the kernel asks. Its methods are safe for concurrent use.
type Listener struct{ fd int }

// NewListener takes over a listener's descriptor.
func NewListener(fd int) *Listener {
	// The caller and who answers take turns: where the kernel knows how, it lets
	// one wake the other on the same processor.
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), ioctlSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return &Listener{fd}
}

// Receive takes the next notification. There must be one: it blocks a processor of
// this program until then.
func (l *Listener) Receive() (n Notification, err error) {
	err = l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
	return n, err
}

// Valid reports whether the caller still waits. If it does, then its thread's number
// has been its own since the notification.
func (l *Listener) Valid(id uint64) bool {
	return l.ioctl(ioctlIDValid, unsafe.Pointer(&id)) == nil
}

// Refuse answers with an error. The call does not happen.
func (l *Listener) Refuse(id uint64, errno unix.Errno) error {
	return l.answer(response{id: id, err: -int32(errno)})
}

// Continue lets the call happen, with what the caller's memory holds by then.
func (l *Listener) Continue(id uint64) error {
	return l.answer(response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l *Listener) answer(r response) error {
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

// ioctl makes a call that does not block, but for Receive when nobody asks.
func (l *Listener) ioctl(request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(l.fd), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ENOENT, unix.EINPROGRESS:
			return ErrGone
		default:
			return fmt.Errorf("notify: %w", errno)
		}
	}
}

// Close ends it: who waits, and who asks from now on, gets ENOSYS.
func (l *Listener) Close() error { return unix.Close(l.fd) }
