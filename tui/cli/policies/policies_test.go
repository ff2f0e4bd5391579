package policies

import (
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

func TestCount(t *testing.T) {
	old, neu := []byte("a\nb\nc\n"), []byte("a\nB\nc\nd\n")
	if added, removed := count(output.Diff("old", old, "new", neu)); added != 2 || removed != 1 {
		t.Errorf("+%d -%d", added, removed)
	}
	if output.Diff("old", old, "new", old) != "" {
		t.Error("what is the same differs")
	}
}

func TestKinds(t *testing.T) {
	for name, tt := range map[string]struct {
		session string
		argv    []string
		want    string // kinds, or what the error says
	}{
		"unsaid":                 {"", nil, "shell"},
		"a command":              {"", []string{"ls"}, "exec"},
		"said":                   {"join", nil, "join"},
		"exec without a command": {"exec", nil, "exec"},
		"unknown":                {"telnet", nil, "there are shell, exec"},
		"a command for a shell":  {"shell", []string{"ls"}, "has no command"},
	} {
		q := &question{session: tt.session}
		kinds, err := q.kinds(tt.argv, policy.Shell)
		got := ""
		for _, k := range kinds {
			got += string(k)
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// The policy that a founder begins with says what a newcomer would expect, and why.
func TestStarter(t *testing.T) {
	p, err := policy.Parse(starter)
	if err != nil {
		t.Fatal(err)
	}
	snap := &policy.Snapshot{Policy: p}
	for _, tt := range []struct {
		env  string
		kind policy.Kind
		argv []string
		want policy.Effect
		risk string // what the verdict says that it does
	}{
		{"staging", policy.Shell, nil, policy.Allow, ""},
		{"prod", policy.Shell, nil, policy.Hold, ""},
		{"prod", policy.Exec, []string{"uptime"}, policy.Allow, ""},
		{"prod", policy.Exec, []string{"rm", "-rf", "/var/cache/app"}, policy.Hold, "deletes directories with all that is in them"},
		{"prod", policy.Exec, []string{"rm", "file"}, policy.Confirm, "deletes files"},
		{"staging", policy.Exec, []string{"mkfs", "/dev/sda"}, policy.Deny, "makes"},
		{"other", policy.Exec, []string{"uptime"}, policy.Deny, ""},
		{"prod", policy.Forward, nil, policy.Deny, ""},
	} {
		v := policy.Evaluate(&policy.Request{
			Member: "alice@example.com", MemberID: "alice", Roles: []string{"sre"}, Target: "web-1", Tags: map[string]string{"env": tt.env},
			LoginUser: "deploy", Kind: tt.kind, Argv: tt.argv, At: time.Now(),
		}, snap)
		if v.Effect != tt.want || !strings.Contains(v.Risk, tt.risk) || tt.risk != "" && !strings.Contains(v.Reason, v.Risk) {
			t.Errorf("%s, %s %q: %v, %q (%s)", tt.env, tt.kind, tt.argv, v.Effect, v.Risk, v.Reason)
		}
	}
}
