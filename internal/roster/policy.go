package roster

import (
	"errors"
	"fmt"
	"strings"
	"time"

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
	s, err := r.WithPolicy(document)
	if err != nil {
		return err
	}
	var failed []string
	for _, t := range s.Policy.RunTests(r) {
		if !t.Passed {
			failed = append(failed, fmt.Sprintf("line %d: test failed: %s", t.Line, t.Problem))
		}
	}
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

// A PolicyVersion is a policy that admins have signed.
type PolicyVersion struct {
	PolicySet
	Seq    uint64 // number of the statement
	At     time.Time
	Signed []string // e-mails of who signed, as the roster has them now
}

// Policies gives every policy that was ever in force, the first one first.
func (r *Roster) Policies() (versions []PolicyVersion) {
	history(r, KindPolicySet, func(b PolicySet, seq uint64, at time.Time, signed []string) {
		versions = append(versions, PolicyVersion{b, seq, at, signed})
	})
	return versions
}

// history tells of every statement of a kind, the first one first.
func history[T any](r *Roster, kind Kind, tell func(body T, seq uint64, at time.Time, signed []string)) {
	for _, raw := range r.statements {
		u, err := envelope.Parse(raw)
		if err != nil {
			continue // not possible: Apply has read it
		}
		var s statement
		var body T
		if envelope.Unmarshal(u.InsecurePayload(), &s) != nil || s.Kind != kind || envelope.Unmarshal(s.Body, &body) != nil {
			continue
		}
		var signed []string
		for _, k := range u.Signers() {
			if d, ok := r.EverDevice(k); ok {
				signed = append(signed, d.Email)
			}
		}
		tell(body, s.Seq, time.Unix(s.Time, 0), signed)
	}
}

// WithPolicy gives what Evaluate judges with if the document were in force.
func (r *Roster) WithPolicy(document []byte) (*policy.Snapshot, error) {
	p, err := policy.Parse(document)
	if err != nil {
		return nil, err
	}
	s := *r.snapshot
	s.Policy, s.Hash = p, envelope.Sum(document)
	return &s, nil
}
