package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

func collect(t T, b backend.Backend) []backend.Target {
	t.Helper()
	var out []backend.Target
	for target, err := range b.Targets(t.Context()) {
		if err != nil {
			t.Fatalf("Targets: %v", err)
		}
		out = append(out, target)
	}
	return out
}

func targetsSortedAndStable(t T, h *Harness) {
	b := h.open(t)
	first, second := collect(t, b), collect(t, b)
	id := func(t backend.Target) backend.TargetID { return t.ID }
	if !slices.IsSortedFunc(first, func(a, b backend.Target) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.Error("targets are not sorted by ID")
	}
	if !slices.EqualFunc(first, second, func(a, b backend.Target) bool { return a.ID == b.ID }) {
		t.Errorf("two listings differ: %d and %d targets", len(first), len(second))
	}
	for i := range first {
		if first[i].ID == "" {
			t.Error("a target has no ID")
		}
		if i > 0 && first[i].ID == first[i-1].ID {
			t.Errorf("two targets have the ID %q", first[i].ID)
		}
	}
	if !slices.ContainsFunc(first, func(t backend.Target) bool { return id(t) == h.Target }) {
		t.Errorf("Harness.Target %q is not listed", h.Target)
	}
}

func targetsStopsEarly(t T, h *Harness) {
	b := h.open(t)
	n := 0
	for range b.Targets(t.Context()) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d targets before the break", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, patience, "Targets", func() {
		failed := false
		for _, err := range b.Targets(ctx) {
			if failed {
				t.Error("Targets went on after an error")
			}
			failed = err != nil
		}
		if !failed {
			t.Error("Targets of a cancelled context ended without an error")
		}
	})
}

// noSuchTarget is an ID that nobody has.
const noSuchTarget backend.TargetID = "backendtest-no-such-target"

func openUnknownIsErrNotFound(t T, h *Harness) {
	b := h.open(t)
	for _, req := range []backend.OpenRequest{
		{Target: noSuchTarget, Kind: backend.KindShell, Cols: 80, Rows: 24},
		{Target: noSuchTarget, Kind: backend.KindExec, Argv: h.Cat},
	} {
		term, err := b.Open(t.Context(), req)
		if !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("Open: %v, want ErrNotFound", err)
		}
		if term != nil {
			t.Error("Open returned a terminal with an error")
		}
	}
}

func hostileTargetNames(t T, h *Harness) {
	b := h.open(t)
	for _, id := range []string{
		"", " ", "../../etc/passwd", "x\x00y", "\x1b]52;c;ZXZpbA==\x07", "\u202etxt.exe", "\xff\xfe", "a\nb",
		strings.Repeat("x", 1<<20), string(h.Target) + " ", string(h.Target) + "\x00",
	} {
		_, err := b.Open(t.Context(), backend.OpenRequest{Target: backend.TargetID(id), Kind: backend.KindExec, Argv: h.Cat})
		if !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("Open(%.40q): %v, want ErrNotFound", id, err)
			continue
		}
		if s := err.Error(); strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\u202e' }) || len(s) > 4096 {
			t.Errorf("Open(%.40q): the error carries controls or is long: %.100q", id, s)
		}
	}
}

func openEcho(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Cat))
	if got := roundTrip(t, term, []byte("hello\n"), 6); string(got) != "hello\n" {
		t.Errorf("got %q", got)
	}
}

func openShell(t T, h *Harness) {
	term := mustOpen(t, h.open(t), backend.OpenRequest{Target: h.Target, Kind: backend.KindShell, Cols: 80, Rows: 24, Term: "xterm-256color"})
	send(t, term, "exit 3\r")
	within(t, patience, "reading to the end", func() { io.Copy(io.Discard, term) })
	if exit, err := term.Wait(); err != nil || exit.Code != 3 {
		t.Errorf("Wait = %+v, %v; want code 3", exit, err)
	}
}

