package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/document"
)

// A test is one entry of `tests`.
type test struct {
	line    int
	member  string
	target  string
	session Kind
	as      string
	argv    []string
	at      time.Time
	want    Effect
	rule    string // "" when the test does not ask
}

// A Target is what the roster says of a machine.
type Target struct {
	Name      string
	Tags      map[string]string
	LoginUser string
}

// A Roster finds whom and what the tests of a policy speak of.
type Roster interface {
	Person(email string) (Person, bool)
	Target(name string) (Target, bool)
}

// A TestResult says how one test went.
type TestResult struct {
	Line    int
	Passed  bool
	Verdict Verdict
	Problem string // why it failed; "" when it passed
}

// RunTests runs the document's tests. They belong to writes: a write with a
// failing test is refused, but a stored policy is loaded without running them,
// so that a test about a machine that left can't lock a team out.
func (p *Policy) RunTests(roster Roster) []TestResult {
	results := make([]TestResult, len(p.tests))
	for i := range p.tests {
		results[i] = p.tests[i].run(p, roster)
	}
	return results
}

func (t *test) run(p *Policy, roster Roster) TestResult {
	res := TestResult{Line: t.line}
	person, ok := roster.Person(t.member)
	if !ok {
		res.Problem = fmt.Sprintf("member %s is not in the roster", t.member)
		return res
	}
	target, ok := roster.Target(t.target)
	if !ok {
		res.Problem = fmt.Sprintf("target %s is not in the roster", t.target)
		return res
	}
	res.Verdict = Evaluate(&Request{
		Member: person.Email, MemberID: person.MemberID, Roles: person.Roles,
		Target: target.Name, Tags: target.Tags, LoginUser: target.LoginUser,
		Kind: t.session, As: t.as, Argv: t.argv, At: t.at,
	}, &Snapshot{Policy: p})
	switch {
	case res.Verdict.Effect != t.want:
		res.Problem = fmt.Sprintf("want %s, got %s: %s", t.want, res.Verdict.Effect, res.Verdict.Reason)
	case t.rule != "" && t.rule != res.Verdict.Rule:
		res.Problem = fmt.Sprintf("want rule %s, got %s: %s", t.rule, res.Verdict.Rule, res.Verdict.Reason)
	default:
		res.Passed = true
	}
	return res
}

// anyTime is when a test happens that names no time, in a policy that has no
// windows.
var anyTime = time.Date(2026, time.January, 5, 12, 0, 0, 0, time.UTC)

func (d *docReader) testFields(t *test) []document.Field {
	return []document.Field{
		document.Key("member", func(v ast.Node) { t.member = d.Name(v, "member") }).Of(document.AnyName, "E-mail of a member.").Needed(),
		document.Key("target", func(v ast.Node) { t.target = d.Name(v, "target") }).Of(document.AnyName, "Name of a machine.").Needed(),
		document.Key("session", func(v ast.Node) { t.session = Kind(d.OneOf(v, "session", kindNames()...)) }).
			Of(document.Words(kindNames()...), "").Needed(),
		document.Key("as", func(v ast.Node) { t.as = d.Name(v, "as") }).Of(document.AnyName, "User on the target."),
		document.Key("command", func(v ast.Node) { t.argv = command.Split(d.Text(v, "command")) }).
			Of(document.AnyText, "What a person would type; needed for exec. Of a copy: from|to [-r] PATH; of a forward or a proxy: HOST:PORT."),
		document.Key("at", func(v ast.Node) {
			var err error
			if t.at, err = time.Parse(time.RFC3339, d.Text(v, "at")); err != nil {
				d.Fail(v, "at must be a time such as 2026-11-23T10:00:00+01:00")
			}
		}).Of(momentShape, "When, as in RFC 3339; needed if the policy has time windows."),
		document.Key("want", func(v ast.Node) {
			want := d.OneOf(v, "want", effectNames[:]...)
			t.want = Effect(max(slices.Index(effectNames[:], want), 0))
		}).Of(document.Words(effectNames[:]...), "The effect that policy must answer.").Needed(),
		document.Key("rule", func(v ast.Node) { t.rule = d.Text(v, "rule") }).Of(document.AnyText, "The rule that must have decided."),
	}
}

func (d *docReader) test(n ast.Node) test {
	t := test{line: document.LineOf(n), at: anyTime}
	seen := d.Mapping(n, "a test", d.testFields(&t)...)
	for _, key := range []string{"member", "target", "session", "want"} {
		if !seen[key] {
			d.Fail(n, "a test needs `%s`", key)
		}
	}
	switch {
	case seen["command"] && t.session != Exec && !t.session.carries():
		d.Fail(n, "only a test of session: exec has a command, and one of copy, forward or proxy says what is reached")
	case !seen["command"] && t.session == Exec:
		d.Fail(n, "a test of session: exec needs `command`")
	case !seen["at"] && d.timed:
		d.Fail(n, "this policy has time windows, so a test needs `at`")
	}
	return t
}
