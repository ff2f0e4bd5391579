package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/policy/oracle"
)

var people = []policy.Person{
	{MemberID: "a", Email: "alice@example.com", Roles: []string{"sre"}},
	{MemberID: "b", Email: "bob@example.com", Roles: []string{"sre", "approver"}},
	{MemberID: "c", Email: "carol@example.com", Roles: []string{"admin", "approver"}},
}

var targets = []policy.Target{
	{Name: "web-1", Tags: map[string]string{"env": "prod"}, LoginUser: "deploy"},
	{Name: "st-1", Tags: map[string]string{"env": "staging"}, LoginUser: "deploy"},
}

func lint(t *testing.T, doc string) []string {
	t.Helper()
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	var got []string
	for _, f := range Policy(&policy.Snapshot{Policy: p, People: people}, targets) {
		got = append(got, fmt.Sprintf("%d %s %s", f.Line, f.Severity, f.Code))
		if len(strings.Fields(f.Text)) < 4 {
			t.Errorf("%q says nothing", f.Text)
		}
	}
	return got
}

const tests = "tests: [{member: alice@example.com, target: web-1, session: join, at: \"2026-11-23T10:00:00Z\", want: deny}]\n"

func TestFindings(t *testing.T) {
	rule := func(text string) string { return "version: 1\nmode: allowlist\n" + tests + "allowlist:\n" + text }
	for name, tt := range map[string]struct{ doc, want string }{
		"nothing":       {rule("  - {name: a, members: [\"role:sre\"], targets: {tags: {env: staging}}, sessions: [shell]}"), ""},
		"no tests":      {"version: 1\nmode: allowlist\nallowlist: [{name: a, members: [\"role:sre\"], targets: {tags: {env: staging}}, sessions: [shell]}]", "1 note no-tests"},
		"same":          {rule("  - {name: a, members: [\"*\"], targets: {names: [st-*]}, sessions: [shell, exec]}\n  - {name: b, members: [\"role:sre\"], targets: {names: [st-1]}, sessions: [exec]}"), "6 warning shadowed"},
		"not same":      {rule("  - {name: a, members: [\"role:sre\"], targets: {names: [st-*]}, sessions: [exec]}\n  - {name: b, members: [\"*\"], targets: {names: [st-1]}, sessions: [exec]}"), ""},
		"root is apart": {rule("  - {name: a, members: [\"*\"], targets: {names: [st-*]}, sessions: [exec], as: [\"*\"]}\n  - {name: b, members: [\"*\"], targets: {names: [st-1]}, sessions: [exec], as: [root]}"), ""},
		"blocked":       {rule("  - {name: a, members: [\"*\"], targets: {names: [st-1]}, sessions: [exec]}\nblocklist: [{name: b, targets: {names: [\"st*\"]}}]"), "5 warning shadowed"},
		"role":          {rule("  - {name: a, members: [\"role:dba\"], targets: {names: [st-1]}, sessions: [exec]}"), "5 warning unknown-role"},
		"member":        {rule("  - {name: a, members: [\"zoe@*\"], targets: {names: [st-1]}, sessions: [exec]}"), "5 warning unknown-member"},
		"approver":      {rule("  - {name: a, members: [\"role:sre\"], targets: {names: [st-1]}, sessions: [exec], hold: {approvers: [\"role:approver\", \"role:boss\"]}}"), "5 warning unknown-role"},
		"nobody":        {rule("  - {name: a, members: [\"role:sre\"], targets: {names: [st-1]}, sessions: [exec], hold: {approvers: [\"role:approver\"], quorum: 3}}"), "5 error nobody-approves"},
		"nobody reads":  {rule("  - {name: a, members: [\"role:sre\"], targets: {names: [st-1]}, sessions: [exec]}\napprovers: {approvers: [\"role:boss\"]}"), "5 warning nobody-approves"},
		"tag":           {rule("  - {name: a, members: [\"*\"], targets: {tags: {zone: x}}, sessions: [exec]}"), "5 warning unknown-tag"},
		"value":         {rule("  - {name: a, members: [\"*\"], targets: {tags: {env: [staging, test]}}, sessions: [exec]}"), "5 warning unknown-tag"},
		"target":        {rule("  - {name: a, members: [\"*\"], targets: {names: [db-*]}, sessions: [exec]}"), "5 warning unknown-target"},
		"prod":          {rule("  - {name: a, members: [\"*\"], targets: {tags: {env: prod}}, sessions: [shell]}"), "5 warning prod-without-approval; 5 note prod-any-time"},
		"prod by name":  {rule("  - {name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [exec], hold: {}}"), "5 note prod-any-time; 5 note no-catalogue"},
		"prod, careful": {rule("  - {name: a, members: [\"*\"], targets: {names: [\"*\"]}, sessions: [exec], hold: {}, commands: {catalogue: 1}, when: [{days: mon, from: \"09:00\", to: \"10:00\", zone: UTC}]}"), ""},
		"prod, ways":    {rule("  - {name: a, members: [\"*\"], targets: {names: [web-1]}, sessions: [forward, proxy], record: off, hold: {}}\n"), "5 warning forward-nowhere; 5 note prod-any-time; 5 warning prod-ungated; 5 warning prod-ungated; 5 warning prod-unrecorded"},
		"prod, no gate": {rule("  - {name: a, members: [\"*\"], targets: {names: [web-1]}, sessions: [shell], hold: {}}\ngate: none"), "5 note prod-any-time; 5 warning prod-ungated"},
		"looking on":    {rule("  - {name: a, members: [\"*\"], targets: {names: [web-1]}, sessions: [observe]}"), ""},
		"always open":   {rule("  - {name: a, members: [\"*\"], targets: {names: [st-1]}, sessions: [exec], when: [{from: \"00:00\", to: \"12:00\", zone: UTC}, {from: \"12:00\", to: \"24:00\", zone: UTC}]}"), "5 warning open-ended"},
		"whole days":    {rule("  - {name: a, members: [\"*\"], targets: {names: [st-1]}, sessions: [exec], when: [{days: mon-fri, zone: UTC}]}"), "5 note open-ended"},
		"blocklist":     {"version: 1\nmode: blocklist\n" + tests + "blocklist: [{name: b, sessions: [join]}]", "2 note blocklist"},
		"alone":         {"version: 1\nmode: allowlist\nbreak_glass: {members: [\"role:admin\"], quorum: 1}", "1 warning lonely-break-glass"},
	} {
		if got := strings.Join(lint(t, tt.doc), "; "); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}

// An entry that is called shadowed decides no request, whatever the request.
func TestShadowedNeverDecides(t *testing.T) {
	shadowed := 0
	for seed := range uint64(800) {
		r := oracle.New(seed)
		o := r.Policy()
		p, err := policy.Parse([]byte(o.Document()))
		if err != nil {
			t.Fatal(err)
		}
		var never []string
		for _, f := range Policy(&policy.Snapshot{Policy: p}, nil) {
			if f.Code == "shadowed" {
				name, _, _ := strings.Cut(f.Text, " ")
				never = append(never, name)
			}
		}
		if len(never) == 0 {
			continue
		}
		shadowed++
		for range 30 {
			q := r.Request()
			v := policy.Evaluate(request(q), &policy.Snapshot{Policy: p})
			if slices.Contains(never, v.Rule) && (v.Effect != policy.Deny || strings.Contains(v.Reason, "denied by")) {
				t.Fatalf("seed %d: %s decided %+v and was called shadowed\n%s", seed, v.Rule, q, o.Document())
			}
		}
	}
	t.Logf("%d policies had a shadowed entry", shadowed)
	if shadowed < 40 {
		t.Error("too few")
	}
}

func request(q oracle.Request) *policy.Request {
	return &policy.Request{Member: q.Member, Roles: q.Roles, Target: q.Target, Tags: q.Tags, LoginUser: q.LoginUser, Kind: policy.Kind(q.Kind), As: q.As, At: q.At}
}
