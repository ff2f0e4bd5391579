package policy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

const head = "version: 1\nmode: allowlist\n"

// entry is an allowlist entry with more keys.
func entry(more string) string {
	return head + "allowlist:\n  - name: a\n    members: [\"*\"]\n    targets: {names: [\"*\"]}\n    sessions: [exec]\n" + more
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, doc    string
		line, column int
		problem      string
	}{
		{"empty", "", 1, 1, "empty"},
		{"comment only", "# nothing", 1, 1, ""},
		{"not a mapping", "- a", 1, 1, "must be a mapping"},
		{"scalar", "hello", 1, 1, "must be a mapping"},
		{"not YAML", "version: [1", 1, 10, ""},
		{"tab", "version:\n\t- 1", 2, 1, ""},
		{"no version", "mode: allowlist", 1, 1, "`version` is missing"},
		{"no mode", "version: 1", 1, 1, "`mode` is missing"},
		{"other version", "version: 2\nmode: allowlist", 1, 10, "from 1 to 1"},
		{"version as text", "version: \"1\"\nmode: allowlist", 1, 10, "whole number"},
		{"version as float", "version: 1.0\nmode: allowlist", 1, 10, "whole number"},
		{"unknown mode", "version: 1\nmode: open", 2, 7, "one of: allowlist, blocklist, lockdown"},
		{"unknown key", head + "rules: []", 3, 1, `unknown key "rules" in the policy; it knows: version, mode`},
		{"case of a key", "version: 1\nMode: allowlist", 2, 1, "unknown key"},
		{"duplicate key", head + "mode: blocklist", 3, 1, ""},
		{"duplicate key in flow", head + "approvers: {quorum: 1, quorum: 2}", 3, 24, ""},
		{"two documents", head + "---\n" + head, 1, 1, "2 documents"},
		{"anchor", head + "gate: &a none", 3, 7, "anchors"},
		{"alias", head + "gate: *a", 3, 7, "anchors"},
		{"merge", head + "<<: {gate: none}", 3, 1, "anchors"},
		{"tag", head + "gate: !!str none", 3, 7, "anchors"},
		{"null list", head + "allowlist:\n", 3, 12, "must be a list"},
		{"mapping for list", head + "allowlist: {}", 3, 12, "must be a list"},
		{"empty blocklist", "version: 1\nmode: blocklist\nblocklist: []", 2, 1, "blocklist is empty"},
		{"no blocklist", "version: 1\nmode: blocklist", 2, 1, "blocklist is empty"},
		{"no name", head + "allowlist: [{members: [\"*\"]}]", 3, 13, "needs a name"},
		{"no members", head + "allowlist:\n  - name: a\n    targets: {names: [x]}\n    sessions: [exec]", 4, 5, "needs `members`"},
		{"no targets", head + "allowlist:\n  - name: a\n    members: [\"*\"]\n    sessions: [exec]", 4, 5, "needs `targets`"},
		{"no sessions", head + "allowlist:\n  - name: a\n    members: [\"*\"]\n    targets: {names: [x]}", 4, 5, "needs `sessions`"},
		{"same name twice", head + "blocklist: [{name: a, as: [x]}, {name: a, as: [y]}]", 3, 40, "is taken"},
		{"same name in both lists", entry("blocklist: [{name: a, as: [x]}]"), 4, 11, "is taken"},
		{"block of everything", head + "blocklist: [{name: a}]", 3, 13, "at least one of"},
		{"hold in blocklist", head + "blocklist: [{name: a, hold: {}}]", 3, 23, "unknown key \"hold\""},
		{"empty members", head + "blocklist: [{name: a, members: []}]", 3, 32, "empty"},
		{"bad member", head + "blocklist: [{name: a, members: [alice]}]", 3, 33, "neither an e-mail"},
		{"bad role", head + "blocklist: [{name: a, members: [\"role:*\"]}]", 3, 33, "not a role"},
		{"member is a number", head + "blocklist: [{name: a, members: [1]}]", 3, 33, "must be text"},
		{"empty targets", head + "blocklist: [{name: a, targets: {}}]", 3, 32, "targets is empty"},
		{"empty tags", head + "blocklist: [{name: a, targets: {tags: {}}}]", 3, 32, "targets is empty"},
		{"unknown kind", head + "blocklist: [{name: a, sessions: [telnet]}]", 3, 33, "not a kind"},
		{"empty sessions", head + "blocklist: [{name: a, sessions: []}]", 3, 33, "empty"},
		{"other wildcard", head + "blocklist: [{name: a, targets: {names: [\"web-?\"]}}]", 3, 41, "only wildcard is *"},
		{"hidden rune", head + "blocklist: [{name: \"a\\u202e\", as: [x]}]", 3, 20, "bidi"},
		{"not NFC", head + "blocklist: [{name: \"e\\u0301\", as: [x]}]", 3, 20, "NFC"},
		{"bidi in a comment", head + "gate: none # \u202e", 3, 14, "bidi"},
		{"carriage return", "version: 1\rmode: allowlist", 1, 11, "controls"},
		{"tab in a comment, CRLF", "version: 1\t# a\tb\r\nmode: x", 2, 7, "one of"},
		{"look-alike", head + "blocklist: [{name: \"p\\u0430y\", as: [x]}]", 3, 20, "look-alike"},
		{"plain look-alike", head + "blocklist: [{name: \"p\u0430y\", as: [x]}]", 3, 24, "look-alike"},
		{"long name", head + "blocklist: [{name: " + strings.Repeat("x", 129) + ", as: [x]}]", 3, 20, "129 bytes"},
		{"window without zone", entry("    when: [{days: mon}]"), 8, 12, "needs a zone"},
		{"local zone", entry("    when: [{zone: Local}]"), 8, 19, "IANA"},
		{"unknown zone", entry("    when: [{zone: Europe/Nowhere}]"), 8, 19, "IANA"},
		{"zone of files", entry("    when: [{zone: ../../etc/passwd}]"), 8, 19, "IANA"},
		{"half a window", entry("    when: [{from: \"09:00\", zone: UTC}]"), 8, 12, "both from and to"},
		{"empty window", entry("    when: [{from: \"09:00\", to: \"09:00\", zone: UTC}]"), 8, 12, "must not be empty"},
		{"bad clock", entry("    when: [{from: \"9:00\", to: \"10:00\", zone: UTC}]"), 8, 19, "09:30"},
		{"late clock", entry("    when: [{from: \"09:00\", to: \"24:01\", zone: UTC}]"), 8, 32, "time of day"},
		{"bad day", entry("    when: [{days: monday, zone: UTC}]"), 8, 19, "day"},
		{"empty when", entry("    when: []"), 8, 11, "empty"},
		{"quorum zero", entry("    hold: {quorum: 0}"), 8, 20, "from 1 to 16"},
		{"negative quorum", entry("    hold: {quorum: -1}"), 8, 20, "from 1 to 16"},
		{"steps and quorum", entry("    hold: {quorum: 1, steps: [{quorum: 1}]}"), 8, 11, "not both"},
		{"no steps", entry("    hold: {steps: []}"), 8, 19, "1 to 4 steps"},
		{"many steps", entry("    hold: {steps: [{quorum: 1}, {quorum: 1}, {quorum: 1}, {quorum: 1}, {quorum: 1}]}"), 8, 19, "1 to 4 steps"},
		{"many people", entry("    hold: {steps: [{quorum: 9}, {quorum: 8}]}"), 8, 19, "up to 17 people"},
		{"empty step", entry("    hold: {steps: [{}]}"), 8, 20, "names its approvers"},
		{"step with two shapes", entry("    hold: {steps: [{quorum: 1, all: [{approvers: [\"a@b\"]}, {approvers: [\"a@b\"]}]}]}"), 8, 20, "one of the three"},
		{"all and any", entry("    hold: {steps: [{all: [{approvers: [\"a@b\"]}, {approvers: [\"a@b\"]}], any: []}]}"), 8, 77, "not both"},
		{"any of one", entry("    hold: {steps: [{any: [{approvers: [\"a@b\"]}]}]}"), 8, 26, "2 to 4 parts, not 1"},
		{"part of anybody", entry("    hold: {steps: [{any: [{quorum: 1}, {quorum: 2}]}]}"), 8, 27, "names its approvers"},
		{"part in a part", entry("    hold: {steps: [{any: [{all: []}]}]}"), 8, 28, "unknown key"},
		{"bad approver in a step", entry("    hold: {steps: [{approvers: [bob]}]}"), 8, 33, "neither an e-mail"},
		{"bad duration", entry("    hold: {expires: 15}"), 8, 21, "must be text"},
		{"long duration", entry("    hold: {expires: 169h}"), 8, 21, "1s to 7 d"},
		{"negative duration", entry("    hold: {expires: -1h}"), 8, 21, "1s to 7 d"},
		{"negative grace", head + "grace: -1s", 3, 8, "from 0s to 7 d"},
		{"empty approvers", entry("    hold: {approvers: []}"), 8, 23, "empty"},
		{"bad record", entry("    record: always"), 8, 13, "one of: required, on, off"},
		{"bad gate", head + "gate: strong", 3, 7, "one of: none, advisory, line, enforced"},
		{"unknown tier", head + "commands: {severe: []}", 3, 12, "unknown key"},
		{"unknown default", head + "commands: {default: severe}", 3, 21, "one of: critical"},
		{"unknown tier in tiers", head + "commands: {tiers: {severe: deny}}", 3, 20, "unknown key"},
		{"unknown effect", head + "commands: {tiers: {high: ask}}", 3, 26, "one of: deny"},
		{"laxer upwards", head + "commands: {tiers: {critical: allow}}", 3, 19, "stricter tier"},
		{"bad pattern", head + "commands: {high: [\"@nothing\"]}", 3, 19, "no class"},
		{"break-glass without quorum", head + "break_glass: {members: [\"role:admin\"]}", 3, 14, "needs members and quorum"},
		{"notify", head + "break_glass: {members: [\"role:admin\"], quorum: 1, notify: none}", 3, 59, "one of: all"},
		{"test without want", head + "tests: [{member: a@b, target: x, session: shell}]", 3, 9, "needs `want`"},
		{"test without command", head + "tests: [{member: a@b, target: x, session: exec, want: deny}]", 3, 9, "needs `command`"},
		{"test with command", head + "tests: [{member: a@b, target: x, session: shell, command: x, want: deny}]", 3, 9, "only a test of session: exec"},
		{"test at", head + "tests: [{member: a@b, target: x, session: shell, at: noon, want: deny}]", 3, 54, "such as"},
		{"test needs at", entry("    when: [{zone: UTC}]\ntests: [{member: a@b, target: x, session: shell, want: deny}]"), 9, 9, "needs `at`"},
		{"too deep in flow", head + "gate: " + strings.Repeat("[", 100000/40), 3, 19, "deep"},
		{"too deep in blocks", head + "a:\n" + nested(40), 14, 13, "deep"},
		{"too large", strings.Repeat("# comment\n", 30000), 1, 1, "300000 bytes"},
		{"long line", head + "#" + strings.Repeat("x", 4096), 3, 1, "the line has"},
		{"too many entries", head + "commands:\n  high:\n" + strings.Repeat("    - x\n", 2001), 5, 5, "2001 entries"},
		{"not UTF-8", head + "gate: \xff", 1, 1, "UTF-8"},
	}
	for _, tt := range tests {
		p, err := Parse([]byte(tt.doc))
		var pe *ParseError
		if !errors.As(err, &pe) || p != nil {
			t.Errorf("%s: got %v, want a *ParseError", tt.name, err)
			continue
		}
		if pe.Line != tt.line || pe.Column != tt.column || !strings.Contains(pe.Problem, tt.problem) {
			t.Errorf("%s: got %d:%d %s, want %d:%d %s", tt.name, pe.Line, pe.Column, pe.Problem, tt.line, tt.column, tt.problem)
		}
		if sanitize.Clean(err.Error()).String() != err.Error() && !strings.Contains(err.Error(), "⟨") {
			t.Errorf("%s: the error is not clean: %q", tt.name, err)
		}
	}
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i+1))
	}
	return b.String()
}

