//go:build unix

package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

func self(t *testing.T) User {
	t.Helper()
	u, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func start(t *testing.T, s Spec) *Process {
	t.Helper()
	p, err := Start(s, self(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// output reads both streams to their ends.
func readAll(t *testing.T, p *Process) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.Stderr != nil {
			io.Copy(&errs, p.Stderr)
		}
	}()
	if _, err := io.Copy(&out, p.Stdout); err != nil {
		t.Fatal(err)
	}
	<-done
	return out.String(), errs.String()
}

func TestExec(t *testing.T) {
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	for _, tc := range []struct {
		name           string
		spec           Spec
		stdout, stderr string
		exit           Exit
	}{
		{"streams apart", Spec{Argv: sh("echo out; echo err >&2")}, "out\n", "err\n", Exit{}},
		{"exit code", Spec{Argv: sh("exit 37")}, "", "", Exit{Code: 37}},
		{"signal", Spec{Argv: sh("kill -TERM $$")}, "", "", Exit{Code: 128 + 15, Signal: "TERM"}},
		{"argv is not parsed", Spec{Argv: []string{"printf", "%s|", "a b", "$HOME", "*", ";", ""}}, "a b|$HOME|*|;||", "", Exit{}},
		{"directory", Spec{Argv: []string{"pwd"}, Dir: "/"}, "/\n", "", Exit{}},
		{"no input", Spec{Argv: []string{"cat"}}, "", "", Exit{}},
		{"env over the clean one", Spec{Argv: sh("echo $PATH,$A"), Env: [][2]string{{"PATH", "/bin"}, {"A", "1"}}}, "/bin,1\n", "", Exit{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, tc.spec)
			stdout, stderr := readAll(t, p)
			if stdout != tc.stdout || stderr != tc.stderr || p.Exit() != tc.exit {
				t.Errorf("got %q %q %+v, want %q %q %+v", stdout, stderr, p.Exit(), tc.stdout, tc.stderr, tc.exit)
			}
		})
	}
}

// Nothing of the agent's environment gets through but the language.
func TestCleanEnvironment(t *testing.T) {
	t.Setenv("TUCDESK_CANARY", "secret")
	t.Setenv("LD_LIBRARY_PATH", "/tmp/evil")
	t.Setenv("LC_TIME", "C")
	p := start(t, Spec{Argv: []string{"env"}})
	stdout, _ := readAll(t, p)
	var names []string
	for line := range strings.Lines(stdout) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	allowed := []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "PWD", "_", "SHLVL"}
	for _, n := range names {
		if !slices.Contains(allowed, n) && !strings.HasPrefix(n, "LC_") {
			t.Errorf("%s reached the program", n)
		}
	}
	if !slices.Contains(names, "LC_TIME") || !strings.Contains(stdout, "PATH="+Path+"\n") {
		t.Errorf("%s", stdout)
	}
}

func TestInput(t *testing.T) {
	p := start(t, Spec{Argv: []string{"wc", "-c"}, Stdin: true})
	go func() {
		p.Stdin.Write(make([]byte, 1<<20))
		p.CloseInput()
	}()
	stdout, _ := readAll(t, p)
	if strings.TrimSpace(stdout) != strconv.Itoa(1<<20) {
		t.Errorf("%q", stdout)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		spec Spec
		want error
	}{
		{Spec{Argv: []string{"no-such-program-here"}}, ErrNoProgram},
		{Spec{Argv: []string{""}}, ErrNoProgram},
		{Spec{Argv: []string{".."}}, ErrNoProgram},
		{Spec{Argv: []string{dir}}, ErrNoProgram},
		{Spec{Argv: []string{plain}}, ErrNoProgram},
		{Spec{Argv: []string{"./plain"}, Dir: dir}, ErrNoProgram},
		{Spec{Argv: []string{"true"}, Dir: filepath.Join(dir, "gone")}, ErrNoDir},
		{Spec{Argv: []string{"true"}, Dir: plain}, ErrNoDir},
		{Spec{Argv: []string{"true"}, Dir: "relative"}, ErrNoDir},
	} {
		if p, err := Start(tc.spec, self(t)); !errors.Is(err, tc.want) {
			t.Errorf("%q in %q: %v", tc.spec.Argv, tc.spec.Dir, err)
			if p != nil {
				p.Close()
			}
		}
	}
	if _, err := Lookup("no-such-user-here"); !errors.Is(err, ErrNoUser) {
		t.Errorf("%v", err)
	}
	if os.Geteuid() != 0 {
		if _, err := Lookup("root"); !errors.Is(err, ErrNotRoot) {
			t.Errorf("%v", err)
		}
	}
}

// As root, another user's rights and groups are really taken.
func TestAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "needs root: run the tests as root in a container, with `docker run -v .:/src -w /src golang:1.26 go test ./agent/...`")
	}
	u, err := Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Argv: []string{"sh", "-c", "id -un; id -u -r; id -G; cat /etc/shadow"}}, u)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stdout, stderr := readAll(t, p)
	lines := strings.Split(stdout, "\n")
	if lines[0] != "nobody" || lines[1] == "0" || slices.Contains(strings.Fields(lines[2]), "0") || stderr == "" {
		t.Errorf("%q %q", stdout, stderr)
	}
	// On a terminal, too.
	p, err = Start(Spec{Argv: []string{"sh", "-c", "id -un >/dev/tty; stat -c %U $(tty)"}, TTY: &TTY{Size: Size{80, 24}}}, u)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if out, _ := readAll(t, p); out != "nobody\r\nnobody\r\n" {
		t.Errorf("%q", out)
	}
}