// send writes s while the test goes on: a program may first wait for a reader.
func send(t T, term backend.Terminal, s string) {
	t.Helper()
	go func() {
		if _, err := io.WriteString(term, s); err != nil {
			t.Errorf("Write: %v", err)
		}
	}()
}

// roundTrip writes in through cat and returns what comes back.
func roundTrip(t T, term backend.Terminal, in []byte, step int) []byte {
	t.Helper()
	go func() {
		for part := range slices.Chunk(in, step) {
			if _, err := term.Write(part); err != nil {
				t.Errorf("Write: %v", err)
				return
			}
		}
	}()
	got := make([]byte, len(in))
	within(t, patience, "reading back", func() {
		if n, err := io.ReadFull(term, got); err != nil {
			t.Errorf("read %d of %d bytes: %v", n, len(in), err)
		}
	})
	return got
}

func oneMiBSurvives(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Cat))
	in := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range in {
		in[i] = byte(rng.Uint32())
	}
	if got := roundTrip(t, term, in, 32<<10); !bytes.Equal(got, in) {
		t.Error("the bytes that came back differ")
	}
}

func splitUTF8Survives(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Cat))
	in := []byte("żółw 🐢 e\u0301 — 漢字\n")
	if got := roundTrip(t, term, in, 1); !bytes.Equal(got, in) {
		t.Errorf("got %q", got)
	}
}

func resizeIsSeen(t T, h *Harness) {
	term := mustOpen(t, h.open(t), backend.OpenRequest{Target: h.Target, Kind: backend.KindExec, Argv: h.Size, TTY: true, Cols: 80, Rows: 24, Term: "xterm-256color"})
	await := func(want string) {
		t.Helper()
		var seen strings.Builder
		within(t, patience, "waiting for "+want, func() {
			buf := make([]byte, 256)
			for !strings.Contains(seen.String(), want) {
				n, err := term.Read(buf)
				seen.Write(buf[:n])
				if err != nil {
					t.Errorf("Read: %v after %q", err, seen.String())
					return
				}
			}
		})
	}
	send(t, term, "\n")
	await("24 80")
	if err := term.Resize(100, 30); err != nil {
		t.Fatalf("Resize: %v", err)
	}
	send(t, term, "\n")
	await("30 100")
	for _, size := range [][2]uint16{{0, 24}, {80, 0}, {0, 0}} {
		if term.Resize(size[0], size[1]) == nil {
			t.Errorf("Resize(%d, %d) succeeded", size[0], size[1])
		}
	}
}

func exitCode(t T, h *Harness) {
	b := h.open(t)
	for _, code := range []int{0, 1, 7, 124, 127, 255} {
		term := mustOpen(t, b, h.exec(h.Exit(code)))
		within(t, patience, "reading to the end", func() { io.Copy(io.Discard, term) })
		within(t, patience, "Wait", func() {
			for range 2 {
				if exit, err := term.Wait(); err != nil || exit.Code != code || exit.Signal != "" {
					t.Errorf("Wait = %+v, %v; want code %d", exit, err, code)
				}
			}
		})
	}
}

func readAfterExitIsEOF(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Exit(0)))
	within(t, patience, "reading to the end", func() {
		io.Copy(io.Discard, term)
		for range 3 {
			if n, err := term.Read(make([]byte, 16)); n != 0 || err != io.EOF {
				t.Errorf("Read after the end = %d, %v; want io.EOF", n, err)
			}
		}
	})
}

func closeUnblocksRead(t T, h *Harness) {
	for _, tty := range []bool{false, true} {
		req := h.exec(h.Cat)
		req.TTY, req.Cols, req.Rows = tty, 80, 24
		term := mustOpen(t, h.open(t), req)
		started, done := make(chan struct{}), make(chan error, 1)
		go func() {
			close(started)
			_, err := io.Copy(io.Discard, term)
			if err == nil {
				err = io.EOF
			}
			done <- err
		}()
		<-started
		if err := term.Close(); err != nil {
			t.Errorf("tty=%v: Close: %v", tty, err)
		}
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("tty=%v: Read is still blocked", tty)
		}
		within(t, patience, "Wait", func() { term.Wait() })
	}
}