func TestParseExample(t *testing.T) {
	p := parseExample(t)
	if len(p.allow) != 3 || len(p.block) != 1 || p.gate != "enforced" || p.minSuite != 2 || len(p.tests) != 3 {
		t.Errorf("%+v", p)
	}
}

// people and machines of testdata/example.yaml.
type exampleRoster struct{}

func (exampleRoster) Person(email string) (Person, bool) {
	if email != "alice@example.com" {
		return Person{}, false
	}
	return Person{MemberID: "m-alice", Email: email, Roles: []string{"sre"}}, true
}

func (exampleRoster) Target(name string) (Target, bool) {
	if name != "web-1" {
		return Target{}, false
	}
	return Target{Name: name, Tags: prod, LoginUser: "deploy"}, true
}

func TestRunTests(t *testing.T) {
	for _, res := range parseExample(t).RunTests(exampleRoster{}) {
		if !res.Passed || res.Problem != "" {
			t.Error(res.Problem)
		}
	}
	p := mustParse(t, head+`
tests:
  - {member: alice@example.com, target: web-1, session: shell, want: allow}
  - {member: bob@example.com, target: web-1, session: shell, want: deny}
  - {member: alice@example.com, target: web-2, session: shell, want: deny}
  - {member: alice@example.com, target: web-1, session: shell, want: deny, rule: other}
  - {member: alice@example.com, target: web-1, session: shell, want: deny, rule: "mode: allowlist"}
`)
	var got []string
	for _, res := range p.RunTests(exampleRoster{}) {
		got = append(got, res.Problem)
		if res.Passed != (res.Problem == "") {
			t.Errorf("%+v", res)
		}
	}
	for i, want := range []string{
		"want allow, got deny: denied: no rule covers",
		"member bob@example.com is not in the roster",
		"target web-2 is not in the roster",
		"want rule other, got mode: allowlist",
	} {
		if !strings.HasPrefix(got[i], want) {
			t.Errorf("%q does not begin with %q", got[i], want)
		}
	}
	if got[4] != "" {
		t.Error(got[4])
	}
}

