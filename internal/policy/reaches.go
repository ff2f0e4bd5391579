package policy

import (
	"fmt"

	"github.com/tucdesk/tucdesk/internal/policy/reach"
)

// copies names paths on the target, by direction. A direction without paths is closed.
type copies struct{ from, to []reach.Paths }

// carries reports whether a request of this kind has words that reach reads.
func (k Kind) carries() bool { return reach.Carries(string(k)) }

// wordsProblem says what is wrong with the words of a copy, forward or proxy.
func wordsProblem(req *Request) string {
	if req.Argv == nil || !req.Kind.carries() {
		return ""
	}
	if req.Kind == Copy {
		if _, err := reach.ParseCopy(req.Argv); err != nil {
			return "denied: this is not what a copy asks for: from or to, -r for a directory, and an absolute path or one below ~/"
		}
		return ""
	}
	d, err := reach.ParseArgv(req.Argv)
	switch {
	case err != nil:
		return fmt.Sprintf("denied: this is not what a %s asks for: HOST:PORT", req.Kind)
	case req.Kind == Forward && d.Port == reach.SSHPort:
		return "denied: port 22 is sshd's, and what goes through ssh is not gated and not recorded: it is a proxy, not a forward, and policy must list `proxy`"
	}
	return ""
}

// reaches judges what a copy, a forward or a proxy asks for. Where that is not known an
// entry that allows covers it if something could be reached by it, and one that denies
// only if nothing could.
func (r *rule) reaches(req *Request, blocks bool) miss {
	switch {
	case !req.Kind.carries():
		if blocks && r.reachOnly() {
			return missKind
		}
		return hit
	case req.Kind == Copy:
		return r.reachesPath(req, blocks)
	}
	return r.reachesDest(req, blocks)
}

// reachOnly reports whether the entry is about what sessions reach.
func (r *rule) reachOnly() bool { return r.copies != nil || r.forwards != nil }

func (r *rule) reachesPath(req *Request, blocks bool) miss {
	if r.copies == nil {
		if blocks && r.forwards != nil {
			return missKind
		}
		return hit
	}
	if req.Argv == nil {
		if blocks {
			return missPath
		}
		return hit
	}
	c, err := reach.ParseCopy(req.Argv)
	if err != nil {
		return missPath
	}
	paths := r.copies.to
	if c.From {
		paths = r.copies.from
	}
	for i := range paths {
		if paths[i].Covers(c) || blocks && paths[i].Meets(c) {
			return hit
		}
	}
	return missPath
}

func (r *rule) reachesDest(req *Request, blocks bool) miss {
	if r.forwards == nil && blocks {
		if r.copies != nil {
			return missKind
		}
		return hit
	}
	if req.Argv == nil {
		switch {
		case blocks:
			return missDest
		case r.forwards == nil && req.Kind == Forward:
			return missNoDest
		}
		return hit
	}
	d, err := reach.ParseArgv(req.Argv)
	if err != nil {
		return missDest
	}
	if !blocks && req.Kind == Proxy && d.IsOwnSSH() {
		return hit // what a proxy is
	}
	for i := range r.forwards {
		if r.forwards[i].Covers(d) || blocks && r.forwards[i].Meets(d) {
			return hit
		}
	}
	if r.forwards == nil {
		return missNoDest
	}
	return missDest
}

// partly reports whether the entry may turn out not to cover a request whose words are
// not known.
func (r *rule) partly(req *Request) bool {
	if req.Argv != nil {
		return false
	}
	switch req.Kind {
	case Copy:
		return r.copies != nil
	case Forward, Proxy:
		return true
	}
	return false
}
