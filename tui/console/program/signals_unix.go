//go:build unix

package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

func notify(c chan<- os.Signal) {
	signal.Notify(c, unix.SIGWINCH, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGINT, unix.SIGTSTP, unix.SIGCONT)
}

// signal does what a signal asks for.
func (r *Runner) signal(ctx context.Context, s os.Signal) error {
	switch s {
	case unix.SIGWINCH:
		r.measure(ctx)
	case unix.SIGTSTP:
		return r.suspend(ctx)
	case unix.SIGCONT:
		// Stopped and gone on without our doing: somebody else has had the
		// terminal.
		return r.resume(ctx)
	default:
		return fmt.Errorf("%w by %s", ErrStopped, s)
	}
	return nil
}

// suspend gives the terminal back, and stops until somebody says SIGCONT.
func (r *Runner) suspend(ctx context.Context) error {
	if !r.out.await(leaveWait) {
		return nil // it does not read: nothing to suspend
	}
	r.out.send(r.screen.leave())
	if !r.out.await(leaveWait) {
		return nil
	}
	r.out.idle <- struct{}{}
	if err := r.console.Restore(); err != nil {
		return err
	}
	if err := unix.Kill(0, unix.SIGSTOP); err != nil {
		return fmt.Errorf("program: stop: %w", err)
	}
	// Here again after SIGCONT, which is in the channel, or soon is.
	select {
	case s := <-r.signals:
		if s != unix.SIGCONT {
			return r.signal(ctx, s)
		}
	case <-time.After(time.Second):
	}
	return r.resume(ctx)
}

// resume takes the terminal again, and paints it whole.
func (r *Runner) resume(ctx context.Context) error {
	if err := r.console.Restore(); err != nil {
		return err
	}
	if _, err := r.console.MakeRaw(); err != nil {
		return fmt.Errorf("program: the terminal can't be set up again: %w", err)
	}
	r.screen.again()
	r.measure(ctx)
	return nil
}