func FuzzParse(f *testing.F) {
	doc, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(entry("    when: [{zone: UTC}]\n    hold: {quorum: 2}\n")))
	for _, seed := range []string{"a: [b, {c: d}]", "? a\n: b", "a: |\n  b", "- - - a", "{", "a: 'b", "\"a\\u0000\": 1", "%YAML 1.2\n---\na", "a: >-\n\n b\n#c"} {
		f.Add([]byte(seed))
	}
	snap := &Snapshot{People: []Person{{MemberID: "m", Email: "a@b", Roles: []string{"approver"}}}}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Parse(doc)
		var pe *ParseError
		if err != nil {
			if p != nil || !errors.As(err, &pe) || pe.Line < 1 || pe.Column < 1 || pe.Line > strings.Count(string(doc), "\n")+2 {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := Parse(doc)
		if err != nil {
			t.Fatal("it parsed once and then not: ", err)
		}
		for _, req := range []*Request{
			aliceOn("s-1", staging, Shell), aliceOn("web-1", prod, Exec, "rm", "-rf", "/"),
		} {
			v, w := Evaluate(req, &Snapshot{Policy: p}), Evaluate(req, &Snapshot{Policy: again})
			if v.Effect != w.Effect || v.Reason != w.Reason {
				t.Fatalf("two verdicts: %+v and %+v", v, w)
			}
			if v.Effect != Deny && (v.Rule == "" || v.Line < 1 && v.Tier == "") {
				t.Fatalf("no rule or line: %+v", v)
			}
		}
		withPeople := *snap
		withPeople.Policy = p
		withPeople.Check()
		p.RunTests(exampleRoster{})
	})
}

// A document must not cost time beyond proportion to its size, whatever it
// nests. The test's own time limit is the judge.
func TestHostileDocumentsAreCheap(t *testing.T) {
	for _, piece := range []string{"[", "{", "- ", "? ", "a: ", "\"", "'", "|\n", "#\n", "&a ", "[]\n", "a: {b: [c]}\n", "\\", "%x\n", "---\n", ": ", "- a\n - b\n"} {
		doc := strings.Repeat(piece, (256<<10)/len(piece)/16)
		wide := strings.Repeat(strings.Repeat(piece, 10)+"\n", (256<<10)/(10*len(piece)+1)/4)
		Parse([]byte(doc))
		Parse([]byte(wide))
	}
}
