package vt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// tmuxPatience is how long tmux may take; it only ends a test that has failed.
const tmuxPatience = 20 * time.Second

// TestTmux shows the conformance cases in tmux and compares text, cursor and
// styles. It leaves out cases that say why, and those with sizes or queries.
func TestTmux(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		skiptest.Missing(t, "tmux is missing: apt-get install tmux")
	}
	// A socket's path must be short, and a test's folder may not be.
	dir, err := os.MkdirTemp("", "vt")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	tmux := func(t *testing.T, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), tmuxPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-S", filepath.Join(dir, "s"), "-f", os.DevNull}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	tmux(t, "new-session", "-d", "-s", "first", "cat", ";", "set", "-g", "status", "off")
	defer func() {
		// Not by tmux: its context ends with the test.
		exec.Command("tmux", "-S", filepath.Join(dir, "s"), "kill-server").Run()
	}()

	compared := 0
	for _, c := range conformanceCases(t) {
		if c.tmux != "" || len(c.steps) != 1 || c.steps[0].bytes == nil || strings.Contains(c.want, "reply ") {
			continue
		}
		compared++
		t.Run(c.name, func(t *testing.T) {
			// The answer to a query says that all before it was shown.
			stream := filepath.Join(dir, "stream")
			if err := os.WriteFile(stream, append(c.steps[0].bytes, "\x1b[5n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			session := fmt.Sprint("case", compared)
			out := tmux(t, "new-session", "-d", "-s", session, "-x", fmt.Sprint(c.cols), "-y", fmt.Sprint(c.rows),
				fmt.Sprintf("stty raw -echo; cat %s; head -c 4 >/dev/null; tmux wait-for -S shown; cat", stream), ";",
				"wait-for", "shown", ";",
				"display-message", "-p", "-t", session, "#{cursor_x} #{cursor_y}", ";",
				"capture-pane", "-p", "-e", "-N", "-t", session, ";",
				"kill-session", "-t", session)
			where, capture, _ := strings.Cut(out, "\n")

			ours := c.run(whole)
			var x, y int
			fmt.Sscan(where, &x, &y)
			// tmux waits to wrap after the last column.
			if x = min(x, c.cols-1); x != ours.Cursor().X || y != ours.Cursor().Y {
				t.Errorf("the cursor is at %d,%d, and tmux's at %d,%d", ours.Cursor().X, ours.Cursor().Y, x, y)
			}
			// A capture holds line drawing as letters between SO and SI.
			theirs := New(c.cols, c.rows, Options{})
			theirs.Write([]byte("\x1b)0" + strings.ReplaceAll(strings.TrimSuffix(capture, "\n"), "\n", "\r\n")))
			if got, want := textAndStyles(ours), textAndStyles(theirs); got != want {
				t.Errorf("it shows\n%sand tmux\n%s", got, want)
			}
		})
	}
	if compared < 100 {
		t.Errorf("%d cases are compared", compared)
	}
	t.Logf("%d cases are compared", compared)
}

func textAndStyles(t *Terminal) string {
	var b strings.Builder
	for y := range t.rows {
		row, _ := t.Text(nil, y)
		b.WriteString("|" + strings.TrimRight(string(row), " ") + "\n")
	}
	describeStyles(&b, t)
	return b.String()
}
