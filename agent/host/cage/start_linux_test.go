package cage

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// probe is the argument with which this program is a network half that tries what
// one must not be able to do.
const probe = "probe-of-the-network-half"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == probe {
		if err := tryAll(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tryAll says what was possible and must not be, and what was not and must be.
func tryAll(dir string) error {
	var wrong []error
	must := func(can bool, what string, err error) {
		if (err == nil) != can {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, errors.Join(err, errors.New("can: "+fmt.Sprint(err == nil)))))
		}
	}
	must(true, "harden", harden())
	_, err := os.ReadFile("/etc/resolv.conf")
	if !errors.Is(err, os.ErrNotExist) {
		must(true, "read the resolver's configuration", err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(true, "a UDP socket", err)
	if err == nil {
		udp.Close()
	}
	_, err = os.ReadFile(filepath.Join(dir, "identity.key"))
	must(false, "read a key", err)
	_, err = os.ReadDir(dir)
	must(false, "list the agent's folder", err)
	must(false, "write a file", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	must(false, "write in the world's folder", os.WriteFile(filepath.Join(os.TempDir(), "new-of-"+probe), nil, 0o600))
	must(false, "run a program", exec.Command("/bin/true").Run())
	must(false, "become root", syscall.Setuid(0))
	must(false, "trace its parent", syscall.PtraceAttach(os.Getppid()))
	_, err = os.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid()))
	must(false, "read its parent's memory", err)
	for fd := Socket + 1; fd < 64; fd++ {
		if kind, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && kind&unix.FD_CLOEXEC == 0 {
			wrong = append(wrong, fmt.Errorf("descriptor %d was inherited", fd))
		}
	}
	return errors.Join(wrong...)
}

// What a network half can do with the machine that it runs on, tried by one.
func TestNetworkHalfIsBound(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		skiptest.Missing(t, "this kernel has no Landlock; run this on Linux 5.13 or newer, booted with lsm=…,landlock")
	}
	dir := t.TempDir()
	// Nothing but the cage is in the way.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.key"), []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Open(os.DevNull) // any file does
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	var said lines
	p := Program{Args: []string{probe, dir}, User: "nobody", Logger: slog.New(slog.NewTextHandler(&said, nil))}
	wait, kill, err := p.Start(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer kill()
	if err := wait(); err != nil {
		said.await()
		t.Errorf("%v\n%s", err, said.String())
	}
	// This process is as free as before.
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 0 {
		t.Errorf("this process can't gain rights any more: %d %v", on, err)
	}
	for range 64 {
		if out, err := exec.Command("/bin/sh", "-c", "grep NoNewPrivs /proc/self/status").Output(); err != nil || strings.Fields(string(out))[1] != "0" {
			t.Fatalf("a program of this process: %q %v", out, err)
		}
	}
}

// Whom it runs as is never root, and never nobody that is not there.
func TestUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can choose; run this as root")
	}
	for user, ok := range map[string]bool{"nobody": true, "root": false, "": false, "no-such-user": false} {
		if err := (Program{User: user}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", user, err)
		}
	}
	if _, err := Enter(); !errors.Is(err, ErrRoot) {
		t.Errorf("as root: %v", err)
	}
}
