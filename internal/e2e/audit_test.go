package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
)

// TestExportTampering is the promise about the log, at the command line: a good
// export verifies offline, and no changed one does.
func TestExportTampering(t *testing.T) {
	d := startDemo(t, "")
	for _, word := range []string{"one", "two", "three"} {
		d.must(t, "alice", "exec", "web-1", "--", "echo", word)
	}
	file := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", file)
	if err := d.stop(); err != nil { // from here on there is no server
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(b []byte) int {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, code := run(t, nil, "", "audit", "verify", file, "--team-fp", d.TeamFP.String())
		return code
	}
	if code := verify(good); code != 0 {
		t.Fatalf("the good export: exit %d", code)
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range 200 {
		b := bytes.Clone(good)
		at := rng.IntN(len(b))
		b[at] ^= 1 << rng.IntN(8)
		// The command starts a process each time; what it calls is as good.
		code := 0
		if i < 20 {
			code = verify(b)
		} else if r, err := audit.Verify(bytes.NewReader(b), d.TeamFP, audit.Options{}); err != nil {
			t.Fatal(err)
		} else {
			code = r.Class().ExitCode()
		}
		if code == 0 {
			t.Fatalf("byte %d flipped and still verified (seed %d)", at, seed)
		}
	}
	for _, cut := range []int{1, 32, 33, len(good) / 2, len(good) - 1} {
		if verify(good[:len(good)-cut]) == 0 {
			t.Errorf("cut by %d bytes and still verified", cut)
		}
	}
}
