package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/skiptest"
	"github.com/tucdesk/tucdesk/internal/sshdtest"
)

// sshd is an OpenSSH server on loopback, one process for each connection, as inetd has
// it. It gives its port and a key that opens root's account.
func sshd(t *testing.T) (port, key string) {
	t.Helper()
	const server = "/usr/sbin/sshd"
	if _, err := os.Stat(server); err != nil {
		skiptest.Missing(t, "sshd is missing; install it: apt-get install openssh-server")
	}
	dir := t.TempDir()
	sshdtest.Keys(t, dir, "host", "key")
	port = sshdtest.Listen(t, func() *exec.Cmd {
		return exec.Command(server, "-i", "-f", "/dev/null", "-h", filepath.Join(dir, "host"),
			"-o", "AuthorizedKeysFile="+filepath.Join(dir, "key.pub"), "-o", "StrictModes=no", "-o", "PermitRootLogin=yes")
	})
	return port, filepath.Join(dir, "key")
}

// OpenSSH reaches a machine's sshd by `tucdesk proxy`, which says to everybody that this
// is neither gated nor recorded.
func testSSH(t *testing.T, d *demo) {
	port, key := sshd(t)
	const ungated = "not gated, not recorded"
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", "/dev/null", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "ProxyCommand="+program+" proxy %h --to localhost:"+port, "root@web-1", "echo through; cat")
	cmd.Env = append(os.Environ(), "TUCDESK_HOME="+d.Homes["alice"])
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		skiptest.Missing(t, "ssh: %v; install it: apt-get install openssh-client", err)
	}
	first := make([]byte, len("through\n"))
	if _, err := io.ReadFull(out, first); err != nil || string(first) != "through\n" {
		cmd.Wait()
		t.Fatalf("%q %v: %s", first, err, &stderr)
	}
	await(t, "the proxy in the list", func() bool {
		rows := d.must(t, "alice", "ps", "--json")
		return strings.Contains(rows, `"kind": "proxy"`) && strings.Contains(rows, ungated)
	})
	io.WriteString(in, "and back")
	in.Close()
	if back, err := io.ReadAll(out); err != nil || string(back) != "and back" {
		t.Errorf("%q %v", back, err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "localhost:"+port+" by web-1: "+ungated) {
		t.Errorf("%v: %s", err, &stderr)
	}
	await(t, "the proxy in the log", func() bool {
		log := d.must(t, "dora", "audit", "tail", "-n", "100")
		return strings.Contains(log, "localhost:"+port) && strings.Contains(log, ungated)
	})
}
