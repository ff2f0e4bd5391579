package policy

import (
	"fmt"
	"slices"

	"github.com/tucdesk/tucdesk/internal/policy/command"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
)

// EligibleApprovers returns who may approve the request that got v: everybody
// whom its obligations name, except the requester. It returns nobody when the
// verdict is no hold or the requester is not known, because then the requester
// could not be told from the others. The order is that of People.
func (s *Snapshot) EligibleApprovers(v Verdict, requesterID string) []Person {
	if s == nil || v.Effect != Hold || requesterID == "" {
		return nil
	}
	members := make([]member, 0, len(v.Obligations.Approvers))
	for _, text := range v.Obligations.Approvers {
		if m, problem := parseMember(text); problem == "" {
			members = append(members, m)
		}
	}
	return s.eligible(members, requesterID)
}

// Tally says how far those who have approved the request that got v have come: the
// members with these ids, except the requester, as far as they are on the roster.
// Where the verdict is no hold or the requester is not known, nothing is complete.
func (s *Snapshot) Tally(v Verdict, requesterID string, approved []string) quorum.Tally {
	if s == nil || v.Effect != Hold || requesterID == "" {
		return quorum.Tally{}
	}
	approved = slices.DeleteFunc(slices.Clone(approved), func(id string) bool { return id == requesterID })
	return v.Obligations.Needs.Count(approved, s.named())
}

// Enough gives a function that answers nil if members who have approved are whom v
// asks for, or says who is missing.
func (s *Snapshot) Enough(v Verdict, requesterID string) func(memberIDs []string) error {
	return func(approved []string) error {
		if tally := s.Tally(v, requesterID, approved); !tally.Complete() {
			return fmt.Errorf("policy: waits for %s", tally.Waits())
		}
		return nil
	}
}

// MayApprove says whether this member's yes can be asked for now, after those who
// have approved already; if not, in words, for whom the request waits before.
func (s *Snapshot) MayApprove(v Verdict, requesterID, memberID string, approved []string) (bool, string) {
	tally := s.Tally(v, requesterID, approved)
	if memberID == requesterID {
		return false, "nobody decides an own request"
	}
	if v.Obligations.Needs.May(tally, memberID, s.named()) {
		return true, ""
	}
	return false, fmt.Sprintf("step %d of %d comes first: %s", tally.Done+1, len(tally.Steps), tally.Waits())
}

// named tells which entries of a policy name which members of the snapshot.
func (s *Snapshot) named() quorum.Named {
	people, members := make(map[string]*Person, len(s.People)), map[string]member{}
	for i := range s.People {
		people[s.People[i].MemberID] = &s.People[i]
	}
	return func(id, text string) bool {
		p := people[id]
		m, ok := members[text]
		if !ok {
			m, _ = parseMember(text) // the zero member, of a text that is none, matches only the empty address
			members[text] = m
		}
		return p != nil && id != "" && p.Email != "" && m.matches(p.Email, p.Roles)
	}
}

func (s *Snapshot) eligible(members []member, requesterID string) []Person {
	var out []Person
	seen := make(map[string]bool)
	for _, p := range s.People {
		if p.MemberID == "" || p.MemberID == requesterID || seen[p.MemberID] || !anyMember(members, p.Email, p.Roles) {
			continue
		}
		seen[p.MemberID] = true
		out = append(out, p)
	}
	return out
}

// A Problem is something in a policy that does not fit the roster.
type Problem struct {
	Line int
	Text string
}

func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// Check finds what Parse can't see without the people: a hold that nobody on
// the roster could approve, and a break-glass quorum that can't be reached. A
// write with a problem is refused.
func (s *Snapshot) Check() []Problem {
	if s == nil || s.Policy == nil {
		return []Problem{{Line: 1, Text: "there is no policy"}}
	}
	p := s.Policy
	var problems []Problem
	report := func(line int, format string, args ...any) {
		problems = append(problems, Problem{Line: line, Text: fmt.Sprintf(format, args...)})
	}
	usesDefault := false
	for i := range p.allow {
		r := &p.allow[i]
		switch {
		case r.hold != nil:
			if !s.canApprove(r.hold, r.members) {
				report(r.hold.line, "nobody could approve what %s holds: it %s, and the requester does not count", r.name, r.hold)
			}
		case p.commandsOf(r).holds() && r.kinds&kindBit(Exec) != 0:
			usesDefault = true
			if !s.canApprove(&p.approvers, r.members) {
				report(p.approvers.line, "nobody could approve the commands that are held under %s: a hold %s, and the requester does not count", r.name, &p.approvers)
			}
		}
	}
	if p.mode == "blocklist" && !usesDefault && p.commands.holds() && !s.canApprove(&p.approvers, []member{{email: glob.New("*")}}) {
		report(p.approvers.line, "nobody could approve a held command: a hold %s, and the requester does not count", &p.approvers)
	}
	if b := p.breakGlass; b != nil {
		if n := len(s.eligible(b.members, "")); n < b.Quorum {
			report(b.line, "break_glass needs %d members, and the roster has %d of them", b.Quorum, n)
		}
	}
	return problems
}

// holds says whether the set holds some command that can be read: a tier with the
// effect hold that a pattern or the default reaches.
func (s *commandSet) holds() bool {
	for t, effect := range s.effects {
		if effect == Hold && (len(s.Patterns[t])+len(s.Catalogue[t]) > 0 || s.Default == command.Tier(t)) {
			return true
		}
	}
	return false
}

// canApprove says whether at least one of the requesters has enough others to
// approve. Where no requester is on the roster yet, the approvers alone count.
func (s *Snapshot) canApprove(h *hold, requesters []member) bool {
	ids := make([]string, len(s.People))
	for i, p := range s.People {
		ids[i] = p.MemberID
	}
	someone, can := false, h.needs.Reachable(ids, s.named())
	for _, p := range s.People {
		if p.MemberID == "" || !anyMember(requesters, p.Email, p.Roles) {
			continue
		}
		someone = true
		if can(p.MemberID) {
			return true
		}
	}
	return !someone && can("")
}
