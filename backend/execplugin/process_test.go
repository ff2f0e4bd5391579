package execplugin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// install puts a plugin's program into a folder that is all of PATH but the system's.
func install(t *testing.T, name string) Plugin {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, prefix+name)
	if name == "example" {
		if out, err := exec.Command("go", "build", "-o", at, "./example").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else {
		if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
			skiptest.Missing(t, "no /usr/bin/python3: apt-get install python3")
		}
		script, err := os.ReadFile(filepath.Join("testdata", prefix+name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	p, err := Look(name)
	if err != nil || p != (Plugin{name, at}) {
		t.Fatalf("Look = %+v, %v", p, err)
	}
	return p
}

// conforms runs the suite on a plugin's program.
func conforms(t *testing.T, p Plugin, url string, h backendtest.Harness) {
	t.Helper()
	r := new(backend.Registry)
	if err := r.Register(Driver(p)); err != nil {
		t.Fatal(err)
	}
	h.New = func(t backendtest.T) backend.Backend {
		b, err := r.Open(t.Context(), url, backend.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	h.Cat = []string{"cat"}
	backendtest.Run(t, h)
}

func TestPluginInGo(t *testing.T) {
	const apart = "each process has a team of its own, so that nobody else can decide; TestConformance has one team"
	conforms(t, install(t, "example"), "example:alice", backendtest.Harness{
		Target: "web-1",
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Size:   []string{"size"},
		Denied: backend.OpenRequest{Target: "vault", Kind: backend.KindShell, Cols: 80, Rows: 24},
		Held:   backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"restart", "api"}, Reason: "it leaks"},
		Skip: map[string]string{
			"HeldThenApprovedOpens": apart, "HeldThenDeniedNever": apart, "NobodyApprovesTheirOwn": apart, "DecidedOnce": apart, "WatcherTellsAtOnce": apart, "WatchedByOthers": "the protocol does not carry who watches what",
		},
	})
}

// TestPluginInPython runs a plugin that knows nothing of this code but SPEC.md.
func TestPluginInPython(t *testing.T) {
	t.Setenv("SHELL", "/bin/sh")
	const noPolicy = "it declares no policy and nobody to ask"
	conforms(t, install(t, "pyshell"), "pyshell:", backendtest.Harness{
		Target: "here",
		Exit:   func(code int) []string { return []string{"sh", "-c", fmt.Sprintf("exit %d", code)} },
		Size:   []string{"sh", "-c", "while read line; do stty size; done"},
		Skip: map[string]string{
			"DeniedStaysDenied": noPolicy, "HeldThenApprovedOpens": noPolicy, "HeldThenDeniedNever": noPolicy, "NobodyApprovesTheirOwn": noPolicy,
			"DecidedOnce": noPolicy, "ZeroVerdictDenies": noPolicy, "BatchAgrees": noPolicy, "WatchedByOthers": "the protocol does not carry who watches what",
		},
	})
}
