package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPlain takes the tour by numbers, through pipes: alice runs something and asks
// for what is held, bob approves it by its number, and it runs by itself; she runs one
// command on two machines, and dora hears the recording of it.
func TestPlain(t *testing.T) {
	d := startDemo(t, "")
	plain := func(persona string, lines ...string) *exec.Cmd {
		cmd := exec.Command(program, "--plain")
		cmd.Env = append(os.Environ(), "TUCDESK_HOME="+d.Homes[persona])
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		return cmd
	}
	victim := t.TempDir() + "/victim"
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	alice := plain("alice", "2", "web-1", "1", "1", "echo hello", "1", "rm -rf "+victim, "the disk is full", "", "", "5", "1,3", "echo on many", "yes", "6", "8")
	var said, errs strings.Builder
	alice.Stdout, alice.Stderr = &said, &errs
	if err := alice.Start(); err != nil {
		t.Fatal(err)
	}
	var bob string
	await(t, "alice's request", func() bool {
		out, err := plain("bob", "3", "1", "1", "web-1", "8").Output()
		if err != nil {
			t.Fatalf("bob: %v\n%s", err, out)
		}
		bob = string(out)
		return strings.Contains(bob, "Approved: web-1.")
	})
	if err := alice.Wait(); err != nil {
		t.Errorf("alice: %v\n%s%s", err, said.String(), errs.String())
	}
	for _, want := range []string{"You are bob@example.com.", "Operator: alice@example.com", "Reason: the disk is full"} {
		if !strings.Contains(bob, want) {
			t.Errorf("bob does not hear %q in:\n%s", want, bob)
		}
	}
	for _, want := range []string{"output: hello", "It needs an approval first.", "Approved.", "Ended: exit code 0.", "Run this on 2 targets? Type yes:  yes", "2 of 2 ended well", "No shell of yours runs", "Goodbye."} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("alice does not hear %q in:\n%s", want, said.String())
		}
	}
	await(t, "a recording of it", func() bool {
		out, err := plain("dora", "7", "1", "8").Output()
		if err != nil {
			t.Fatalf("dora: %v\n%s", err, out)
		}
		heard := string(out)
		return strings.Contains(heard, " by alice@example.com, ended ") && strings.Contains(heard, "Checked: ") && strings.Contains(heard, "  on many\nThe recording ends.")
	})
	if _, err := os.Stat(victim); !os.IsNotExist(err) {
		t.Errorf("the approved command has not run: %v", err)
	}
}
