package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func notify(c chan<- os.Signal) { signal.Notify(c, os.Interrupt) }

func (r *Runner) signal(_ context.Context, s os.Signal) error {
	return fmt.Errorf("%w by %s", ErrStopped, s)
}
