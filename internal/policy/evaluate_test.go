package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

func parseExample(t testing.TB) *Policy {
	t.Helper()
	doc, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(doc))
}

func mustParse(t testing.TB, doc string) *Policy {
	t.Helper()
	p, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// monday is a working hour in Berlin.
var monday = time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)

// Requests of the people in testdata/example.yaml.
func aliceOn(target string, tags map[string]string, kind Kind, argv ...string) *Request {
	return &Request{
		Member: "alice@example.com", MemberID: "m-alice", Roles: []string{"sre"},
		Target: target, Tags: tags, LoginUser: "deploy", Kind: kind, Argv: argv, At: monday,
	}
}

var (
	staging = map[string]string{"env": "staging"}
	prod    = map[string]string{"env": "prod"}
	primary = map[string]string{"env": "staging", "role": "db-primary"}
)

func with(req *Request, change func(*Request)) *Request {
	change(req)
	return req
}

func TestEvaluate(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	tests := []struct {
		name   string
		req    *Request
		effect Effect
		rule   string
		line   int
		reason string
	}{
		{"allowed", aliceOn("s-1", staging, Shell), Allow, "sre-staging", 4, "allowed by sre-staging (line 4)"},
		{"login user by name", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.As = "deploy" }), Allow, "sre-staging", 4, ""},
		{"other user", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.As = "root" }), Deny, "sre-staging", 4, "nearest is sre-staging (line 4): `as`"},
		{"kind not listed", aliceOn("s-1", staging, Proxy), Deny, "sre-staging", 4, "`sessions`"},
		{"no such kind", aliceOn("s-1", staging, "telnet"), Deny, "", 0, "kind"},
		{"other role", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.Roles = []string{"srex"} }), Deny, "mode: allowlist", 2, "no rule covers shell on s-1 as deploy for alice@example.com"},
		{"no tag", aliceOn("s-1", nil, Shell), Deny, "mode: allowlist", 2, ""},
		{"held", aliceOn("web-1", prod, Shell), Hold, "sre-prod-hours", 9, "held by sre-prod-hours (line 9): needs 1 of role:approver; asks expire in 15 min"},
		{"by e-mail", with(aliceOn("web-1", prod, Shell), func(r *Request) { r.Member, r.Roles = "Bob@Example.com", nil }), Hold, "sre-prod-hours", 9, ""},
		{"name does not match", aliceOn("db-1", prod, Shell), Deny, "mode: allowlist", 2, ""},
		{"too early", with(aliceOn("web-1", prod, Shell), func(r *Request) { r.At = monday.Add(-2 * time.Hour) }), Deny, "sre-prod-hours", 9, "`when`"},
		{"weekend", with(aliceOn("web-1", prod, Shell), func(r *Request) { r.At = monday.Add(-24 * time.Hour) }), Deny, "sre-prod-hours", 9, "`when`"},
		{"blocklist wins", aliceOn("db-1", primary, Forward), Deny, "no-db-primary", 26, "blocklist"},
		{"blocklist is exact", aliceOn("db-1", primary, Shell), Allow, "sre-staging", 4, ""},
		{"command low", aliceOn("s-1", staging, Exec, "uname"), Allow, "sre-staging", 4, ""},
		{"command medium", aliceOn("s-1", staging, Exec, "python3", "x"), Confirm, "commands.medium", 32, `pattern "@interpreter"`},
		{"command high", aliceOn("s-1", staging, Exec, "systemctl", "stop", "x"), Hold, "commands.high", 31, "needs 1 of role:approver"},
		{"command critical", aliceOn("s-1", staging, Exec, "rm", "-rf", "/"), Deny, "commands.critical", 30, `pattern "rm -rf /"`},
		{"command critical under hold", aliceOn("web-1", prod, Exec, "rm", "-rf", "/"), Deny, "commands.critical", 30, ""},
		{"command medium under hold", aliceOn("web-1", prod, Exec, "python3"), Hold, "sre-prod-hours", 9, ""},
		{"partly readable", aliceOn("s-1", staging, Exec, "sh", "-c", "rm -rf $X"), Deny, "commands.critical", 30, `pattern "rm -rf /", which it may become when the shell fills in the rest`},
		{"hostile variable", aliceOn("s-1", staging, Exec, "env", "LD_\x1b[2J=1", "ls"), Hold, "commands.high", 31, "it sets LD_*"},
		{"hostile shell", aliceOn("s-1", staging, Exec, "ksh\x1b[2J"), Hold, "commands.high", 31, "ksh* reads its commands"},
		{"unreadable", aliceOn("s-1", staging, Exec, "sh", "-c", "$X"), Hold, "commands.high", 31, "can't be read"},
		{"command not known", with(aliceOn("s-1", staging, Exec), func(r *Request) { r.Argv = nil }), Allow, "sre-staging", 4, ""},
		{"empty command", with(aliceOn("s-1", staging, Exec), func(r *Request) { r.Argv = []string{} }), Deny, "commands.critical", 30, "no command"},
		{"command on a shell", aliceOn("s-1", staging, Shell, "ls"), Deny, "", 0, "only exec"},
		{"own commands", with(aliceOn("db-1", primary, Exec, "psql"), func(r *Request) { r.Member, r.Roles, r.As = "dora@example.com", nil, "postgres" }), Confirm, "dba.commands.medium", 24, ""},
		{"own commands inherit", with(aliceOn("db-1", primary, Exec, "rm", "-rf", "/"), func(r *Request) { r.Member, r.Roles, r.As = "dora@example.com", nil, "postgres" }), Deny, "dba.commands.critical", 30, ""},
		{"no member", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.Member = "" }), Deny, "", 0, "no member"},
		{"no target", with(aliceOn("", staging, Shell), func(r *Request) {}), Deny, "", 0, ""},
		{"no time", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.At = time.Time{} }), Deny, "", 0, ""},
		{"no user", with(aliceOn("s-1", staging, Shell), func(r *Request) { r.LoginUser = "" }), Deny, "", 0, "login user"},
		{"hostile name", aliceOn("s-\u202e1", staging, Shell), Deny, "", 0, "may not enter"},
		{"not NFC", aliceOn("s-e\u0301", staging, Shell), Deny, "", 0, "may not enter"},
		{"nil request", nil, Deny, "", 0, ""},
		{"zero request", &Request{}, Deny, "", 0, ""},
	}
	for _, tt := range tests {
		v := Evaluate(tt.req, snap)
		if v.Effect != tt.effect || v.Rule != tt.rule || v.Line != tt.line || !strings.Contains(v.Reason, tt.reason) || v.Reason == "" {
			t.Errorf("%s: got %s by %q line %d: %s; want %s by %q line %d: %s", tt.name,
				v.Effect, v.Rule, v.Line, v.Reason, tt.effect, tt.rule, tt.line, tt.reason)
		}
		if sanitize.Clean(v.Reason).String() != v.Reason {
			t.Errorf("%s: the reason is not clean: %q", tt.name, v.Reason)
		}
		if v.Effect == Deny && (v.Obligations.Approvers != nil || v.Obligations.Record != "") {
			t.Errorf("%s: a denied request has obligations", tt.name)
		}
		if tt.req != nil {
			if e := Explain(tt.req, snap); e.Verdict.Effect != v.Effect || e.Verdict.Reason != v.Reason {
				t.Errorf("%s: Explain says %s", tt.name, e.Verdict.Reason)
			}
		}
	}
	for name, snap := range map[string]*Snapshot{"nil snapshot": nil, "nil policy": {}} {
		if v := Evaluate(aliceOn("s-1", staging, Shell), snap); v.Effect != Deny || v.Reason == "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if (Verdict{}).Effect != Deny || Effect(200).String() != "deny" {
		t.Error("the zero verdict does not deny")
	}
}

