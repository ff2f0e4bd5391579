package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/tui/cli/fleet"
)

// plan is one command on n machines of a world in memory.
func plan(t *testing.T, n int, argv ...string) (*mem.Backend, fleet.Plan) {
	t.Helper()
	var targets []mem.Target
	var p fleet.Plan
	for i := range n {
		id := fmt.Sprintf("m%02d", i)
		targets = append(targets, mem.Target{Target: backend.Target{ID: backend.TargetID(id), Name: id, State: backend.Online}, Verdict: backend.Verdict{Effect: backend.Allow}})
		p = append(p, fleet.Machine{Name: id, State: backend.Online, Verdict: backend.Verdict{Effect: backend.Allow},
			Request: backend.OpenRequest{Target: backend.TargetID(id), Kind: backend.KindExec, Argv: argv}})
	}
	w, err := mem.NewWorld(targets)
	if err != nil {
		t.Fatal(err)
	}
	b := w.Backend("alice")
	t.Cleanup(func() { b.Close() })
	return b, p
}

func run(b fleet.Opener) fleet.Run {
	return fleet.Run{Opener: b, Parallel: 4, Open: time.Minute, Output: 1 << 16}
}

func TestRunKeepsMachinesApart(t *testing.T) {
	b, p := plan(t, 10, "echo", "hello")
	p[3].Request.Argv = []string{"exit", "7"}
	p[4].Request.Target = "gone"
	results, err := run(b).Do(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		switch {
		case r.Name != p[i].Name:
			t.Errorf("result %d is %s's", i, r.Name)
		case i == 3 && (r.Phase != fleet.Done || r.Exit.Code != 7 || !r.Failed()):
			t.Errorf("%+v", r)
		case i == 4 && (r.Phase != fleet.Failed || !errors.Is(r.Err, backend.ErrNotFound)):
			t.Errorf("%+v", r)
		case i != 3 && i != 4 && (r.Failed() || !strings.HasPrefix(string(r.Stdout), "hello")):
			t.Errorf("%+v", r)
		}
	}
	if g := fleet.Groups(results); len(g) != 3 || len(g[0].Names) != 8 {
		t.Errorf("%d groups, %v", len(g), g[0].Names)
	}
	if c := fleet.ExitCode(results); c != fleet.ExitNotAll {
		t.Errorf("exit %d", c)
	}
	if c := fleet.ExitCode(results[:4]); c != fleet.ExitSome {
		t.Errorf("exit %d", c)
	}
	if s := fleet.Count(results).String(); s != "8 of 10 ended well, 2 failed" {
		t.Error(s)
	}
}

func TestRunInputAndCut(t *testing.T) {
	b, p := plan(t, 2, "cat")
	r := run(b)
	r.Input, r.Output = []byte("some input"), 4
	results, err := r.Do(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if string(r.Stdout) != "some" || !r.Cut || r.Failed() {
			t.Errorf("%q, cut %v, %v", r.Stdout, r.Cut, r.Err)
		}
	}
}

