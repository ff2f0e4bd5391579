package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// breakGlass: apid is gone. alice makes a plea, bob and carol sign it, the machine lets
// it run once; when apid is back the audit log has all of it.
func (d *demo) breakGlass(t *testing.T) {
	apid := d.pidOf(t, "apid")
	if err := syscall.Kill(apid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	back := func() { _ = syscall.Kill(apid, syscall.SIGCONT) }
	defer back()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	mark := file("mark")
	refused := func(code int, want, persona string, args ...string) {
		t.Helper()
		_, stderr, got := d.command(t, persona, args...)
		if got != code || !strings.Contains(stderr, want) {
			t.Errorf("%s %s: exit %d, want %d and %q\n%s", persona, strings.Join(args, " "), got, code, want, stderr)
		}
	}
	refused(125, "needs --reason", "alice", "breakglass", "ask", "web-1", "-o", file("none"), "--", "true")
	refused(126, "neither its members nor an entry", "dora", "breakglass", "ask", "web-1", "--reason", "r", "-o", file("none"), "--", "true")
	d.must(t, "alice", "breakglass", "ask", "web-1", "--reason", "apid is gone", "-o", file("plea"), "--", "touch", mark)
	for _, who := range []string{"bob", "carol"} {
		if shown := d.must(t, who, "breakglass", "sign", file("plea"), "--yes", "-o", file(who)); !strings.Contains(shown, "touch "+mark) || !strings.Contains(shown, "apid is gone") {
			t.Errorf("%s signed this:\n%s", who, shown)
		}
	}
	refused(126, "own plea", "alice", "breakglass", "sign", file("plea"), "--yes", "-o", file("alice"))
	refused(126, "the plea is alice@example.com's", "bob", "breakglass", "run", file("plea"), file("carol"))
	refused(126, "waits for 1 of role:approver, role:admin", "alice", "breakglass", "run", file("plea"), file("bob"), file("bob"))
	if _, err := os.Stat(mark); err == nil {
		t.Fatal("MUST NOT HAPPEN: it ran without a quorum")
	}
	if _, stderr, code := d.command(t, "alice", "breakglass", "run", file("plea"), file("bob"), file("carol")); code != 0 || !strings.Contains(stderr, "BREAK-GLASS session on web-1, signed by bob@example.com, carol@example.com") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatalf("it did not run: %v", err)
	}
	refused(126, "used before", "alice", "breakglass", "run", file("plea"), file("bob"), file("carol"))
	if _, err := os.Stat(mark); err == nil {
		t.Error("MUST NOT HAPPEN: it ran twice")
	}

	back()
	d.eventually(t, "alice", "exec", "web-1", "--", "true") // her proofs of that time are delivered first
	await(t, "the entries of that time", func() bool {
		log := d.eventually(t, "dora", "audit", "tail", "-n", "0")
		return strings.Contains(log, "break-glass: without a grant of apid, by bob@example.com, carol@example.com") &&
			strings.Contains(log, "command: touch "+mark)
	})
}
