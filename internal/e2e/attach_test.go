package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/typist"
)

// comeBack: a shell outlives the kill of its client, and that of its machine's agent. It
// is listed, and whoever comes back finds it as it was; who has it then is told when it is
// taken, and the exit passes to the last.
func comeBack(t *testing.T, d *demo) {
	start := func(command string) *typist.Terminal {
		t.Helper()
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "TUCDESK_HOME="+d.Homes["alice"])
		person, err := typist.Start(cmd, 90, 25)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(person.Close)
		return person
	}
	sees := func(person *typist.Terminal, text string) {
		t.Helper()
		if _, err := person.See(text, time.Minute); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
	types := func(person *typist.Terminal, line string) {
		t.Helper()
		if err := person.Type(line + "\r"); err != nil {
			t.Fatal(err)
		}
	}
	type row struct {
		Session, Kind     string
		Attached, Returns bool
		Detached, Until   *time.Time
	}
	desk := d.open(t, "alice")
	defer desk.Close()
	waits := func(what string) {
		t.Helper()
		await(t, what, func() bool {
			time.Sleep(300 * time.Millisecond) // apid counts questions
			all, err := desk.Sessions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(all, func(s backend.Session) bool { return s.Returns && !s.Away.IsZero() })
		})
	}

	first := start("exec tucdesk connect web-1")
	types(first, "V=there; echo is-$V")
	sees(first, "is-there")
	if err := syscall.Kill(first.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waits("the killed client's shell in the list")
	var rows []row
	if err := json.Unmarshal([]byte(d.must(t, "alice", "ps", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(rows, func(r row) bool { return r.Kind == "shell" && r.Returns && !r.Attached && r.Detached != nil })
	if i < 0 {
		t.Fatalf("listed: %+v", rows)
	}
	left := rows[i]
	if grace := left.Until.Sub(*left.Detached); grace != 10*time.Minute {
		t.Errorf("it waits for %v", grace)
	}

	second := start("tucdesk attach " + left.Session[:8] + "; echo code=$?")
	sees(second, "is-there") // drawn again
	types(second, "echo again-$V")
	sees(second, "again-there")
	d.kill9(t, "agent web-1")
	types(second, "echo over-$V")
	sees(second, "over-there")

	d.eventually(t, "alice", "exec", "web-1", "--", "true") // its agent is there again
	third := start("tucdesk attach " + left.Session[:8] + "; echo code=$?")
	sees(third, "over-there")
	sees(second, "attached by another client")
	sees(second, "code=125")
	types(third, "")
	if err := third.Type("~&"); err != nil {
		t.Fatal(err)
	}
	sees(third, "left; it goes on")
	waits("the shell that was left in the list")
	fourth := start("tucdesk attach; echo code=$?")
	sees(fourth, "over-there")
	types(fourth, "exit 7")
	sees(fourth, "code=7")
	if log := d.must(t, "dora", "audit", "tail", "-n", "100"); strings.Count(log, " session-attach ") < 3 || strings.Count(log, " session-detach ") < 2 {
		t.Errorf("the audit log has not all of it:\n%s", log)
	}
}
