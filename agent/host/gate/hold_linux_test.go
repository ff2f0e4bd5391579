package gate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// hold holds one program by name, and lets a test decide.
type hold struct {
	judge
	asked chan *Program
	say   chan error
	gone  chan struct{} // one for each that was not waited for
}

func newHold(name string) *hold {
	h := &hold{asked: make(chan *Program, 64), say: make(chan error), gone: make(chan struct{}, 64)}
	h.judge.judge = func(p *Program) Answer {
		if forbid(name)(p) == Refuse {
			return Hold
		}
		return Start
	}
	h.decide = func(ctx context.Context, p *Program) error {
		h.asked <- p
		select {
		case err := <-h.say:
			return err
		case <-ctx.Done():
			h.gone <- struct{}{}
			return ctx.Err()
		}
	}
	return h
}

// within waits for what should come soon.
func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("it did not come")
	}
	return v
}

// begin starts a script with a terminal of its own.
func begin(t *testing.T, g *Gate, j Judge, as *syscall.Credential, dir, script string) (*Session, *exec.Cmd, *os.File) {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if err := theirs.Chmod(0o666); err != nil {
		t.Fatal(err)
	}
	cmd := command(as, dir, script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr.Setctty = true
	s, err := g.Start(cmd, j)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Process.Kill()
		s.Close()
		ours.Close()
	})
	return s, cmd, ours
}

func TestHold(t *testing.T) {
	g := newGate(t)
	for _, tc := range []struct {
		name    string
		say     error
		outcome Outcome
		ran     bool
	}{
		{"approved", nil, Started, true},
		{"denied", errors.New("bob said no"), Refused, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := openDir(t)
			h := newHold("touch")
			s, cmd, _ := begin(t, g, h, users["user"], dir, "touch ran; touch never 2>/dev/null; exit 7")
			p := within(t, h.asked)
			if exists(filepath.Join(dir, "ran")) || p.Program().Path != "/usr/bin/touch" || strings.Join(p.Argv, " ") != "touch ran" || p.Dir != dir {
				t.Errorf("asked about %+v", p.Claim)
			}
			h.say <- tc.say
			within(t, h.asked)
			h.say <- errors.New("once is enough")
			await(t, cmd)
			s.Close()
			if exists(filepath.Join(dir, "ran")) != tc.ran || exists(filepath.Join(dir, "never")) || cmd.ProcessState.ExitCode() != 7 {
				t.Errorf("ran %v, exit %d", exists(filepath.Join(dir, "ran")), cmd.ProcessState.ExitCode())
			}
			if h.ends[0].outcome != tc.outcome {
				h.log(t)
			}
		})
	}
}

// Whoever waits may stop to: with Ctrl-C, by its end, with its session.
func TestHoldIsCanceled(t *testing.T) {
	g := newGate(t)
	for name, tc := range map[string]struct {
		script string
		cancel func(t *testing.T, s *Session, cmd *exec.Cmd, tty *os.File, p *Program)
	}{
		"Ctrl-C": {"touch ran", func(t *testing.T, s *Session, cmd *exec.Cmd, tty *os.File, p *Program) {
			if _, err := tty.Write([]byte{3}); err != nil {
				t.Fatal(err)
			}
		}},
		"a caught signal": {`perl -e '$SIG{INT} = sub { exit 3 }; exec "/usr/bin/touch", "ran"; exit 4'`, func(t *testing.T, s *Session, cmd *exec.Cmd, tty *os.File, p *Program) {
			unix.Kill(p.TID, unix.SIGINT)
		}},
		"its end": {"touch ran", func(t *testing.T, s *Session, cmd *exec.Cmd, tty *os.File, p *Program) {
			unix.Kill(p.TID, unix.SIGKILL)
		}},
		"the session's end": {"touch ran", func(t *testing.T, s *Session, cmd *exec.Cmd, tty *os.File, p *Program) {
			s.Close()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openDir(t)
			h := newHold("touch")
			s, cmd, tty := begin(t, g, h, users["user"], dir, tc.script+"; true")
			p := within(t, h.asked)
			tc.cancel(t, s, cmd, tty, p)
			within(t, h.gone)
			await(t, cmd)
			s.Close()
			if exists(filepath.Join(dir, "ran")) || h.count(Canceled) != 1 {
				t.Errorf("ran %v", exists(filepath.Join(dir, "ran")))
				h.log(t)
			}
		})
	}
}

