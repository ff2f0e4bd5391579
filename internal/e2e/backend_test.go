package e2e

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

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
		Watcher: func(t backendtest.T, _ backend.Backend) backend.Backend {
			return d.open(t.(testing.TB), "carol")
		},
	})
	t.Run("Inform", func(t *testing.T) { d.informs(t) })
	t.Run("Lasts", func(t *testing.T) { d.lasts(t) })
}

// informs asks what there is to know of a machine: what it signs of itself, and what would
// change a verdict.
func (d *demo) informs(t *testing.T) {
	b := d.open(t, "alice")
	defer b.Close()
	from, ok := backend.As[backend.Informer](backend.Backend(b))
	if !ok {
		t.Fatal("it knows no more of a machine than the listing")
	}
	info, err := from.Inform(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindShell})
	if err != nil || info.Posture["os"] == "" || len(info.Visits) == 0 || info.Visits[0].By != "alice@example.com" {
		t.Errorf("web-1: %+v, %v", info, err)
	}
	if info, err = from.Inform(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell}); err != nil || len(info.Ways) == 0 {
		t.Errorf("db-1: %+v, %v", info, err)
	}
	if _, err = from.Inform(t.Context(), backend.OpenRequest{Target: "nowhere", Kind: backend.KindShell}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
}

// lasts asks for a few seconds: the approver reads it, and the machine ends what runs then.
func (d *demo) lasts(t *testing.T) {
	alice, bob := d.open(t, "alice"), d.open(t, "bob")
	defer alice.Close()
	defer bob.Close()
	req := backend.OpenRequest{
		Target: "web-1", Kind: backend.KindExec, Argv: []string{"sh", "-c", "rm -rf " + t.TempDir() + "/x; exec sleep 300"},
		Reason: "a moment", Lasts: 3 * time.Second,
	}
	id, err := alice.Ask(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for a, err := range bob.Pending(t.Context()) {
		if err != nil || a.ID == id && a.Lasts != req.Lasts {
			t.Errorf("bob reads %v, %v", a.Lasts, err)
		}
	}
	if err := bob.Decide(t.Context(), id, backend.Decision{Approve: true}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Await(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	req.Approval = id
	term, err := alice.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	began := time.Now()
	_, _ = io.ReadAll(term)
	if exit, err := term.Wait(); time.Since(began) > time.Minute || err == nil && exit.Code == 0 {
		t.Errorf("it ended with %+v, %v after %v", exit, err, time.Since(began))
	}
}
