// Package pgtest gives tests a PostgreSQL of their own: a cluster made with
// initdb in a folder under the temporary one, reachable over a socket in that
// folder only, and gone with the test. Where PostgreSQL is not installed the
// test is skipped aloud, or fails if TUCDESK_TEST_REQUIRE is "all".
//
// The cluster sorts text by the rules of a language and not by bytes, has roles
// as a site has them (an owner, a daemon, neither of them a superuser), and syncs
// to disk as in production.
//
// It serves tests, on Unix. It must not be imported by a program, and imports
// nothing of this module.
package pgtest

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tucdesk/tucdesk/internal/skiptest"
)

const install = "apt-get install postgresql"

// Roles of a cluster. Admin is its superuser; the others are made by Start.
const (
	Admin  = "postgres"
	Owner  = "tucdesk_owner"  // owns the databases
	Daemon = "tucdesk_daemon" // what the schema is granted to
	Apid   = "apid"           // a member of Daemon; daemons sign in with it
)

// A Cluster is a PostgreSQL server of a test's own. Its methods are safe for
// concurrent use, but for Kill and Restart.
type Cluster struct {
	bin, dir string
	as       *syscall.Credential // nil: as who runs the test

	server *exec.Cmd
	gone   <-chan struct{}
	leash  io.Closer // the server ends when this is closed, also by the end of the test's process

	mu        sync.Mutex
	databases int
}

var shared struct {
	sync.Mutex
	cluster *Cluster
}

// Shared gives the one cluster of the test's process, for tests that want a
// database and leave the server alone. It ends with the process.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		shared.cluster = start(t)
	}
	return shared.cluster
}

// Start makes a cluster for one test, which may kill it.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c := start(t)
	t.Cleanup(c.stop)
	return c
}

func start(t testing.TB) *Cluster {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		absent(t, err)
	}
	c := &Cluster{bin: bin}
	if c.as, err = credential(); err != nil {
		absent(t, err)
	}
	// Not t.TempDir: that lies in a folder which only this user can enter.
	if c.dir, err = os.MkdirTemp("", "tucdesk-pg-"); err != nil {
		t.Fatal(err)
	}
	if c.as != nil {
		if err := os.Chown(c.dir, int(c.as.Uid), int(c.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{
		"-D", c.data(), "-U", Admin, "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions",
		"--locale=C", "--locale-provider=icu", "--icu-locale=en",
	}
	if out, err := c.command(filepath.Join(c.bin, "initdb"), args...).CombinedOutput(); err != nil {
		os.RemoveAll(c.dir)
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	c.Restart(t)
	for _, q := range []string{
		"CREATE ROLE " + Owner + " LOGIN", "CREATE ROLE " + Daemon + " NOLOGIN", "CREATE ROLE " + Apid + " LOGIN IN ROLE " + Daemon,
	} {
		c.Exec(t, c.URL(Admin, "postgres"), q)
	}
	return c
}

// Database makes an empty database, owned by Owner, and gives its name.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	c.mu.Lock()
	c.databases++
	name := fmt.Sprint("test_", c.databases)
	c.mu.Unlock()
	c.Exec(t, c.URL(Admin, "postgres"), "CREATE DATABASE "+name+" OWNER "+Owner)
	return name
}

// URL gives the address of a database for a role.
func (c *Cluster) URL(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + database, RawQuery: url.Values{"host": {c.dir}}.Encode()}
	return u.String()
}

// Connect gives a connection of the test's own.
func (c *Cluster) Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs one statement on a connection of its own.
func (c *Cluster) Exec(t testing.TB, url, query string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err == nil {
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), query)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Kill ends every process of the server at once, as kill -9 does.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	pid := c.server.Process.Pid
	// The postmaster first: it would mend what its children leave behind.
	for _, p := range append([]int{pid}, children(pid)...) {
		if err := syscall.Kill(p, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
	<-c.gone
}

// Restart starts a server that does not run, and waits until it answers.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	logFile, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	deadline := time.Now().Add(time.Minute)
	for {
		gone := c.run(t, logFile)
		for alive := true; alive; {
			conn, err := pgx.Connect(context.Background(), c.URL(Admin, "postgres"))
			if err == nil {
				conn.Close(context.Background())
				return
			}
			if time.Now().After(deadline) {
				said, _ := os.ReadFile(c.log())
				t.Fatalf("the server does not answer: %v\n%s", err, said[max(0, len(said)-4<<10):])
			}
			select {
			case <-gone: // what was killed had not yet left the shared memory
				alive = false
			case <-time.After(20 * time.Millisecond): // it is another process
			}
		}
	}
}

// run starts the server. gone closes when it has ended.
func (c *Cluster) run(t testing.TB, logFile *os.File) (gone <-chan struct{}) {
	t.Helper()
	// The shell becomes the server. What it leaves behind ends the server, and
	// removes what it kept, when the test's process is gone, however that ended.
	const leash = `exec 3<&0 </dev/null
		(
			read -r _ <&3
			kill -QUIT $$
			for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ && sleep 0.1; done
			rm -rf "$3"
		) 2>/dev/null &
		exec 3<&-
		exec "$1" -D "$2" -k "$3" -c listen_addresses= -c max_connections=60 -c shared_buffers=16MB`
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := c.command("/bin/sh", "-c", leash, "sh", filepath.Join(c.bin, "postgres"), c.data(), c.dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, logFile, logFile
	if err := cmd.Start(); err != nil {
		w.Close()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()                                      // it ends by a signal
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind has nothing to do any more
		w.Close()
		close(ended)
	}()
	c.server, c.leash, c.gone = cmd, w, ended
	return ended
}

func (c *Cluster) stop() {
	c.leash.Close()
	<-c.gone
	os.RemoveAll(c.dir)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }
func (c *Cluster) log() string  { return filepath.Join(c.dir, "log") }

// children lists a process's children.
func children(pid int) (pids []int) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil // they end by themselves when they see that it is gone
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(f[0]); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// command makes a command that runs as a user whom PostgreSQL accepts.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PG") }), "LC_ALL=C")
	// A signal from the terminal is for the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as}
	return cmd
}

// binaries finds the folder of the newest server that is installed: Debian keeps
// it off the PATH.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

// credential gives a user other than root, whom PostgreSQL refuses; nil where
// the test is not run by root.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func absent(t testing.TB, err error) {
	t.Helper()
	skiptest.Missing(t, "PostgreSQL is needed (%v): %s", err, install)
}