// What changes while it waits does not start.
func TestHeldMustStayTheSame(t *testing.T) {
	g := newGate(t)
	for name, tc := range map[string]struct {
		change string
		ran    bool
	}{
		"nothing":                       {":", true},
		"another file":                  {"cp /bin/true other; mv other held", false},
		"written to":                    {"echo >>held", false},
		"rewritten, with its old times": {"cp -p held x; cat x >held; touch -r x held", false},
		"renamed and back":              {"mv held x; mv x held", false},
		"a script's interpreter":        {"rm -f interpreter; cp /bin/dash interpreter", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openDir(t)
			h := newHold("held")
			prepare := "cp /bin/dash interpreter; printf '#!%s\\necho >ran\\n' $PWD/interpreter >held; chmod +x held; "
			s, cmd, _ := begin(t, g, h, nil, dir, prepare+"./held; true")
			within(t, h.asked)
			if out, err := exec.Command("sh", "-c", "cd "+dir+"; "+tc.change).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			h.say <- nil
			await(t, cmd)
			s.Close()
			if ran := exists(filepath.Join(dir, "ran")); ran != tc.ran {
				t.Errorf("ran %v", ran)
				h.log(t)
			}
		})
	}
}

// A session holds so many and no more; others do not wait for them.
func TestHoldsAreBounded(t *testing.T) {
	g := newGate(t)
	h := newHold("touch")
	s, _, tty := begin(t, g, h, nil, openDir(t), "for i in $(seq "+strconv.Itoa(MaxHolds)+"); do touch x & done; read x; touch one-more; echo exit $?; read x")
	for range MaxHolds {
		within(t, h.asked)
	}
	other := &judge{judge: func(*Program) Answer { return Start }}
	if out, exit := run(t, g, other, command(nil, "/", "/bin/echo free")); out != "free" || exit != 0 {
		t.Errorf("another session: %q %d", out, exit)
	}
	if _, err := tty.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(tty); lines.Scan() && lines.Text() != "exit 126"; {
	}
	if len(h.asked) != 0 || h.count(Refused) != 1 {
		t.Errorf("one more than %d: asked %d", MaxHolds, len(h.asked))
		h.log(t)
	}
	s.Close()
	for range MaxHolds {
		within(t, h.gone)
	}
}

// If the agent is killed, the session starts no more programs, and what it holds ends.
func TestAgentIsKilled(t *testing.T) {
	newGate(t)
	dir := openDir(t)
	agent := exec.Command("/proc/self/exe", agentArg, dir)
	agent.Stderr = os.Stderr
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 6)
	if _, err := io.ReadFull(out, first); err != nil || string(first) != "ready\n" {
		t.Fatalf("%q %v", first, err)
	}
	agent.Process.Kill()
	agent.Wait()
	for until := time.Now().Add(time.Minute); !exists(filepath.Join(dir, "end")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the session's shell did not go on")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "end"))
	if err != nil || exists(filepath.Join(dir, "held")) || exists(filepath.Join(dir, "later")) {
		t.Errorf("held %v, later %v: %v", exists(filepath.Join(dir, "held")), exists(filepath.Join(dir, "later")), err)
	}
	for line := range strings.Lines(string(b)) {
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || n == 0 {
			t.Errorf("a program started after the agent's end: %q", b)
		}
	}
}

// beKilled is an agent with one session, which holds one program and waits.
func beKilled(dir string) error {
	g, err := New(shimArg)
	if err != nil {
		return err
	}
	h := newHold("touch")
	cmd := command(nil, dir, `touch held & wait $!; s=$?; echo $s >$D/x; /bin/touch later; echo $? >>$D/x; /bin/true; echo $? >>$D/x; exec 3<$D/x; while read -u 3 l; do echo $l; done >$D/end`)
	cmd.Env = append(cmd.Env, "D="+dir)
	if _, err := g.Start(cmd, h); err != nil {
		return err
	}
	<-h.asked
	os.Stdout.WriteString("ready\n")
	select {}
}
