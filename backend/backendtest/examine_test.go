package backendtest_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// A broken is a backend in which one thing is wrong.
type broken struct {
	backend.Backend
	open func(context.Context, backend.OpenRequest) (backend.Terminal, error)
}

func (b broken) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	return b.open(ctx, req)
}

// TestExamine has the suite run outside of go test: it sees what is wrong, goes on after
// it, and says what it did not try.
func TestExamine(t *testing.T) {
	alice := func() backend.Backend { return mem.Demo().Backend("alice") }
	for name, tc := range map[string]struct {
		make   func() backend.Backend
		failed []string
		says   string
	}{
		"a good one": {make: alice},
		"one that tells nothing apart": {
			make: func() backend.Backend {
				b := alice()
				return broken{b, func(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
					if req.Target == "backendtest-no-such-target" {
						return nil, errors.New("no")
					}
					return b.Open(ctx, req)
				}}
			},
			failed: []string{"OpenUnknownIsErrNotFound"}, says: "want ErrNotFound",
		},
		"one that panics": {
			make: func() backend.Backend {
				b := alice()
				return broken{b, func(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
					if req.Kind == backend.KindShell && req.Target == "web-1" {
						panic("oh")
					}
					return b.Open(ctx, req)
				}}
			},
			failed: []string{"OpenShell"}, says: "it panicked: oh",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := backendtest.Harness{
				New:    func(backendtest.T) backend.Backend { return tc.make() },
				Target: "web-1",
				Cat:    []string{"cat"},
				Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
				Size:   []string{"size"},
			}
			b := tc.make()
			defer b.Close()
			var err error
			if h.Skip, err = h.Lacks(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			var begun, failed, skipped []string
			err = backendtest.Examine(t.Context(), h, func(name string) { begun = append(begun, name) }, func(r backendtest.Result) {
				switch r.State {
				case backendtest.Failed:
					failed = append(failed, r.Name)
					if !strings.Contains(strings.Join(r.Notes, "\n"), tc.says) {
						t.Errorf("%s says %q", r.Name, r.Notes)
					}
				case backendtest.Skipped:
					skipped = append(skipped, r.Name)
				}
			})
			if err != nil || len(begun) < 25 || len(skipped) < 5 || strings.Join(failed, " ") != strings.Join(tc.failed, " ") {
				t.Errorf("%d cases, %v failed, %v skipped, %v", len(begun), failed, skipped, err)
			}
		})
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	nothing := func(string) {}
	if err := backendtest.Examine(stopped, backendtest.Harness{}, nothing, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if err := backendtest.Examine(t.Context(), backendtest.Harness{Skip: map[string]string{"Nonsense": "x", "OpenEcho": ""}}, nothing, nil); err == nil || !strings.Contains(err.Error(), "Nonsense") {
		t.Errorf("a Skip of nothing: %v", err)
	}
}
