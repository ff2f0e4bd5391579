package mem_test

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/mem"
)

func TestConformance(t *testing.T) {
	worlds := make(map[backend.Backend]*mem.World)
	backendtest.Run(t, backendtest.Harness{
		New: func(backendtest.T) backend.Backend {
			w := mem.Demo()
			b := w.Backend("alice")
			worlds[b] = w
			return b
		},
		Target: "web-1",
		Cat:    []string{"cat"},
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Size:   []string{"size"},
		Denied: backend.OpenRequest{Target: "vault", Kind: backend.KindShell, Cols: 80, Rows: 24},
		Held:   backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"restart", "api"}, Reason: "it leaks"},
		Approver: func(_ backendtest.T, b backend.Backend) backend.Backend {
			return worlds[b].Backend("bob")
		},
		Watcher: func(_ backendtest.T, b backend.Backend) backend.Backend {
			return worlds[b].Backend("carol")
		},
	})
}

func TestAwaitExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.Demo().Backend("alice")
		id, err := b.Ask(t.Context(), backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "backup failed"})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := b.Await(t.Context(), id); !errors.Is(err, backend.ErrExpired) {
			t.Errorf("Await: %v, want ErrExpired", err)
		}
		if waited := time.Since(start); waited != mem.AskFor {
			t.Errorf("waited %v", waited)
		}
		if err := b.Await(t.Context(), "made-up"); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("Await: %v, want ErrNotFound", err)
		}
	})
}

func TestConfirm(t *testing.T) {
	b := mem.Demo().Backend("alice")
	defer b.Close()
	req := backend.OpenRequest{Target: "web-2", Kind: backend.KindShell}
	if _, err := b.Open(t.Context(), req); !errors.Is(err, backend.ErrConfirm) {
		t.Errorf("Open: %v, want ErrConfirm", err)
	}
	req.Confirmed = true
	if _, err := b.Open(t.Context(), req); err != nil {
		t.Errorf("Open, confirmed: %v", err)
	}
}

func TestApprovalIsForOneRequest(t *testing.T) {
	w := mem.Demo()
	alice, bob := w.Backend("alice"), w.Backend("bob")
	defer alice.Close()
	defer bob.Close()
	req := backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"restart", "api"}, Reason: "it leaks"}
	id, err := alice.Ask(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	req.Approval = id
	if _, err := alice.Open(t.Context(), req); !errors.Is(err, backend.ErrHeld) {
		t.Errorf("Open before the decision: %v", err)
	}
	if err := bob.Decide(t.Context(), id, backend.Decision{Approve: true}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*backend.OpenRequest){
		"argv":   func(r *backend.OpenRequest) { r.Argv = []string{"restart", "db"} },
		"target": func(r *backend.OpenRequest) { r.Target = "cache-1" },
	} {
		moved := req
		change(&moved)
		if _, err := alice.Open(t.Context(), moved); !errors.Is(err, backend.ErrDenied) {
			t.Errorf("approval moved to another %s: %v", name, err)
		}
	}
	if _, err := bob.Open(t.Context(), req); !errors.Is(err, backend.ErrDenied) {
		t.Errorf("approval used by another member: %v", err)
	}
	if _, err := alice.Open(t.Context(), req); err != nil {
		t.Errorf("Open: %v", err)
	}
}

func TestApprovalsAreBounded(t *testing.T) {
	w := mem.Demo()
	alice, bob := w.Backend("alice"), w.Backend("bob")
	req := backend.OpenRequest{Target: "db-1", Kind: backend.KindShell, Reason: "r"}
	var first backend.ApprovalID
	for i := range mem.MaxApprovals {
		id, err := alice.Ask(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = id
		}
	}
	if _, err := alice.Ask(t.Context(), req); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("one too many: %v", err)
	}
	if err := bob.Decide(t.Context(), first, backend.Decision{Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Ask(t.Context(), req); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestNewWorldRefusesDuplicates(t *testing.T) {
	twin := mem.Target{Target: backend.Target{ID: "a"}}
	if _, err := mem.NewWorld([]mem.Target{twin, twin}); err == nil {
		t.Error("two targets share an ID")
	}
	if _, err := mem.NewWorld([]mem.Target{{}}); err == nil {
		t.Error("a target has no ID")
	}
}

func TestDriver(t *testing.T) {
	var r backend.Registry
	if err := r.Register(mem.Driver()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"mem:", "mem://host"} {
		if _, err := r.Open(t.Context(), bad, backend.Env{}); err == nil {
			t.Errorf("%s opened", bad)
		}
	}
	b, err := r.Open(t.Context(), "mem:alice", backend.Env{})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

// A world can take the link away from its terminals, and give it back.
func TestSetLink(t *testing.T) {
	w, err := mem.NewWorld([]mem.Target{{Target: backend.Target{ID: "a", Name: "a"}, Verdict: backend.Verdict{Effect: backend.Allow}}})
	if err != nil {
		t.Fatal(err)
	}
	b := w.Backend("alice")
	defer b.Close()
	term, err := b.Open(t.Context(), backend.OpenRequest{Target: "a", Kind: backend.KindShell, TTY: true, Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	l, ok := backend.TerminalAs[backend.LinkTerminal](term)
	if !ok {
		t.Fatal("a terminal of the world has no link")
	}
	for _, want := range []backend.Link{{Lost: true, Why: "no network"}, {}} {
		w.SetLink(want)
		if got := l.Link(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
