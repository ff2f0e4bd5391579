package notify

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// maxWorkers bounds the threads of a pool. One is busy for as long as a handler
	// runs, which for a program start is until the kernel has loaded the program.
	maxWorkers = 32
	// spareWorkers is how many may wait.
	spareWorkers = 3
)

// ErrClosed means a pool that was closed.
var ErrClosed = errors.New("notify: the pool is closed")

// A Pool serves listeners. Its methods are safe for concurrent use.
type Pool struct {
	epoll, wake int

	mu      sync.Mutex
	served  map[int32]*served // by a number of its own: descriptors are used again
	last    int32
	jobs    []func()
	workers int
	closed  bool

	waiting atomic.Int32
	done    sync.WaitGroup
}

// served is a listener in a pool.
type served struct {
	*Listener
	handle func(Notification)
	gone   func()
}

// NewPool makes a pool with one thread.
func NewPool() (*Pool, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("notify: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 0})
	}
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("notify: eventfd: %w", err)
	}
	p := &Pool{epoll: ep, wake: wake, served: map[int32]*served{}}
	p.mu.Lock()
	p.hire()
	p.mu.Unlock()
	return p, nil
}

// Add serves a listener until nobody is left who could ask (then it calls gone) or
// Remove. handle runs on a thread of the pool and owns the notification.
func (p *Pool) Add(l *Listener, handle func(Notification), gone func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.last++
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, l.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: p.last}); err != nil {
		return fmt.Errorf("notify: epoll: %w", err)
	}
	p.served[p.last] = &served{l, handle, gone}
	return nil
}

// Remove stops to serve a listener. A handler of its may still run.
func (p *Pool) Remove(l *Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, s := range p.served {
		if s.Listener == l {
			delete(p.served, number)
			_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, l.fd, nil)
		}
	}
}

// Do runs a job on a thread of the pool.
func (p *Pool) Do(job func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.jobs = append(p.jobs, job)
	p.ring(1)
	return nil
}

// Close ends the threads when they are at rest. Listeners stay open.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	clear(p.served)
	p.ring(2 * maxWorkers)
	p.mu.Unlock()
	p.done.Wait()
	unix.Close(p.epoll)
	unix.Close(p.wake)
}

// ring wakes n threads, or one thread n times.
func (p *Pool) ring(n byte) {
	_, _ = unix.Write(p.wake, []byte{n, 0, 0, 0, 0, 0, 0, 0}) // a counter, little endian
}

// hire starts a thread, with mu held.
func (p *Pool) hire() {
	if p.closed || p.workers >= maxWorkers {
		return
	}
	p.workers++
	p.done.Go(p.work)
}

// work is one thread's life. It ends with the goroutine, which stays locked to it.
func (p *Pool) work() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 1)
	for {
		p.waiting.Add(1)
		n, err := unix.EpollWait(p.epoll, events, -1)
		if left := p.waiting.Add(-1); err == nil && left == 0 {
			p.mu.Lock()
			p.hire()
			p.mu.Unlock()
		}
		if err == nil && n == 1 {
			if events[0].Fd == 0 {
				p.job()
			} else {
				p.serve(events[0])
			}
		}
		if p.leave(err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
}

// leave reports whether a thread is not needed any more.
func (p *Pool) leave(broken bool) bool {
	if !broken && p.waiting.Load() < spareWorkers && !p.isClosed() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !broken && (len(p.jobs) > 0 || !p.closed && p.waiting.Load() < spareWorkers) {
		return false
	}
	p.workers--
	return true
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// job takes one job, if no other thread has.
func (p *Pool) job() {
	if _, err := unix.Read(p.wake, make([]byte, 8)); err != nil {
		return
	}
	p.mu.Lock()
	var job func()
	if len(p.jobs) > 0 {
		job, p.jobs = p.jobs[0], p.jobs[1:]
	}
	p.mu.Unlock()
	if job != nil {
		job()
	}
}

// serve takes one notification. Between the event and EPOLL_CTL_MOD no other thread
// gets an event of this listener: nobody takes away what there is, and Receive finds
// it, or that its caller has gone.
func (p *Pool) serve(e unix.EpollEvent) {
	p.mu.Lock()
	s := p.served[e.Fd]
	p.mu.Unlock()
	if s == nil {
		return
	}
	if e.Events&unix.EPOLLIN == 0 { // EPOLLHUP: nobody has the filter any more
		p.Remove(s.Listener)
		s.gone()
		return
	}
	n, err := s.Receive()
	p.mu.Lock()
	if p.served[e.Fd] == s {
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: e.Fd}
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, s.fd, &e)
	}
	p.mu.Unlock()
	if err == nil {
		s.handle(n)
	}
}
