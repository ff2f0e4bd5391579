// Package tmuxtest drives a program in a real terminal: tmux, with a server of
// its own for each screen. Tests type and wait for text to be seen; they never
// sleep for it. It is for tests only, and must not be imported by others.
package tmuxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// patience is how long a text may take to show.
const patience = 60 * time.Second

// A Screen is one terminal with one program.
type Screen struct {
	t      testing.TB
	socket string
}

// Start runs a command, a program and its arguments, in a terminal of the given
// size, with env added to the environment. When the program ends, the screen
// shows "ended with " and its exit code.
//
// Without tmux the test is skipped aloud, or fails where
// TUCDESK_TEST_REQUIRE=all.
func Start(t testing.TB, cols, rows int, env []string, command ...string) *Screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		skiptest.Missing(t, "tmux is missing: apt-get install tmux")
	}
	// A socket's path must be short, and a test's folder may not be.
	dir, err := os.MkdirTemp("", "tmux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Screen{t: t, socket: filepath.Join(dir, "s")}
	words := []string{"env"}
	for _, w := range append(append([]string{}, env...), command...) {
		words = append(words, quote(w))
	}
	s.tmux("-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows),
		strings.Join(words, " ")+`; echo "ended with $?"; cat`)
	t.Cleanup(func() { s.tmux("kill-server") })
	return s
}

// quote makes one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (s *Screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// Keys presses keys by tmux's names: Enter, Escape, C-], Up.
func (s *Screen) Keys(names ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, names...)...)
}

// Type types text as it is.
func (s *Screen) Type(text string) { s.t.Helper(); s.tmux("send-keys", "-l", text) }

// Resize gives the terminal another size.
func (s *Screen) Resize(cols, rows int) {
	s.t.Helper()
	s.tmux("resize-window", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
}

// Text is what the screen shows, without colours.
func (s *Screen) Text() string { s.t.Helper(); return s.tmux("capture-pane", "-p") }

// See waits until the screen shows every text at once.
func (s *Screen) See(texts ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("never showed %q", texts), func(got string) bool {
		for _, text := range texts {
			if !strings.Contains(got, text) {
				return false
			}
		}
		return true
	})
}

// Gone waits until the screen does not show a text.
func (s *Screen) Gone(text string) {
	s.t.Helper()
	s.until(fmt.Sprintf("went on showing %q", text), func(got string) bool { return !strings.Contains(got, text) })
}

func (s *Screen) until(what string, ok func(string) bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := s.Text()
		if ok(got) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen %s:\n%s", what, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
