//go:build linux

package trace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/gate/notify"
	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/agent/host/gate/trace"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

const shimArg = "shim-of-the-exec-gate"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == shimArg {
		fmt.Fprintln(os.Stderr, shim.Main())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "the exec gate needs root: run the tests as root")
	}
}

// looked is one start as a test has seen it.
type looked struct {
	result  trace.Result
	differs string
	err     error
	exe     string // what was loaded when it was looked at
}

// starts runs a script under a filter, and has each start in it looked at; say is what
// the look says of a program.
func starts(t *testing.T, script string, say func(exe string) string) (all []looked, output string) {
	t.Helper()
	needsRoot(t)
	p, err := notify.NewPool()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/bin/bash", "-c", script)
	cmd.Stdout, cmd.Stderr = out, out
	l, err := shim.Wrap(cmd, shimArg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, features, err := l.Listen()
	if err != nil {
		t.Fatal(err)
	}
	listener := notify.NewListener(fd)
	seen, gone := make(chan looked, 100), make(chan struct{})
	if err := p.Add(listener, func(n notify.Notification) {
		var s looked
		s.result, s.differs, s.err = trace.Start(trace.Call{
			TID: int(n.TID), Asleep: features.Killable,
			Continue: func() error { return listener.Continue(n.ID) },
			Valid:    func() bool { return listener.Valid(n.ID) },
			Look: func(pid int) string {
				s.exe, _ = os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
				return say(s.exe)
			},
		})
		if s.err != nil {
			_ = listener.Refuse(n.ID, unix.EACCES)
		}
		seen <- s
	}, func() { close(gone) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("the script did not end")
	}
	_ = cmd.Wait()
	close(seen)
	for s := range seen {
		all = append(all, s)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return all, string(b)
}

// A start that is as it should be runs, one that differs is killed before it does
// anything, and a call that the kernel refuses gets the kernel's own answer.
func TestStart(t *testing.T) {
	all, out := starts(t, `/bin/echo good; /usr/bin/printf %s%s ba d; echo "code $?"; /etc/passwd; echo "code $?"; exec -a other /bin/echo last`, func(exe string) string {
		if strings.HasSuffix(exe, "/printf") {
			return "it is printf"
		}
		return ""
	})
	if !strings.Contains(out, "good\n") || strings.Contains(out, "bad") || !strings.Contains(out, "code 137\n") || !strings.Contains(out, "code 126\n") || !strings.HasSuffix(out, "last\n") {
		t.Errorf("%s", out)
	}
	var got []string
	for _, s := range all {
		got = append(got, fmt.Sprintf("%d %s %v", s.result, s.differs, s.err))
	}
	// bash itself, echo, printf, what is no program, echo.
	want := []string{"1  <nil>", "1  <nil>", "2 it is printf <nil>", "0  <nil>", "1  <nil>"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q, want %q", got, want)
	}
}

// A thread that is not its process' first takes its number over, and is found again; a
// debugger's child is not let go on.
func TestThreadsAndTracers(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		skiptest.Missing(t, "strace is missing; install it: apt-get install strace")
	}
	thread := `import threading, os; threading.Thread(target=lambda: os.execv("/bin/echo", ["echo", "from a thread"])).start()`
	all, out := starts(t, `/usr/bin/python3 -c '`+thread+`'; strace -qq -o /dev/null /bin/echo traced; true`, func(string) string { return "" })
	if strings.Contains(out, "\ntraced") || !strings.Contains(out, "from a thread\n") {
		t.Errorf("%s", out)
	}
	refused := 0
	for _, s := range all {
		if errors.Is(s.err, trace.ErrTraced) {
			refused++
		} else if s.err != nil || s.result == trace.Killed {
			t.Errorf("%+v", s)
		}
	}
	if refused == 0 {
		t.Errorf("nothing was refused among %+v", all)
	}
}

// Who is gone, or does not call any more, is no error of the machine's, and nobody is
// left under a trace.
func TestGone(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	call := trace.Call{TID: 1 << 30, Continue: func() error { return nil }, Valid: func() bool { return false }, Look: func(int) string { return "" }}
	if r, _, err := trace.Start(call); err == nil || r != trace.Failed {
		t.Errorf("nobody: %v, %v", r, err)
	}
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	sleeps(t, cmd.Process.Pid)
	call.TID, call.Continue = cmd.Process.Pid, func() error { return errors.New("it sleeps for another reason") }
	if r, _, err := trace.Start(call); err == nil || r != trace.Failed {
		t.Errorf("no call: %v, %v", r, err)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	if err != nil || !strings.Contains(string(b), "TracerPid:\t0\n") {
		t.Errorf("it is traced still: %v", err)
	}
}

// sleeps waits until a process is sleep(1), and sleeps: its own start is over then.
func sleeps(t *testing.T, pid int) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); strings.Contains(string(b), " (sleep) S ") {
			return
		}
		if time.Now().After(until) {
			t.Fatal("sleep did not start")
		}
	}
}

// A signal that asks for an end is seen while it can't be delivered; others are not.
func TestIsAskedToEnd(t *testing.T) {
	cmd := exec.Command("env", "--block-signal=TERM", "--block-signal=USR1", "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	sleeps(t, pid)
	if trace.IsAskedToEnd(pid) || trace.IsAskedToEnd(1<<30) {
		t.Error("nobody has asked")
	}
	_ = unix.Kill(pid, unix.SIGUSR1)
	if trace.IsAskedToEnd(pid) {
		t.Error("USR1 asks for no end")
	}
	_ = unix.Kill(pid, unix.SIGTERM)
	if !trace.IsAskedToEnd(pid) {
		t.Error("TERM was not seen")
	}
}
