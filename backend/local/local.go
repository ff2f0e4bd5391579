package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"runtime"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
)

// TargetID is the ID of the one target.
const TargetID backend.TargetID = "local"

// Driver opens the backend under "local:".
func Driver() backend.Driver {
	return backend.Driver{
		Scheme: "local",
		Doc:    "terminals of this machine: no policy, not recorded",
		Open: func(_ context.Context, u *url.URL, _ backend.Env) (backend.Backend, error) {
			if u.Opaque != "" || u.Host != "" || u.Path != "" {
				return nil, errors.New("local: the URL has nothing after local:, not even a path")
			}
			return New(), nil
		},
	}
}

// A Backend opens terminals of this machine.
type Backend struct {
	mu     sync.Mutex
	closed bool
	open   map[*terminal]struct{}
}

var _ backend.Backend = (*Backend)(nil)

// New returns a Backend.
func New() *Backend {
	return &Backend{open: make(map[*terminal]struct{})}
}

// Targets implements backend.Backend.
func (b *Backend) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		if err := b.usable(ctx); err != nil {
			yield(backend.Target{}, err)
			return
		}
		name, err := os.Hostname()
		if err != nil {
			name = string(TargetID)
		}
		yield(backend.Target{
			ID:     TargetID,
			Name:   name,
			State:  backend.Online,
			Detail: map[string]string{"os": runtime.GOOS + "/" + runtime.GOARCH, "what": "this machine, as yourself"},
		}, nil)
	}
}

func (b *Backend) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("local: %w", backend.ErrClosed)
	}
	return nil
}

// Open implements backend.Backend. A request for another user is denied:
// use sudo inside.
func (b *Backend) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if req.Target != TargetID {
		return nil, fmt.Errorf("local: %w: the only target is %q", backend.ErrNotFound, TargetID)
	}
	switch {
	case req.Kind == backend.KindShell && len(req.Argv) == 0:
	case req.Kind == backend.KindExec && len(req.Argv) > 0:
	default:
		return nil, fmt.Errorf("local: a %.20q request can't have %d arguments", string(req.Kind), len(req.Argv))
	}
	if err := req.Extra(); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if req.As != "" {
		return nil, fmt.Errorf("local: %w", &backend.DeniedError{Verdict: backend.Verdict{
			Reason: "terminals of this machine run as yourself; use sudo inside one",
		}})
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("local: %w", backend.ErrClosed)
	}
	t, err := start(req)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	b.open[t] = struct{}{}
	backend.Go(func() {
		<-t.ended
		b.mu.Lock()
		delete(b.open, t)
		b.mu.Unlock()
	})
	return t, nil
}

// Close implements backend.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	open := make([]*terminal, 0, len(b.open))
	for t := range b.open {
		open = append(open, t)
	}
	b.mu.Unlock()
	var errs []error
	for _, t := range open {
		errs = append(errs, t.Close())
	}
	for _, t := range open {
		<-t.ended
	}
	return errors.Join(errs...)
}
