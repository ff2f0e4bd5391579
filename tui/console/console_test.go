package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/local"
	"github.com/tucdesk/tucdesk/backend/mem"
	"github.com/tucdesk/tucdesk/tui/console/pane/predict"
)

// TestMain lets the test binary be the console itself:
// TUCDESK_TEST_CONSOLE=alice ./console.test is alice's, over a backend in
// memory where carol asks for two things and bob approves what alice asks
// for; TUCDESK_TEST_CONSOLE=local shows this machine.
func TestMain(m *testing.M) {
	time.Local = time.UTC // frames show times
	if who := os.Getenv("TUCDESK_TEST_CONSOLE"); who != "" {
		if err := beConsole(who); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beConsole(who string) error {
	if who == "local" {
		b := local.New()
		defer b.Close()
		return Run(context.Background(), b, Options{})
	}
	w := mem.Demo()
	if err := carolAsks(w); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if who == "alice" {
		go bobApproves(ctx, w)
	}
	b := w.Backend(who)
	defer b.Close()
	return Run(ctx, b, Options{Who: who + " @ mem"})
}

// carolAsks files a short request and a long and hostile one.
func carolAsks(w *mem.World) error {
	carol := w.Backend("carol")
	long := []string{"restart", "--because", "\x1b[2Jthe old one\u202eevil", "--config"}
	for i := range 40 {
		long = append(long, fmt.Sprintf("key%02d=some value", i))
	}
	for _, req := range []backend.OpenRequest{
		{Target: "db-1", Kind: backend.KindShell, Reason: "the backup of last night failed"},
		{Target: "web-1", Kind: backend.KindExec, Argv: long, Reason: "it leaks"},
	} {
		if _, err := carol.Ask(context.Background(), req); err != nil {
			return err
		}
	}
	return nil
}

// bobApproves says yes to alice after a moment.
func bobApproves(ctx context.Context, w *mem.World) {
	bob := w.Backend("bob")
	for ctx.Err() == nil {
		for a := range bob.Pending(ctx) {
			if a.Operator == "alice" && a.CanDecide && time.Since(a.Asked) > 2*time.Second {
				_ = bob.Decide(ctx, a.ID, backend.Decision{Approve: true})
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func TestEchoSetting(t *testing.T) {
	o := Options{Environ: []string{"TERM=xterm", "TUCDESK_ECHO=always"}}
	if echo, err := predict.Setting(o.Environ, o.Echo); err != nil || echo != predict.Always {
		t.Errorf("%v, %v", o.Echo, err)
	}
	o.Environ = []string{"TUCDESK_ECHO=perhaps"}
	if _, err := predict.Setting(o.Environ, o.Echo); err == nil {
		t.Error("perhaps was taken")
	}
}

func TestRefusesNoTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Run(t.Context(), mem.Demo().Backend("alice"), Options{In: f, Out: f}); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("Run: %v, want ErrNoTerminal", err)
	}
}
