package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrEnded marks a service that returned although nobody asked it to stop.
var ErrEnded = errors.New("daemon: service ended by itself")

// Member is one service of a [Group].
type Member struct {
	Name    string // for errors: "relay"
	Service Service
}

// Group runs several services in one process, as one service. Members start
// in order, each after the one before it is ready, and stop in the opposite
// order. The first one that fails stops all.
type Group []Member

// Run implements [Service]. Its error joins those of all members that failed,
// each with the member's name.
func (g Group) Run(ctx context.Context, ready func()) error {
	ended := make(chan error, len(g)) // one send for each started member
	var running []started
	var failed error
	for _, m := range g {
		s, up := start(ctx, m, ended)
		running = append(running, s)
		select {
		case <-up:
			continue
		case failed = <-ended:
		case <-ctx.Done():
		}
		break
	}
	if failed == nil && ctx.Err() == nil {
		ready()
		select {
		case failed = <-ended:
		case <-ctx.Done():
		}
	}
	errs := []error{failed}
	for i := len(running) - 1; i >= 0; i-- {
		running[i].cancel()
		<-running[i].done
	}
	// Every started member has sent its error by now; one may be in failed.
	for {
		select {
		case err := <-ended:
			errs = append(errs, err)
		default:
			return errors.Join(errs...)
		}
	}
}

// started is a member under way.
type started struct {
	cancel context.CancelFunc
	done   chan struct{} // closed after Run has returned and its error is in ended
}

// start runs m detached from ctx's end, so that the group decides the order of
// stopping. It returns at once; up is closed when m is ready.
func start(ctx context.Context, m Member, ended chan<- error) (s started, up chan struct{}) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s = started{cancel: cancel, done: make(chan struct{})}
	up = make(chan struct{})
	go func() {
		defer close(s.done)
		err := m.Service.Run(own, sync.OnceFunc(func() { close(up) }))
		switch {
		case err != nil:
			err = fmt.Errorf("%s: %w", m.Name, err)
		case own.Err() == nil:
			err = fmt.Errorf("%s: %w", m.Name, ErrEnded)
		}
		ended <- err
	}()
	return s, up
}
