//go:build unix

package typist

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const soon = 30 * time.Second

func start(t *testing.T, args ...string) *Terminal {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PS1=ready> ", "PATH=/usr/bin:/bin", "TERM=dumb"}
	term, err := Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term
}

func TestShell(t *testing.T) {
	term := start(t, "sh")
	if _, err := term.See("ready> ", soon); err != nil {
		t.Fatal(err)
	}
	if err := term.Cat(soon); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if took, err := term.Echo(Keys[i%len(Keys)], soon); err != nil || took <= 0 {
			t.Fatal(took, err)
		}
	}
	term.Forget()
	if _, err := term.See("x", time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("nothing was typed: %v", err)
	}
	before := term.Total()
	if err := term.Type("hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := term.Received(before+5, soon); err != nil {
		t.Error(err)
	}
}

func TestProgramEnds(t *testing.T) {
	term := start(t, "echo", "last words")
	if _, err := term.See("no such", soon); err == nil || errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "last words") {
		t.Error(err)
	}
}

// Output that nobody waits for does not pile up.
func TestKeepsLittle(t *testing.T) {
	term := start(t, "sh", "-c", "head -c 8000000 /dev/zero; echo end; sleep 100")
	if _, err := term.See("end", soon); err != nil {
		t.Fatal(err)
	}
	term.mu.Lock()
	defer term.mu.Unlock()
	if term.total < 8000000 || len(term.seen) > keep+64<<10 {
		t.Error(term.total, len(term.seen))
	}
}
