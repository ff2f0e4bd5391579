package backendtest

import (
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

// A reading is what a terminal shows, as it comes.
type reading struct {
	mu    sync.Mutex
	shown strings.Builder
	over  chan struct{} // closed at its end
}

func read(term backend.Terminal) *reading {
	r := &reading{over: make(chan struct{})}
	go func() {
		defer close(r.over)
		io.Copy(r, term)
	}()
	return r
}

func (r *reading) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown.Write(p)
}

func (r *reading) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.shown.String(), text)
}

// until waits for what must come.
func until(t T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// watchedByOthers: who observes sees what a shell shows and types nothing, who joins
// types, the owner is told of both and may end either, and nobody finds what is not there.
func watchedByOthers(t T, h *Harness) {
	owner := h.open(t)
	other := h.Watcher(t, owner)
	t.Cleanup(func() { other.Close() })
	shell := mustOpen(t, owner, backend.OpenRequest{Target: h.Target, Kind: backend.KindShell, Cols: 80, Rows: 24, Term: "dumb"})
	own := read(shell)
	send(t, shell, "echo shown before\r")
	watched, ok := backend.TerminalAs[backend.WatchedTerminal](shell)
	if !ok || watched.Watchers() == nil {
		t.Fatal("the shell's owner would not hear who watches it")
	}
	watchers := func(n int) (all []backend.Onlooker) {
		t.Helper()
		until(t, "what the owner hears", func() bool {
			select {
			case all = <-watched.Watchers():
				return len(all) == n
			default:
				return false
			}
		})
		return all
	}

	var it backend.Session
	overseer := require[backend.Overseer](t, other, "Overseer")
	until(t, "the shell among those to watch", func() bool {
		all, err := overseer.Watchable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Target == h.Target && s.Kind == backend.KindShell {
				it = s
			}
		}
		return it.ID != ""
	})
	if !it.Observe || !it.Join || it.Owner == "" || it.Returns {
		t.Errorf("listed as %+v", it)
	}
	if b, ok := backend.As[backend.Overseer](owner); ok {
		all, err := b.Watchable(t.Context())
		for _, s := range all {
			if s.ID == it.ID {
				t.Error("the owner's own shell is among those of others")
			}
		}
		if err != nil {
			t.Errorf("Watchable of the owner: %v", err)
		}
	}
	req := backend.OpenRequest{Target: it.Target, Kind: backend.KindObserve, As: it.As, Session: it.ID}
	none := req
	none.Session = backend.SessionID(strings.Repeat("5", len(it.ID)))
	if _, err := other.Open(t.Context(), none); !errors.Is(err, backend.ErrDenied) && !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("a shell that is not there: %v, want ErrDenied or ErrNotFound", err)
	}

	sees := mustOpen(t, other, req)
	seen := read(sees)
	until(t, "what was shown before", func() bool { return seen.has("shown before") })
	if all := watchers(1); all[0].Types || all[0].Who == "" {
		t.Errorf("the owner hears of %+v", all)
	}
	send(t, sees, "echo by the observer\r")
	req.Kind, req.TTY, req.Cols, req.Rows = backend.KindJoin, true, 80, 24
	joins := mustOpen(t, other, req)
	drawn := read(joins)
	all := watchers(2)
	if !all[1].Types {
		t.Errorf("the owner hears of %+v", all)
	}
	send(t, joins, "echo by the joiner\r")
	until(t, "what the joiner types", func() bool { return own.has("by the joiner") && seen.has("by the joiner") })
	if own.has("by the observer") {
		t.Error("who observes has typed")
	}

	watched.Dismiss(all[0].N)
	within(t, patience, "the end of who must go", func() { <-seen.over })
	if exit, err := sees.Wait(); err != nil || exit.Reason == "" {
		t.Errorf("who must go reads %+v, %v; want a reason", exit, err)
	}
	watchers(1)
	send(t, shell, "exit\r")
	within(t, patience, "the end of who watches a shell that ends", func() { <-drawn.over })
}
