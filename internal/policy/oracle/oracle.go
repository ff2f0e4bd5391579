// Package oracle is a second evaluator of policies: slow, plain, and written from
// SPEC.md's words only. It is for tests, never for a program.
//
// Purpose: whatever evaluates or compares policies is checked against it with random
// policies and requests.
//
// Invariants: it shares no code and no type with internal/policy, and must not import
// it. It works on plain data with regular expressions and by counting minutes.
// Of commands it knows what can be read at a glance: no wrappers, flags or lines.
package oracle

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Policy is a document as data.
type Policy struct {
	Mode         string
	Allow, Block []Rule
	Commands     Commands
	Approvers    *Hold // nil: one of role:approver, 15 minutes
	Glass        *Hold // break_glass; Expires bounds the session, too
}

// A Rule is an entry. Nil parts are not given.
type Rule struct {
	Name     string
	Members  []string
	Tags     map[string][]string
	Names    []string
	Sessions []string
	As       []string
	When     []Window
	Copies   *Copies
	Forwards []string // HOST:PORT; the host a name, an address, 10.0.0.0/8, *.internal or *
	Hold     *Hold
	Record   string
	Commands *Commands
}

// Copies are paths that a copy may reach: whole, or with /* at the end. An empty
// direction is closed.
type Copies struct{ From, To []string }

// A Window is open on its days from one minute of the day to another.
type Window struct {
	Days     []time.Weekday
	From, To int
	Zone     string
}

// A Hold names who approves.
type Hold struct {
	Approvers []string
	Quorum    int
	Steps     []Step // instead of Approvers and Quorum
	Expires   time.Duration
}

// A Step asks for all of its parts, or for any of them.
type Step struct {
	Any   bool
	Parts []Hold // their approvers and quorum
}

// Commands are lists of patterns by tier; nil lists are not given. Words of patterns
// are literal, "..." stands last.
type Commands struct {
	Tiers   [4][]string // low, medium, high, critical
	Default int         // -1: not given
	Effects [4]string   // "": not given
}

// A Request is one as data.
type Request struct {
	Member     string
	Roles      []string
	Target     string
	Tags       map[string]string
	LoginUser  string
	Kind       string
	As         string
	Argv       []string
	At         time.Time
	BreakGlass bool
}

// A Verdict is what policy says.
type Verdict struct {
	Effect string
	Rule   string // "" where the oracle does not say which
	Tier   string
	Hold   Hold   // who approves, where Effect is hold
	Record string // "" of a deny
}

// A Person is somebody who has approved.
type Person struct {
	Email string
	Roles []string
}

// Met reports whether these people, each in one place at most, are who a hold asks
// for. It tries each of them everywhere.
func (h Hold) Met(people []Person) bool {
	steps := h.Steps
	if steps == nil {
		steps = []Step{{Parts: []Hold{h}}}
	}
	have := make([][]int, len(steps))
	for i, s := range steps {
		have[i] = make([]int, len(s.Parts))
	}
	var try func(left []Person) bool
	try = func(left []Person) bool {
		enough := true
		for i, s := range steps {
			parts := 0
			for j, p := range s.Parts {
				if have[i][j] >= p.Quorum {
					parts++
				}
			}
			enough = enough && (parts == len(s.Parts) || s.Any && parts > 0)
		}
		if enough || len(left) == 0 {
			return enough
		}
		for i, s := range steps {
			for j, p := range s.Parts {
				if !names(p.Approvers, left[0].Email, left[0].Roles) {
					continue
				}
				have[i][j]++
				if try(left[1:]) {
					return true
				}
				have[i][j]--
			}
		}
		return try(left[1:])
	}
	return try(people)
}

var (
	kinds   = []string{"shell", "exec", "copy", "forward", "proxy", "observe", "join"}
	effects = []string{"deny", "hold", "confirm", "allow"}
	tiers   = []string{"low", "medium", "high", "critical"}
)

var globs sync.Map // of pattern to *regexp.Regexp

func glob(pattern, s string) bool {
	re, ok := globs.Load(pattern)
	if !ok {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re, _ = globs.LoadOrStore(pattern, regexp.MustCompile("^(?s:"+strings.Join(parts, ".*")+")$"))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

func anyGlob(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, s) })
}

func names(members []string, email string, roles []string) bool {
	return slices.ContainsFunc(members, func(m string) bool {
		if role, ok := strings.CutPrefix(m, "role:"); ok {
			return slices.Contains(roles, role)
		}
		return glob(strings.ToLower(m), strings.ToLower(email))
	})
}

// open counts the minutes of each window that could hold the instant, and looks
// whether the wall clock shows one of them.
func (w Window) open(at time.Time) bool {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		panic(err)
	}
	const layout = "2006-01-02 15:04"
	shown := at.In(zone).Format(layout)
	y, m, d := at.In(zone).Date()
	for back := range 2 {
		day := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
		if !slices.Contains(w.Days, day.Weekday()) {
			continue
		}
		length := w.To - w.From
		if length <= 0 {
			length += 24 * 60
		}
		// The minute that is shown, counted from the window's begin.
		minute, err := time.Parse(layout, shown)
		if err != nil {
			panic(err)
		}
		since := int(minute.Sub(day.Add(time.Duration(w.From) * time.Minute)).Minutes())
		if since >= 0 && since < length {
			return true
		}
	}
	return false
}

