package backendtest

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// patience is how long a subtest waits for what must come at once. It only
// ends a test that has failed already.
const patience = 30 * time.Second

// A Harness describes the backend under test.
type Harness struct {
	// New opens a backend of its own for one subtest. The suite closes it.
	New func(t *testing.T) backend.Backend
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
	Approver func(t *testing.T, b backend.Backend) backend.Backend
	// Skip names subtests that the backend can't pass, with the reason.
	Skip map[string]string
}

// tests is the suite, in the order of package backend's documentation.
var tests = []struct {
	name string
	run  func(*testing.T, *Harness)
}{
	{"TargetsSortedAndStable", targetsSortedAndStable},
	{"TargetsStopsEarly", targetsStopsEarly},
	{"OpenUnknownIsErrNotFound", openUnknownIsErrNotFound},
	{"HostileTargetNames", hostileTargetNames},
	{"OpenEcho", openEcho},
	{"OpenShell", openShell},
	{"OneMiBSurvives", oneMiBSurvives},
	{"SplitUTF8Survives", splitUTF8Survives},
	{"ResizeIsSeen", resizeIsSeen},
	{"ExitCode", exitCode},
	{"ReadAfterExitIsEOF", readAfterExitIsEOF},
	{"CloseUnblocksRead", closeUnblocksRead},
	{"CloseIsIdempotent", closeIsIdempotent},
	{"SignalEnds", signalEnds},
	{"BackendCloseEndsTerminals", backendCloseEndsTerminals},
	{"CancelOpenWithinOneSecond", cancelOpenWithinOneSecond},
	{"FiftyConcurrentTerminals", fiftyConcurrentTerminals},
	{"DeniedStaysDenied", deniedStaysDenied},
	{"HeldThenApprovedOpens", heldThenApprovedOpens},
	{"HeldThenDeniedNever", heldThenDeniedNever},
	{"NobodyApprovesTheirOwn", nobodyApprovesTheirOwn},
	{"DecidedOnce", decidedOnce},
	{"WatcherTellsAtOnce", watcherTellsAtOnce},
	{"ZeroVerdictDenies", zeroVerdictDenies},
	{"BatchAgrees", batchAgrees},
	{"CapabilitiesSurviveDecorator", capabilitiesSurviveDecorator},
	{"NoGoroutineLeak", noGoroutineLeak},
	{"LinkOfAFreshTerminal", linkOfAFreshTerminal},
	{"FaultyTransport", faultyTransport},
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	names := make(map[string]bool, len(tests))
	for _, tc := range tests {
		names[tc.name] = true
	}
	for name, reason := range h.Skip {
		if !names[name] {
			t.Errorf("backendtest: Skip names %q, which is no subtest", name)
		}
		if reason == "" {
			t.Errorf("backendtest: Skip of %q gives no reason", name)
		}
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			// What a backend declares that it can't do is no missing tool: the
			// reason is printed, and it does not count as a skipped test.
			if reason := h.Skip[tc.name]; reason != "" {
				t.Log("not run, as declared: ", reason)
				return
			}
			tc.run(t, &h)
		})
	}
}

// open returns a new backend that is closed at the end of the test.
func (h *Harness) open(t *testing.T) backend.Backend {
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
func mustOpen(t *testing.T, b backend.Backend, req backend.OpenRequest) backend.Terminal {
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
func within(t *testing.T, d time.Duration, what string, f func()) {
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
func require[T any](t *testing.T, b backend.Backend, name string) T {
	t.Helper()
	c, ok := backend.As[T](b)
	if !ok {
		t.Fatalf("the backend is no %s; declare this in Harness.Skip with the reason", name)
	}
	return c
}
