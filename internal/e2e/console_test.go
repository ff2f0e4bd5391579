package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/internal/tmuxtest"
)

// console opens a persona's console in a terminal.
func (d *demo) console(t *testing.T, persona string, cols, rows int) *tmuxtest.Screen {
	t.Helper()
	return tmuxtest.Start(t, cols, rows, []string{"TUCDESK_HOME=" + d.Homes[persona]}, program)
}

// TestConsoleOutlivesRelay: a pane whose relay was killed and comes back goes on by
// itself.
func TestConsoleOutlivesRelay(t *testing.T) {
	d := startProcesses(t)
	alice := tmuxtest.Start(t, 100, 30, []string{"TUCDESK_HOME=" + d.Homes["alice"]}, program, "--path", "relay")
	alice.See("web-1", "allow")
	alice.Type("/web-1")
	alice.See("1 of 4")
	alice.Keys("Enter")
	alice.Keys("Enter")
	alice.See("E2EE with", "relay")
	alice.Type("PS1='ready> '")
	alice.Keys("Enter")
	alice.See("\nready>")
	d.kill9(t, "relayd")
	alice.Type("echo back $((6*7))")
	alice.Keys("Enter")
	alice.See("\nback 42")
}

// TestConsole is the five-minute tour, typed: filter, a verdict, a login shell,
// vim, a resize, 50 MB, a split, a broadcast, a held command, an approval in a second console.
func TestConsole(t *testing.T) {
	editor := "vim"
	if _, err := exec.LookPath(editor); err != nil {
		editor = "vim.tiny"
	}
	if _, err := exec.LookPath(editor); err != nil {
		skiptest.Missing(t, "vim is missing: apt-get install vim-tiny")
	}
	d := startProcesses(t)
	big := filepath.Join(t.TempDir(), "big")
	writeBig(t, big)
	scratch := filepath.Join(d.dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	alice := d.console(t, "alice", 100, 30)
	alice.See("web-1", "✓ allow", "db-1", "✗ deny", "~ hold")

	// The filter narrows; the details name rule and line.
	alice.Type("/env:staging web")
	alice.See("1 of 4")
	alice.Keys("Enter")
	alice.See("sre-staging, line ")

	// A login shell, end to end encrypted, through the relay or directly.
	alice.Keys("Enter")
	alice.See("E2EE with", "gate ")
	alice.Type("PS1='ready> '")
	alice.Keys("Enter")
	alice.See("\nready>")
	alice.Type("echo $((6*7)) gr\xc3\xbc\xc3\x9fe")
	alice.Keys("Enter")
	alice.See("\n42 grüße")

	// vim draws, edits and saves; it follows a new size.
	note := filepath.Join(d.dir, "note")
	alice.Type(editor + " -u NONE " + note)
	alice.Keys("Enter")
	alice.See("~", "note")
	alice.Type("ihello from vim")
	alice.See("hello from vim")
	alice.Resize(80, 24)
	alice.Keys("Escape")
	alice.Type(":wq")
	alice.See(":wq")
	alice.Keys("Enter")
	alice.See("ready>")
	alice.Type("clear; stty size; cat " + note)
	alice.Keys("Enter")
	alice.See("22 80", "\nhello from vim")

	// 50 MB scroll by, and the end is there.
	alice.Type("clear; cat " + big + "; echo that was $(wc -c < " + big + ")")
	alice.Keys("Enter")
	alice.See(fmt.Sprintf("that was %d", bigSize))

	// A second shell beside it, and one line for both; what ends that is named.
	alice.Keys("C-]")
	alice.See("| split")
	alice.Keys("|")
	alice.See("[4 web-1]", "▸ web-1")
	alice.Keys("C-]")
	alice.See("ctrl+] then")
	alice.Keys("B")
	alice.See("BROADCAST to 2 · ctrl+] B ends it")
	alice.Type("clear; echo both $((40+2))")
	alice.Keys("Enter")
	alice.See("both 42")
	alice.Keys("C-]")
	alice.See("B end broadcast")
	alice.Keys("B")
	alice.Gone("BROADCAST to 2")

	// A held command: asked for here, approved in bob's console, run by itself.
	alice.Keys("C-]")
	alice.See("ctrl+] then")
	alice.Keys("a")
	alice.See("x exec")
	alice.Keys("x")
	alice.See("Command")
	alice.Type("rm -rf " + scratch)
	alice.Keys("Enter")
	alice.See("Why do you need it?")
	alice.Type("the disk is full")
	alice.Keys("Enter")
	alice.See("waiting for approval")

	bob := d.console(t, "bob", 80, 24)
	bob.See("approvals 1")
	bob.Keys("v")
	bob.See("alice@example.com", "rm -rf")
	bob.Keys("Enter")
	bob.See("the disk is full", "a approves")
	bob.Keys("a")
	bob.See("Type the target's name")
	bob.Type("web-1")
	bob.Keys("Enter")
	bob.Gone("Type the target's name")

	alice.See("exit code 0")
	if _, err := os.Stat(scratch); !os.IsNotExist(err) {
		t.Errorf("the approved command did not run: %v", err)
	}
}

const bigSize = 50 << 20

// writeBig writes lines of text, 50 MiB of them.
func writeBig(t *testing.T, path string) {
	t.Helper()
	line := []byte("the quick brown fox jumps over the lazy dog and goes on to the end of it\n")
	b := make([]byte, 0, bigSize+len(line))
	for len(b) < bigSize {
		b = append(b, line...)
	}
	b = b[:bigSize]
	b[bigSize-1] = '\n'
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
