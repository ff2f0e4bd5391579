package rendezvous_test

import (
	"context"
	"testing"

	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// BenchmarkRegistration is one agent that dials, registers and is welcomed: what
// each of them costs after a restart of the rendezvous. Both sides are in it.
func BenchmarkRegistration(b *testing.B) {
	w := newWorld(b, func(c *rendezvous.Config) { c.Tap = nil })
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		h := newHandler()
		done := make(chan error, 1)
		go func() {
			done <- wire.DialAgent(ctx, wire.AgentOptions{URL: w.url, Presence: w.presence(w.acme, w.acme.web)}, h)
		}()
		select {
		case <-h.welcome:
		case err := <-done:
			b.Fatal(err)
		}
		cancel()
		<-done
	}
}
