package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/token"
)

// heard is output that comes while a test looks at it.
type heard struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.Write(p)
}

func (h *heard) has(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(h.buf.String(), text)
}

// watches: bob observes alice's shell and types nothing, carol joins it and types, alice
// is told of both and ends one; who may not learns nothing of it, and all of that is in
// the audit log and in the recording.
func (d *demo) watches(t *testing.T) {
	b := d.open(t, "alice")
	defer b.Close()
	shell, err := b.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindShell, TTY: true, Cols: 90, Rows: 25, Term: "dumb"})
	if err != nil {
		t.Fatal(err)
	}
	alice := &heard{}
	go io.Copy(alice, shell)
	types := func(t *testing.T, into backend.Terminal, line string) {
		t.Helper()
		if _, err := io.WriteString(into, line+"\r"); err != nil {
			t.Fatal(err)
		}
	}
	types(t, shell, "V=there; echo is-$V")
	await(t, "what alice types", func() bool { return alice.has("is-there") })
	watched, ok := backend.TerminalAs[backend.WatchedTerminal](shell)
	if !ok || watched.Watchers() == nil {
		t.Fatal("alice would not hear who watches")
	}
	looks := func(n int) (all []backend.Onlooker) {
		t.Helper()
		await(t, "what alice hears of watchers", func() bool {
			select {
			case all = <-watched.Watchers():
			default:
				return false
			}
			return len(all) == n
		})
		return all
	}

	type row struct {
		Session, Owner, Kind string
		Observe, Join        bool
	}
	list := func(who string) (rows []row) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.must(t, who, "ps", "--all", "--json")), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	var id string
	await(t, "the shell in bob's list", func() bool {
		for _, r := range list("bob") {
			if r.Kind == "shell" && r.Owner == "alice@example.com" && r.Observe && r.Join {
				id = r.Session
			}
		}
		return id != ""
	})

	// In a pipe, bob gets what the shell prints, and an interrupt says what has ended.
	bob, says := &heard{}, &heard{}
	cmd := exec.CommandContext(t.Context(), program, "observe", id[:8])
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "TUCDESK_HOME="+d.Homes["bob"])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("echo typed-$V\n"), bob, says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if all := looks(1); all[0].Who != "bob@example.com" || all[0].Types {
		t.Errorf("alice hears of %+v", all)
	}
	types(t, shell, "echo more-$V")
	await(t, "what bob sees", func() bool { return bob.has("is-there") && bob.has("more-there") })
	if _, errs, code := d.command(t, "bob", "join", id); code != 125 || !strings.Contains(errs, "there is no terminal here") {
		t.Errorf("bob joins without a keyboard: exit %d: %s", code, errs)
	}

	carol := d.open(t, "carol")
	defer carol.Close()
	helps, err := carol.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindJoin, Session: backend.SessionID(id), TTY: true, Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	if a := helps.Assurance(); a.Recording != "on" || !a.E2EE {
		t.Errorf("carol reads of the shell: %+v", a)
	}
	go io.Copy(io.Discard, helps)
	types(t, helps, "echo carol-$V")
	await(t, "what carol types", func() bool { return alice.has("carol-there") && bob.has("carol-there") })
	if all := looks(2); all[1].Who != "carol@example.com" || !all[1].Types {
		t.Errorf("alice hears of %+v", all)
	}

	// Who may not, and what is not there.
	if _, errs, code := d.command(t, "dora", "observe", id); code != 127 || !strings.Contains(errs, "no shell that you may observe") {
		t.Errorf("dora observes: exit %d: %s", code, errs)
	}
	dora := d.open(t, "dora")
	defer dora.Close()
	if _, err := dora.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindObserve, Session: backend.SessionID(id)}); !errors.Is(err, backend.ErrDenied) {
		t.Errorf("dora observes: %v", err)
	}
	if _, err := carol.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindObserve, Session: backend.SessionID(token.NewID().String())}); !errors.Is(err, backend.ErrDenied) ||
		!strings.Contains(err.Error(), "no shell that you may watch runs here") {
		t.Errorf("a shell that is not there: %v", err)
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !says.has("error=signal not watching any more: interrupt; the shell goes on") {
		t.Errorf("bob's end: exit %d: %s", code, says.buf.String())
	}
	if bob.has("typed-there") || alice.has("typed-there") {
		t.Error("who observes has typed")
	}
	watched.Dismiss(looks(1)[0].N)
	if exit, err := helps.Wait(); err != nil || !strings.Contains(exit.Reason, "owner has ended") {
		t.Errorf("carol's end: %+v %v", exit, err)
	}
	looks(0)
	shell.Close()

	var log string
	await(t, "the log of it", func() bool {
		log = d.must(t, "dora", "audit", "tail", "-n", "60")
		return strings.Contains(log, "session-end bob@example.com observe") && strings.Contains(log, "session-end carol@example.com join")
	})
	for _, want := range []string{"session-start bob@example.com observe", "session-start carol@example.com join", "a shell of alice@example.com, session " + id, "refusal carol@example.com observe"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	var marks []string
	await(t, "the recording", func() bool {
		marks = nil
		rec, err := dora.Recording(t.Context(), id)
		if err != nil {
			return false
		}
		defer rec.Close()
		for e, err := range rec.Events(t.Context()) {
			if err == nil && strings.HasPrefix(e.Marker, "watchers: ") {
				marks = append(marks, strings.ReplaceAll(e.Marker, "@example.com", ""))
			}
		}
		return len(marks) == 4
	})
	if want := []string{"watchers: bob watches", "watchers: carol has joined", "watchers: bob does not watch any more", "watchers: carol does not watch any more"}; !slices.Equal(marks, want) {
		t.Errorf("the recording is marked %q", marks)
	}
}