func TestObligations(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	shell := Evaluate(aliceOn("web-1", prod, Shell), snap).Obligations
	if shell.Quorum != 1 || shell.AskFor != 15*time.Minute || shell.UseFor != 5*time.Minute || shell.Record != "required" ||
		shell.Gate != "enforced" || shell.MaxSession != 12*time.Hour || shell.MinSuite != 2 || len(shell.Approvers) != 1 {
		t.Errorf("shell: %+v", shell)
	}
	if exec := Evaluate(aliceOn("s-1", staging, Exec, "ls"), snap).Obligations; exec.Gate != "none" || exec.Record != "on" || exec.Quorum != 0 {
		t.Errorf("exec: %+v", exec)
	}
	silent := &Snapshot{Policy: mustParse(t, "version: 1\nmode: allowlist\nallowlist: [{name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [shell]}]")}
	if o := Evaluate(aliceOn("x", nil, Shell), silent).Obligations; o.Gate != "enforced" || o.MaxSession != 12*time.Hour || o.Grace != 10*time.Minute || o.MinSuite != 1 || o.Record != "on" {
		t.Errorf("defaults: %+v", o)
	}
	impatient := &Snapshot{Policy: mustParse(t, entry("grace: 0s"))}
	if o := Evaluate(aliceOn("x", nil, Exec), impatient).Obligations; o.Grace != 0 {
		t.Errorf("grace 0s: %+v", o)
	}
}

