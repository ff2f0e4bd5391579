package control

import (
	"context"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Watch tells of changes as apid hints at them. What has changed is asked for and
// verified like at any other time: a hint only says when. A stream that is lost
// is opened again, and begins as with a change of everything.
func (b *Backend) Watch(ctx context.Context, changed func(backend.Change)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	backend.Go(func() {
		select {
		case <-b.ended:
			cancel()
		case <-ctx.Done():
		}
	})
	err := b.api.Events(ctx, func(e wire.Event) {
		if c := b.hint(e); c != (backend.Change{}) {
			changed(c)
		}
	})
	if b.isClosed() {
		return backend.ErrClosed
	}
	return translate(err)
}

// hint makes the next question look again where what is known may be old, and
// says what is worth asking for.
func (b *Backend) hint(e wire.Event) (c backend.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e.Kind {
	case wire.EventReset, wire.EventRoster: // who may decide changes with the roster too
		c = backend.Change{Targets: true, Approvals: true}
		b.looked, b.failed = time.Time{}, time.Time{}
	case wire.EventAgent:
		c.Targets = true
	case wire.EventApproval:
		c.Approvals = true
	}
	if c.Targets {
		b.hints++
		b.statesAt = time.Time{}
	}
	return c
}

func (b *Backend) hinted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hints
}
