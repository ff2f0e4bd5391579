package crash

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/internal/canary"
	"github.com/tucdesk/tucdesk/tui/console"
)

// A bomb panics with secrets when it is asked to open what was typed.
type bomb struct {
	backend.Backend
	secret string
	beside bool // on a goroutine of its own
}

func (b bomb) Targets(context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		yield(backend.Target{ID: "target-" + backend.TargetID(b.secret), Name: "machine-" + b.secret, State: backend.Online}, nil)
	}
}

func (b bomb) Open(_ context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	var key [32]byte
	copy(key[:], b.secret)
	if b.beside {
		backend.Go(func() { _, _ = explode(key, req, b.secret) })
		return nil, backend.ErrUnavailable
	}
	return explode(key, req, b.secret)
}

//go:noinline
func explode(key [32]byte, req backend.OpenRequest, secret string) (backend.Terminal, error) {
	panic("typed " + strings.Join(req.Argv, " ") + string(key[:]) + secret)
}

// TestReport breaks a real console that has secrets everywhere, in what it does itself and
// in what a backend does beside it: its report, its error and what is left on the terminal
// after it hold none, and the terminal is as it was.
func TestReport(t *testing.T) {
	for _, beside := range []bool{false, true} {
		t.Run(fmt.Sprintf("beside=%v", beside), func(t *testing.T) { testReport(t, beside) })
	}
}

func testReport(t *testing.T, beside bool) {
	secret, typed := rand.Text(), rand.Text()
	t.Setenv("TUCDESK_TEST_SECRET", secret)
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: 90, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	was, err := term.GetState(tty.Fd())
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan struct{}, 1)
	go func() {
		var seen strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			seen.Write(buf[:n])
			if strings.Contains(seen.String(), secret[:12]) {
				select {
				case shown <- struct{}{}:
				default:
				}
			}
		}
	}()
	ended := make(chan error, 1)
	go func() {
		ended <- console.Run(t.Context(), bomb{mem.Demo().Backend("alice"), secret, beside}, console.Options{In: tty, Out: tty, Environ: []string{"TERM=xterm-256color"}})
	}()
	<-shown
	if _, err := master.WriteString("x" + typed + "\r"); err != nil { // run a command
		t.Fatal(err)
	}
	var broke *console.BrokeError
	if err := <-ended; !errors.As(err, &broke) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), typed) {
		t.Fatalf("Run: %v", err)
	}
	if v, _ := broke.Panic.Value.(string); !strings.Contains(v, secret) || !strings.Contains(v, typed) {
		t.Fatalf("the secrets were not in the panic: %q", v)
	}
	if now, err := term.GetState(tty.Fd()); err != nil || !reflect.DeepEqual(now, was) {
		t.Errorf("the terminal's modes are not restored: %v", err)
	}
	home := t.TempDir()
	var last string
	for i := range 7 {
		if last, err = Write(home, broke, time.Unix(int64(1e9+i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	files := List(home)
	if len(files) != maxKept || files[maxKept-1] != last {
		t.Errorf("kept: %v; the newest is %s", files, last)
	}
	if info, err := os.Stat(last); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	found, n, err := canary.Files(home, canary.Needles{"secret": []byte(secret), "typed": []byte(typed)}.Encoded())
	if err != nil || n != maxKept || len(found) > 0 {
		t.Errorf("found %v in %d files, %v", found, n, err)
	}
	report, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version  ", "panic    a panic with a string", "screen   90x24", "\n  exec\n", "crash.explode (crash_test.go:"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	if strings.Contains(string(report), "(0x") || strings.Contains(string(report), "TERM") {
		t.Errorf("arguments or environment in\n%s", report)
	}
}
