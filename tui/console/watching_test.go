package console

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// beside is a backend and another member's, which ends with it.
type beside struct {
	backend.Backend
	other backend.Backend
}

func (b beside) Unwrap() backend.Backend { return b.Backend }
func (b beside) Close() error            { return errors.Join(b.other.Close(), b.Backend.Close()) }

// mustOpen opens a terminal whose output nobody looks at.
func mustOpen(b backend.Backend, req backend.OpenRequest) backend.Terminal {
	term, err := b.Open(context.Background(), req)
	if err != nil {
		panic(err)
	}
	go io.Copy(io.Discard, term)
	return term
}

// running is a team in which alice has shells on targets, as somebody else sees it.
func running(who string, targets ...backend.TargetID) func() backend.Backend {
	return func() backend.Backend {
		w := mem.Demo()
		a := w.Backend("alice")
		for _, target := range targets {
			mustOpen(a, backend.OpenRequest{Target: target, Kind: backend.KindShell, Cols: 80, Rows: 24})
		}
		return beside{w.Backend(who), a}
	}
}

// TestObserve: from the list to a shell of somebody else, in which nothing is typed.
func TestObserve(t *testing.T) {
	inBubble(t, running("bob", "cache-1", "web-1"), 100, 30, func(h *harness) {
		h.find("live sessions", "ctrl+p")
		h.see("Live sessions of others: 2 of 2", "▸ web-1", "cache-1", "alice", "observe", "enter observe")
		h.keys("t")
		h.see("does not let you join", "▸ web-1")
		h.keys("/")
		h.typing("cache")
		h.see("▸ cache-1")
		h.keys("enter", "enter")
		h.see("[3 cache-1 of alice]", "alice@cache-1$", "NOT YOURS: read-only")
		h.typing("echo typed by bob")
		h.keys("enter")
		h.see("read-only, and not typed: you observe cache-1 of alice")
		h.miss("typed by bob\n")
		h.keys(DefaultPrefix, "b")
		h.see("nothing of yours runs here")
		h.keys(DefaultPrefix, "Z")
		h.keys(DefaultPrefix, "q") // nothing of bob's would end
		if !h.quit {
			t.Error("it asks before it quits, though nothing of bob's runs")
		}
	})
}

// TestJoin: who joins types in it, and reads that it is another's.
func TestJoin(t *testing.T) {
	inBubble(t, running("carol", "web-1"), 140, 30, func(h *harness) {
		h.keys("o", "t")
		h.see("[3 web-1 of alice]", "NOT YOURS: you type in it")
		h.typing("echo from carol")
		h.keys("enter")
		h.see("\nfrom carol")
		h.typing("exit")
		h.keys("enter")
		h.see("the shell has ended", "r opens again")
	})
}

// TestWatched: the owner is told who comes and who leaves, sees it while it lasts, and
// ends it.
func TestWatched(t *testing.T) {
	for _, size := range [][2]int{{40, 12}, {80, 24}, {200, 50}} {
		w := mem.Demo()
		team := func() backend.Backend { return beside{w.Backend("alice"), w.Backend("carol")} }
		inBubble(t, team, size[0], size[1], func(h *harness) {
			carol := h.m.backend.(beside).other
			h.keys("enter", DefaultPrefix, "w")
			h.see("Nobody watches")
			h.keys("esc")
			all, err := carol.(backend.Overseer).Watchable(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("%+v %v", all, err)
			}
			req := backend.OpenRequest{Target: all[0].Target, Kind: backend.KindObserve, Session: all[0].ID}
			mustOpen(carol, req)
			h.settle()
			h.see("carol watches cache-1", "WATCHED by carol")
			req.Kind = backend.KindJoin
			mustOpen(carol, req)
			h.settle()
			h.golden("watched")
			if size[0] < 80 {
				return
			}
			h.see("carol has joined cache-1, and types", "TYPED IN BY carol, WATCHED by carol")
			h.keys(DefaultPrefix, "i")
			h.see("carol, sees what it shows and types")
			h.keys("esc")
			h.find("end it: carol types", DefaultPrefix, "ctrl+p")
			h.see("carol does not watch cache-1 any more", " WATCHED by carol")
			h.miss("TYPED IN BY")
			h.keys(DefaultPrefix, "w", "enter")
			h.miss("WATCHED by")
		})
	}
}

// TestNobodyWatches: a backend without others' shells says so, and offers none.
func TestNobodyWatches(t *testing.T) {
	inBubble(t, func() backend.Backend { return plain{mem.Demo().Backend("alice")} }, 80, 24, func(h *harness) {
		h.keys("o")
		h.see("does not know what others run")
		h.keys("esc", "ctrl+p")
		h.typing("live sessions")
		h.miss("observe")
	})
}
