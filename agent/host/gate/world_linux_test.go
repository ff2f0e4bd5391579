package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// Words with which this program is something else than its tests.
const (
	shimArg  = "shim-of-the-exec-gate"
	agentArg = "agent-that-is-killed"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == shimArg:
		fmt.Fprintln(os.Stderr, shim.Main())
		os.Exit(1)
	case len(os.Args) > 2 && os.Args[1] == agentArg:
		fmt.Fprintln(os.Stderr, beKilled(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// steps is how often a race is tried.
func steps(few int) int {
	if n, err := strconv.Atoi(os.Getenv("TUCDESK_TEST_STEPS")); err == nil && n > 0 {
		return n
	}
	return few
}

// newGate makes a gate where there can be one.
func newGate(t testing.TB) *Gate {
	t.Helper()
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "the exec gate needs root: run the tests as root on a kernel of your own, not in a container without CAP_SYS_ADMIN and CAP_SYS_PTRACE")
	}
	g, err := New(shimArg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// tool finds a program that a test drives.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); runnable(path) {
			return path
		}
	}
	skiptest.Missing(t, "%s is missing; install it: apt-get install %s", name, pkg)
	return ""
}

func runnable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&0o111 != 0
}

// openDir is a folder that everybody may use.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tricks is testdata/tricks.c, made once.
var tricks = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tricks")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("cc", "-O1", "-o", filepath.Join(dir, "tricks"), "testdata/tricks.c", "-pthread").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, os.Chmod(dir, 0o755)
})

// theTricks puts them into dir.
func theTricks(t testing.TB, dir string) string {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		skiptest.Missing(t, "a C compiler is missing; install it: apt-get install gcc libc6-dev")
	}
	from, err := tricks()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(from, "tricks"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tricks")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// ended is what a judge heard.
type ended struct {
	*Program
	outcome Outcome
	why     string
}

// judge is a Judge of functions.
type judge struct {
	judge  func(*Program) Answer
	decide func(context.Context, *Program) error
	mu     sync.Mutex
	ends   []ended
}

func (j *judge) Judge(p *Program) Answer { return j.judge(p) }

func (j *judge) Decide(ctx context.Context, p *Program) error {
	if j.decide == nil {
		return errors.New("nobody decides here")
	}
	return j.decide(ctx, p)
}

func (j *judge) Ended(p *Program, o Outcome, why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ends = append(j.ends, ended{p, o, why})
}

// count tells how many program starts ended in a way.
func (j *judge) count(o Outcome) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.ends {
		if e.outcome == o {
			n++
		}
	}
	return n
}

// log prints what the judge heard, for a test that has failed.
func (j *judge) log(t testing.TB) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.ends {
		if e.Claim == nil {
			t.Logf("%s: %s: thread %d", e.outcome, e.why, e.TID)
			continue
		}
		t.Logf("%s: %s: %q as %q", e.outcome, e.why, e.Path, e.Loads)
	}
}

// names are all that a program start could be called.
func names(p *Program) []string {
	all := []string{filepath.Base(p.Path), filepath.Base(p.Argv[0])}
	for _, f := range p.Files {
		all = append(all, filepath.Base(f.Path))
	}
	return all
}

// forbid refuses a program by name, also where another one is told to load it.
func forbid(name string) func(*Program) Answer {
	return func(p *Program) Answer {
		all := names(p)
		if slices.ContainsFunc(all, func(n string) bool { return n == "busybox" || strings.HasPrefix(n, "ld-linux") }) {
			for _, a := range p.Argv[1:] {
				all = append(all, filepath.Base(a))
			}
		}
		if slices.Contains(all, name) {
			return Refuse
		}
		return Start
	}
}

// users are whom sessions of a test run as.
var users = map[string]*syscall.Credential{
	"root": nil,
	"user": {Uid: 65534, Gid: 65534, Groups: []uint32{}},
}

// command is a script of bash.
func command(as *syscall.Credential, dir, script string) *exec.Cmd {
	return &exec.Cmd{
		Path: "/bin/bash", Args: []string{"bash", "-c", script}, Dir: dir,
		Env:         []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir, "SHELL=/bin/sh", "TERM=dumb", "LC_ALL=C"},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: as},
	}
}

// run runs a command to its end, gated unless g is nil, and gives its output.
func run(t testing.TB, g *Gate, j Judge, cmd *exec.Cmd) (output string, exit int) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "output") // a file: nobody holds it open for us
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	if g == nil {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, cmd)
	} else {
		s, err := g.Start(cmd, j)
		if err != nil {
			t.Fatal(err)
		}
		await(t, cmd)
		s.Close()
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(b)), cmd.ProcessState.ExitCode()
}

// await waits for a command as the agent does.
func await(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for until := time.Now().Add(2 * time.Minute); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if err == nil && n == 1 {
			break
		}
		if time.Now().After(until) {
			unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			t.Errorf("%q did not end", cmd.Args)
		}
	}
	cmd.Wait()
}

// exists reports whether a file is there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