func TestRunStopsAfterFailures(t *testing.T) {
	for _, c := range []struct {
		limit string
		begun int
	}{{"", 20}, {"1", 1}, {"3", 3}, {"10%", 2}, {"100%", 20}} {
		b, p := plan(t, 20, "exit", "1")
		r := run(b)
		r.Parallel = 1
		var err error
		if r.Stop, err = fleet.ParseLimit(c.limit); err != nil {
			t.Fatal(err)
		}
		results, err := r.Do(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		n := fleet.Count(results)
		if n.Bad != c.begun || n.Skipped != 20-c.begun {
			t.Errorf("--stop-after-failures %q: %v", c.limit, n)
		}
	}
	for _, s := range []string{"0", "-1", "101%", "0%", "x", "%", "1.5"} {
		if _, err := fleet.ParseLimit(s); err == nil {
			t.Errorf("limit %q was taken", s)
		}
	}
}

// An opener that counts how many sessions are being opened at a time, and never
// opens one.
type turnstile struct {
	mu        sync.Mutex
	now, most int
	full      chan struct{}
	n         int
}

func (s *turnstile) Open(ctx context.Context, _ backend.OpenRequest) (backend.Terminal, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	if s.now == s.n {
		close(s.full)
		s.n = -1
	}
	s.mu.Unlock()
	<-s.full
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return nil, backend.ErrUnavailable
}

func TestRunBoundsAndCancel(t *testing.T) {
	_, p := plan(t, 12, "echo")
	s := &turnstile{full: make(chan struct{}), n: 4}
	results, err := run(s).Do(t.Context(), p)
	if err != nil || s.most != 4 || fleet.Count(results).Bad != 12 {
		t.Errorf("%d at a time, %v, %v", s.most, fleet.Count(results), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if results, _ = run(s).Do(ctx, p); fleet.Count(results).Skipped != 12 {
		t.Errorf("after Ctrl-C: %v", fleet.Count(results))
	}
	for _, n := range []int{0, -1, fleet.MaxParallel + 1} {
		r := run(s)
		r.Parallel = n
		if _, err := r.Do(t.Context(), p); err == nil {
			t.Errorf("%d at a time", n)
		}
	}
}

func TestRunEndsWhatTakesTooLong(t *testing.T) {
	b, p := plan(t, 1, "cat")
	p[0].Request.Argv = []string{"cat"}
	p[0].Request.TTY, p[0].Request.Cols, p[0].Request.Rows = true, 80, 24
	r := run(b)
	r.Timeout = time.Millisecond
	results, err := r.Do(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(results[0].Err, fleet.ErrTimeout) && results[0].Phase != fleet.Done {
		t.Errorf("%+v", results[0])
	}
}

func TestRunnable(t *testing.T) {
	_, p := plan(t, 4, "echo")
	if run, left, err := p.Runnable(false); err != nil || len(run) != 4 || left != nil {
		t.Fatal(run, left, err)
	}
	p[1].Verdict = backend.Verdict{Reason: "no"} // the zero effect denies
	p[2].State = backend.Offline
	_, _, err := p.Runnable(false)
	var b *fleet.BlockedError
	if !errors.As(err, &b) || !errors.Is(err, backend.ErrDenied) || !slices.Equal(b.Names, []string{"m01", "m02"}) {
		t.Errorf("%v", err)
	}
	run, left, err := p.Runnable(true)
	if err != nil || len(run) != 2 || len(left) != 2 {
		t.Errorf("%v, %v, %v", run, left, err)
	}
	if _, _, err := p[2:3].Runnable(true); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("nothing is left: %v", err)
	}
	if _, _, err := (fleet.Plan{}).Runnable(true); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("an empty plan: %v", err)
	}
	if _, _, err := make(fleet.Plan, fleet.MaxMachines+1).Runnable(true); err == nil {
		t.Error("a plan without bounds")
	}
}

func TestSpending(t *testing.T) {
	var out, errs bytes.Buffer
	times := 0
	l := fleet.Spending{Most: 5, Over: func() { times++ }}
	stdout, stderr := l.Writer(&out), l.Writer(&errs)
	for _, tc := range []struct {
		w    io.Writer
		text string
		n    int
		err  error
	}{{stdout, "abc", 3, nil}, {stderr, "de", 2, nil}, {stderr, "", 0, nil}, {stdout, "f", 0, fleet.ErrOutput}, {stderr, "g", 0, fleet.ErrOutput}} {
		if n, err := io.WriteString(tc.w, tc.text); n != tc.n || err != tc.err {
			t.Errorf("%q: %d, %v", tc.text, n, err)
		}
	}
	if out.String() != "abc" || errs.String() != "de" || times != 1 || !l.IsOver() {
		t.Errorf("%q, %q, %d times over", out.String(), errs.String(), times)
	}
	if free := (&fleet.Spending{}); free.Writer(&out) != io.Writer(&out) || free.IsOver() {
		t.Error("no limit limits")
	}
}
