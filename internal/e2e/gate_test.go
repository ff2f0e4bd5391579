package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestConsoleGate is a held command inside a live shell, typed: alice sees why it waits
// and who may approve, bob approves it in a second console, and it runs; Ctrl-C takes
// another one back, and what is denied does not start.
func TestConsoleGate(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		const why = "the exec gate needs Linux and root: run the tests as root"
		if os.Getenv("TUCDESK_TEST_REQUIRE") == "all" && runtime.GOOS == "linux" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	// Whatever the profile of whoever runs the tests starts must not be asked about.
	d := &demo{dir: filepath.Join(t.TempDir(), "demo"), policy: `version: 1
mode: allowlist
allowlist:
  - {name: sre, members: ["role:sre"], targets: {tags: {env: staging}}, sessions: [shell, exec], as: [root]}
  - {name: ssh, members: ["role:sre"], targets: {tags: {env: staging}}, sessions: [proxy], as: [root], forwards: ["localhost:*"]}
commands: {critical: ["mkfs* ..."], high: ["rm -r* ..."], medium: ["perl*"]}
`}
	d.startProcesses(t)
	scratch := filepath.Join(d.dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	alice := d.console(t, "alice", 120, 30)
	alice.See("web-1", "allow")
	alice.Type("/web-1")
	alice.See("1 of 4")
	alice.Keys("Enter")
	alice.Keys("Enter")
	alice.See("E2EE with", "gate enforced")
	alice.Type("PS1='ready> '; cd " + d.dir)
	alice.Keys("Enter")
	alice.See("\nready>")

	alice.Type("rm -rf scratch; echo code $?")
	alice.Keys("Enter")
	alice.See("waits for approval", "rm -rf scratch", "commands.high", "1 of role:approver; who can now: bob@example.com")
	if rows := d.must(t, "alice", "ps", "--json"); !strings.Contains(rows, `"gate": "enforced"`) {
		t.Errorf("the level in the list: %s", rows)
	}
	if _, err := os.Stat(scratch); err != nil {
		t.Fatal("it ran before anybody approved it")
	}
	bob := d.console(t, "bob", 120, 30)
	bob.See("approvals 1!")
	bob.Keys("v")
	bob.See("[high] alice@example.com on web-1")
	bob.Keys("Enter")
	bob.See("rm -rf scratch", "Folder", "/rm sha256", "not approved on this device", "Time left")
	bob.Keys("a")
	bob.See("Approve: high risk")
	bob.Type("web-1")
	bob.Keys("Enter")
	alice.See("\ncode 0")
	if _, err := os.Stat(scratch); !os.IsNotExist(err) {
		t.Errorf("it did not run: %v", err)
	}

	// An approval is for one start.
	alice.Type("clear; rm -rf scratch; echo code $?")
	alice.Keys("Enter")
	alice.See("waits for approval")
	alice.Keys("C-c")
	alice.See("taken back")

	alice.Type("clear; mkfs.ext4 /nothing; echo code $?")
	alice.Keys("Enter")
	alice.See("refused", "tier critical", "\ncode 126")

	alice.Type("clear; perl -e 'print 6*7, qq(\\n)'")
	alice.Keys("Enter")
	alice.See("waits for you to confirm it")
	alice.Keys("C-]")
	alice.See("ctrl+] then")
	alice.Keys("y")
	alice.See("\n42")
	t.Run("ssh", func(t *testing.T) { testSSH(t, d) })
}
