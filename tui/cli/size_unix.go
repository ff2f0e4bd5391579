//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/tucdesk/tucdesk/backend"
)

// followSize tells t each new size of this process's terminal.
func followSize(t backend.Terminal) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				if cols, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil && cols > 0 && rows > 0 {
					t.Resize(uint16(cols), uint16(rows))
				}
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}