func (r Rule) covers(q Request, denies bool) bool {
	if r.Members != nil && !names(r.Members, q.Member, q.Roles) {
		return false
	}
	for k, values := range r.Tags {
		if have, ok := q.Tags[k]; !ok || !anyGlob(values, have) {
			return false
		}
	}
	if r.Names != nil && !anyGlob(r.Names, q.Target) || r.Sessions != nil && !slices.Contains(r.Sessions, q.Kind) {
		return false
	}
	user := q.user()
	switch {
	case denies:
		if r.As != nil && !anyGlob(r.As, user) {
			return false
		}
	case r.As == nil:
		if user != q.LoginUser || user == "root" {
			return false
		}
	case user == "root":
		if !slices.Contains(r.As, "root") {
			return false
		}
	case !anyGlob(r.As, user):
		return false
	}
	if r.When != nil && !slices.ContainsFunc(r.When, func(w Window) bool { return w.open(q.At) }) {
		return false
	}
	return r.reaches(q, denies)
}

// reaches: an entry that denies and names paths or destinations is about those only.
func (r Rule) reaches(q Request, denies bool) bool {
	named := r.Copies != nil || r.Forwards != nil
	switch q.Kind {
	case "copy":
		if r.Copies == nil {
			return !(denies && named)
		}
		if q.Argv == nil {
			return !denies
		}
		paths := r.Copies.To
		if q.Argv[0] == "from" {
			paths = r.Copies.From
		}
		tree, path := len(q.Argv) == 3, q.Argv[len(q.Argv)-1]
		return slices.ContainsFunc(paths, func(p string) bool { return inside(p, path, tree) || denies && touches(p, path, tree) })
	case "forward", "proxy":
		if r.Forwards == nil && denies {
			return !named
		}
		if q.Argv == nil {
			return !denies && (r.Forwards != nil || q.Kind == "proxy")
		}
		if !denies && q.Kind == "proxy" && (q.Argv[0] == "localhost:22" || q.Argv[0] == "127.0.0.1:22") {
			return true
		}
		return slices.ContainsFunc(r.Forwards, func(p string) bool { return leads(p, q.Argv[0], denies) })
	}
	return !(denies && named)
}

// inside: dir/* is what is below dir, and of a tree dir itself.
func inside(pattern, path string, tree bool) bool {
	return glob(pattern, path) || tree && glob(pattern, path+"/")
}

// touches: a copy of path, or of a tree what is below it, and the pattern, with what is
// below that, have something in common.
func touches(pattern, path string, tree bool) bool {
	stem := strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "/")
	return path == stem && pattern != stem || strings.HasPrefix(path, stem+"/") || tree && strings.HasPrefix(stem, path+"/") || pattern == path
}

// leads knows the destinations and the patterns that are drawn.
func leads(pattern, dest string, denies bool) bool {
	host, port, _ := strings.Cut(dest, ":")
	wants, ports, _ := strings.Cut(pattern, ":")
	if from, to, isRange := strings.Cut(ports, "-"); isRange {
		if len(port) != len(from) || port < from || port > to {
			return false
		}
	} else if ports != "*" && ports != port {
		return false
	}
	itself := host == "localhost" || strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "169.254.")
	if itself && !denies {
		return wants == host
	}
	number := strings.Trim(host, "0123456789.") == ""
	switch {
	case wants == "*":
		return true
	case wants == "10.0.0.0/8":
		return strings.HasPrefix(host, "10.")
	}
	return wants == host || !number && glob(wants, host)
}

// written: forward is not for port 22.
func (q Request) written() bool {
	return !(q.Kind == "forward" && q.Argv != nil && strings.HasSuffix(q.Argv[0], ":22"))
}

// carries: these are allowed by what is written only.
func (q Request) carries() bool { return q.Kind == "copy" || q.Kind == "forward" || q.Kind == "proxy" }

// open is false of an entry that wants recorded what can't be.
func (r Rule) open(q Request) bool {
	return r.Record != "required" || q.Kind != "forward" && q.Kind != "proxy"
}

// covering is the first entry that covers. Where what is reached is not known it is the
// laxest of those that could, up to the first that does whatever is reached.
func (p Policy) covering(q Request) *Rule {
	var could []*Rule
	for i := range p.Allow {
		r := &p.Allow[i]
		if !r.covers(q, false) {
			continue
		}
		could = append(could, r)
		if q.Argv != nil || !q.carries() || q.Kind == "copy" && r.Copies == nil {
			break
		}
	}
	for _, laxest := range []func(*Rule) bool{
		func(r *Rule) bool { return r.open(q) && r.Hold == nil },
		func(r *Rule) bool { return r.open(q) },
		func(r *Rule) bool { return true },
	} {
		if i := slices.IndexFunc(could, laxest); i >= 0 {
			return could[i]
		}
	}
	return nil
}

func (q Request) user() string {
	if q.As == "" {
		return q.LoginUser
	}
	return q.As
}

