package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/tui/settings"
	"github.com/tucdesk/tucdesk/tui/up"
)

// program is the path of tucdesk as people get it, which TestMain builds with
// tucdesk-agent beside it. This test binary may carry the race detector, with
// which a process takes a second to start; servers and agents of most tests run
// in it, and are watched.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "part" {
		os.Exit(up.Part(os.Args[2], os.Args[3:])) // a copy or a forward of an agent in this process
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if home := os.Getenv(asClient); home != "" {
		if err := client(home); err != nil {
			log.Print(err)
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "tucdesk-e2e")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "tucdesk")
	for out, pkg := range map[string]string{program: "tui", program + "-agent": "agent"} {
		if b, err := exec.Command("go", "build", "-o", out, "github.com/tucdesk/tucdesk/"+pkg).CombinedOutput(); err != nil {
			log.Printf("build %s: %v\n%s", pkg, err, b)
			return 1
		}
	}
	// Login shells of a demo read the profile of whoever runs it. Tests that kill them
	// leave that person's own alone.
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		log.Print(err)
		return 1
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		b, err := exec.Command("go", "env", name).Output()
		if err != nil {
			log.Printf("go env %s: %v", name, err)
			return 1
		}
		os.Setenv(name, strings.TrimSpace(string(b)))
	}
	os.Setenv("HOME", home)
	os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return m.Run()
}

// A demo is a running demo of a test, with everything that passes its rendezvous
// and its relay.
type demo struct {
	up.Ready
	dir      string
	database string
	policy   string // "": the demo's own
	stop     func() error
	pid      int    // of `tucdesk demo --processes`
	kill     func() // it, without warning

	mu     sync.Mutex
	passed bytes.Buffer
}

// startDemo runs a demo in this process until the test ends.
func startDemo(t testing.TB, policy string) *demo {
	t.Helper()
	d := &demo{dir: filepath.Join(t.TempDir(), "demo")}
	d.start(t, policy)
	return d
}

func (d *demo) start(t testing.TB, policy string) {
	t.Helper()
	run := &up.Demo{Dir: d.dir, Database: d.database, Tap: d.tap, Errand: up.Errand(), Furnish: func(home string) error { return settings.Shelf{Home: home}.SkipTour() }, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	if policy != "" {
		run.Policy = []byte(policy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan up.Ready, 1)
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx, func(r up.Ready) { ready <- r }) }()
	select {
	case d.Ready = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("the demo did not start: %v", err)
	case <-time.After(2 * time.Minute):
		cancel()
		t.Fatal("the demo is not ready after two minutes")
	}
	d.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("the demo ended with: %v", err)
		}
	})
}

func (d *demo) tap(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passed.Write(b)
}

// testLog sends a demo's log to the test's, up to the test's end.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s", bytes.TrimRight(b, "\n"))
	}
	return len(b), nil
}

// TestScripts runs the personas' stories against one demo in one process, and
// against one whose parts are processes of their own; all of them on either engine,
// and those about what is stored on each of the four.
func TestScripts(t *testing.T) {
	stored := []string{"approve", "audit", "recordings"}
	t.Run("one process", func(t *testing.T) { runScripts(t, startDemo(t, "")) })
	t.Run("a process each", func(t *testing.T) { runScripts(t, startProcesses(t), stored...) })
	t.Run("one process on PostgreSQL", func(t *testing.T) {
		d := &demo{dir: filepath.Join(t.TempDir(), "demo"), database: database(t)}
		d.start(t, "")
		runScripts(t, d, stored...)
	})
	t.Run("a process each on PostgreSQL", func(t *testing.T) {
		d := &demo{dir: filepath.Join(t.TempDir(), "demo"), database: database(t)}
		d.startProcesses(t)
		runScripts(t, d)
	})
}

// database makes a PostgreSQL database that is ready for a demo.
func database(t *testing.T) string {
	t.Helper()
	c := pgtest.Shared(t)
	name := c.Database(t)
	if _, err := engine.Migrate(t.Context(), c.URL(pgtest.Owner, name), engine.Latest); err != nil {
		t.Fatal(err)
	}
	return c.URL(pgtest.Apid, name)
}

// runScripts runs the named stories; without names all.
func runScripts(t *testing.T, d *demo, names ...string) {
	const dir = "testdata/script"
	var files []string
	for _, name := range names {
		files = append(files, filepath.Join(dir, name+".txtar"))
	}
	all := dir
	if files != nil {
		all = ""
	}
	testscript.Run(t, testscript.Params{
		Dir:                 all,
		Files:               files,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for name, home := range d.Homes {
				e.Setenv(strings.ToUpper(name), home)
			}
			e.Setenv("DEMO", d.dir)
			e.Setenv("FP", d.TeamFP.String())
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as":       cmdAs,
			"waitfor":  cmdWaitFor,
			"approval": cmdApproval,
			"exits":    cmdExits,
			"forwards": cmdForwards,
		},
	})
}

// cmdAs makes the following commands those of a persona: as alice.
func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: as PERSONA")
	}
	home := ts.Getenv(strings.ToUpper(args[0]))
	if home == "" {
		ts.Fatalf("no persona is named %s", args[0])
	}
	ts.Setenv("TUCDESK_HOME", home)
}

// cmdExits runs a command and wants one exit code: exits 126 tucdesk exec …
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit %s, want %s", code, args[0])
	}
}

// cmdWaitFor runs a command until its output holds a text: waitfor TEXT COMMAND…
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor TEXT COMMAND…")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not show in 30 s", args[0])
		}
		time.Sleep(300 * time.Millisecond) // apid answers a device so many questions a second
	}
}

// cmdApproval waits for the waiting approval whose reason is given and puts its
// id into $ID: approval REASON.
func cmdApproval(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: approval REASON")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if err := ts.Exec("tucdesk", "approvals", "list", "--json"); err != nil {
			ts.Fatalf("approvals list: %v", err)
		}
		var rows []struct{ ID, Reason string }
		if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &rows); err != nil {
			ts.Fatalf("%v", err)
		}
		for _, r := range rows {
			if r.Reason == args[0] {
				ts.Setenv("ID", r.ID)
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no approval with the reason %q waits", args[0])
		}
	}
}

// command runs the command line as a persona and gives its output.
func (d *demo) command(t testing.TB, persona string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return run(t, []string{"TUCDESK_HOME=" + d.Homes[persona]}, "", args...)
}

// must is command with an exit code of 0.
func (d *demo) must(t testing.TB, persona string, args ...string) string {
	t.Helper()
	stdout, stderr, code := d.command(t, persona, args...)
	if code != 0 {
		t.Fatalf("%s: tucdesk %s: exit %d\n%s%s", persona, strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// run runs the command line in a process of its own.
func run(t testing.TB, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(append(os.Environ(), "NO_COLOR=1"), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// decide waits for the approval with a reason and decides it as a persona.
func (d *demo) decide(t testing.TB, persona, reason, verb string, flags ...string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var rows []struct{ ID, Reason string }
		if err := json.Unmarshal([]byte(d.must(t, persona, "approvals", "list", "--json")), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Reason == reason {
				d.must(t, persona, append([]string{"approvals", verb, r.ID}, flags...)...)
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no approval with the reason %q waits", reason)
		}
	}
}
