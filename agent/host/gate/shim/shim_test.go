//go:build linux

package shim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

const shimArg = "shim-of-the-exec-gate"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == shimArg {
		fmt.Fprintln(os.Stderr, Main())
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

// answer serves a listener with one answer for all, until nobody can ask: errno, or 0
// to let the call go on (seccomp_unotify(2)).
func answer(listener int, errno unix.Errno) {
	defer unix.Close(listener)
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return
		}
		var asked [80]byte
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); e != 0 {
			continue
		}
		var say [24]byte
		copy(say[:8], asked[:8])
		if errno == 0 {
			say[20] = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		binary.NativeEndian.PutUint32(say[16:], uint32(-int32(errno)))
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&say)))
	}
}

// launched starts cmd through the shim and gives what it said, and how Run went.
func launched(t *testing.T, cmd *exec.Cmd, errno unix.Errno) (output string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	l, err := Wrap(cmd, shimArg)
	if err != nil {
		return "", err
	}
	defer l.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listener, _, err := l.Listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); answer(listener, errno) }()
	err = l.Run()
	_ = cmd.Wait()
	<-done
	return out.String(), err
}

// The program is who it should be, where it should be, with what it should have, under
// the filter, and nothing of the shim's is left in it.
func TestLaunch(t *testing.T) {
	needsRoot(t)
	cmd := exec.Command("/bin/sh", "-c", `id -u; id -g; id -G; pwd; env | grep -v '^PWD\|^_\|^SHLVL\|^OLDPWD'; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; ls -l /proc/self/fd | grep -c 'socket:.*\|seccomp.*'; echo $0`, "zero")
	cmd.Dir, cmd.Env = "/usr", []string{"A=1", "LD_PRELOAD=/nowhere.so"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65533, Groups: []uint32{65532}}}
	out, err := launched(t, cmd, 0)
	var lines []string
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "nowhere.so' from LD_PRELOAD") { // said by each program: they have the variable
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	want := "65534|65533|65533 65532|/usr|A=1|LD_PRELOAD=/nowhere.so|NoNewPrivs: 0|Seccomp: 2|0|zero"
	if err != nil || strings.Join(lines, "|") != want {
		t.Errorf("%v\n%s, want\n%s", err, strings.Join(lines, "|"), want)
	}
}

// What is refused, or can't be, says so with the kernel's number, and nothing runs.
func TestNoLaunch(t *testing.T) {
	needsRoot(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for name, tc := range map[string]struct {
		cmd    *exec.Cmd
		answer unix.Errno
		want   syscall.Errno
	}{
		"refused":      {exec.Command("/bin/echo", "ran"), unix.EACCES, syscall.EACCES},
		"no such file": {&exec.Cmd{Path: "/nowhere", Args: []string{"x"}}, 0, syscall.ENOENT},
		"no folder":    {&exec.Cmd{Path: "/bin/echo", Args: []string{"echo", "ran"}, Dir: "/nowhere"}, 0, syscall.ENOENT},
		"not theirs":   {&exec.Cmd{Path: "/bin/echo", Args: []string{"echo", "ran"}, Dir: "/root", SysProcAttr: nobody}, 0, syscall.EACCES},
	} {
		out, err := launched(t, tc.cmd, tc.answer)
		if !errors.Is(err, ErrShim) || !errors.Is(err, tc.want) || strings.Contains(out, "ran") {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
	cmd := exec.Command("/bin/true")
	cmd.ExtraFiles = []*os.File{os.Stdin}
	if _, err := Wrap(cmd, shimArg); !errors.Is(err, ErrShim) {
		t.Errorf("a descriptor to inherit: %v", err)
	}
}

// A shim whose agent goes away, before it has said what or before it has said when,
// runs nothing.
func TestAgentGoesAway(t *testing.T) {
	needsRoot(t)
	for _, listen := range []bool{false, true} {
		var out bytes.Buffer
		cmd := exec.Command("/bin/echo", "ran")
		cmd.Stdout = &out
		l, err := Wrap(cmd, shimArg)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if listen {
			fd, _, err := l.Listen()
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
		}
		l.Close()
		if err := cmd.Wait(); err == nil || out.Len() > 0 {
			t.Errorf("listened %v: %v, %q", listen, err, out.String())
		}
	}
}

// Whoever starts the shim by hand gets an error, and no program.
func TestByHand(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", shimArg)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no word from the agent") {
		t.Errorf("%v: %s", err, out)
	}
}