func TestTerminal(t *testing.T) {
	p := start(t, Spec{
		Argv: []string{"sh", "-c", `tty >/dev/null && stty size; echo $TERM; read x; stty size; echo "got $x"`},
		TTY:  &TTY{Size{80, 24}, "xterm-256color"},
	})
	var seen bytes.Buffer
	until := func(want string) {
		t.Helper()
		buf := make([]byte, 256)
		for !strings.Contains(seen.String(), want) {
			n, err := p.Stdout.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("%v before %q: %q", err, want, seen.String())
			}
		}
	}
	until("24 80\r\nxterm-256color\r\n")
	if err := p.Resize(Size{}); err != nil { // nothing, and no crash
		t.Fatal(err)
	}
	if err := p.Resize(Size{132, 43}); err != nil {
		t.Fatal(err)
	}
	p.Stdin.Write([]byte("hello\r"))
	until("43 132")
	until("got hello")
	if e := p.Exit(); e != (Exit{}) {
		t.Errorf("%+v", e)
	}
}

func TestLoginShellAndSignals(t *testing.T) {
	u := self(t)
	u.shell = "/bin/sh"
	p, err := Start(Spec{TTY: &TTY{Size{80, 24}, "dumb"}}, u)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Stdin.Write([]byte("echo [$0]; PS1=; sleep 1000\r"))
	var seen bytes.Buffer
	buf := make([]byte, 256)
	for !strings.Contains(seen.String(), "[-sh]") {
		n, err := p.Stdout.Read(buf)
		if err != nil {
			t.Fatalf("%v: %q", err, seen.String())
		}
		seen.Write(buf[:n])
	}
	go io.Copy(io.Discard, p.Stdout)
	// The sleep, in the foreground, gets the signal; the shell goes on.
	for foreground(p.pty) == p.cmd.Process.Pid {
		time.Sleep(time.Millisecond)
	}
	if err := p.Signal("INT"); err != nil {
		t.Fatal(err)
	}
	p.Stdin.Write([]byte("exit 9\r"))
	if e := p.Exit(); e.Code != 9 {
		t.Errorf("%+v", e)
	}
	if err := p.Signal("NOPE"); !errors.Is(err, ErrSignal) {
		t.Errorf("%v", err)
	}
	if err := p.Signal("TERM"); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// What a program leaves behind in its session dies with it.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, spec := range map[string]Spec{
		"exec": {Argv: []string{"sh", "-c", "trap '' HUP; sleep 1000 & echo $!"}},
		"tty":  {Argv: []string{"sh", "-c", "set -m; trap '' HUP; sleep 1000 & echo $!"}, TTY: &TTY{Size: Size{80, 24}}},
	} {
		if name == "tty" && runtime.GOOS != "linux" {
			continue // see doc.go
		}
		t.Run(name, func(t *testing.T) {
			p := start(t, spec)
			line := make([]byte, 32)
			n, err := p.Stdout.Read(line)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
			if err != nil {
				t.Fatal(err)
			}
			p.Exit()
			readAll(t, p)
			waitGone(t, pid)
		})
	}
}

func TestKillEndsTheSession(t *testing.T) {
	for _, grace := range []time.Duration{0, 50 * time.Millisecond} {
		p := start(t, Spec{Argv: []string{"sh", "-c", "trap '' HUP TERM INT; sleep 1000 & echo $!; wait; wait; wait; sleep 1000"}})
		line := make([]byte, 32)
		n, err := p.Stdout.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(line[:n])))
		p.Kill(grace)
		if e := p.Exit(); e.Signal != "KILL" {
			t.Errorf("grace %v: %+v", grace, e)
		}
		waitGone(t, pid)
	}
}

// A gentle program gets to clean up.
func TestKillSaysGoodbyeFirst(t *testing.T) {
	p := start(t, Spec{Argv: []string{"sh", "-c", "trap 'echo bye; exit 3' HUP; echo ready; while :; do sleep 0.01; done"}})
	ready := make([]byte, 6)
	if _, err := io.ReadFull(p.Stdout, ready); err != nil {
		t.Fatal(err)
	}
	p.Kill(time.Minute)
	stdout, _ := readAll(t, p)
	if stdout != "bye\n" || p.Exit().Code != 3 {
		t.Errorf("%q %+v", stdout, p.Exit())
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); unix.Kill(pid, 0) == nil; {
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
			return // dead, and not reaped by this container's init
		}
		if time.Now().After(until) {
			t.Fatalf("process %d still runs", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A demo's programs are at home where its person is, and nobody else's move.
func TestAtHome(t *testing.T) {
	me, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/elsewhere")
	if got := me.AtHome().home; got != "/elsewhere" {
		t.Errorf("at home in %q", got)
	}
	for _, home := range []string{"", "relative"} {
		t.Setenv("HOME", home)
		if got := me.AtHome(); got.home != me.home {
			t.Errorf("HOME=%q: at home in %q", home, got.home)
		}
	}
	t.Setenv("HOME", "/elsewhere")
	if other := (User{home: "/theirs"}); other.AtHome().home != "/theirs" {
		t.Error("another user's home is that of this process")
	}
}
