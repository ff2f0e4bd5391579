package policy

import (
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// A rule is one entry of the allowlist or the blocklist.
type rule struct {
	name     string
	line     int
	members  []member
	tags     []tagMatch
	names    []glob.Glob
	kinds    uint8 // bits of kindBit; 0 means any (blocklist only)
	as       []glob.Glob
	when     []window.Window
	copies   *copies // nil: any path
	forwards []reach.Dests
	hold     *hold
	record   string
	commands *commandSet // nil: those of the policy

	allowed string // the reasons of its verdicts, made once
	held    string
}

// A hold says who must approve.
type hold struct {
	needs     quorum.Needs
	approvers []string // all whom needs name, as written
	least     int      // how many people can meet needs
	expires   time.Duration
	line      int
}

func newHold(needs quorum.Needs, expires time.Duration, line int) hold {
	least, _ := needs.People()
	return hold{needs: needs, approvers: needs.Approvers(), least: least, expires: expires, line: line}
}

// A member is an e-mail glob or a role.
type member struct {
	role  string
	email glob.Glob // ASCII lower case
}

func (m *member) matches(email string, roles []string) bool {
	if m.role != "" {
		for _, r := range roles {
			if r == m.role {
				return true
			}
		}
		return false
	}
	return m.email.MatchFold(email)
}

func anyMember(members []member, email string, roles []string) bool {
	for i := range members {
		if members[i].matches(email, roles) {
			return true
		}
	}
	return false
}

// A tagMatch wants a tag with one of some values.
type tagMatch struct {
	key    string
	values []glob.Glob
}

// A miss says which part of a rule did not hold.
type miss uint8

const (
	hit miss = iota
	missMember
	missTag
	missName
	missKind
	missAs
	missRoot
	missWhen
	missPath
	missDest
	missNoDest
)

var missTexts = [...]string{
	hit:        "",
	missMember: "`members` does not name this person or a role of theirs",
	missTag:    "`targets.tags` asks for tags this target does not have",
	missName:   "`targets.names` does not name this target",
	missKind:   "`sessions` does not list this kind",
	missAs:     "`as` does not list this user",
	missRoot:   "it has no `as`, and the target's login user is root: root must be spelled out in `as`",
	missWhen:   "no window of `when` is open",
	missPath:   "`copies` does not name this path, in this direction",
	missDest:   "`forwards` does not name this host and port; this machine itself, its link and metadata services must be spelled out",
	missNoDest: "it has no `forwards`, and nothing is reached that is not named there as HOST:PORT",
}

// lists says whether the rule is about a kind of session. It costs next to nothing,
// so it is asked first.
func (r *rule) lists(kind uint8) bool { return r.kinds == 0 || r.kinds&kind != 0 }

// covers says which part of the rule the request misses, if any. as is the
// user it resolves to.
func (r *rule) covers(req *Request, as string, blocks bool) miss {
	if m := r.coversSession(req, as, blocks); m != hit {
		return m
	}
	return r.reaches(req, blocks)
}

// coversSession is covers without what a copy, a forward or a proxy asks for.
func (r *rule) coversSession(req *Request, as string, blocks bool) miss {
	if len(r.members) > 0 && !anyMember(r.members, req.Member, req.Roles) {
		return missMember
	}
	for i := range r.tags {
		value, ok := req.Tags[r.tags[i].key]
		if !ok || !glob.Any(r.tags[i].values, value) {
			return missTag
		}
	}
	if len(r.names) > 0 && !glob.Any(r.names, req.Target) {
		return missName
	}
	if !r.lists(kindBit(req.Kind)) {
		return missKind
	}
	if m := r.coversUser(req, as, blocks); m != hit {
		return m
	}
	if len(r.when) > 0 {
		for i := range r.when {
			if r.when[i].Open(req.At) {
				return hit
			}
		}
		return missWhen
	}
	return hit
}

// coversUser judges the user on the target. An allowing rule without `as`
// covers the login user, and root only where it is spelled out: a glob never
// reaches root. A blocking rule without `as` covers every user.
func (r *rule) coversUser(req *Request, as string, blocks bool) miss {
	switch {
	case len(r.as) == 0 && blocks:
		return hit
	case len(r.as) == 0:
		return coversLoginUser(req, as)
	}
	for i := range r.as {
		if r.as[i].Match(as) && (blocks || as != rootUser || r.as[i].IsLiteral()) {
			return hit
		}
	}
	return missAs
}

const rootUser = "root"

func coversLoginUser(req *Request, as string) miss {
	switch {
	case as != req.LoginUser:
		return missAs
	case as == rootUser:
		return missRoot
	}
	return hit
}

const rolePrefix = "role:"

// parseMember reads an e-mail glob or "role:x". Role names are literal.
func parseMember(s string) (member, string) {
	if role, ok := strings.CutPrefix(s, rolePrefix); ok {
		if role == "" || strings.ContainsAny(role, "*|") {
			return member{}, "is not a role: write role: and one plain name"
		}
		return member{role: role}, ""
	}
	if strings.Contains(s, "*") || strings.Contains(s, "@") {
		return member{email: glob.New(glob.Lower(s))}, ""
	}
	return member{}, "is neither an e-mail address (globs with * are allowed) nor role:NAME"
}
