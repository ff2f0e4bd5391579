package backendtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// caseLimit is how long Examine waits for one case. A case has limits of its own; this
// one is for a backend that does not keep to its contexts.
const caseLimit = 5 * time.Minute

// A State is how a case of Examine ended. The zero value is none.
type State string

// The states.
const (
	Passed  State = "ok"
	Failed  State = "failed"
	Skipped State = "skipped" // Notes says why
)

// A Result is how one case ended.
type Result struct {
	Name  string
	State State
	Notes []string // what it said; may quote the backend, so who prints it cleans it
	Took  time.Duration
}

// Lacks gives the cases that b, as it says itself, or h, as it is filled in, has nothing
// for, each with the reason: what Harness.Skip takes. It opens one terminal.
func (h Harness) Lacks(ctx context.Context, b backend.Backend) (map[string]string, error) {
	var lacks [8]string
	at := func(n need) *string {
		for i := range lacks {
			if n == 1<<i {
				return &lacks[i]
			}
		}
		return new(string)
	}
	if _, ok := backend.As[backend.Evaluator](b); !ok {
		*at(needEvaluator) = "it has no policy to evaluate (it is no Evaluator)"
	}
	if _, ok := backend.As[backend.BatchEvaluator](b); !ok {
		*at(needBatch) = "it evaluates one request at a time (it is no BatchEvaluator)"
	}
	_, asks := backend.As[backend.Asker](b)
	_, decides := backend.As[backend.Approver](b)
	switch {
	case !asks || !decides:
		*at(needHeld) = "it has nobody to ask (it is no Asker and Approver)"
	case h.Held.Target == "" || h.Approver == nil:
		*at(needHeld) = "nothing says which request is held, and who may approve it"
	}
	if _, ok := backend.As[backend.Overseer](b); !ok {
		*at(needWatcher) = "nobody can look at others' shells (it is no Overseer)"
	} else if h.Watcher == nil {
		*at(needWatcher) = "nothing says who may look at others' shells"
	}
	if h.Denied.Target == "" {
		*at(needDenied) = "nothing says which request is denied"
	}
	term, err := b.Open(ctx, h.exec(h.Cat))
	if err != nil {
		return nil, fmt.Errorf("backendtest: %q on target %.100q does not open: %w", h.Cat, string(h.Target), err)
	}
	if _, ok := backend.TerminalAs[backend.Signaler](term); !ok {
		*at(needSignals) = "its terminals pass no signals on (they are no Signaler)"
	}
	if err := term.Close(); err != nil {
		return nil, fmt.Errorf("backendtest: the terminal does not close: %w", err)
	}
	skip := make(map[string]string)
	for _, c := range cases {
		for i, reason := range lacks {
			if reason != "" && c.needs&(1<<i) != 0 && skip[c.name] == "" {
				skip[c.name] = reason
			}
		}
	}
	return skip, nil
}

// Examine runs the suite outside of go test, one case after the other, until ctx is
// done. It calls begin before each case and end after it. An error is about h, or ctx's.
func Examine(ctx context.Context, h Harness, begin func(name string), end func(Result)) error {
	if p := h.problems(); len(p) > 0 {
		return errors.New(strings.Join(p, "; "))
	}
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("backendtest: stopped before %s: %w", c.name, err)
		}
		begin(c.name)
		if reason := h.Skip[c.name]; reason != "" {
			end(Result{Name: c.name, State: Skipped, Notes: []string{reason}})
			continue
		}
		end(examine(ctx, c.name, func(t T) { c.run(t, &h) }))
	}
	return nil
}

// examine runs one case in a goroutine of its own, which Fatal ends.
func examine(ctx context.Context, name string, run func(T)) Result {
	inner, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	t := &trial{ctx: inner}
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer t.clean(cancel)
		defer t.recovered()
		run(t)
	}()
	select {
	case <-ended:
	case <-inner.Done():
		// A backend returns within a second of its context's end.
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("it did not end; what it has started is left behind")
		}
		if ctx.Err() != nil {
			t.Error("stopped")
		}
	}
	return t.result(name, time.Since(began))
}

// A trial is the T of one case.
type trial struct {
	ctx context.Context

	mu       sync.Mutex
	cleanups []func()
	notes    []string
	failed   bool
}

// maxNotes bounds what one case says.
const maxNotes = 50

func (t *trial) note(failed bool, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = t.failed || failed
	if len(t.notes) < maxNotes {
		t.notes = append(t.notes, text)
	}
}

func (t *trial) result(name string, took time.Duration) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Name: name, State: Passed, Notes: append([]string(nil), t.notes...), Took: took}
	if t.failed {
		r.State = Failed
	}
	return r
}

// recovered makes a failure of a panic.
func (t *trial) recovered() {
	if v := recover(); v != nil {
		t.note(true, fmt.Sprintf("it panicked: %v", v))
	}
}

// clean runs what Cleanup was given, the newest first, each whatever became of the others.
func (t *trial) clean(cancel context.CancelFunc) {
	cancel()
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		done := make(chan struct{})
		go func() { // Fatal ends the goroutine that it is called in
			defer close(done)
			defer t.recovered()
			f()
		}()
		<-done
	}
}

func (t *trial) Context() context.Context { return t.ctx }
func (t *trial) Helper()                  {}
func (t *trial) Log(args ...any)          { t.note(false, line(args)) }
func (t *trial) Error(args ...any)        { t.note(true, line(args)) }

func (t *trial) Errorf(format string, args ...any) { t.note(true, fmt.Sprintf(format, args...)) }

func (t *trial) Fatal(args ...any) {
	t.note(true, line(args))
	runtime.Goexit()
}

func (t *trial) Fatalf(format string, args ...any) {
	t.note(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (t *trial) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func line(args []any) string { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }
