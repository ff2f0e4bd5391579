package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/command"
)

func TestBreakGlass(t *testing.T) {
	rules := `
allowlist:
  - {name: dba, members: ["role:dba"], targets: {names: ["db-*"]}, sessions: [shell, exec], as: [postgres], record: off}
blocklist:
  - {name: never, targets: {names: [vault]}}
commands: {critical: ["mkfs*"], high: ["psql"], tiers: {high: hold}}
break_glass: {members: ["role:admin"], quorum: 2, expires: 30m}
`
	snap := func(mode string) *Snapshot {
		return &Snapshot{Policy: mustParse(t, "version: 1\nmode: "+mode+rules), People: people}
	}
	ask := func(role, target, as string, kind Kind, argv ...string) *Request {
		return &Request{Member: "x@example.com", MemberID: "m-x", Roles: []string{role}, Target: target, LoginUser: "deploy", As: as, Kind: kind, Argv: argv, At: monday, BreakGlass: true}
	}
	inside := func(req *Request, argv ...string) *Request {
		req.Argv, req.Program = nil, &command.Program{Argv: argv, Watched: true}
		return req
	}
	for name, tt := range map[string]struct {
		mode   string
		req    *Request
		effect Effect
		why    string
	}{
		"an admin":                 {"allowlist", ask("admin", "web-1", "", Shell), Hold, "held by break_glass (line 8), without apid's grant: needs 2 of role:admin; asks expire in 30 min"},
		"an admin, lockdown":       {"lockdown", ask("admin", "web-1", "", Exec, "ls"), Hold, "held by break_glass"},
		"covered by an entry":      {"allowlist", ask("dba", "db-1", "postgres", Exec, "ls"), Hold, "held by break_glass"},
		"covered, but lockdown":    {"lockdown", ask("dba", "db-1", "postgres", Exec, "ls"), Deny, "one of role:admin can ask"},
		"nobody":                   {"allowlist", ask("sre", "web-1", "", Shell), Deny, "neither its members nor an entry"},
		"blocked":                  {"allowlist", ask("admin", "vault", "", Shell), Deny, "an entry of the blocklist"},
		"as root":                  {"allowlist", ask("admin", "web-1", "root", Shell), Deny, "never root"},
		"as another":               {"allowlist", ask("admin", "web-1", "other", Shell), Deny, "never root"},
		"a forward":                {"allowlist", ask("admin", "web-1", "", Forward), Deny, "shell and exec only"},
		"a denied command":         {"allowlist", ask("admin", "web-1", "", Exec, "mkfs", "x"), Deny, "commands.critical"},
		"a held command":           {"allowlist", ask("admin", "web-1", "", Exec, "psql"), Hold, "held by break_glass"},
		"inside":                   {"lockdown", inside(ask("admin", "web-1", "", Shell), "ls"), Allow, "in a session that break_glass (line 8) opened"},
		"inside, held":             {"lockdown", inside(ask("admin", "web-1", "", Shell), "psql"), Hold, "needs 2 of role:admin"},
		"inside, denied":           {"lockdown", inside(ask("admin", "web-1", "", Shell), "mkfs", "x"), Deny, "commands.critical"},
		"inside, of nobody":        {"lockdown", inside(ask("sre", "web-1", "", Shell), "ls"), Deny, "one of role:admin can ask"},
		"with a grant in lockdown": {"lockdown", with(ask("admin", "web-1", "", Shell), func(r *Request) { r.BreakGlass = false }), Deny, "only break-glass is left (line 8): needs 2 of role:admin"},
	} {
		v := Evaluate(tt.req, snap(tt.mode))
		if v.Effect != tt.effect || !strings.Contains(v.Reason, tt.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, v.Effect, v.Reason, tt.effect, tt.why)
		}
		if o := v.Obligations; tt.req.BreakGlass && v.Effect != Deny && (o.Record != "required" || o.MaxSession != 30*time.Minute || !o.BreakGlass) {
			t.Errorf("%s: %+v", name, o)
		}
		if v.Effect == Deny && v.Obligations.BreakGlass {
			t.Errorf("%s: a denied request has obligations", name)
		}
	}
	held := Evaluate(ask("admin", "web-1", "", Shell), snap("lockdown"))
	if got := names(snap("lockdown").EligibleApprovers(held, "m-carol")); got != "" {
		t.Errorf("the only admin approves their own request: %s", got)
	}
	none := &Snapshot{Policy: mustParse(t, head)}
	if v := Evaluate(ask("admin", "web-1", "", Shell), none); v.Effect != Deny || !strings.Contains(v.Reason, "no break_glass") {
		t.Errorf("without break_glass: %+v", v)
	}
}