// Judge says what SPEC.md says under Verdict, step by step.
func (p Policy) Judge(q Request) Verdict {
	deny := Verdict{Effect: "deny"}
	if !slices.Contains(kinds, q.Kind) || q.Member == "" || q.Target == "" || q.user() == "" || !q.written() {
		return deny // 1
	}
	if p.Mode == "lockdown" && !q.BreakGlass {
		return deny // 2
	}
	for _, r := range p.Block {
		if r.covers(q, true) {
			return Verdict{Effect: "deny", Rule: r.Name} // 3
		}
	}
	entry := p.covering(q)
	if q.BreakGlass {
		return p.breaking(q, entry)
	}
	v := Verdict{Effect: "allow", Rule: "mode: blocklist", Record: "on"} // 4
	switch {
	case entry != nil && !entry.open(q):
		return Verdict{Effect: "deny", Rule: entry.Name}
	case entry != nil:
		v.Rule = entry.Name
		if entry.Record != "" {
			v.Record = entry.Record
		}
		if entry.Hold != nil {
			v.Effect, v.Hold = "hold", *entry.Hold
		}
	case p.Mode != "blocklist" || q.carries() || q.user() != q.LoginUser || q.user() == "root":
		return deny
	}
	held := p.approvers()
	if entry != nil && entry.Hold != nil {
		held = *entry.Hold
	}
	return p.command(v, q, entry, held) // 5
}

func (p Policy) approvers() Hold {
	if p.Approvers != nil {
		return *p.Approvers
	}
	return Hold{Approvers: []string{"role:approver"}, Quorum: 1}
}

func (p Policy) breaking(q Request, entry *Rule) Verdict {
	deny := Verdict{Effect: "deny"}
	if p.Glass == nil || q.Kind != "shell" && q.Kind != "exec" {
		return deny
	}
	if p.Mode == "lockdown" {
		entry = nil
	}
	if entry == nil && (!names(p.Glass.Approvers, q.Member, q.Roles) || q.user() != q.LoginUser || q.user() == "root") {
		return deny
	}
	v := Verdict{Effect: "hold", Rule: "break_glass", Record: "required", Hold: *p.Glass}
	return p.command(v, q, entry, *p.Glass)
}

// command takes the stricter of the session's effect and that of the command's tier.
func (p Policy) command(v Verdict, q Request, entry *Rule, held Hold) Verdict {
	if q.Kind != "exec" || q.Argv == nil {
		return v
	}
	c := p.Commands.over(Commands{Default: 0, Effects: [4]string{"allow", "confirm", "hold", "deny"}})
	if entry != nil && entry.Commands != nil {
		c = entry.Commands.over(c)
	}
	tier := c.tier(q.Argv)
	v.Tier = tiers[tier]
	effect := c.Effects[tier]
	if slices.Index(effects, effect) >= slices.Index(effects, v.Effect) {
		return v
	}
	v.Effect, v.Rule = effect, ""
	switch effect {
	case "deny":
		v.Record, v.Hold = "", Hold{}
	case "hold":
		v.Hold = held
	}
	return v
}

// over is c where it says something, else base.
func (c Commands) over(base Commands) Commands {
	for t := range c.Tiers {
		if c.Tiers[t] != nil {
			base.Tiers[t] = c.Tiers[t]
		}
		if c.Effects[t] != "" {
			base.Effects[t] = c.Effects[t]
		}
	}
	if c.Default >= 0 {
		base.Default = c.Default
	}
	return base
}

// tier: the strictest pattern at the default or above, else the strictest below it
// that covers word by word, else the default.
func (c Commands) tier(argv []string) int {
	if len(argv) == 0 {
		return 3
	}
	for t := 3; t >= c.Default; t-- {
		if slices.ContainsFunc(c.Tiers[t], func(p string) bool { return loosely(strings.Fields(p), argv) }) {
			return t
		}
	}
	for t := c.Default - 1; t >= 0; t-- {
		if slices.ContainsFunc(c.Tiers[t], func(p string) bool { return exactly(strings.Fields(p), argv) }) {
			return t
		}
	}
	return c.Default
}

// loosely: in whatever order; further words need the dots.
func loosely(pattern, argv []string) bool {
	if pattern[0] != argv[0] {
		return false
	}
	words, dots := pattern[1:], len(pattern) == 1
	if !dots && words[len(words)-1] == "..." {
		words, dots = words[:len(words)-1], true
	}
	for _, w := range words {
		if !slices.Contains(argv[1:], w) {
			return false
		}
	}
	for _, w := range argv[1:] {
		if !dots && !slices.Contains(words, w) {
			return false
		}
	}
	return true
}

// exactly: word by word.
func exactly(pattern, argv []string) bool {
	if pattern[0] != argv[0] {
		return false
	}
	if len(pattern) == 1 {
		return true
	}
	words := pattern[1:]
	if words[len(words)-1] == "..." {
		words = words[:len(words)-1]
		return len(argv)-1 >= len(words) && slices.Equal(words, argv[1:1+len(words)])
	}
	return slices.Equal(words, argv[1:])
}
