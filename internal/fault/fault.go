package fault

import (
	"errors"
	"sync"
)

// ErrInjected is the error of every failure made here.
var ErrInjected = errors.New("fault: injected failure")

// When says on which side of its effect a call fails.
type When int

// The sides.
const (
	Never  When = iota
	Before      // the call fails and nothing has happened
	After       // it has happened, and the call says that it failed
)

// A Plan makes one call fail: the one with number Call, counted from 1. The
// zero Plan lets all pass and counts them. It is safe for concurrent use.
type Plan struct {
	Call int
	When When

	mu    sync.Mutex
	calls []string
	hit   string
}

// Calls gives the names of the calls so far, in order.
func (p *Plan) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

// Hit names the call that failed; empty if none has.
func (p *Plan) Hit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hit
}

// do runs f as one call. A call that fails After gives what f gave, and
// ErrInjected.
func do[T any](p *Plan, name string, f func() (T, error)) (T, error) {
	p.mu.Lock()
	p.calls = append(p.calls, name)
	when := Never
	if len(p.calls) == p.Call {
		when, p.hit = p.When, name
	}
	p.mu.Unlock()
	if when == Before {
		var zero T
		return zero, ErrInjected
	}
	v, err := f()
	if when == After {
		return v, errors.Join(err, ErrInjected)
	}
	return v, err
}

// only is do for calls that give an error and nothing else.
func only(p *Plan, name string, f func() error) error {
	_, err := do(p, name, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
