package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
)

// children gives the processes that a process has started.
func children(t testing.TB, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	return pids
}

// networkHalf finds the network half of an agent's process.
func (d *demo) networkHalf(t testing.TB, part string) int {
	t.Helper()
	agent := d.pidOf(t, part)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		for _, pid := range children(t, agent) {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.HasSuffix(string(args), "\x00part\x00agent\x00net\x00") {
				return pid
			}
		}
		if time.Now().After(until) {
			t.Fatalf("%s (%d) has no network half", part, agent)
		}
	}
}

// sessionHalves finds the processes of an agent's sessions.
func (d *demo) sessionHalves(t testing.TB, part string) (pids []int) {
	t.Helper()
	for _, pid := range children(t, d.pidOf(t, part)) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasSuffix(string(args), "\x00part\x00agent\x00session\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A network half that is killed ends no session, by relay or direct, and the agent
// can be reached again soon.
func TestKilledNetworkHalf(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("without /proc nobody knows whose child a process is; run this on Linux")
	}
	d := startProcesses(t)
	first := d.networkHalf(t, "agent web-1")
	bound(t, first)
	t.Run("keys", func(t *testing.T) { keysAreNowhereElse(t, d) })
	for _, way := range []control.Path{control.RelayOnly, control.AnyPath} {
		t.Run("path "+string(way), func(t *testing.T) {
			b := d.open(t, "alice")
			defer b.Close()
			b.UsePath(way)
			term, err := b.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
			if err != nil {
				t.Fatal(err)
			}
			defer term.Close()
			k := &talk{terminal: term, lines: bufio.NewReader(term)}
			for i := range 3 {
				k.goesOn(t, "before")
				pid := d.networkHalf(t, "agent web-1")
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				k.goesOn(t, fmt.Sprintf("after kill %d", i+1))
				for d.networkHalf(t, "agent web-1") == pid {
					time.Sleep(10 * time.Millisecond)
				}
			}
			if got := d.eventually(t, "alice", "exec", "web-1", "--", "echo", "back"); got != "back\n" {
				t.Errorf("the next session: %q", got)
			}
			k.goesOn(t, "at last")
		})
	}
}

// bound looks at what a network half may.
func bound(t *testing.T, pid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		status[name] = strings.Fields(rest)
	}
	if got := status["NoNewPrivs"]; len(got) != 1 || got[0] != "1" {
		t.Errorf("no_new_privs: %v", got)
	}
	for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapAmb"} {
		if got := status[set]; len(got) != 1 || strings.Trim(got[0], "0") != "" {
			t.Errorf("%s: %v", set, got)
		}
	}
	for _, of := range []string{"Uid", "Gid"} {
		for _, id := range status[of] {
			if id == "0" {
				t.Errorf("%s: %v", of, status[of])
			}
		}
	}
	if os.Geteuid() == 0 {
		if got := status["Groups"]; len(got) != 0 {
			t.Errorf("groups: %v", got)
		}
		// Not dumpable: what it is belongs to root.
		st, err := os.Stat(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("dumpable: %v", err)
		}
	}
}
