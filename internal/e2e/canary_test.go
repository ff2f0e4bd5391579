package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestServersSeeNothing runs commands whose arguments, input and output hold
// canaries, and looks for these in everything that passed the rendezvous and the
// relay, and in everything that the servers have on disk afterwards. The relay is
// the way that all of it takes: on a direct path there would be nothing to see.
func TestServersSeeNothing(t *testing.T) {
	const (
		argument = "canary-argument-5d1f0a"
		output   = "canary-output-" // and what the host computes: 41*2+1
		input    = "canary-input-77aa31"
		reason   = "canary-reason-90be12"
	)
	d := startDemo(t, "")
	got := d.must(t, "alice", "exec", "--path", "relay", "--yes", "--reason", reason, "web-1", "--", "sh", "-c", "echo "+output+"$((41*2+1))", argument)
	if got != output+"83\n" {
		t.Fatalf("output %q", got)
	}
	out, errs, code := run(t, []string{"TUCDESK_HOME=" + d.Homes["alice"]}, input, "exec", "--path", "relay", "web-1", "--", "cat")
	if out != input || code != 0 {
		t.Fatalf("cat: %q %q exit %d", out, errs, code)
	}
	held := make(chan int, 1)
	go func() {
		_, _, code := d.command(t, "alice", "exec", "--path", "relay", "--reason", reason, "web-1", "--", "rm", "-rf", filepath.Join(d.dir, "scratch-"+argument))
		held <- code
	}()
	d.decide(t, "bob", reason, "approve", "--yes")
	if code := <-held; code != 0 {
		t.Fatalf("the approved command: exit %d", code)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed.Len() < 10_000 {
		t.Fatalf("only %d bytes were seen to pass: the tap is not where it should be", d.passed.Len())
	}
	look := func(where string, b []byte) {
		for _, canary := range []string{argument, output + "83", input, reason} {
			for form, needle := range map[string][]byte{
				"plain":  []byte(canary),
				"hex":    []byte(hex.EncodeToString([]byte(canary))),
				"base64": []byte(base64.RawStdEncoding.EncodeToString([]byte(canary))[3:20]), // any alignment is another needle
			} {
				if bytes.Contains(b, needle) {
					t.Errorf("%s holds %s (%s)", where, canary, form)
				}
			}
		}
	}
	look("what passed the servers", d.passed.Bytes())
	files := 0
	err := filepath.WalkDir(d.Data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		look(path, b)
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files of the servers were read: %v", files, err)
	}
	// The agents' disks hold no command either: ledger and outbox are sealed.
	err = filepath.WalkDir(filepath.Join(d.dir, "agents"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
