//go:build linux

package notify

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A caller is a thread under a filter of its own, which asks about getpgid and nothing
// else. It needs no rights: the filter cannot be inherited by a program with more.
type caller struct {
	l     *Listener
	calls chan struct{}
	ends  chan error // of each call
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	c := &caller{calls: make(chan struct{}), ends: make(chan error, 1)}
	began, calls := make(chan error, 1), c.calls
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its filter
		fd, err := askAbout(unix.SYS_GETPGID)
		if err == nil {
			c.l = NewListener(fd)
		}
		began <- err
		for range calls {
			_, _, errno := syscall.Syscall(unix.SYS_GETPGID, 0, 0, 0)
			if errno != 0 {
				c.ends <- errno
			} else {
				c.ends <- nil
			}
		}
	}()
	t.Cleanup(func() { close(c.calls) })
	if err := <-began; err != nil {
		t.Fatalf("a listener can't be had: %v", err)
	}
	return c
}

// askAbout puts this thread under a filter.
func askAbout(nr uint32) (int, error) {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return -1, err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return -1, errno
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("it did not come in a minute")
	}
	return v
}

func newPool(t *testing.T) *Pool {
	t.Helper()
	p, err := NewPool()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// What is answered is what the caller gets, once.
func TestAnswers(t *testing.T) {
	p, c := newPool(t), newCaller(t)
	asked := make(chan Notification, 1)
	if err := p.Add(c.l, func(n Notification) { asked <- n }, func() {}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		answer func(id uint64) error
		want   error
	}{
		"go on":  {c.l.Continue, nil},
		"refuse": {func(id uint64) error { return c.l.Refuse(id, unix.EACCES) }, unix.EACCES},
	} {
		c.calls <- struct{}{}
		n := within(t, asked)
		if n.Nr != unix.SYS_GETPGID || n.TID == 0 || !c.l.Valid(n.ID) || c.l.Valid(n.ID+1) {
			t.Errorf("%s: %+v", name, n)
		}
		select {
		case err := <-c.ends:
			t.Fatalf("%s: it went on without an answer: %v", name, err)
		default:
		}
		if err := tc.answer(n.ID); err != nil {
			t.Fatal(err)
		}
		if err := within(t, c.ends); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: the caller got %v", name, err)
		}
		if c.l.Valid(n.ID) || !errors.Is(c.l.Refuse(n.ID, unix.EPERM), ErrGone) || !errors.Is(c.l.Continue(n.ID), ErrGone) {
			t.Errorf("%s: it can be answered twice", name)
		}
	}
}

// Handlers that do not answer, and some that do not even return, hold up nobody else;
// their callers get ENOSYS when the listener is closed.
func TestHoldUpNobody(t *testing.T) {
	p := newPool(t)
	const waiting = 12
	var handlers sync.WaitGroup
	release := make(chan struct{})
	defer handlers.Wait()
	defer close(release)
	asked := make(chan Notification, waiting)
	var silent []*caller
	for i := range waiting {
		c := newCaller(t)
		silent = append(silent, c)
		handlers.Add(1)
		if err := p.Add(c.l, func(n Notification) {
			defer handlers.Done()
			asked <- n
			if i%2 == 0 {
				<-release
			}
		}, func() {}); err != nil {
			t.Fatal(err)
		}
		c.calls <- struct{}{}
		within(t, asked)
	}
	c := newCaller(t)
	if err := p.Add(c.l, func(n Notification) { _ = c.l.Continue(n.ID) }, func() {}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		c.calls <- struct{}{}
		if err := within(t, c.ends); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	if err := p.Do(func() { close(done) }); err != nil {
		t.Fatal(err)
	}
	within(t, done)
	for _, c := range silent {
		p.Remove(c.l)
		c.l.Close()
		if err := within(t, c.ends); !errors.Is(err, unix.ENOSYS) {
			t.Errorf("a closed listener answered %v", err)
		}
	}
}

// A pool says when nobody is left who could ask, serves nothing that was removed, and
// takes nothing once it is closed.
func TestEnds(t *testing.T) {
	p := newPool(t)
	c := newCaller(t)
	gone := make(chan struct{})
	if err := p.Add(c.l, func(Notification) {}, func() { close(gone) }); err != nil {
		t.Fatal(err)
	}
	ends := c.calls
	c.calls = make(chan struct{}) // for the clean-up
	close(ends)
	within(t, gone)

	c = newCaller(t)
	if err := p.Add(c.l, func(Notification) { t.Error("it was removed") }, func() {}); err != nil {
		t.Fatal(err)
	}
	p.Remove(c.l)
	c.calls <- struct{}{}
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		// It is there to be received, and nobody has.
		fds := []unix.PollFd{{Fd: int32(c.l.fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 0); n == 1 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("nobody asks")
		}
	}
	n, err := c.l.Receive()
	if err != nil || c.l.Refuse(n.ID, unix.EPERM) != nil {
		t.Error(err)
	}
	within(t, c.ends)
	p.Close()
	p.Close()
	if err := errors.Join(p.Add(c.l, nil, nil), p.Do(func() {})); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed pool: %v", err)
	}
}
