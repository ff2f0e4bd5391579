package sessions

import (
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// linkEvery is how often a terminal's connection is asked how it stands.
const linkEvery = 500 * time.Millisecond

// TellLink says when a terminal has lost its machine, and when it is back.
func TellLink(say func(sanitize.Text), t backend.Terminal, target backend.TargetID) (stop func()) {
	l, ok := backend.TerminalAs[backend.LinkTerminal](t)
	if !ok {
		return func() {}
	}
	name := sanitize.Clean(string(target))
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
				text := fmt.Sprintf("the connection to %s is lost, since %s.", name, now.Since.Format(time.TimeOnly))
				if !now.Until.IsZero() {
					text += fmt.Sprintf(" Trying again; what you type is kept. The machine keeps this session until %s.", now.Until.Format(time.TimeOnly))
				}
				say(sanitize.Clean(text))
			case !now.Lost && lost.Lost:
				say(sanitize.Clean(fmt.Sprintf("connected to %s again, after %s.", name, time.Since(lost.Since).Round(time.Second))))
			}
			lost = now
		}
	}()
	return func() { close(done); <-over }
}
