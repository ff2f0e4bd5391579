package gallery

import (
	"context"
	"io"
	"sync"

	"github.com/tucdesk/tucdesk/internal/watching"
)

// An Audience is who watches a session's terminal, as its owner is told. The zero value
// is nobody. It is safe for concurrent use.
type Audience struct {
	mu  sync.Mutex
	all []watching.Watcher
	new chan struct{} // closed at the next change; nil: nobody waits
}

// Set says who watches now.
func (a *Audience) Set(all []watching.Watcher) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = all
	if a.new != nil {
		close(a.new)
		a.new = nil
	}
}

func (a *Audience) now() ([]watching.Watcher, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.new == nil {
		a.new = make(chan struct{})
	}
	return a.all, a.new
}

// Tell tells the owner who watches, now and at each change, and takes the owner's word
// that somebody must go, until ctx or the channel ends.
func (a *Audience) Tell(ctx context.Context, ch io.ReadWriter, dismiss func(n uint64)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for {
			d, err := watching.ReadDismissal(ch)
			if err != nil {
				return
			}
			dismiss(d.N)
		}
	}()
	for {
		all, changed := a.now()
		if watching.WriteRoll(ch, watching.Roll{Watchers: all}) != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
