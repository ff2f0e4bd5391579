package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/tui/up"
)

// TestSecondStart: a demo that is started again in its folder is the same team,
// with its log going on, and the homes that exist work as before.
func TestSecondStart(t *testing.T) {
	d := startDemo(t, "")
	fp := d.TeamFP
	d.must(t, "alice", "exec", "web-1", "--", "true")
	if err := (&up.Demo{Dir: d.dir}).Run(t.Context(), func(up.Ready) {}); !errors.Is(err, up.ErrRunning) {
		t.Errorf("a second demo in the same folder: %v", err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "ready.json")); !os.IsNotExist(err) {
		t.Errorf("ready.json after the end: %v", err)
	}
	d.start(t, "")
	if d.TeamFP != fp {
		t.Error("a second start made another team")
	}
	d.must(t, "alice", "exec", "web-1", "--", "true")
	file := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", file)
	out := d.must(t, "dora", "audit", "verify", file, "--team-fp", fp.String())
	if !strings.HasPrefix(out, "ok: ") {
		t.Errorf("the log over two starts: %s", out)
	}
}

// TestOtherPolicy starts with a policy of one's own, and refuses one whose tests
// fail.
func TestOtherPolicy(t *testing.T) {
	const lockdown = "version: 1\nmode: lockdown\n"
	d := startDemo(t, lockdown)
	_, errs, code := d.command(t, "alice", "exec", "web-1", "--", "true")
	if code != 126 || !strings.Contains(errs, "error=denied") {
		t.Errorf("exit %d: %s", code, errs)
	}
	bad := &up.Demo{Dir: filepath.Join(t.TempDir(), "bad"), Policy: []byte("version: 1\nmode: blocklist\nblocklist: []\n")}
	if err := bad.Run(t.Context(), func(up.Ready) { t.Error("ready with a policy that is refused") }); err == nil {
		t.Error("a policy that is refused started")
	}
}
