package sessions

import (
	"fmt"
	"io"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// linkEvery is how often a terminal's connection is asked how it stands.
const linkEvery = 500 * time.Millisecond

// TellLink says on w when a terminal has lost its machine, and when it is back. With a
// TTY lines end as a raw terminal wants them.
func TellLink(w io.Writer, t backend.Terminal, target backend.TargetID, tty bool) (stop func()) {
	l, ok := backend.TerminalAs[backend.LinkTerminal](t)
	if !ok {
		return func() {}
	}
	begin, end := "tucdesk: ", "\n"
	if tty {
		begin, end = "\r\n"+begin, "\r\n"
	}
	name := sanitize.Clean(string(target)).String()
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(linkEvery)
		defer tick.Stop()
		var lost backend.Link
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := l.Link()
			switch {
			case now.Lost && !lost.Lost:
				fmt.Fprintf(w, "%sthe connection to %s is lost, since %s. Trying again; what you type is kept. The machine keeps this session until %s.%s",
					begin, name, now.Since.Format(time.TimeOnly), now.Until.Format(time.TimeOnly), end)
			case !now.Lost && lost.Lost:
				fmt.Fprintf(w, "%sconnected to %s again, after %s.%s", begin, name, time.Since(lost.Since).Round(time.Second), end)
			}
			lost = now
		}
	}()
	return func() { close(done); <-over }
}
