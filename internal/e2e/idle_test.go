package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
)

// idleSessions opens n sessions on web-1 that do nothing, and gives their
// terminals.
func idleSessions(t testing.TB, desk *control.Backend, n int) []backend.Terminal {
	t.Helper()
	terminals := make([]backend.Terminal, 0, n)
	for i := range n {
		term, err := desk.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
		if err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		terminals = append(terminals, term)
	}
	return terminals
}

// closeAll ends idle sessions as somebody does who has finished.
func closeAll(t testing.TB, terminals []backend.Terminal) {
	t.Helper()
	for _, term := range terminals {
		if err := term.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	for _, term := range terminals {
		if _, err := io.Copy(io.Discard, term); err != nil {
			t.Fatal(err)
		}
		if exit, err := term.Wait(); err != nil || exit.Code != 0 {
			t.Fatal(exit, err)
		}
		term.Close()
	}
}

// TestIdleSessions holds sessions at all their parts at once, which are in this
// process: goroutines are bounded for each, and none is left after they close.
func TestIdleSessions(t *testing.T) {
	n := 24
	if v := os.Getenv("TUCDESK_TEST_STEPS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1 || n > 240 {
			t.Fatalf("TUCDESK_TEST_STEPS is %q, want a number from 1 to 240", v)
		}
	}
	d := startDemo(t, "")
	desk := d.open(t, "alice")
	defer desk.Close()
	desk.UsePath(control.RelayOnly)
	closeAll(t, idleSessions(t, desk, 2)) // what stays for good is there now
	settled := func() int {
		last := -1
		await(t, "goroutines to settle", func() bool {
			now := runtime.NumGoroutine()
			same := now == last
			last = now
			time.Sleep(300 * time.Millisecond)
			return same
		})
		return last
	}
	before := settled()
	terminals := idleSessions(t, desk, n)
	each := float64(settled()-before) / float64(n)
	t.Logf("%.1f goroutines for each session, at operator, relay and agent together", each)
	if each > 60 {
		t.Errorf("%.1f goroutines for each session", each)
	}
	closeAll(t, terminals)
	desk.UsePath(control.DirectOnly)
	closeAll(t, idleSessions(t, desk, 4))
	// A few may come and go: timers, connections of HTTP.
	awaitEnds(t, func() bool { return runtime.NumGoroutine() <= before+10 })
	// None has ended because nothing was heard of an operator who had said goodbye.
	ends := 0
	await(t, "the agent's entries", func() bool {
		log := d.must(t, "dora", "audit", "tail", "-n", "0", "--json")
		if strings.Contains(log, "the connection to the operator was lost") {
			t.Fatalf("an operator's goodbye was lost:\n%s", log)
		}
		ends = strings.Count(log, "the operator closed the session")
		return ends >= n+2+4
	})
	t.Logf("%d sessions were told that they are closed", ends)
}

// awaitEnds waits for closed sessions to be gone at their agent too.
func awaitEnds(t testing.TB, gone func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !gone() {
		if time.Now().After(deadline) {
			t.Fatal("goroutines of sessions are left two minutes after these have closed")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// figure is one of a process's metrics.
func figure(t testing.TB, addr, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no metric %s at %s", name, addr)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// restarted gives a part of a demo of processes other settings, and has it start
// again with them.
func (d *demo) restarted(t testing.TB, part, config string, settings string) {
	t.Helper()
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`(?m)^admin_listen:.*\n`).ReplaceAll(b, nil)
	if err := os.WriteFile(config, append(b, settings...), 0o600); err != nil {
		t.Fatal(err)
	}
	old := d.kill9(t, part)
	await(t, part+" to start again", func() bool { return d.pidOf(t, part) != old })
}

// residents is the memory in RAM of a process and of all that runs the same
// program below it, in bytes. A page that several share counts once for all of them
// together (PSS): most of a session half's pages are the program's.
func residents(t testing.TB, pid int) (bytes float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^Pss: +([0-9]+) kB$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no Pss of process %d in %q", pid, b)
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	bytes = float64(kb) * 1024
	self, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, child := range strings.Fields(string(b)) {
			if exe, _ := os.Readlink("/proc/" + child + "/exe"); exe == self {
				n, _ := strconv.Atoi(child)
				bytes += residents(t, n)
			}
		}
	}
	return bytes
}

// BenchmarkIdle is what 500 sessions that nobody uses cost their agent, their
// relay and their operator, each a process: memory in RAM and goroutines, and what
// is left once they have closed.
func BenchmarkIdle(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("it reads /proc")
	}
	const n = 500
	d := startProcesses(b)
	admin := map[string]string{}
	for part, config := range map[string]string{
		"relayd": filepath.Join(d.dir, "servers", "relayd.yaml"), "agent web-1": filepath.Join(d.dir, "agents", "web-1", "agent.yaml"),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		admin[part] = l.Addr().String()
		l.Close()
		settings := "admin_listen: " + admin[part] + "\n"
		if part == "agent web-1" {
			settings += "max_sessions: 600\n"
		}
		d.restarted(b, part, config, settings)
	}
	desk := d.open(b, "alice")
	defer desk.Close()
	desk.UsePath(control.RelayOnly)
	d.eventually(b, "alice", "exec", "web-1", "--", "true")
	closeAll(b, idleSessions(b, desk, 5))

	type cost struct{ agent, relay, operator, agentGo, relayGo, operatorGo float64 }
	now := func() (c cost) {
		debug.FreeOSMemory()
		c.agent, c.relay = residents(b, d.pidOf(b, "agent web-1")), residents(b, d.pidOf(b, "relayd"))
		c.operator = residents(b, os.Getpid())
		c.agentGo, c.relayGo = figure(b, admin["agent web-1"], "go_goroutines"), figure(b, admin["relayd"], "go_goroutines")
		c.operatorGo = float64(runtime.NumGoroutine())
		return c
	}
	for b.Loop() {
		before := now()
		terminals := idleSessions(b, desk, n)
		time.Sleep(20 * time.Second) // long enough to be idle: they have kept alive once
		with := now()
		closeAll(b, terminals)
		var after cost
		awaitEnds(b, func() bool {
			after = now()
			return after.agentGo < before.agentGo+50 && after.relayGo < before.relayGo+50 && after.operatorGo < before.operatorGo+50
		})
		report := func(name string, before, with, beforeGo, withGo, afterGo float64) {
			b.ReportMetric((with-before)/n/1000, name+"-KB/session")
			b.ReportMetric((withGo-beforeGo)/n, name+"-goroutines/session")
			b.ReportMetric(afterGo-beforeGo, name+"-goroutines-left")
		}
		report("agent", before.agent, with.agent, before.agentGo, with.agentGo, after.agentGo)
		report("relay", before.relay, with.relay, before.relayGo, with.relayGo, after.relayGo)
		report("operator", before.operator, with.operator, before.operatorGo, with.operatorGo, after.operatorGo)
	}
}
