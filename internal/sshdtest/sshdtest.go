// Package sshdtest is a real sshd for tests: one process for each connection, as inetd
// does, so that nothing stays.
//
// No program imports it.
package sshdtest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// Keys makes Ed25519 key pairs in dir, by their names. Where OpenSSH's client is missing
// the test is skipped aloud.
func Keys(t testing.TB, dir string, names ...string) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		skiptest.Missing(t, "ssh-keygen is missing; install it: apt-get install openssh-client")
	}
	for _, name := range names {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// Listen has command, an sshd with -i, serve each connection to a port on loopback, until
// the test ends. It gives the port.
func Listen(t testing.TB, command func() *exec.Cmd) string {
	t.Helper()
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // it insists
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				return
			}
			cmd := command()
			cmd.Stdin, cmd.Stdout = f, f
			if cmd.Start() == nil {
				go func() { _ = cmd.Wait() }()
			}
			f.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
