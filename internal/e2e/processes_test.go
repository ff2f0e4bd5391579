package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/tui/up"
)

// startProcesses runs `tucdesk demo --processes` until the test ends.
func startProcesses(t testing.TB) *demo {
	t.Helper()
	d := &demo{dir: filepath.Join(t.TempDir(), "demo")}
	d.startProcesses(t)
	return d
}

func (d *demo) startProcesses(t testing.TB) {
	t.Helper()
	cmd := exec.Command(program, "demo", "--processes", "--headless", "--dir", d.dir)
	if d.policy != "" {
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte(d.policy), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, "--policy", file)
	}
	cmd.Env = append(os.Environ(), "TUCDESK_DEMO_DATABASE="+d.database)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.pid = cmd.Process.Pid
	var once sync.Once
	var result error
	end := func(s os.Signal) error {
		once.Do(func() {
			cmd.Process.Signal(s)
			select {
			case result = <-ended:
			case <-time.After(30 * time.Second):
				cmd.Process.Kill()
				result = errors.Join(errors.New("the demo did not stop in 30 s"), <-ended)
			}
		})
		return result
	}
	d.stop = func() error { return end(os.Interrupt) }
	d.kill = func() { _ = end(os.Kill) }
	t.Cleanup(func() {
		_ = d.stop()
		if t.Failed() {
			d.showLogs(t)
		}
	})
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if r, err := d.readReady(); err == nil {
			d.Ready = r
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the demo did not start: %v\n%s", err, errs.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the demo is not ready after two minutes")
		}
	}
}

func (d *demo) readReady() (r up.Ready, err error) {
	b, err := os.ReadFile(filepath.Join(d.dir, "ready.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

func (d *demo) showLogs(t testing.TB) {
	_ = filepath.WalkDir(filepath.Join(d.dir, "logs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			b, _ := os.ReadFile(path)
			t.Logf("%s:\n%s", path, b[max(0, len(b)-4096):])
		}
		return nil
	})
}

// pidOf gives the process that is a part now.
func (d *demo) pidOf(t testing.TB, part string) int {
	t.Helper()
	r, err := d.readReady()
	if err != nil || r.Pids[part] == 0 {
		t.Fatalf("ready.json names no process for %s: %v", part, err)
	}
	return r.Pids[part]
}

// kill9 ends a part in the way that it can't prepare for, and gives its pid.
func (d *demo) kill9(t testing.TB, part string) int {
	t.Helper()
	pid := d.pidOf(t, part)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 of %s (%d): %v", part, pid, err)
	}
	return pid
}

// eventually runs a command until it succeeds: what was killed is back.
func (d *demo) eventually(t testing.TB, persona string, args ...string) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		stdout, stderr, code := d.command(t, persona, args...)
		if code == 0 {
			return stdout
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: tucdesk %s: exit %d after 30 s of trying\n%s", persona, strings.Join(args, " "), code, stderr)
		}
	}
}

// A talk is a session that answers what is said to it.
type talk struct {
	terminal backend.Terminal
	lines    *bufio.Reader
	said     int
}

// talk opens a session on a machine that echoes.
func (d *demo) talk(t testing.TB, machine string) *talk {
	t.Helper()
	return d.talkBy(t, machine, control.AnyPath)
}

