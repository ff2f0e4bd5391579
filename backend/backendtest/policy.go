package backendtest

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/tucdesk/tucdesk/backend"
)

func deniedStaysDenied(t T, h *Harness) {
	b := h.open(t)
	ev := require[backend.Evaluator](t, b, "Evaluator")
	for _, change := range []func(*backend.OpenRequest){
		func(*backend.OpenRequest) {},
		func(r *backend.OpenRequest) { r.Confirmed = true },
		func(r *backend.OpenRequest) { r.Reason = "please" },
		func(r *backend.OpenRequest) { r.Approval = "made-up" },
	} {
		req := h.Denied
		change(&req)
		v, err := ev.Evaluate(t.Context(), req)
		if err != nil || v.Effect != backend.Deny {
			t.Errorf("Evaluate = %+v, %v; want deny", v, err)
		}
		if v.Rule == "" && v.Reason == "" {
			t.Error("the verdict gives neither rule nor reason")
		}
		term, err := b.Open(t.Context(), req)
		if !errors.Is(err, backend.ErrDenied) || term != nil {
			t.Errorf("Open = %v, %v; want ErrDenied", term, err)
		}
		if got, ok := backend.VerdictOf(err); !ok || got.Rule != v.Rule || got.Line != v.Line {
			t.Errorf("Open names rule %q line %d, Evaluate %q line %d", got.Rule, got.Line, v.Rule, v.Line)
		}
	}
}

// asked files h.Held and returns the backend of the asker, that of an
// approver, and the approval.
func asked(t T, h *Harness) (backend.Backend, backend.Backend, backend.ApprovalID) {
	t.Helper()
	b := h.open(t)
	asker := require[backend.Asker](t, b, "Asker")
	ev := require[backend.Evaluator](t, b, "Evaluator")
	if v, err := ev.Evaluate(t.Context(), h.Held); err != nil || v.Effect != backend.Hold {
		t.Fatalf("Evaluate = %+v, %v; want hold", v, err)
	}
	if _, err := b.Open(t.Context(), h.Held); !errors.Is(err, backend.ErrHeld) {
		t.Fatalf("Open before approval: %v, want ErrHeld", err)
	}
	id, err := asker.Ask(t.Context(), h.Held)
	if err != nil {
		t.Fatalf("Ask: %v", err)
	}
	if h.Approver == nil {
		t.Fatal("Harness.Approver is not set")
	}
	other := h.Approver(t, b)
	t.Cleanup(func() { other.Close() })
	return b, other, id
}

