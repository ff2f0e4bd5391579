package e2e

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
)

// A shell is a session with a terminal, which says what its shell's process is.
type shell struct {
	terminal backend.Terminal
	lines    *bufio.Reader
	pid      string
	said     int
}

func (d *demo) shell(t testing.TB, b *control.Backend) *shell {
	t.Helper()
	terminal, err := b.Open(t.Context(), backend.OpenRequest{
		Target: "web-1", Kind: backend.KindShell, Cols: 200, Rows: 24, Term: "dumb",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{terminal: terminal, lines: bufio.NewReader(terminal)}
	s.pid = s.ask(t, "echo $$")
	if _, err := strconv.Atoi(s.pid); err != nil {
		t.Fatalf("a shell's process: %q", s.pid)
	}
	return s
}

// ask types a command and gives the line that it prints.
func (s *shell) ask(t testing.TB, command string) string {
	t.Helper()
	s.said++
	// What is echoed differs from what is printed.
	begin, end := fmt.Sprintf("<%d:", s.said), fmt.Sprintf(":%d>", s.said)
	if _, err := fmt.Fprintf(s.terminal, "echo '<'%d:$(%s):%d'>'\n", s.said, command, s.said); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		for {
			line, err := s.lines.ReadString('\n')
			if _, rest, ok := strings.Cut(line, begin); ok {
				if out, _, ok := strings.Cut(rest, end); ok {
					got <- out
					return
				}
			}
			if err != nil {
				got <- err.Error()
				return
			}
		}
	}()
	select {
	case line := <-got:
		return line
	case <-time.After(time.Minute):
		t.Fatalf("no answer to %q in a minute", command)
		return ""
	}
}

// hold types a command that is held, and gives its approval; "" where the kernel's gate
// is not there to hold it.
func (d *demo) hold(t testing.TB, s *shell, command string) backend.ApprovalID {
	t.Helper()
	g, ok := backend.TerminalAs[backend.GatedTerminal](s.terminal)
	if !ok || s.terminal.Assurance().Gate != "enforced" {
		return ""
	}
	if _, err := fmt.Fprintln(s.terminal, command); err != nil {
		t.Fatal(err)
	}
	select {
	case start := <-g.Starts():
		if start.State != backend.StartHold || start.Approval == "" {
			t.Fatalf("%q is not held: %+v", command, start)
		}
		return start.Approval
	case <-time.After(time.Minute):
		t.Fatalf("nothing was said of %q in a minute", command)
	}
	return ""
}

// leave ends the shell with a code, which must arrive.
func (s *shell) leave(t testing.TB, code int) {
	t.Helper()
	if _, err := fmt.Fprintf(s.terminal, "exit %d\n", code); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, s.lines)
	exit, err := s.terminal.Wait()
	if err != nil || exit.Code != code {
		t.Errorf("the shell's end: %+v, %v; want code %d", exit, err, code)
	}
}

