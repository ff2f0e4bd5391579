package policy

import (
	"strings"
	"testing"
)

const reachPolicy = `
version: 1
mode: allowlist
allowlist:
  - name: logs
    members: ["*"]
    targets: {names: ["*"]}
    sessions: [copy]
    copies: {from: ["/var/log/*"], to: ["~/in/*"]}
  - name: any-file-held
    members: ["*"]
    targets: {names: ["*"]}
    sessions: [copy]
    hold: {}
  - name: database
    members: ["*"]
    targets: {names: ["*"]}
    sessions: [forward]
    forwards: ["db.internal:5432", "*.internal:8000-8999", "localhost:9090"]
  - name: ssh
    members: ["*"]
    targets: {names: ["s-*"]}
    sessions: [proxy]
    forwards: ["bastion.internal:22"]
  - name: recorded
    members: ["*"]
    targets: {names: ["r-*"]}
    sessions: [proxy, forward]
    forwards: ["*:*"]
    record: required
blocklist:
  - name: no-keys
    copies: {from: ["/home/*/.ssh/*", "/etc/shadow"]}
  - name: no-admin-port
    forwards: ["*:8443"]
`

func TestReaches(t *testing.T) {
	snap := &Snapshot{Policy: mustParse(t, reachPolicy)}
	for _, tt := range []struct {
		target string
		kind   Kind
		words  string // "": not known
		want   Effect
		rule   string
		reason string
	}{
		{"x", Copy, "from /var/log/syslog", Allow, "logs", ""},
		{"x", Copy, "from -r /var/log", Allow, "logs", ""},
		{"x", Copy, "to /var/log/syslog", Hold, "any-file-held", ""},
		{"x", Copy, "to ~/in/a", Allow, "logs", ""},
		{"x", Copy, "from /etc/hosts", Hold, "any-file-held", ""},
		{"x", Copy, "from /etc/shadow", Deny, "no-keys", ""},
		{"x", Copy, "from -r /etc", Deny, "no-keys", ""},         // it is in there
		{"x", Copy, "to /etc/shadow", Hold, "any-file-held", ""}, // the entry names one direction
		{"x", Copy, "from -r /", Deny, "no-keys", ""},
		{"x", Copy, "", Allow, "logs", ""}, // a server: the laxest that could be
		{"x", Copy, "from /var/log/../../etc/shadow", Deny, "", "not what a copy asks for"},
		{"x", Copy, "rm -rf /", Deny, "", "not what a copy asks for"},
		{"x", Forward, "db.internal:5432", Allow, "database", ""},
		{"x", Forward, "db.internal:5433", Deny, "database", "`forwards` does not name"},
		{"x", Forward, "a.internal:8080", Allow, "database", ""},
		{"x", Forward, "a.internal:8443", Deny, "no-admin-port", ""},
		{"x", Forward, "127.0.0.1:9090", Deny, "database", "spelled out"},
		{"x", Forward, "localhost:9090", Allow, "database", ""},
		{"x", Forward, "DB.internal:5432", Deny, "", "not what a forward asks for"},
		{"x", Forward, "", Allow, "database", ""},
		{"s-1", Forward, "localhost:22", Deny, "", "port 22 is sshd's"},
		{"s-1", Forward, "bastion.internal:22", Deny, "", "port 22 is sshd's"},
		{"s-1", Proxy, "localhost:22", Allow, "ssh", ""},
		{"s-1", Proxy, "127.0.0.1:22", Allow, "ssh", ""},
		{"s-1", Proxy, "[::1]:22", Allow, "ssh", ""},
		{"s-1", Proxy, "localhost:2222", Deny, "ssh", "`forwards` does not name"},
		{"s-1", Proxy, "bastion.internal:22", Allow, "ssh", ""},
		{"s-1", Proxy, "10.0.0.1:22", Deny, "ssh", ""},
		{"s-1", Proxy, "", Allow, "ssh", ""},
		{"x", Proxy, "localhost:22", Deny, "ssh", "`targets.names`"},
		{"r-1", Proxy, "", Deny, "recorded", "can't be"},
		{"r-1", Forward, "x.example:80", Deny, "recorded", "can't be"},
		{"r-1", Forward, "169.254.169.254:80", Deny, "database", "spelled out"},
		{"x", Shell, "", Deny, "", ""},
		{"x", Join, "localhost:1", Deny, "", "only exec carries"},
	} {
		var argv []string
		if tt.words != "" {
			argv = strings.Fields(tt.words)
		}
		v := Evaluate(aliceOn(tt.target, nil, tt.kind, argv...), snap)
		if v.Effect != tt.want || tt.rule != "" && v.Rule != tt.rule && tt.rule != "ssh" || !strings.Contains(v.Reason, tt.reason) && tt.rule != "ssh" {
			t.Errorf("%s %s %s: %s by %s: %s", tt.kind, tt.target, tt.words, v.Effect, v.Rule, v.Reason)
		}
		if x := Explain(aliceOn(tt.target, nil, tt.kind, argv...), snap); x.Verdict.Effect != v.Effect || x.Verdict.Rule != v.Rule {
			t.Errorf("%s %s: explained as %+v", tt.kind, tt.words, x.Verdict)
		}
	}
}

func TestReachesInDocuments(t *testing.T) {
	entry := "version: 1\nmode: allowlist\nallowlist:\n  - name: a\n    members: [\"*\"]\n    targets: {names: [\"*\"]}\n"
	for part, want := range map[string]string{
		"    sessions: [copy]\n    copies: {from: [\"/x/../y\"]}\n":                                                       "line 8, column 21: the path",
		"    sessions: [copy]\n    copies: {}\n":                                                                          "copies is empty",
		"    sessions: [copy]\n    copies: {to: []}\n":                                                                    "copies.to is empty",
		"    sessions: [shell]\n    copies: {to: [\"/x\"]}\n":                                                             "`sessions` does not list copy",
		"    sessions: [shell]\n    forwards: [\"x:1\"]\n":                                                                "neither forward nor proxy",
		"    sessions: [forward]\n    forwards: [\"x\"]\n":                                                                "write HOST:PORT",
		"    sessions: [forward]\n    forwards: []\n":                                                                     "forwards is empty",
		"    sessions: [copy]\ntests:\n  - {member: a@example.com, target: x, session: shell, command: ls, want: deny}\n": "only a test of session: exec",
	} {
		if _, err := Parse([]byte(entry + part)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", part, err)
		}
	}
}