func TestDefaultTier(t *testing.T) {
	for tierName, effect := range map[string]Effect{"low": Allow, "medium": Confirm, "high": Hold, "critical": Deny} {
		snap := &Snapshot{Policy: mustParse(t, entry("commands: {default: "+tierName+"}"))}
		v := Evaluate(aliceOn("x", nil, Exec, "ls"), snap)
		if v.Effect != effect || v.Tier != tierName || effect != Allow && (v.Rule != "commands.default" || v.Line != 8 || !strings.Contains(v.Reason, "commands.default (line 8)")) {
			t.Errorf("default %s: %+v", tierName, v)
		}
	}
	// Without a `commands` block there is no line to name.
	v := Evaluate(aliceOn("x", nil, Exec, "eval"), &Snapshot{Policy: mustParse(t, entry(""))})
	if v.Effect != Allow {
		t.Errorf("%+v", v)
	}
	v = Evaluate(aliceOn("x", nil, Exec, "bash"), &Snapshot{Policy: mustParse(t, entry(""))})
	if v.Effect != Hold || v.Line != 0 || !strings.Contains(v.Reason, "commands.high, because bash reads") || len(v.Obligations.Approvers) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestHeldByTier(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	unknown := func(target string, tags map[string]string) Verdict {
		return Evaluate(with(aliceOn(target, tags, Exec), func(r *Request) { r.Argv = nil }), snap)
	}
	known := Evaluate(aliceOn("s-1", staging, Exec, "systemctl", "stop", "x"), snap)
	got := HeldByTier(unknown("s-1", staging), snap)
	if got.Effect != Hold || got.Obligations.Quorum != known.Obligations.Quorum || got.Obligations.AskFor != known.Obligations.AskFor ||
		got.Rule != "sre-staging" || !strings.Contains(got.Reason, "needs 1 of role:approver") {
		t.Errorf("a server would hold %+v, the agent %+v", got, known)
	}
	if held := unknown("web-1", prod); HeldByTier(held, snap).Reason != held.Reason {
		t.Error("the hold of the rule is replaced")
	}
	if v := HeldByTier(unknown("x", nil), snap); v.Effect != Deny {
		t.Errorf("a denied request is held: %+v", v)
	}
	if v := HeldByTier(Verdict{Effect: Allow}, nil); v.Effect != Allow || HeldByTier(Verdict{}, snap).Effect != Deny {
		t.Errorf("%+v", v)
	}
}

func TestRootMustBeSpelledOut(t *testing.T) {
	base := "version: 1\nmode: allowlist\nallowlist:\n  - {name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [shell]"
	for as, want := range map[string]map[string]Effect{
		"":                   {"": Allow, "deploy": Allow, "root": Deny, "other": Deny},
		", as: [\"*\"]":      {"": Allow, "deploy": Allow, "root": Deny, "other": Allow},
		", as: [\"r*t\"]":    {"": Deny, "root": Deny},
		", as: [root]":       {"": Deny, "root": Allow},
		", as: [\"*\",root]": {"": Allow, "root": Allow},
	} {
		snap := &Snapshot{Policy: mustParse(t, base+as+"}")}
		for user, effect := range want {
			if v := Evaluate(with(aliceOn("x", nil, Shell), func(r *Request) { r.As = user }), snap); v.Effect != effect {
				t.Errorf("rule %q, user %q: %s (%s), want %s", as, user, v.Effect, v.Reason, effect)
			}
		}
	}
	snap := &Snapshot{Policy: mustParse(t, base+"}")}
	v := Evaluate(with(aliceOn("x", nil, Shell), func(r *Request) { r.LoginUser = "root" }), snap)
	if v.Effect != Deny || !strings.Contains(v.Reason, "spelled out") {
		t.Errorf("login user root without as: %s %s", v.Effect, v.Reason)
	}
}

func TestModes(t *testing.T) {
	block := `
version: 1
mode: blocklist
blocklist:
  - {name: no-forward, sessions: [forward]}
  - {name: no-root, as: [root]}
allowlist:
  - {name: careful, members: ["*"], targets: {tags: {env: prod}}, sessions: [shell], hold: {}}
`
	snap := &Snapshot{Policy: mustParse(t, block)}
	for name, tt := range map[string]struct {
		req  *Request
		want Effect
		rule string
	}{
		"open":        {aliceOn("x", nil, Observe), Allow, "mode: blocklist"},
		"not written": {aliceOn("x", nil, Proxy), Deny, "mode: blocklist"},
		"nor a copy":  {aliceOn("x", nil, Copy, "from", "/etc/hosts"), Deny, "mode: blocklist"},
		"blocked":     {aliceOn("x", nil, Forward), Deny, "no-forward"},
		"held":        {aliceOn("x", prod, Shell), Hold, "careful"},
		"not login":   {with(aliceOn("x", nil, Shell), func(r *Request) { r.As = "other" }), Deny, "mode: blocklist"},
		"root":        {with(aliceOn("x", nil, Shell), func(r *Request) { r.As = "root" }), Deny, "no-root"},
		"login root":  {with(aliceOn("x", nil, Shell), func(r *Request) { r.LoginUser = "root" }), Deny, "no-root"},
		"an open tty": {aliceOn("x", nil, Exec, "ls"), Allow, "mode: blocklist"},
	} {
		if v := Evaluate(tt.req, snap); v.Effect != tt.want || v.Rule != tt.rule {
			t.Errorf("%s: %s by %s (%s)", name, v.Effect, v.Rule, v.Reason)
		}
	}

	lockdown := mustParse(t, strings.Replace(block, "mode: blocklist", "mode: lockdown", 1)+"break_glass: {members: [\"role:admin\"], quorum: 2}\n")
	if v := Evaluate(aliceOn("x", prod, Shell), &Snapshot{Policy: lockdown}); v.Effect != Deny || v.Line != 3 || !strings.Contains(v.Reason, "needs 2 of role:admin") {
		t.Errorf("lockdown: %+v", v)
	}
	if b, ok := lockdown.BreakGlass(); !lockdown.Lockdown() || !ok || b.Quorum != 2 || b.Expires != time.Hour {
		t.Errorf("break-glass: %+v %v", b, ok)
	}
	if _, ok := snap.Policy.BreakGlass(); ok || snap.Policy.Lockdown() || (*Policy)(nil).Lockdown() {
		t.Error("break-glass or lockdown out of nothing")
	}
}

func TestExplain(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	e := Explain(aliceOn("web-1", prod, Exec, "sudo", "--odd", "sh", "-c", "ls \u202e; python3 $X"), snap)
	var lists, commands []string
	for _, n := range e.Entries {
		lists = append(lists, n.List+" "+n.Rule)
		if n.Matched != (n.Why == "") {
			t.Errorf("%+v", n)
		}
	}
	if got := strings.Join(lists, ", "); got != "blocklist no-db-primary, allowlist sre-staging, allowlist sre-prod-hours" {
		t.Error(got)
	}
	for _, c := range e.Commands {
		commands = append(commands, strings.Join(append(c.Via, c.Command.String()), " > ")+" = "+c.Tier)
	}
	all := strings.Join(commands, "\n")
	for _, want := range []string{"sudo > sh > ls $'\\u202e' = low", "sudo > sh > python3 '*' = medium", "sudo > ? > sh > "} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	for name, req := range map[string]*Request{
		"allowed": aliceOn("s-1", staging, Shell),
		"held":    aliceOn("web-1", prod, Shell),
	} {
		if n := testing.AllocsPerRun(100, func() { Evaluate(req, snap) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	snap := &Snapshot{Policy: parseExample(b)}
	for name, req := range map[string]*Request{
		"allowed": aliceOn("s-1", staging, Shell),
		"held":    aliceOn("web-1", prod, Shell),
		"denied":  aliceOn("x", nil, Shell),
		"command": aliceOn("s-1", staging, Exec, "systemctl", "status", "nginx"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Evaluate(req, snap)
			}
		})
	}
}

// What the gate asks: may this program start inside a session that runs?
func TestEvaluateProgram(t *testing.T) {
	snap := &Snapshot{Policy: parseExample(t)}
	in := func(req *Request, argv ...string) *Request {
		req.Program = &command.Program{Argv: argv, Watched: true}
		return req
	}
	for name, tt := range map[string]struct {
		req    *Request
		effect Effect
		rule   string
	}{
		"low":                       {in(aliceOn("s-1", staging, Shell), "uname"), Allow, "sre-staging"},
		"medium":                    {in(aliceOn("s-1", staging, Shell), "python3"), Confirm, "commands.medium"},
		"high":                      {in(aliceOn("s-1", staging, Shell), "psql"), Hold, "commands.high"},
		"critical":                  {in(aliceOn("s-1", staging, Shell), "rm", "-rf", "/"), Deny, "commands.critical"},
		"in an exec":                {in(aliceOn("s-1", staging, Exec), "psql"), Hold, "commands.high"},
		"in a held shell, low":      {in(aliceOn("web-1", prod, Shell), "uname"), Allow, "sre-prod-hours"},
		"in a held shell, medium":   {in(aliceOn("web-1", prod, Shell), "python3"), Confirm, "commands.medium"},
		"after its hours":           {with(in(aliceOn("web-1", prod, Shell), "uname"), func(r *Request) { r.At = monday.Add(12 * time.Hour) }), Deny, "sre-prod-hours"},
		"in a forward":              {in(aliceOn("s-1", staging, Forward), "uname"), Deny, ""},
		"with a command of its own": {in(aliceOn("s-1", staging, Exec, "ls"), "uname"), Deny, ""},
		"nothing":                   {in(aliceOn("s-1", staging, Shell)), Deny, "commands.critical"},
	} {
		v := Evaluate(tt.req, snap)
		if v.Effect != tt.effect || v.Rule != tt.rule {
			t.Errorf("%s: %s by %q (%s), want %s by %q", name, v.Effect, v.Rule, v.Reason, tt.effect, tt.rule)
		}
		if e := Explain(tt.req, snap); e.Verdict.Reason != v.Reason || v.Tier != "" && len(e.Commands) == 0 {
			t.Errorf("%s: Explain says %+v", name, e)
		}
	}
	if v := Evaluate(with(aliceOn("s-1", staging, Exec, "rm", "-rf", "."), func(r *Request) { r.Cwd = "/" }), snap); v.Effect != Deny {
		t.Errorf("in the directory /: %s", v.Reason)
	}
}

func TestCatalogue(t *testing.T) {
	snap := func(commands string) *Snapshot {
		return &Snapshot{Policy: mustParse(t, entry("commands: {"+commands+"}"))}
	}
	for name, tt := range map[string]struct {
		commands string
		argv     []string
		want     Effect
		rule     string
	}{
		"without":              {"default: low", []string{"rm", "-rf", "/srv/x"}, Allow, "a"},
		"with":                 {"catalogue: 1", []string{"rm", "-rf", "/srv/x"}, Hold, "commands.catalogue"},
		"wrapped":              {"catalogue: 1", []string{"timeout", "5", "mkfs.ext4", "/dev/sda"}, Deny, "commands.catalogue"},
		"harmless":             {"catalogue: 1", []string{"uptime"}, Allow, "a"},
		"switched off":         {"catalogue: 0", []string{"mkfs.ext4", "/dev/sda"}, Allow, "a"},
		"stricter than it":     {"catalogue: 1, critical: [\"rm ...\"]", []string{"rm", "x"}, Deny, "commands.critical"},
		"laxer, word by word":  {"catalogue: 1, medium: [\"systemctl restart nginx\"]", []string{"systemctl", "restart", "nginx"}, Confirm, "commands.medium"},
		"laxer, low":           {"catalogue: 1, low: [\"rm -rf /srv/cache\"]", []string{"rm", "-rf", "/srv/cache"}, Allow, "a"},
		"laxer, not the same":  {"catalogue: 1, low: [\"rm -rf /srv/cache\"]", []string{"rm", "-rf", "-v", "/srv/cache"}, Hold, "commands.catalogue"},
		"laxer, other program": {"catalogue: 1, low: [\"rm -rf /srv/cache\"]", []string{"./rm", "-rf", "/srv/cache"}, Hold, "commands.catalogue"},
		"laxer, as root":       {"catalogue: 1, low: [\"rm -rf /srv/cache\"]", []string{"sudo", "rm", "-rf", "/srv/cache"}, Hold, "commands.catalogue"},
		"own effect":           {"catalogue: 1, tiers: {high: confirm}", []string{"rm", "-rf", "/srv/x"}, Confirm, "commands.catalogue"},
		"a class of facts":     {"catalogue: 1", []string{"./tool"}, Confirm, "commands.catalogue"},
		"its own word on it":   {"catalogue: 1, low: [\"@untrusted\"]", []string{"./tool"}, Allow, "a"},
		"not on others":        {"catalogue: 1, low: [\"@untrusted\"]", []string{"./rm", "-rf", "x"}, Hold, "commands.catalogue"},
		"a stricter default":   {"catalogue: 1, default: high", []string{"sudo", "uptime"}, Hold, "commands.default"},
	} {
		v := Evaluate(aliceOn("x", nil, Exec, tt.argv...), snap(tt.commands))
		if v.Effect != tt.want || v.Rule != tt.rule {
			t.Errorf("%s: %s by %s (%s), want %s by %s", name, v.Effect, v.Rule, v.Reason, tt.want, tt.rule)
		}
	}
	v := Evaluate(aliceOn("x", nil, Exec, "rm", "-rf", "/srv/x"), snap("catalogue: 1"))
	if want := "held by commands.catalogue (line 8), pattern \"rm -r ...\": it deletes directories with all that is in them: tier high needs 1 of role:approver; asks expire in 15 min"; v.Reason != want {
		t.Errorf("%s\nwant %s", v.Reason, want)
	}
	if want := "deletes directories with all that is in them"; v.Risk != want {
		t.Errorf("risk %q, want %q", v.Risk, want)
	}
}

// What an exec would run may be looked at by whom it is not denied to, without asking
// anybody.
func TestLook(t *testing.T) {
	s := &Snapshot{Policy: mustParse(t, entry("commands: {catalogue: 1}"))}
	for _, argv := range [][]string{nil, {"uptime"}, {"rm", "-rf", "/srv/x"}} {
		if v := Evaluate(aliceOn("x", nil, Look, argv...), s); v.Effect != Allow || v.Obligations.Record != "off" || v.Obligations.Quorum != 0 {
			t.Errorf("%q: %+v", argv, v)
		}
	}
	if v := Evaluate(aliceOn("x", nil, Look, "mkfs", "/dev/sda"), s); v.Effect != Deny {
		t.Errorf("a denied command: %+v", v)
	}
	asRoot := aliceOn("x", nil, Look, "uptime")
	asRoot.As = "root"
	if v := Evaluate(asRoot, s); v.Effect != Deny {
		t.Errorf("as a user whom no entry names: %+v", v)
	}
	if _, err := Parse([]byte("version: 1\nmode: allowlist\nallowlist: [{name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [look]}]\n")); err == nil {
		t.Error("a document speaks of looks")
	}
}

// thousand is a policy with 1,000 entries of which the last one allows.
func thousand(t testing.TB) *Snapshot {
	var b strings.Builder
	b.WriteString("version: 1\nmode: allowlist\nblocklist:\n")
	for i := range 200 {
		fmt.Fprintf(&b, "  - {name: b%d, members: [\"role:r%d\", \"x%d@*\"], targets: {tags: {env: e%d}}, sessions: [forward]}\n", i, i, i, i)
	}
	b.WriteString("allowlist:\n")
	for i := range 799 {
		fmt.Fprintf(&b, "  - {name: a%d, members: [\"role:r%d\", \"role:sre\"], targets: {tags: {env: e%d}, names: [\"n%d-*\"]}, sessions: [shell], as: [deploy]}\n", i, i, i, i)
	}
	b.WriteString("  - {name: last, members: [\"role:sre\"], targets: {names: [\"*\"]}, sessions: [shell], as: [deploy]}\n")
	return &Snapshot{Policy: mustParse(t, b.String())}
}

func TestThousandEntries(t *testing.T) {
	snap, req := thousand(t), aliceOn("s-1", staging, Shell)
	if v := Evaluate(req, snap); v.Rule != "last" || v.Effect != Allow {
		t.Fatalf("%+v", v)
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(req, snap) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEvaluateThousandEntries(b *testing.B) {
	snap, req := thousand(b), aliceOn("s-1", staging, Shell)
	b.ReportAllocs()
	for b.Loop() {
		Evaluate(req, snap)
	}
}

// An exec may be bounded further than sessions are; shells are not.
func TestLimitsOfAnExec(t *testing.T) {
	doc := head + "max_session: 2h\nmax_exec: 10m\nmax_output: 64\nallowlist:\n  - {name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [exec, shell]}\n"
	s := &Snapshot{Policy: mustParse(t, doc)}
	if o := Evaluate(aliceOn("x", nil, Exec, "uptime"), s).Obligations; o.MaxSession != 10*time.Minute || o.MaxOutput != 64<<20 {
		t.Errorf("exec: %+v", o)
	}
	if o := Evaluate(aliceOn("x", nil, Shell), s).Obligations; o.MaxSession != 2*time.Hour || o.MaxOutput != 0 {
		t.Errorf("shell: %+v", o)
	}
	for _, bad := range []string{"max_output: 0", "max_output: -1", "max_output: 2000000", "max_output: 1MiB", "max_exec: 0s", "max_exec: 200h"} {
		if _, err := Parse([]byte(head + bad + "\n")); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestCloses: what one admin alone may sign opens no door that was closed.
func TestCloses(t *testing.T) {
	const doc = `version: 1
mode: allowlist
allowlist:
  - {name: all, members: ["role:sre"], targets: {names: ["*"]}, sessions: [shell, exec]}
blocklist:
  - {name: db, targets: {names: ["db-*"]}, sessions: [shell]}
commands: {catalogue: 1, default: medium}
gate: enforced
max_session: 1h
break_glass: {members: ["role:admin"], quorum: 2, expires: 30m}
`
	lock := strings.Replace(doc, "mode: allowlist", "mode: lockdown", 1)
	for name, tt := range map[string]struct {
		doc    string
		closes bool
	}{
		"all doors":                     {"version: 1\nmode: lockdown\n", true},
		"all but the glass as it was":   {lock, true},
		"the mode, and a remark":        {strings.Replace(lock, "mode: lockdown", "mode: lockdown # tonight", 1), true},
		"the same, in one line":         {"{version: 1, mode: lockdown, break_glass: {members: [\"*\"], quorum: 1}}", false},
		"the mode, and more beside it":  {strings.Replace(strings.Replace("{"+doc[:strings.Index(doc, "allowlist:\n")], "1\nmode: allowlist", "1,\nmode: lockdown, break_glass: {members: [\"*\"], quorum: 1}", 1)+"}\n", "\n}", "}", 1), false},
		"the same, and other tests":     {lock + "tests: [{member: a@example.com, target: x, session: exec, command: ls, want: deny}]\n", false},
		"no lockdown":                   {doc, false},
		"a smaller quorum":              {strings.Replace(lock, "quorum: 2", "quorum: 1", 1), false},
		"other people":                  {strings.Replace(lock, "role:admin", "*", 1), false},
		"a longer session":              {strings.Replace(lock, "expires: 30m", "expires: 24h", 1), false},
		"a longer session, by the rest": {strings.Replace(lock, "max_session: 1h", "max_session: 12h", 1), false},
		"no gate":                       {strings.Replace(lock, "gate: enforced", "gate: none", 1), false},
		"no catalogue":                  {strings.Replace(lock, "catalogue: 1, ", "", 1), false},
		"laxer commands":                {strings.Replace(lock, "default: medium", "default: low", 1), false},
		"no blocklist":                  {strings.Replace(lock, "db-*", "other-*", 1), false},
		"a glass where there was none":  {"version: 1\nmode: lockdown\nbreak_glass: {members: [\"role:admin\"], quorum: 2, expires: 30m}\n", false},
	} {
		if got := mustParse(t, tt.doc).Closes([]byte(tt.doc), []byte(doc)); got != tt.closes {
			t.Errorf("%s: %v", name, got)
		}
	}
	closes := func(doc, before string) bool { return mustParse(t, doc).Closes([]byte(doc), []byte(before)) }
	const bare = "version: 1\nmode: lockdown\n"
	if closes(lock, "") || !closes(bare, "") || (*Policy)(nil).Closes(nil, nil) {
		t.Error("where there is no policy")
	}
	if !closes(lock, lock) || closes(lock, bare) {
		t.Error("one lockdown after another")
	}
}