// sessionHalves gives the processes of the sessions of an agent, by the session that
// their first program names.
func sessionHalves(t testing.TB, dir string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, cwd := range all {
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(cwd), "cmdline"))
		at, err := os.Readlink(cwd)
		if err == nil && at == dir && strings.HasSuffix(string(args), "\x00part\x00agent\x00session\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(cwd)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestUpgradeFromWithin is the promise that an agent can be upgraded from inside one of
// its own sessions: another build takes its place, the agent is stopped and started, by
// the demo as systemd would, and every session goes on: its shell is the same process,
// a command that is held in one of them is held still, and runs when it is approved then,
// what it shows is recorded to the end, its exit code arrives, and the audit log holds.
// Then the agent is killed, its network half is, and one session's process is: that
// session ends, and no other.
func TestUpgradeFromWithin(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("without /proc nobody knows whose child a process is; run this on Linux")
	}
	old := program
	bin := t.TempDir()
	newer := filepath.Join(bin, "newer")
	if b, err := exec.Command("go", "build", "-ldflags", "-X github.com/tucdesk/tucdesk/internal/daemon.version=v9.9.9", "-o", newer, "github.com/tucdesk/tucdesk/tui").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, b)
	}
	program = filepath.Join(bin, "tucdesk")
	defer func() { program = old }()
	if b, err := exec.Command("cp", old, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	d := startProcesses(t)
	b := d.open(t, "alice")
	t.Cleanup(func() { b.Close() })
	const sessions = 20
	shells := make([]*shell, sessions)
	var opening sync.WaitGroup
	for i := range shells {
		opening.Go(func() { shells[i] = d.shell(t, b) })
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	agent := d.pidOf(t, "agent web-1")
	dir := filepath.Join(d.dir, "agents", "web-1")
	halves := sessionHalves(t, dir)
	if len(halves) != sessions {
		t.Fatalf("%d processes of sessions, want %d", len(halves), sessions)
	}
	check := func(when string) {
		t.Helper()
		var asking sync.WaitGroup
		for i, s := range shells {
			if s == nil {
				continue
			}
			asking.Go(func() {
				if got := s.ask(t, "echo $$"); got != s.pid {
					t.Errorf("%s: session %d: its shell is %q, was %q", when, i, got, s.pid)
				}
			})
		}
		asking.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	restarted := func(from int) (now int) {
		t.Helper()
		await(t, "the agent's next process", func() bool { now = d.pidOf(t, "agent web-1"); return now != from })
		d.eventually(t, "alice", "exec", "web-1", "--", "true")
		return now
	}

	// A command that is held in another session meanwhile.
	held := filepath.Join(d.dir, "held")
	if err := os.Mkdir(held, 0o700); err != nil {
		t.Fatal(err)
	}
	approval := d.hold(t, shells[5], "rm -r "+held)

	// The upgrade, typed into one of the sessions.
	if got := shells[7].ask(t, fmt.Sprintf("mv %s %s && kill -TERM %d && echo done", newer, program, agent)); got != "done" {
		t.Fatalf("the upgrade: %q", got)
	}
	second := restarted(agent)
	log, err := os.ReadFile(filepath.Join(d.dir, "logs", "agent web-1.log"))
	if err != nil || !strings.Contains(string(log), "version=v9.9.9") {
		t.Errorf("the new build does not run (%v)", err)
	}
	if approval != "" {
		if _, err := os.Stat(held); err != nil {
			t.Fatal("what was held ran when the agent ended")
		}
		d.must(t, "bob", "approvals", "approve", string(approval), "--yes")
		await(t, "what was held to run", func() bool { _, err := os.Stat(held); return err != nil })
	}
	check("after the upgrade")

	if err := syscall.Kill(second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	third := restarted(second)
	check("after a kill of the keeper")

	half := d.networkHalf(t, "agent web-1")
	if err := syscall.Kill(half, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	check("after a kill of the network half")

	// One session's process: which one is known by its child.
	victim := 3
	for _, pid := range halves {
		for _, child := range children(t, pid) {
			if strconv.Itoa(child) == shells[victim].pid {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				halves = nil
			}
		}
	}
	if halves != nil {
		t.Fatal("nobody is the parent of the shell")
	}
	ended := shells[victim].pid
	shells[victim] = nil
	check("after a kill of a session's process")
	if now := d.pidOf(t, "agent web-1"); now != third {
		t.Errorf("the agent went with a session's process: %d, was %d", now, third)
	}
	await(t, "the end of the shell that lost its session", func() bool {
		pid, _ := strconv.Atoi(ended)
		return !alive(pid)
	})
	for i, s := range shells {
		if s != nil {
			s.leave(t, i)
		}
	}
	// Nothing is left: no process, nothing in the ledger, and the log and the
	// recordings are whole.
	b.Close()
	await(t, "the end of the sessions' processes", func() bool { return len(sessionHalves(t, dir)) == 0 })
	await(t, "nothing to be remembered of sessions", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "ledger", "running-*"))
		return err == nil && len(left) == 0
	})
	d.recordings(t, sessions-1+2) // and the two commands of restarted
	await(t, "an empty spool", func() bool {
		left, err := os.ReadDir(filepath.Join(dir, "spool"))
		return err == nil && len(left) == 0
	})
	export := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", export)
	d.must(t, "dora", "audit", "verify", export, "--team-fp", d.TeamFP.String())
	for _, session := range d.recordings(t, sessions)[:3] {
		d.must(t, "dora", "recordings", "export", session, "-o", filepath.Join(t.TempDir(), session+".cast"))
	}
	if _, err := os.Stat(filepath.Join(dir, "keeper")); err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "keeper")); err != nil || st.Mode().Type() != fs.ModeSocket || st.Mode().Perm() != 0o600 {
		t.Errorf("the keeper's door: %v, %v", st, err)
	}
}
