package backendtest

import (
	"context"
	"fmt"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// patience is how long a subtest waits for what must come at once. It only
// ends a test that has failed already.
const patience = 30 * time.Second

// A T is what a case needs of whoever runs it: a *testing.T, or a trial of Examine.
type T interface {
	Context() context.Context // done before what Cleanup was given runs
	Cleanup(func())
	Helper()
	Log(args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A Harness describes the backend under test.
type Harness struct {
	// New opens a backend of its own for one case. The suite closes it.
	New func(t T) backend.Backend
	// Target is online and allows a shell and the commands below.
	Target backend.TargetID
	// Cat is a command that copies stdin to stdout until it ends.
	Cat []string
	// Exit returns a command that ends with code.
	Exit func(code int) []string
	// Size is a command that prints "ROWS COLS" of its PTY for each line
	// that it reads.
	Size []string
	// Denied is a request that policy denies.
	Denied backend.OpenRequest
	// Held is a request that policy holds, with a Reason.
	Held backend.OpenRequest
	// Approver returns the team of b as a member sees it who may decide
	// Held. The suite closes it.
	Approver func(t T, b backend.Backend) backend.Backend
	// Watcher returns the team of b as a member sees it who may join a shell of b's on
	// Target. The suite closes it.
	Watcher func(t T, b backend.Backend) backend.Backend
	// Skip names cases that the backend can't pass, with the reason.
	Skip map[string]string
}

// A need is what a case asks of the backend, or of the harness, beyond the three methods.
type need uint8

const (
	needEvaluator need = 1 << iota
	needBatch
	needSignals
	needDenied // a request
	needHeld   // a request, and somebody who may decide it
	needWatcher
)

// cases is the suite, in the order of package backend's documentation.
var cases = []struct {
	name  string
	needs need
	run   func(T, *Harness)
}{
	{"TargetsSortedAndStable", 0, targetsSortedAndStable},
	{"TargetsStopsEarly", 0, targetsStopsEarly},
	{"OpenUnknownIsErrNotFound", 0, openUnknownIsErrNotFound},
	{"HostileTargetNames", 0, hostileTargetNames},
	{"OpenEcho", 0, openEcho},
	{"OpenShell", 0, openShell},
	{"OneMiBSurvives", 0, oneMiBSurvives},
	{"SplitUTF8Survives", 0, splitUTF8Survives},
	{"ResizeIsSeen", 0, resizeIsSeen},
	{"ExitCode", 0, exitCode},
	{"ReadAfterExitIsEOF", 0, readAfterExitIsEOF},
	{"CloseUnblocksRead", 0, closeUnblocksRead},
	{"CloseIsIdempotent", 0, closeIsIdempotent},
	{"SignalEnds", needSignals, signalEnds},
	{"BackendCloseEndsTerminals", 0, backendCloseEndsTerminals},
	{"CancelOpenWithinOneSecond", 0, cancelOpenWithinOneSecond},
	{"FiftyConcurrentTerminals", 0, fiftyConcurrentTerminals},
	{"DeniedStaysDenied", needEvaluator | needDenied, deniedStaysDenied},
	{"HeldThenApprovedOpens", needEvaluator | needHeld, heldThenApprovedOpens},
	{"HeldThenDeniedNever", needEvaluator | needHeld, heldThenDeniedNever},
	{"NobodyApprovesTheirOwn", needEvaluator | needHeld, nobodyApprovesTheirOwn},
	{"DecidedOnce", needEvaluator | needHeld, decidedOnce},
	{"WatcherTellsAtOnce", needHeld, watcherTellsAtOnce},
	{"ZeroVerdictDenies", needEvaluator, zeroVerdictDenies},
	{"BatchAgrees", needEvaluator | needBatch | needDenied | needHeld, batchAgrees},
	{"CapabilitiesSurviveDecorator", 0, capabilitiesSurviveDecorator},
	{"NoGoroutineLeak", 0, noGoroutineLeak},
	{"WatchedByOthers", needWatcher, watchedByOthers},
	{"LinkOfAFreshTerminal", 0, linkOfAFreshTerminal},
	{"FaultyTransport", 0, faultyTransport},
}

// A subtester is a *testing.T, which this package does not import: the suite is in a
// program, too.
type subtester[S any] interface {
	T
	Run(name string, f func(S)) bool
}

// Run runs the suite as subtests of t, a *testing.T.
func Run[S subtester[S]](t S, h Harness) {
	for _, problem := range h.problems() {
		t.Error(problem)
	}
	for _, c := range cases {
		t.Run(c.name, func(t S) {
			// What a backend declares that it can't do is no missing tool: the
			// reason is printed, and it does not count as a skipped test.
			if reason := h.Skip[c.name]; reason != "" {
				t.Log("not run, as declared: ", reason)
				return
			}
			c.run(t, &h)
		})
	}
}

// problems are what is wrong with a harness itself.
func (h *Harness) problems() (found []string) {
	names := make(map[string]bool, len(cases))
	for _, c := range cases {
		names[c.name] = true
	}
	for name, reason := range h.Skip {
		if !names[name] {
			found = append(found, fmt.Sprintf("backendtest: Skip names %q, which is no case", name))
		}
		if reason == "" {
			found = append(found, fmt.Sprintf("backendtest: Skip of %q gives no reason", name))
		}
	}
	return found
}

// open returns a new backend that is closed at the end of the test.
func (h *Harness) open(t T) backend.Backend {
	t.Helper()
	b := h.New(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// exec is a request for argv without a PTY.
func (h *Harness) exec(argv []string) backend.OpenRequest {
	return backend.OpenRequest{Target: h.Target, Kind: backend.KindExec, Argv: argv}
}

// mustOpen opens and fails the test where that fails. The terminal is closed
// at the end of the test.
func mustOpen(t T, b backend.Backend, req backend.OpenRequest) backend.Terminal {
	t.Helper()
	term, err := b.Open(t.Context(), req)
	if err != nil {
		t.Fatalf("Open(%v %q): %v", req.Kind, req.Argv, err)
	}
	t.Cleanup(func() { term.Close() })
	drainStderr(term)
	return term
}

// drainStderr reads stderr away, so that no program waits for it.
func drainStderr(term backend.Terminal) {
	c, ok := backend.TerminalAs[backend.StderrTerminal](term)
	if !ok {
		return
	}
	if r := c.Stderr(); r != nil {
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := r.Read(buf); err != nil {
					return
				}
			}
		}()
	}
}

// within runs f and fails the test where it does not return in time.
func within(t T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s did not return within %v", what, d)
	}
}

// require returns a capability, or fails: what a backend can't do is declared
// in Harness.Skip.
func require[C any](t T, b backend.Backend, name string) C {
	t.Helper()
	c, ok := backend.As[C](b)
	if !ok {
		t.Fatalf("the backend is no %s; declare this in Harness.Skip with the reason", name)
	}
	return c
}