// pending returns approval id as b sees it.
func pending(t T, b backend.Backend, id backend.ApprovalID) backend.Approval {
	t.Helper()
	for a, err := range require[backend.Approver](t, b, "Approver").Pending(t.Context()) {
		if err != nil {
			t.Fatalf("Pending: %v", err)
		}
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("approval %q is not among the pending", id)
	return backend.Approval{}
}

func decide(t T, b backend.Backend, id backend.ApprovalID, d backend.Decision) error {
	t.Helper()
	return require[backend.Approver](t, b, "Approver").Decide(t.Context(), id, d)
}

func heldThenApprovedOpens(t T, h *Harness) {
	b, other, id := asked(t, h)
	mine := pending(t, b, id)
	if !mine.Mine || mine.CanDecide || mine.WhyNot == "" || mine.State != backend.ApprovalWaiting {
		t.Errorf("the asker sees %+v", mine)
	}
	seen := pending(t, other, id)
	if seen.Mine || !seen.CanDecide || !slices.Equal(seen.Argv, h.Held.Argv) || seen.Reason != h.Held.Reason {
		t.Errorf("the approver sees %+v", seen)
	}
	done := make(chan error, 1)
	go func() { done <- backendAwait(b, t.Context(), id) }()
	if err := decide(t, other, id, backend.Decision{Approve: true}); err != nil {
		t.Fatalf("Decide: %v", err)
	}
	within(t, patience, "Await", func() {
		if err := <-done; err != nil {
			t.Errorf("Await: %v", err)
		}
	})
	req := h.Held
	req.Approval = id
	term, err := b.Open(t.Context(), req)
	if err != nil {
		t.Fatalf("Open after approval: %v", err)
	}
	drainStderr(term)
	go io.Copy(io.Discard, term)
	defer term.Close()
	if second, err := b.Open(t.Context(), req); err == nil {
		second.Close()
		t.Error("the approval opened a second time")
	}
}

func backendAwait(b backend.Backend, ctx context.Context, id backend.ApprovalID) error {
	asker, ok := backend.As[backend.Asker](b)
	if !ok {
		return errors.New("backendtest: no Asker")
	}
	return asker.Await(ctx, id)
}

func heldThenDeniedNever(t T, h *Harness) {
	b, other, id := asked(t, h)
	pending(t, other, id)
	if decide(t, other, id, backend.Decision{}) == nil {
		t.Fatal("a refusal without a reason was taken")
	}
	if err := decide(t, other, id, backend.Decision{Reason: "not today"}); err != nil {
		t.Fatalf("Decide: %v", err)
	}
	within(t, patience, "Await", func() {
		if err := backendAwait(b, t.Context(), id); !errors.Is(err, backend.ErrDenied) {
			t.Errorf("Await: %v, want ErrDenied", err)
		}
	})
	req := h.Held
	req.Approval = id
	if term, err := b.Open(t.Context(), req); err == nil {
		term.Close()
		t.Error("Open succeeded after the refusal")
	}
}

func nobodyApprovesTheirOwn(t T, h *Harness) {
	b, _, id := asked(t, h)
	if err := decide(t, b, id, backend.Decision{Approve: true}); !errors.Is(err, backend.ErrDenied) {
		t.Errorf("Decide on one's own: %v, want ErrDenied", err)
	}
	if err := decide(t, b, "made-up", backend.Decision{Approve: true}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("Decide on nothing: %v, want ErrNotFound", err)
	}
}

func decidedOnce(t T, h *Harness) {
	_, other, id := asked(t, h)
	pending(t, other, id)
	if err := decide(t, other, id, backend.Decision{Reason: "not today"}); err != nil {
		t.Fatalf("Decide: %v", err)
	}
	if err := decide(t, other, id, backend.Decision{Approve: true}); !errors.Is(err, backend.ErrDecided) {
		t.Errorf("a second decision: %v, want ErrDecided", err)
	}
}

// A watch is a call of Watch that runs.
type watch struct {
	changes chan backend.Change
	ended   chan error
	stop    context.CancelFunc
}

// startWatch watches b and waits until it has begun.
func startWatch(t T, b backend.Backend) *watch {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watch{make(chan backend.Change, 1000), make(chan error, 1), stop}
	watcher := require[backend.Watcher](t, b, "Watcher")
	go func() {
		w.ended <- watcher.Watch(ctx, func(c backend.Change) { w.changes <- c })
	}()
	within(t, patience, "the first call of changed", func() {
		if first := <-w.changes; !first.Targets || !first.Approvals {
			t.Errorf("Watch began with %+v", first)
		}
	})
	return w
}

// until waits for changes of approvals until one shows a state of id to b.
func (w *watch) until(t T, b backend.Backend, id backend.ApprovalID, want backend.ApprovalState) {
	t.Helper()
	approver := require[backend.Approver](t, b, "Approver")
	shown := func() bool {
		for a, err := range approver.Pending(t.Context()) {
			if err != nil {
				t.Errorf("Pending: %v", err)
				return true
			}
			if a.ID == id {
				return a.State == want
			}
		}
		return want != backend.ApprovalWaiting // it has left the queue
	}
	within(t, patience, "a change that shows approval "+string(want), func() {
		for c := range w.changes {
			if c.Approvals && shown() {
				return
			}
		}
	})
}

// watcherTellsAtOnce is for backends that can watch. Nothing here asks before it
// was told to.
func watcherTellsAtOnce(t T, h *Harness) {
	b := h.open(t)
	if _, ok := backend.As[backend.Watcher](b); !ok {
		t.Log("the backend is no Watcher: whoever wants to know asks now and then")
		return
	}
	if h.Approver == nil {
		t.Fatal("Harness.Approver is not set")
	}
	other := h.Approver(t, b)
	t.Cleanup(func() { other.Close() })
	mine, theirs := startWatch(t, b), startWatch(t, other)
	id, err := require[backend.Asker](t, b, "Asker").Ask(t.Context(), h.Held)
	if err != nil {
		t.Fatalf("Ask: %v", err)
	}
	theirs.until(t, other, id, backend.ApprovalWaiting)
	mine.until(t, b, id, backend.ApprovalWaiting)
	if err := decide(t, other, id, backend.Decision{Reason: "not today"}); err != nil {
		t.Fatalf("Decide: %v", err)
	}
	mine.until(t, b, id, backend.ApprovalDenied)
	mine.stop()
	within(t, patience, "Watch, after its context was done,", func() {
		if err := <-mine.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
	if err := other.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	within(t, patience, "Watch, after Close,", func() {
		if err := <-theirs.ended; !errors.Is(err, backend.ErrClosed) {
			t.Errorf("Watch returned %v", err)
		}
	})
	theirs.stop()
}

func zeroVerdictDenies(t T, h *Harness) {
	b := h.open(t)
	ev := require[backend.Evaluator](t, b, "Evaluator")
	v, err := ev.Evaluate(t.Context(), backend.OpenRequest{Target: noSuchTarget, Kind: backend.KindShell})
	if !errors.Is(err, backend.ErrNotFound) || v.Effect != backend.Deny {
		t.Errorf("Evaluate of an unknown target = %+v, %v", v, err)
	}
	if v, _ := ev.Evaluate(t.Context(), backend.OpenRequest{}); v.Effect != backend.Deny {
		t.Errorf("Evaluate of the zero request = %+v", v)
	}
	if term, err := b.Open(t.Context(), backend.OpenRequest{}); err == nil {
		term.Close()
		t.Error("the zero request opened a terminal")
	}
}

func batchAgrees(t T, h *Harness) {
	b := h.open(t)
	ev := require[backend.Evaluator](t, b, "Evaluator")
	batch := require[backend.BatchEvaluator](t, b, "BatchEvaluator")
	reqs := []backend.OpenRequest{h.Held, {Target: noSuchTarget, Kind: backend.KindShell}, h.Denied, h.exec(h.Cat)}
	got, err := batch.EvaluateBatch(t.Context(), reqs)
	if err != nil || len(got) != len(reqs) {
		t.Fatalf("EvaluateBatch: %d verdicts, %v", len(got), err)
	}
	for i, req := range reqs {
		if want, _ := ev.Evaluate(t.Context(), req); got[i].Effect != want.Effect || got[i].Rule != want.Rule {
			t.Errorf("request %d: batch says %+v, Evaluate %+v", i, got[i], want)
		}
	}
}

// decorated hides everything but Backend's own methods.
type decorated struct{ backend.Backend }

func (d decorated) Unwrap() backend.Backend { return d.Backend }

func capabilitiesSurviveDecorator(t T, h *Harness) {
	b := h.open(t)
	d := decorated{decorated{b}}
	same := func(name string, bare, behind bool) {
		if bare != behind {
			t.Errorf("%s: %v, behind a decorator %v", name, bare, behind)
		}
	}
	_, bare := backend.As[backend.Evaluator](b)
	_, behind := backend.As[backend.Evaluator](d)
	same("Evaluator", bare, behind)
	_, bare = backend.As[backend.Approver](b)
	_, behind = backend.As[backend.Approver](d)
	same("Approver", bare, behind)
	_, bare = backend.As[backend.Asker](b)
	_, behind = backend.As[backend.Asker](d)
	same("Asker", bare, behind)
	_, bare = backend.As[backend.Watcher](b)
	_, behind = backend.As[backend.Watcher](d)
	same("Watcher", bare, behind)
}

// faulty fails the first Open: before the backend saw it, or after, with the
// answer lost.
type faulty struct {
	decorated
	delivered bool
	failed    bool
}

func (f *faulty) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	if f.failed {
		return f.Backend.Open(ctx, req)
	}
	f.failed = true
	if f.delivered {
		term, err := f.Backend.Open(ctx, req)
		if err != nil {
			return nil, err
		}
		term.Close()
	}
	return nil, backend.ErrUnavailable
}

func faultyTransport(t T, h *Harness) {
	for _, tc := range []struct {
		name      string
		delivered bool
	}{{"fail-and-not-delivered", false}, {"fail-but-delivered", true}} {
		b := &faulty{decorated: decorated{h.open(t)}, delivered: tc.delivered}
		if _, err := b.Open(t.Context(), h.exec(h.Cat)); !errors.Is(err, backend.ErrUnavailable) {
			t.Fatalf("%s: first Open: %v", tc.name, err)
		}
		term := mustOpen(t, b, h.exec(h.Cat))
		if got := roundTrip(t, term, []byte("again\n"), 6); string(got) != "again\n" {
			t.Errorf("%s: after the fault: %q", tc.name, got)
		}
	}
}
