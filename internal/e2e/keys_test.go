package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// restart ends parts and waits until others are in their place.
func (d *demo) restart(t testing.TB, parts ...string) {
	t.Helper()
	for _, part := range parts {
		old := d.kill9(t, part)
		await(t, part+"'s restart", func() bool { return d.pidOf(t, part) != old })
	}
}

// keys runs one step of a rotation of the servers' keys.
func (d *demo) keys(t testing.TB, step string) {
	t.Helper()
	if out, errs, code := run(t, nil, "", "part", "apid", "keys", step, d.Data); code != 0 {
		t.Fatalf("keys %s: exit %d: %s%s", step, code, out, errs)
	}
}

// serverKeys gives what the team's newest roster names.
func (d *demo) serverKeys(t testing.TB, purpose roster.Purpose) []key.Public {
	t.Helper()
	b := d.open(t, "carol")
	defer b.Close()
	r, err := b.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.ServerKeys(purpose)
}

// TestRotatedKeys rotates all signing keys of the servers while a session is open
// and a member is signed in: neither notices, new sessions work at every step, and
// the log verifies over all of it.
func TestRotatedKeys(t *testing.T) {
	d := startProcesses(t)
	purposes := []roster.Purpose{roster.ServerGrant, roster.ServerToken, roster.ServerLog, roster.ServerRendezvous}
	old := map[roster.Purpose][]key.Public{}
	for _, p := range purposes {
		old[p] = d.serverKeys(t, p)
	}
	signedIn := d.open(t, "alice")
	defer signedIn.Close()
	works := func(when string) {
		t.Helper()
		terminal, err := signedIn.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"true"}})
		if err != nil {
			t.Fatalf("%s, with the token from before: %v", when, err)
		}
		defer terminal.Close()
		if exit, err := terminal.Wait(); err != nil || exit.Code != 0 {
			t.Fatalf("%s: exit %v, %v", when, exit, err)
		}
		d.must(t, "alice", "exec", "web-1", "--", "true")
	}
	open := d.talk(t, "web-1")
	relayed := d.talkBy(t, "web-1", control.RelayOnly)
	relayed.goesOn(t, "before")
	works("before")

	d.keys(t, "rotate")
	var next []string
	for line := range strings.Lines(d.readKeys(t)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "rendezvous" && f[2] == "(next)" {
			next = append(next, f[1])
		}
	}
	if len(next) != 1 {
		t.Fatalf("next keys of the rendezvous: %v", next)
	}
	d.setRendezvousKey(t, old[roster.ServerRendezvous][0].String()+","+next[0])
	d.restart(t, "relayd", "apid")
	d.eventually(t, "alice", "exec", "web-1", "--", "true")
	d.must(t, "carol", "roster", "rotate", "--yes")
	for _, p := range purposes {
		if now := d.serverKeys(t, p); len(now) != 2 || !slices.Contains(now, old[p][0]) {
			t.Errorf("%s: the roster names %v during the rotation", p, now)
		}
	}
	works("with both keys signed")
	open.goesOn(t, "with both keys signed")

	d.keys(t, "switch")
	d.restart(t, "apid", "rendezvousd", "relayd")
	d.eventually(t, "alice", "exec", "--path", "relay", "web-1", "--", "true")
	works("with the new keys in use")
	relayed.goesOn(t, "with a credential of the old secret, over a relay that was restarted twice")
	open.goesOn(t, "with the new keys in use")

	d.keys(t, "retire")
	d.setRendezvousKey(t, next[0])
	d.restart(t, "apid")
	d.eventually(t, "alice", "exec", "web-1", "--", "true")
	d.must(t, "carol", "roster", "rotate", "--drop", "--yes")
	for _, p := range purposes {
		if now := d.serverKeys(t, p); len(now) != 1 || slices.Contains(now, old[p][0]) {
			t.Errorf("%s: the roster names %v after the rotation", p, now)
		}
	}
	d.must(t, "alice", "exec", "web-1", "--", "true")
	open.goesOn(t, "after the rotation")

	file := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", file)
	if out := d.must(t, "dora", "audit", "verify", file, "--team-fp", d.TeamFP.String()); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("the log over the rotation: %s", out)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.noKeysInDatabase(t)
}

// readKeys gives what `keys init` prints, which makes nothing new.
func (d *demo) readKeys(t testing.TB) string {
	t.Helper()
	out, errs, code := run(t, nil, "", "part", "apid", "keys", "init", d.Data)
	if code != 0 {
		t.Fatalf("keys init: %s", errs)
	}
	return out
}

func (d *demo) setRendezvousKey(t testing.TB, value string) {
	t.Helper()
	path := filepath.Join(d.Data, "apid.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "rendezvous_key:") {
			line = "rendezvous_key: " + value + "\n"
		}
		lines = append(lines, line)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// noKeysInDatabase looks for every private key of the demo in all files of the
// servers that are not that key's own.
func (d *demo) noKeysInDatabase(t testing.TB) {
	t.Helper()
	needles := map[string][]byte{}
	walk := func(dir string, f func(path string, b []byte)) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || e.Type()&fs.ModeSocket != 0 {
				return err
			}
			b, err := os.ReadFile(path)
			f(path, b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	isKey := func(path string) bool {
		return strings.Contains(path, ".key") || strings.HasSuffix(path, ".secret")
	}
	walk(d.dir, func(path string, b []byte) {
		if !isKey(path) {
			return
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			needles[path] = []byte(line)
			for _, prefix := range []string{"tds1", "tdr1"} {
				if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(line, prefix)); err == nil && strings.HasPrefix(line, prefix) {
					needles[path+" (bytes)"] = raw
					needles[path+" (hex)"] = []byte(hex.EncodeToString(raw))
				}
			}
		}
	})
	if len(needles) < 20 {
		t.Fatalf("only %d keys were found to look for", len(needles))
	}
	databases := 0
	walk(d.Data, func(path string, b []byte) {
		if isKey(path) {
			return
		}
		if strings.Contains(path, ".db") {
			databases++
		}
		for name, needle := range needles {
			if bytes.Contains(b, needle) {
				t.Errorf("%s holds the key %s", path, name)
			}
		}
	})
	if databases == 0 {
		t.Error("no database was looked at")
	}
}
