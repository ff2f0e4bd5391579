package roster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
)

// Person finds a member by e-mail, for a policy's tests.
func (r *Roster) Person(email string) (policy.Person, bool) {
	m, ok := r.members[r.emails[email]]
	return policy.Person{MemberID: m.id, Email: m.email, Roles: m.roles}, ok
}

// Target finds a machine by name, for a policy's tests.
func (r *Roster) Target(name string) (policy.Target, bool) {
	k, ok := r.names[name]
	a := r.agents[k]
	return policy.Target{Name: a.Name, Tags: a.Tags, LoginUser: a.LoginUser}, ok
}

// CheckPolicy judges a document that is about to be written: it parses, each of
// its tests passes, and nothing in it waits for people who do not exist. Whoever
// writes a policy, and whoever accepts one, calls it; Apply does not, so that a
// test about a machine that left can't lock a team out.
func (r *Roster) CheckPolicy(document []byte) error {
	if len(document) > MaxPolicy {
		return fmt.Errorf("%w: a policy of %d bytes, at most %d", ErrRefused, len(document), MaxPolicy)
	}
	p, err := policy.Parse(document)
	if err != nil {
		return err
	}
	var failed []string
	for _, t := range p.RunTests(r) {
		if !t.Passed {
			failed = append(failed, fmt.Sprintf("line %d: test failed: %s", t.Line, t.Problem))
		}
	}
	s := *r.snapshot
	s.Policy, s.Hash = p, envelope.Sum(document)
	for _, problem := range s.Check() {
		failed = append(failed, problem.String())
	}
	if failed != nil {
		return errors.New("roster: policy refused:\n" + strings.Join(failed, "\n"))
	}
	return nil
}

// PolicyDocument gives the document in force; nil before the first.
func (r *Roster) PolicyDocument() []byte { return r.document }
