package e2e

import (
	"encoding/json"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
)

// A session is listed while it is live, and by nobody else's device.
func TestPS(t *testing.T) {
	d := startDemo(t, "")
	type row struct{ Session, Target, Kind, State string }
	list := func(persona string, args ...string) (rows []row) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.must(t, persona, append([]string{"ps", "--json"}, args...)...)), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if rows := list("alice"); rows == nil || len(rows) != 0 {
		t.Fatalf("before: %v", rows)
	}
	b := d.open(t, "alice")
	defer b.Close()
	term, err := b.Open(t.Context(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	// The machine hands its entry in a moment later.
	await(t, "the session in the list", func() bool { return len(list("alice")) == 1 })
	got := list("alice")[0]
	if got.Target != "web-1" || got.Kind != "exec" || got.State != "started" || len(got.Session) != 32 {
		t.Errorf("%+v", got)
	}
	if rows := list("bob"); len(rows) != 0 {
		t.Errorf("bob sees %v", rows)
	}
	if rows := list("dora", "--all"); len(rows) != 1 || rows[0].Session != got.Session {
		t.Errorf("an auditor sees %v", rows)
	}
	term.Close()
	await(t, "the session's end in the list", func() bool { return len(list("alice")) == 0 })
	if rows := list("alice", "--ended"); len(rows) != 1 || rows[0].State != "ended" {
		t.Errorf("ended: %v", rows)
	}
	t.Run("watch", func(t *testing.T) { d.watches(t) })
}