func (d *demo) talkBy(t testing.TB, machine string, way control.Path) *talk {
	t.Helper()
	b := d.open(t, "alice")
	b.UsePath(way)
	t.Cleanup(func() { b.Close() })
	terminal, err := b.Open(t.Context(), backend.OpenRequest{Target: backend.TargetID(machine), Kind: backend.KindExec, Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	return &talk{terminal: terminal, lines: bufio.NewReader(terminal)}
}

// goesOn says a line and wants it back.
func (k *talk) goesOn(t testing.TB, when string) {
	t.Helper()
	k.said++
	want := fmt.Sprintf("line %d\n", k.said)
	if _, err := io.WriteString(k.terminal, want); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	got := make(chan string, 1)
	go func() {
		line, err := k.lines.ReadString('\n')
		if err != nil {
			line = err.Error()
		}
		got <- line
	}()
	select {
	case line := <-got:
		if line != want {
			t.Fatalf("%s: %q, want %q", when, line, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s: no echo in a minute", when)
	}
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in 30 s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestKilledParts: each part dies without warning. Sessions go on that do not need
// it, and it is used again without a restart of anything else.
func TestKilledParts(t *testing.T) {
	d := startProcesses(t)
	if d.Pids["apid"] == d.Pids["relayd"] || d.Pids["apid"] == d.pid {
		t.Fatalf("not a process each: %v", d.Pids)
	}
	for _, part := range []string{"apid", "rendezvousd"} {
		t.Run(part, func(t *testing.T) {
			k := d.talk(t, "web-1")
			k.goesOn(t, "before")
			old := d.kill9(t, part)
			k.goesOn(t, "after the kill")
			if got := d.eventually(t, "alice", "exec", "web-1", "--", "echo", "back"); got != "back\n" {
				t.Errorf("the next session: %q", got)
			}
			if now := d.pidOf(t, part); now == old {
				t.Errorf("ready.json names the process that was killed (%d)", old)
			}
			k.goesOn(t, "after the restart")
		})
	}
	t.Run("relayd", func(t *testing.T) {
		relayed, direct := d.talkBy(t, "web-1", control.RelayOnly), d.talkBy(t, "web-1", control.DirectOnly)
		relayed.goesOn(t, "before, by relay")
		direct.goesOn(t, "before, directly")
		type result struct {
			stdout, stderr string
			code           int
		}
		command := make(chan result, 1)
		dir := t.TempDir()
		started, goOn := filepath.Join(dir, "started"), filepath.Join(dir, "go-on")
		go func() {
			stdout, stderr, code := d.command(t, "alice", "exec", "--yes", "--path", "relay", "web-1", "--", "sh", "-c",
				"touch "+started+"; while ! test -e "+goOn+"; do sleep 0.1; done; echo still here")
			command <- result{stdout, stderr, code}
		}()
		await(t, "the command's start", func() bool { _, err := os.Stat(started); return err == nil })
		d.kill9(t, "relayd")
		killed := time.Now()
		direct.goesOn(t, "after the kill")
		// Both sides take a new place on the relay as soon as it is there again.
		relayed.goesOn(t, "after the relay's restart")
		t.Logf("went on after %v", time.Since(killed).Round(100*time.Millisecond))
		// One that stays away is told of: to whoever holds the session, and on the
		// command's standard error.
		pid := d.pidOf(t, "relayd")
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		resume := sync.OnceFunc(func() { syscall.Kill(pid, syscall.SIGCONT) })
		defer resume()
		hung := time.Now()
		link, _ := backend.TerminalAs[backend.LinkTerminal](relayed.terminal)
		await(t, "the session says that its link is lost", func() bool { return link.Link().Lost })
		t.Logf("told after %v", time.Since(hung).Round(100*time.Millisecond))
		direct.goesOn(t, "while the relay hangs")
		time.Sleep(2 * time.Second) // a command asks now and then
		resume()
		relayed.goesOn(t, "after the relay hung")
		if err := os.WriteFile(goOn, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := <-command; r.code != 0 || !strings.Contains(r.stdout, "still here") {
			t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
		} else if !strings.Contains(r.stderr, "the connection to web-1 is lost") {
			t.Errorf("the command did not say what happened to its connection: %q", r.stderr)
		}
		d.must(t, "alice", "exec", "--path", "relay", "web-1", "--", "true")
		direct.goesOn(t, "after the restart")
	})
	t.Run("agent", func(t *testing.T) {
		there, elsewhere := d.talk(t, "web-1"), d.talk(t, "build-1")
		there.goesOn(t, "before")
		d.kill9(t, "agent web-1")
		elsewhere.goesOn(t, "after the kill of another machine's agent")
		there.goesOn(t, "over the kill of its own, since sessions have processes")
	})
	t.Run("session half", func(t *testing.T) {
		before := d.sessionHalves(t, "agent build-1") // of sessions that are ending
		there, elsewhere := d.talk(t, "build-1"), d.talk(t, "build-1")
		there.goesOn(t, "before")
		elsewhere.goesOn(t, "before")
		halves := slices.DeleteFunc(d.sessionHalves(t, "agent build-1"), func(pid int) bool { return slices.Contains(before, pid) })
		if len(halves) != 2 {
			t.Fatalf("%d session halves for two sessions", len(halves))
		}
		if err := syscall.Kill(min(halves[0], halves[1]), syscall.SIGKILL); err != nil { // the older one's
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := there.terminal.Wait()
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "build-1 does not have this session any more") {
				t.Errorf("the session's end does not say what has happened: %v", err)
			}
		case <-time.After(time.Minute):
			l, _ := backend.TerminalAs[backend.LinkTerminal](there.terminal)
			t.Fatalf("a minute after the kill the session does not say that it is gone: %+v", l.Link())
		}
		elsewhere.goesOn(t, "at last")
	})
	t.Run("client", func(t *testing.T) { comeBack(t, d) })
}

// TestKilledDemo: whatever ends the demo ends its parts, so that it can be started
// again at once, in its folder and on its ports.
func TestKilledDemo(t *testing.T) {
	d := startProcesses(t)
	before := d.Ready
	d.kill()
	deadline := time.Now().Add(30 * time.Second)
	for name, pid := range before.Pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("%s (%d) has survived the demo", name, pid)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err := os.Remove(filepath.Join(d.dir, "ready.json")); err != nil { // nobody was left to do it
		t.Fatal(err)
	}
	d.startProcesses(t)
	if d.TeamFP != before.TeamFP || d.API != before.API || d.Relay != before.Relay {
		t.Errorf("another demo: %s %s, was %s %s", d.API, d.Relay, before.API, before.Relay)
	}
	d.must(t, "alice", "exec", "web-1", "--", "true")
	t.Run("break-glass", d.breakGlass)
}

// alive reports whether a process runs. One that has ended and that nobody has
// asked about (a zombie) does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // on Linux
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil && runtime.GOOS != "linux" || err == nil && !strings.HasPrefix(state, "Z")
}

// kills is how often TestKilledAPID kills.
func kills(t *testing.T) int {
	text := os.Getenv("TUCDESK_TEST_KILLS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TUCDESK_TEST_KILLS: %q is no number of kills", text)
	}
	return n
}

// TestKilledAPID kills apid at random points while commands are asked for. What
// was acknowledged is in the log, and nothing ran twice.
func TestKilledAPID(t *testing.T) {
	const askers = 3
	d := startProcesses(t)
	marks := filepath.Join(t.TempDir(), "marks")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var (
		askersDone sync.WaitGroup
		stop       = make(chan struct{})
		mu         sync.Mutex
		acked      []string
		refused    int
	)
	for asker := range askers {
		askersDone.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				mark := fmt.Sprintf("mark-%d-%d-", asker, n)
				_, _, code := d.command(t, "alice", "exec", "--yes", "web-1", "--", "sh", "-c", "echo "+mark+" >> "+marks)
				mu.Lock()
				if code == 0 {
					acked = append(acked, mark)
				} else {
					refused++
				}
				mu.Unlock()
				if code != 0 {
					time.Sleep(100 * time.Millisecond) // apid is down: the machine is for its start
				}
			}
		})
	}
	ackedNow := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	for n := range kills(t) {
		old, before := d.kill9(t, "apid"), ackedNow()
		await(t, "apid's restart", func() bool { return d.pidOf(t, "apid") != old })
		// From "not up yet" to "in the middle of many requests": every other
		// time something has to get through first.
		if n%2 == 0 {
			await(t, "a command between two kills", func() bool { return ackedNow() > before })
		}
		time.Sleep(time.Duration(rng.Int64N(int64(1200 * time.Millisecond))))
	}
	close(stop)
	askersDone.Wait()
	d.eventually(t, "alice", "exec", "web-1", "--", "true")
	t.Logf("%d commands were acknowledged and %d were not, over %d kills", len(acked), refused, kills(t))
	if len(acked) == 0 || refused == 0 {
		t.Error("the kills hit nothing, or nothing got through: this run shows nothing")
	}

	ran, err := os.ReadFile(marks)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, line := range strings.Fields(string(ran)) {
		times[line]++
	}
	for mark, n := range times {
		if n > 1 {
			t.Errorf("%s ran %d times", mark, n)
		}
	}
	// The agents owe entries for a moment longer: they wait for apid.
	var log string
	for _, mark := range acked {
		if times[mark] != 1 {
			t.Errorf("%s was acknowledged and ran %d times", mark, times[mark])
		}
		deadline := time.Now().Add(30 * time.Second)
		for !strings.Contains(log, mark) {
			if log = d.must(t, "dora", "audit", "tail", "-n", "0"); time.Now().After(deadline) {
				t.Fatalf("%s was acknowledged and is not in the log", mark)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "log.tdx")
	d.must(t, "dora", "audit", "export", "-o", file)
	if out := d.must(t, "dora", "audit", "verify", file, "--team-fp", d.TeamFP.String()); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("the log over the kills: %s", out)
	}
}
