package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/tui/doctor"
)

// doctor runs `tucdesk doctor --json` and gives its lines by name.
func (d *demo) doctor(t *testing.T, persona string) (map[string]doctor.Finding, int) {
	t.Helper()
	out, errs, code := d.command(t, persona, "doctor", "--json")
	var lines []doctor.Finding
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		t.Fatalf("doctor: %v\n%s%s", err, out, errs)
	}
	found := map[string]doctor.Finding{}
	for _, f := range lines {
		found[f.Name] = f
		if (f.State == doctor.OK) != (f.Next == "") || f.Text == "" {
			t.Errorf("%+v: a line that is not OK says what to do, and one that is does not", f)
		}
	}
	return found, code
}

// TestDoctor: all is well, then the servers are gone.
func TestDoctor(t *testing.T) {
	d := startDemo(t, "")
	found, code := d.doctor(t, "alice")
	if code != 0 {
		t.Errorf("exit %d of a healthy demo", code)
	}
	for _, name := range []string{"home", "apid", "tls apid", "clock", "version", "token", "roster", "device", "policy", "rendezvous", "tls rendezvous", "relay", "relay tcp", "machines"} {
		if f := found[name]; f.State != doctor.OK && name != "machines" { // these may not have heard of each other yet
			t.Errorf("%s: %+v", name, f)
		}
	}
	if out := d.must(t, "alice", "doctor"); !strings.Contains(out, "OK    apid") {
		t.Errorf("for people: %s", out)
	}
	before, _, _ := d.command(t, "alice", "agents")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	found, code = d.doctor(t, "alice")
	if code != 1 {
		t.Errorf("exit %d without servers", code)
	}
	for _, name := range []string{"apid", "token", "roster", "rendezvous", "relay", "relay tcp", "machines"} {
		if found[name].State != doctor.Fail {
			t.Errorf("%s without servers: %+v", name, found[name])
		}
	}
	for _, name := range []string{"home", "device", "policy"} {
		if found[name].State != doctor.OK {
			t.Errorf("%s without servers: %+v", name, found[name])
		}
	}

	// The list stands, and says how old it is.
	synced := filepath.Join(d.Homes["alice"], "synced")
	old := time.Now().Add(-3*time.Hour - time.Minute)
	if err := os.Chtimes(synced, old, old); err != nil {
		t.Fatal(err)
	}
	out, errs, code := d.command(t, "alice", "agents")
	if code != 0 || !strings.Contains(errs, "last compared with apid 3 hours ago") {
		t.Errorf("agents without apid: exit %d: %s", code, errs)
	}
	for _, name := range d.Agents {
		if !strings.Contains(out, name) {
			t.Errorf("agents without apid: %s is missing; before:\n%s\nnow:\n%s", name, before, out)
		}
	}
	if !strings.Contains(out, "unknown") || strings.Contains(out, "online") {
		t.Errorf("states without apid:\n%s", out)
	}
}

// TestDoctorHomeless: what to do where no team is known.
func TestDoctorHomeless(t *testing.T) {
	d := &demo{}
	d.Homes = map[string]string{"nobody": t.TempDir()}
	found, code := d.doctor(t, "nobody")
	if code != 1 || found["home"].State != doctor.Fail || !strings.Contains(found["home"].Next, "tucdesk login") {
		t.Errorf("exit %d: %+v", code, found)
	}
}