func closeIsIdempotent(t T, h *Harness) {
	b := h.New(t)
	term := mustOpen(t, b, h.exec(h.Cat))
	for range 3 {
		if err := term.Close(); err != nil {
			t.Errorf("Terminal.Close: %v", err)
		}
	}
	for range 3 {
		if err := b.Close(); err != nil {
			t.Errorf("Backend.Close: %v", err)
		}
	}
	if _, err := b.Open(t.Context(), h.exec(h.Cat)); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("Open after Close: %v, want ErrClosed", err)
	}
}

func signalEnds(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Cat))
	s, ok := backend.TerminalAs[backend.Signaler](term)
	if !ok {
		t.Fatal("the terminal is no Signaler; declare this in Harness.Skip with the reason")
	}
	if err := s.Signal("NOSUCH"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Signal(NOSUCH): %v, want ErrUnsupported", err)
	}
	// Once it answers it runs, and the signal finds the program itself.
	roundTrip(t, term, []byte("up\n"), 3)
	if err := s.Signal("TERM"); err != nil {
		t.Fatalf("Signal(TERM): %v", err)
	}
	within(t, patience, "Wait", func() {
		io.Copy(io.Discard, term)
		if exit, err := term.Wait(); err != nil || exit.Signal != "TERM" || exit.Code != 128+15 {
			t.Errorf("Wait = %+v, %v; want signal TERM, code 143", exit, err)
		}
	})
}

func backendCloseEndsTerminals(t T, h *Harness) {
	b := h.New(t)
	term := mustOpen(t, b, h.exec(h.Cat))
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	within(t, patience, "reading to the end", func() { io.Copy(io.Discard, term) })
	within(t, patience, "Wait", func() { term.Wait() })
}

func cancelOpenWithinOneSecond(t T, h *Harness) {
	b := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, patience, "Open", func() {
		if term, err := b.Open(ctx, h.exec(h.Cat)); err == nil {
			term.Close()
			t.Error("Open with a cancelled context succeeded")
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("Open: %v, want context.Canceled", err)
		}
	})
}

func fiftyConcurrentTerminals(t T, h *Harness) {
	b := h.open(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			term, err := b.Open(t.Context(), h.exec(h.Cat))
			if err != nil {
				t.Errorf("terminal %d: %v", i, err)
				return
			}
			defer term.Close()
			drainStderr(term)
			want := fmt.Sprintf("this is terminal %d\n", i)
			go io.WriteString(term, want)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(term, got); err != nil || string(got) != want {
				t.Errorf("terminal %d: read %q, %v", i, got, err)
			}
		})
	}
	within(t, 2*patience, "fifty terminals", wg.Wait)
}

func noGoroutineLeak(t T, h *Harness) {
	use := func() {
		b := h.New(t)
		term, err := b.Open(t.Context(), h.exec(h.Cat))
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		drainStderr(term)
		term.Close()
		if _, err := b.Open(t.Context(), h.exec(h.Cat)); err != nil {
			t.Fatalf("Open: %v", err)
		}
		b.Close()
	}
	use() // what the process starts once, it keeps
	before := runtime.NumGoroutine()
	for range 5 {
		use()
	}
	// Goroutines that were told to end need a moment.
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 64<<10)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A terminal that can lose its link has it when it was just opened, and says so at once.
func linkOfAFreshTerminal(t T, h *Harness) {
	term := mustOpen(t, h.open(t), h.exec(h.Cat))
	l, ok := backend.TerminalAs[backend.LinkTerminal](term)
	if !ok {
		return // it ends with its connection, or has none
	}
	within(t, patience, "Link", func() {
		if now := l.Link(); now.Lost || now.Why != "" {
			t.Errorf("a fresh terminal's link: %+v", now)
		}
	})
}
