package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/profile"
)

// recordings waits until dora sees that many complete recordings, newest first.
func (d *demo) recordings(t testing.TB, n int) (sessions []string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var rows []struct {
			Session  string
			Complete bool
		}
		out := d.must(t, "dora", "recordings", "list", "--json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			t.Fatal(err)
		}
		sessions = nil
		for _, r := range rows {
			if r.Complete {
				sessions = append(sessions, r.Session)
			}
		}
		if len(sessions) >= n {
			return sessions
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d recordings are complete after 30 s, want %d: %s", len(sessions), n, out)
		}
	}
}

// TestRecording is the promise about recordings, at the command line: the auditor
// plays and exports what was shown, nobody else can, nothing on the servers' or
// the agents' disks says it, and what is changed there is found.
func TestRecording(t *testing.T) {
	const canary = "canary-recorded-" // and what the host computes: 41*2+1
	d := startDemo(t, "")
	// Hostile output: a title, the clipboard, a query, colour, and text.
	script := `printf '\033]0;title\007\033]52;c;ZXZpbA==\007\033[6n\033[31mred\033[0m\n'; echo ` + canary + `$((41*2+1))`
	d.must(t, "alice", "exec", "--yes", "web-1", "--", "sh", "-c", script)
	session := d.recordings(t, 1)[0]

	out, errs, code := d.command(t, "dora", "recordings", "play", "--speed", "0", session)
	if code != 0 || !strings.Contains(out, canary+"83\r\n") || !strings.Contains(out, "\x1b[31mred\x1b[0m") {
		t.Fatalf("play: exit %d\n%q\n%s", code, out, errs)
	}
	for _, bad := range []string{"\x1b]", "\x07", "\x1b[6n", "title"} {
		if strings.Contains(out, bad) {
			t.Errorf("played output holds %q: %q", bad, out)
		}
	}
	for _, want := range []string{"alice@example.com on web-1", "signed by web-1", "the audit log agrees", "command: sh -c"} {
		if !strings.Contains(errs, want) {
			t.Errorf("play does not say %q: %s", want, errs)
		}
	}

	for name, want := range map[string]string{"v3": `{"version":3,`, "v2": `{"version":2,`} {
		file := filepath.Join(t.TempDir(), name+".cast")
		args := []string{"recordings", "export", session, "-o", file}
		if name == "v2" {
			args = append(args, "--v2")
		}
		d.must(t, "dora", args...)
		b, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(b, []byte(want)) || !bytes.Contains(b, []byte(canary+"83\\r\\n")) || bytes.ContainsAny(b, "\x1b\x07") {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}

	// alice is refused by apid; and with apid's help she still could not open it.
	if _, errs, code := d.command(t, "alice", "recordings", "play", session); code != 126 || !strings.Contains(errs, "error=denied") {
		t.Errorf("alice: exit %d: %s", code, errs)
	}
	objects := d.objects(t)
	if len(objects) == 0 {
		t.Fatal("no sealed object is stored")
	}
	alice, err := profile.Open(d.Homes["alice"])
	if err != nil {
		t.Fatal(err)
	}
	dora, err := profile.Open(d.Homes["dora"])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range objects {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// The first chunk: after a magic of 8 its length, 8 bytes more, and what is sealed.
		sealed := b[8+12:][:binary.BigEndian.Uint32(b[8:])]
		if _, err := alice.Unsealer.Open(sealed, 1<<20); err == nil {
			t.Error("alice opens the recording")
		}
		if _, err := dora.Unsealer.Open(sealed, 1<<20); err != nil {
			t.Errorf("dora does not: %v", err)
		}
	}

	readsByTheSeam(t, dora, alice, session, canary+"83")

	// A changed, cut or missing object is found before anything of it shows.
	name := objects[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"a flipped bit": flipped(good, len(good)/2), "a cut": good[:len(good)-1], "nothing": {}, "more": append(bytes.Clone(good), 0),
	} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := d.command(t, "dora", "recordings", "play", "--speed", "0", session)
		if code != 125 || !strings.Contains(errs, "error=tampered") || !strings.Contains(errs, "segment 1") || out != "" {
			t.Errorf("%s: exit %d %q\n%s", what, code, out, errs)
		}
		file := filepath.Join(t.TempDir(), "x.cast")
		if _, _, code := d.command(t, "dora", "recordings", "export", session, "-o", file); code == 0 {
			t.Errorf("%s was exported", what)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: a refused export left a file", what)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := d.command(t, "dora", "recordings", "play", session); code != 125 || !strings.Contains(errs, "error=unavailable") {
		t.Errorf("a missing object: exit %d: %s", code, errs)
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(t, "dora", "recordings", "play", "--speed", "0", session)

	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, dir := range []string{d.Data, filepath.Join(d.dir, "agents")} {
		if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			files++
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte(canary)) {
				t.Errorf("%s holds what the session showed", path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 {
		t.Errorf("only %d files were read", files)
	}
}

// objects lists the sealed segments that apid keeps.
func (d *demo) objects(t testing.TB) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(filepath.Join(d.Data, "recordings"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// readsByTheSeam is what the console's audit view and player ask for: dora reads, with
// proofs, and alice is refused in words.
func readsByTheSeam(t *testing.T, dora, alice *profile.Home, session, text string) {
	t.Helper()
	open := func(home *profile.Home) backend.Auditor {
		b, err := control.New(home, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	log := open(dora)
	page, err := log.Log(t.Context(), 0, 1000)
	if err != nil || uint64(len(page.Entries)) != page.Size {
		t.Fatalf("%d of %d entries, %v", len(page.Entries), page.Size, err)
	}
	at := slices.IndexFunc(page.Entries, func(e backend.LogEntry) bool { return e.Session == session && e.Recorded })
	if at < 0 {
		t.Fatal("no entry names the recording")
	}
	if e := page.Entries[at]; e.Problem != "" || e.Signer != "machine web-1" || e.Type != "session-end" {
		t.Errorf("%+v", e)
	}
	if past, err := log.Log(t.Context(), page.Size+10, 5); err != nil || len(past.Entries) != 0 || past.Size < page.Size {
		t.Errorf("beyond the end: %+v, %v", past, err)
	}
	checks, err := log.Prove(t.Context(), uint64(at))
	if err != nil || len(checks) != 3 {
		t.Fatalf("%+v, %v", checks, err)
	}
	for _, c := range checks {
		if !c.Holds {
			t.Errorf("not proved: %s", c.What)
		}
	}
	rec, err := log.Recording(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	shown := ""
	for e, err := range rec.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		shown += e.Output
	}
	if !strings.Contains(shown, text) || rec.Info().Title == "" || len(rec.Info().Checks) != 2 {
		t.Errorf("%q, %+v", shown, rec.Info())
	}
	refused := open(alice)
	_, lerr := refused.Log(t.Context(), 0, 1)
	_, perr := refused.Prove(t.Context(), 0)
	_, rerr := refused.Recording(t.Context(), session)
	for _, err := range []error{lerr, perr, rerr} {
		if !errors.Is(err, backend.ErrDenied) || !strings.Contains(err.Error(), "auditor") {
			t.Errorf("alice: %v", err)
		}
	}
}
