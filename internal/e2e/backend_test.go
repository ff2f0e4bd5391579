package e2e

import (
	"fmt"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/profile"
)

// open opens the control plane as a persona.
func (d *demo) open(t testing.TB, persona string) *control.Backend {
	t.Helper()
	home, err := profile.Open(d.Homes[persona])
	if err != nil {
		t.Fatal(err)
	}
	b, err := control.New(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestControlBackend runs the suite that every backend passes against the real
// servers and agents.
func TestControlBackend(t *testing.T) {
	d := startDemo(t, "")
	backendtest.Run(t, backendtest.Harness{
		New:    func(t backendtest.T) backend.Backend { return d.open(t.(testing.TB), "alice") },
		Target: "web-1",
		Cat:    []string{"cat"},
		Exit:   func(code int) []string { return []string{"env", "sh", "-c", fmt.Sprintf("exit %d", code)} },
		Size:   []string{"sh", "-c", "while read line; do stty size; done"},
		Denied: backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: d.Try.Denied},
		Held:   backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: d.Try.Held, Reason: "the suite"},
		Approver: func(t backendtest.T, _ backend.Backend) backend.Backend {
			return d.open(t.(testing.TB), "bob")
		},
	})
}
