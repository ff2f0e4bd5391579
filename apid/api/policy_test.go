package api

import (
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// TestPolicyTestsRunOnWrite: a signed policy whose own tests fail is not taken,
// and neither is one that waits for people who do not exist. A lockdown always is.
func TestPolicyTestsRunOnWrite(t *testing.T) {
	s := newServer(t)
	c := newCrew(t, s, "acme")
	set := func(doc string) error {
		t.Helper()
		st := c.next(t, roster.KindPolicySet, roster.PolicySet{Version: c.roster.PolicyVersion() + 1, Hash: envelope.Sum([]byte(doc)), Document: []byte(doc)})
		_, err := c.carol.client.AppendStatements(t.Context(), st)
		if err == nil {
			if c.roster, err = c.roster.Apply(st); err != nil {
				t.Fatal(err)
			}
		}
		return err
	}
	test := func(want string) string {
		return "tests:\n  - {member: alice@example.com, target: web-1, session: exec, command: \"uname\", at: \"2026-11-23T10:00:00+01:00\", want: " + want + "}\n"
	}
	wantProblem(t, set(testPolicy+test("deny")), wire.KindMalformed)
	wantProblem(t, set(testPolicy+"approvers: {approvers: [\"role:nobody\"], quorum: 1, expires: 15m}\n"), wire.KindMalformed)
	if err := set(testPolicy + test("allow")); err != nil {
		t.Errorf("a policy whose test passes: %v", err)
	}
	if err := set("version: 1\nmode: lockdown\n" + test("allow")); err != nil {
		t.Errorf("a lockdown: %v", err)
	}
}
