package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// Bounds of a Run's fields.
const (
	MaxParallel = 64
	MaxOutput   = 16 << 20 // bytes kept of each stream of each machine
)

// endIn is how long a command that was told to end may take.
const endIn = 5 * time.Second

// A Phase is how far a machine's command got.
type Phase string

// The phases. The last three are ends.
const (
	Waiting Phase = "waiting"
	Running Phase = "running"
	Done    Phase = "done"   // it ran; Exit says how it ended
	Failed  Phase = "failed" // it did not run, or its end is not known; Err says why
	Skipped Phase = "skipped"
)

// A Result is what came of one machine of a plan.
type Result struct {
	Name           string
	Phase          Phase
	Exit           backend.Exit
	Err            error
	Stdout, Stderr []byte
	Cut            bool // output beyond the bound is gone
	Began, Ended   time.Time
}

// Failed reports whether the command did not end well there.
func (r Result) Failed() bool { return r.Phase == Failed || r.Phase == Done && r.Exit.Code != 0 }

// An Opener opens sessions: a backend.Backend does.
type Opener interface {
	Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error)
}

// A Run is how a plan is carried out.
type Run struct {
	Opener   Opener
	Parallel int           // machines at a time, from 1
	Stop     Limit         // after these failures no further machine is begun
	Timeout  time.Duration // of each command; 0: none
	Open     time.Duration // bound of opening a session
	Output   int           // bytes kept of each stream of each machine
	Input    []byte        // standard input of each; nil: none
	// Changed is told of each change of a machine's phase, one call at a time.
	Changed func(at int, r Result)
}

// Do runs the plan and gives one result for each of its machines, in its order.
// When ctx ends, commands that run are ended and no further one begins.
func (r Run) Do(ctx context.Context, p Plan) ([]Result, error) {
	if r.Parallel < 1 || r.Parallel > MaxParallel || r.Output < 0 || r.Output > MaxOutput {
		return nil, fmt.Errorf("fleet: from 1 to %d machines at a time, at most %d bytes of output", MaxParallel, MaxOutput)
	}
	results := make([]Result, len(p))
	var (
		mu       sync.Mutex
		failures int
		group    sync.WaitGroup
	)
	set := func(i int, res Result) {
		mu.Lock()
		defer mu.Unlock()
		results[i] = res
		if res.Failed() {
			failures++
		}
		if r.Changed != nil {
			r.Changed(i, res)
		}
	}
	stopped := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ctx.Err() != nil || r.Stop.Reached(failures, len(p))
	}
	for i, m := range p {
		results[i] = Result{Name: m.Name, Phase: Waiting}
	}
	free := make(chan struct{}, r.Parallel)
	for i, m := range p {
		free <- struct{}{}
		if stopped() {
			<-free
			set(i, Result{Name: m.Name, Phase: Skipped})
			continue
		}
		group.Go(func() {
			defer func() { <-free }()
			began := time.Now()
			set(i, Result{Name: m.Name, Phase: Running, Began: began})
			res := r.one(ctx, m)
			res.Name, res.Began, res.Ended = m.Name, began, time.Now()
			set(i, res)
		})
	}
	group.Wait()
	return results, nil
}

// ErrTimeout means a command that did not end in its time.
var ErrTimeout = errors.New("fleet: the command did not end in its time, and was ended")

// one runs the command on one machine.
func (r Run) one(ctx context.Context, m Machine) Result {
	octx, stop := context.WithTimeout(ctx, r.Open)
	defer stop()
	t, err := r.Opener.Open(octx, m.Request)
	if err != nil {
		return Result{Phase: Failed, Err: err}
	}
	defer t.Close()
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, ErrTimeout)
		defer cancel()
	}
	defer End(ctx, t)()
	go func() {
		if len(r.Input) > 0 {
			t.Write(r.Input)
		}
		if h, ok := backend.TerminalAs[backend.HalfCloser](t); ok {
			h.CloseWrite()
		}
	}()
	stdout, stderr := bounded{most: r.Output}, bounded{most: r.Output}
	var streams sync.WaitGroup
	streams.Go(func() { io.Copy(&stdout, t) })
	if s, ok := backend.TerminalAs[backend.StderrTerminal](t); ok {
		if e := s.Stderr(); e != nil {
			streams.Go(func() { io.Copy(&stderr, e) })
		}
	}
	streams.Wait()
	exit, err := t.Wait()
	res := Result{Phase: Done, Exit: exit, Stdout: stdout.kept.Bytes(), Stderr: stderr.kept.Bytes(), Cut: stdout.cut || stderr.cut}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		res.Phase, res.Err = Failed, err
	}
	return res
}

// End ends a terminal's program when ctx does: by a TERM, and by closing it if it
// has not ended soon after. The function that it returns takes that back.
func End(ctx context.Context, t backend.Terminal) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		if s, ok := backend.TerminalAs[backend.Signaler](t); ok && s.Signal("TERM") == nil {
			select {
			case <-over:
				return
			case <-time.After(endIn):
			}
		}
		t.Close()
	}()
	return sync.OnceFunc(func() { close(over) })
}

// A bounded keeps what fits and takes the rest, so that the program goes on.
type bounded struct {
	kept bytes.Buffer
	most int
	cut  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.most-b.kept.Len())
	b.kept.Write(p[:n])
	b.cut = b.cut || n < len(p)
	return len(p), nil
}
