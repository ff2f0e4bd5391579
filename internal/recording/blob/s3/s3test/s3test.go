// Package s3test runs a real S3 server, versitygw, for tests. It serves tests and
// must not be imported by a program.
package s3test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
)

const (
	version = "v1.8.0"
	module  = "github.com/versity/versitygw/cmd/versitygw@" + version
	keyID   = "test-key-id"
	secret  = "test-key-secret"
	bucket  = "recordings"
	// startIn bounds how long the server may take to listen.
	startIn = 30 * time.Second
)

// Start runs versitygw with one empty bucket until the test ends, and tells how to
// reach it. Where the program is missing the test is skipped with the command
// that installs it; under TUCDESK_TEST_REQUIRE=all it is built, which takes some
// minutes once.
func Start(t testing.TB) s3.Config {
	t.Helper()
	program, err := find(t.Context())
	if err != nil {
		if os.Getenv("TUCDESK_TEST_REQUIRE") == "all" {
			t.Fatalf("versitygw: %v", err)
		}
		t.Skipf("versitygw is missing: go install %s", module)
	}
	dir := t.TempDir()
	for _, d := range []string{"data/" + bucket, "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	addr := freeAddr(t)
	cmd := exec.Command(program, "--port", addr, "--quiet", "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + keyID, "ROOT_SECRET_KEY=" + secret, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	deadline := time.Now().Add(startIn)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s3.Config{Endpoint: "http://" + addr, Bucket: bucket, KeyID: keyID, Secret: secret}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// find gives the program: the one that TUCDESK_VERSITYGW names, that PATH has, or
// that was built into the user's cache folder before.
func find(ctx context.Context) (string, error) {
	if p := os.Getenv("TUCDESK_VERSITYGW"); p != "" {
		return p, nil
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tucdesk-test", "versitygw-"+version)
	p := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(p); err == nil {
		return p, nil
	}
	if os.Getenv("TUCDESK_TEST_REQUIRE") != "all" {
		return "", errors.New("not installed")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, "lock")).Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(p); err == nil {
		return p, nil
	}
	cmd := exec.CommandContext(ctx, "go", "install", module)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(err.Error() + ": " + string(out))
	}
	return p, nil
}
