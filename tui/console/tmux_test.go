//go:build unix

package console

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

// A screen is the console in a real terminal: the test binary itself inside
// tmux, with a server of its own.
type screen struct {
	t      *testing.T
	socket string
}

func startScreen(t *testing.T, who string, cols, rows int, env ...string) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		skiptest.Missing(t, "tmux is missing: apt-get install tmux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	command := fmt.Sprintf("env TUCDESK_TEST_CONSOLE=%s SHELL=/bin/sh PS1='$ ' %s '%s'; echo console-ended-$?; cat", who, strings.Join(env, " "), self)
	s.tmux("-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), command)
	t.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (s *screen) keys(names ...string) { s.tmux(append([]string{"send-keys"}, names...)...) }
func (s *screen) typing(text string)   { s.tmux("send-keys", "-l", text) }

// see waits until the screen shows text.
func (s *screen) see(text string) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		got := s.tmux("capture-pane", "-p")
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen never showed %q:\n%s", text, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestTmuxHeld(t *testing.T) {
	s := startScreen(t, "alice", 80, 24)
	s.see("approvals 2!")
	s.see("✓ allow")
	s.typing("/env:prod db")
	s.see("2 of 7")
	s.keys("Enter")
	s.see("x exec") // the list has the keys again
	s.keys("Enter")
	s.see("Why do you need it?")
	s.typing("the disk is full")
	s.keys("Enter")
	s.see("yours: waiting for approval")
	s.see("alice@db-1$") // by itself, when bob approved
	s.typing("echo it works")
	s.keys("Enter")
	s.see("\nit works")
	s.keys("C-]")
	s.see("ctrl+] then")
	s.keys("q")
	s.see("Type yes to quit")
	s.typing("yes")
	s.keys("Enter")
	s.see("console-ended-0")
}

func TestTmuxLocal(t *testing.T) {
	s := startScreen(t, "local", 80, 24)
	s.see("no policy")
	s.keys("Enter")
	s.see("not recorded")
	s.typing("echo $((40+2))-ok")
	s.keys("Enter")
	s.see("42-ok")
	s.tmux("resize-window", "-x", "60", "-y", "16")
	s.typing("while ! stty size | grep '14 60'; do :; done; echo si''zed")
	s.keys("Enter")
	s.see("sized")
	// What would reach the outer terminal's title, clipboard and screen.
	s.typing(`printf '\033]2;ev''il\007\033]52;c;ZXZpbA==\007\033[1;60r\033[S'; sleep 0.1; clear; echo sti''ll here`)
	s.keys("Enter")
	s.see("still here")
	if title := s.tmux("display-message", "-p", "#{pane_title}"); strings.Contains(title, "evil") {
		t.Errorf("the title is %q", title)
	}
	if buffers := s.tmux("list-buffers"); buffers != "" {
		t.Errorf("the clipboard was written: %q", buffers)
	}
	s.typing("exit 3")
	s.keys("Enter")
	s.see("exit code 3")
	s.keys("x")
	s.see("[1 agents]")
	s.keys("q")
	s.see("console-ended-0")
}

func TestTmuxNoColour(t *testing.T) {
	s := startScreen(t, "alice", 80, 24, "NO_COLOR=1")
	s.see("✗ deny")
	for _, sgr := range strings.Split(s.tmux("capture-pane", "-p", "-e"), "\x1b[")[1:] {
		params, _, _ := strings.Cut(sgr, "m")
		for p := range strings.SplitSeq(params, ";") {
			if len(p) >= 2 && strings.ContainsRune("349", rune(p[0])) && p != "39" && p != "49" {
				t.Fatalf("a colour in spite of NO_COLOR: SGR %q", params)
			}
		}
	}
	s.keys("q")
	s.see("console-ended-0")
}

func TestTmuxDumb(t *testing.T) {
	s := startScreen(t, "alice", 80, 24, "TERM=dumb")
	s.see("TERM is dumb")
	s.see("tucdesk exec")
	s.see("console-ended-1")
}

// TestTmuxPalette uses what the footer names, and nothing else that is known.
func TestTmuxPalette(t *testing.T) {
	s := startScreen(t, "alice", 80, 24)
	s.see("ctrl+p actions")
	s.keys("C-p")
	s.see("enter run")
	s.typing("login")
	s.keys("Enter")
	s.see("[3 cache-1]")
	s.keys("C-]", "C-p")
	s.see("enter run")
	s.typing("split")
	s.keys("Enter")
	s.see("▸ cache-1")
	s.keys("C-]", ":")
	s.see("enter run")
	s.typing("targets")
	s.keys("Enter")
	s.see("[1 agents]")
}
