package oracle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Random makes policies and requests of one seed.
type Random struct{ *rand.Rand }

// New returns the source of a seed.
func New(seed uint64) Random { return Random{rand.New(rand.NewPCG(seed, 0))} }

func (r Random) one(values ...string) string { return values[r.IntN(len(values))] }

func (r Random) yes(percent int) bool { return r.IntN(100) < percent }

// some draws one to three of the values.
func (r Random) some(values ...string) []string {
	var out []string
	for range 1 + r.IntN(3) {
		out = append(out, r.one(values...))
	}
	return out
}

// maybe draws like some, or nil.
func (r Random) maybe(percent int, values ...string) []string {
	if !r.yes(percent) {
		return nil
	}
	return r.some(values...)
}

var (
	someMembers = []string{"*", "*", "*", "*", "role:sre", "role:sre", "role:dba", "alice@example.com", "B*@example.com", "*@*.org", "role:admin"}
	someKinds   = []string{"exec", "exec", "exec", "exec", "shell", "shell", "forward", "copy", "proxy", "observe", "join"}
	zones       = []string{"UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"}
	somePaths   = []string{"/var/log/*", "/var/log", "/etc/hosts", "/etc/*", "*", "~/*", "/var/log/a"}
	someDests   = []string{"db.internal:5432", "*.internal:*", "*:*", "*:80", "10.0.0.0/8:443", "10.0.0.0/8:*", "127.0.0.1:80", "localhost:*", "169.254.169.254:80", "db.internal:5000-6000", "web:22"}
	patterns    = []string{"ls", "ls ...", "ls x", "rm ...", "rm", "ctl stop ...", "ctl stop", "ctl stop x", "ctl x stop", "ctl status", "ctl x ..."}
)

// Policy draws a policy that parses.
func (r Random) Policy() Policy {
	p := Policy{Mode: r.one("allowlist", "allowlist", "allowlist", "allowlist", "allowlist", "blocklist", "blocklist", "lockdown"), Commands: r.commands(70)}
	for i := range 1 + r.IntN(5) {
		p.Allow = append(p.Allow, r.rule(fmt.Sprintf("allow-%d", i), false))
	}
	for i := range max(0, r.IntN(5)-2) {
		p.Block = append(p.Block, r.rule(fmt.Sprintf("block-%d", i), true))
	}
	if p.Mode == "blocklist" && p.Block == nil {
		p.Block = []Rule{r.rule("block-0", true)}
	}
	if r.yes(30) {
		p.Approvers = r.steps()
	}
	if r.yes(50) {
		p.Glass = r.hold()
	}
	return p
}

func (r Random) hold() *Hold {
	h := r.part()
	h.Expires = time.Duration(1+r.IntN(90)) * time.Minute
	return &h
}

func (r Random) part() Hold { return Hold{Approvers: r.some(someMembers...), Quorum: 1 + r.IntN(3)} }

// steps draws a hold that may have steps.
func (r Random) steps() *Hold {
	h := r.hold()
	if r.yes(60) {
		return h
	}
	for range 1 + r.IntN(2) {
		s := Step{Any: r.yes(50), Parts: []Hold{r.part()}}
		if r.yes(60) {
			s.Parts = append(s.Parts, r.part())
		}
		h.Steps = append(h.Steps, s)
	}
	h.Approvers, h.Quorum = nil, 0
	return h
}

// People draws some who have approved.
func (r Random) People() []Person {
	var people []Person
	for range r.IntN(6) {
		people = append(people, Person{
			Email: r.one("alice@example.com", "bob@example.com", "Bob@Example.com", "eve@evil.org", "x@y.net"),
			Roles: r.maybe(80, "sre", "dba", "admin", "role:sre"),
		})
	}
	return people
}

func (r Random) rule(name string, denies bool) Rule {
	optional, members, named := 100, someMembers, 50
	if denies {
		optional, members, named = 60, []string{"role:dba", "*@*.org", "B*@example.com", "*", "role:sre"}, 80
	}
	v := Rule{
		Name:     name,
		Members:  r.maybe(optional, members...),
		Names:    r.maybe(named, "*", "web-*", "*-1", "db-1", "w*b*1"),
		Sessions: r.maybe(optional, someKinds...),
		As:       r.maybe(40, "deploy", "deploy", "root", "*", "r*", "d*y"),
	}
	if r.yes(25) {
		v.Tags = map[string][]string{r.one("env", "tier"): r.some("prod", "*", "st*")}
	}
	if !denies && v.Tags == nil && v.Names == nil {
		v.Names = []string{"*"}
	}
	lists := func(kinds ...string) bool {
		return v.Sessions == nil && denies || slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(v.Sessions, k) })
	}
	if lists("copy") && r.yes(60) {
		v.Copies = &Copies{From: r.maybe(70, somePaths...), To: r.maybe(60, somePaths...)}
		if v.Copies.From == nil && v.Copies.To == nil {
			v.Copies.To = r.some(somePaths...)
		}
	}
	if lists("forward", "proxy") {
		v.Forwards = r.maybe(70, someDests...)
	}
	if denies && v.Members == nil && v.Names == nil && v.Sessions == nil && v.Tags == nil && v.As == nil {
		v.As = []string{"root"}
	}
	for range max(0, r.IntN(8)-5) {
		v.When = append(v.When, r.window())
	}
	if denies {
		return v
	}
	if r.yes(50) {
		v.Hold = r.steps()
	}
	if r.yes(50) {
		v.Record = r.one("required", "on", "off")
	}
	if r.yes(25) {
		c := r.commands(60)
		c.Effects = [4]string{} // could get laxer upwards together with the policy's
		v.Commands = &c
	}
	return v
}

func (r Random) window() Window {
	w := Window{From: r.IntN(24 * 60), To: 1 + r.IntN(24*60), Zone: r.one(zones...)}
	for w.From == w.To {
		w.To = 1 + r.IntN(24*60)
	}
	for d := range time.Weekday(7) {
		if r.yes(50) {
			w.Days = append(w.Days, d)
		}
	}
	if w.Days == nil {
		w.Days = []time.Weekday{time.Saturday}
	}
	return w
}

func (r Random) commands(percent int) Commands {
	c := Commands{Default: -1}
	for t := range c.Tiers {
		c.Tiers[t] = r.maybe(percent, patterns...)
	}
	if r.yes(50) {
		c.Default = r.IntN(4)
	}
	if r.yes(50) {
		at := 3
		for t := range c.Effects {
			at -= r.IntN(at + 1)
			c.Effects[t] = effects[at]
		}
	}
	return c
}

// Request draws a request about the people and machines of Policy.
func (r Random) Request() Request {
	q := Request{
		Member:     r.one("alice@example.com", "bob@example.com", "Bob@Example.com", "eve@evil.org"),
		Roles:      r.maybe(80, "sre", "dba", "role:sre", "*", "admin"),
		Target:     r.one("web-1", "web-2", "db-1", "wb1"),
		LoginUser:  r.one(append(slices.Repeat([]string{"deploy"}, 18), "root", "")...),
		As:         r.one(append(make([]string, 9), "deploy", "root", "dy")...),
		Kind:       r.one(append(someKinds, "exec", "exec", "exec", "telnet")...),
		BreakGlass: r.yes(8),
	}
	// Around the nights of 2026 in which the clocks of the zones change, and between.
	around := []time.Time{
		time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC),
		time.Date(2026, 9, 6, 2, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 13, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	}
	q.At = around[r.IntN(len(around))].Add(time.Duration(r.IntN(48*60*60)) * time.Second)
	if env := r.one("", "prod", "staging"); env != "" {
		q.Tags = map[string]string{"env": env}
	}
	if q.Kind == "exec" && r.yes(70) {
		q.Argv = []string{r.one("ls", "rm", "ctl", "id")}
		for range r.IntN(3) {
			q.Argv = append(q.Argv, r.one("x", "stop", "status"))
		}
	}
	switch {
	case r.yes(30):
	case q.Kind == "copy":
		q.Argv = []string{r.one("from", "to"), "-r", r.one("/var/log", "/var/log/a", "/etc/hosts", "/var", "/etc", "~/x", "/varx")}
		if r.yes(50) {
			q.Argv = slices.Delete(q.Argv, 1, 2)
		}
	case q.Kind == "forward" || q.Kind == "proxy":
		q.Argv = []string{r.one("db.internal:5432", "x.internal:80", "web:22", "localhost:22", "127.0.0.1:80", "localhost:80", "10.1.2.3:443", "169.254.169.254:80")}
	}
	return q
}

// Document writes the policy as YAML.
func (p Policy) Document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nmode: %s\n", p.Mode)
	for _, list := range []struct {
		name  string
		rules []Rule
	}{{"allowlist", p.Allow}, {"blocklist", p.Block}} {
		if len(list.rules) > 0 {
			fmt.Fprintf(&b, "%s:\n", list.name)
		}
		for _, r := range list.rules {
			r.document(&b)
		}
	}
	if c := p.Commands.document(); c != "{}" {
		fmt.Fprintf(&b, "commands: %s\n", c)
	}
	if p.Approvers != nil {
		fmt.Fprintf(&b, "approvers: %s\n", p.Approvers.document("approvers"))
	}
	if p.Glass != nil {
		fmt.Fprintf(&b, "break_glass: %s\n", p.Glass.document("members"))
	}
	return b.String()
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (h *Hold) document(who string) string {
	if h.Steps == nil {
		return fmt.Sprintf("{%s: %s, quorum: %d, expires: %s}", who, quoted(h.Approvers), h.Quorum, h.Expires)
	}
	var steps []string
	for _, s := range h.Steps {
		var parts []string
		for _, p := range s.Parts {
			parts = append(parts, fmt.Sprintf("{approvers: %s, quorum: %d}", quoted(p.Approvers), p.Quorum))
		}
		switch {
		case len(parts) == 1:
			steps = append(steps, parts[0])
		case s.Any:
			steps = append(steps, "{any: ["+strings.Join(parts, ", ")+"]}")
		default:
			steps = append(steps, "{all: ["+strings.Join(parts, ", ")+"]}")
		}
	}
	return fmt.Sprintf("{steps: [%s], expires: %s}", strings.Join(steps, ", "), h.Expires)
}

func (r Rule) document(b *strings.Builder) {
	fmt.Fprintf(b, "  - name: %s\n", r.Name)
	for _, part := range []struct {
		name string
		list []string
	}{{"members", r.Members}, {"sessions", r.Sessions}, {"as", r.As}} {
		if part.list != nil {
			fmt.Fprintf(b, "    %s: %s\n", part.name, quoted(part.list))
		}
	}
	if r.Tags != nil || r.Names != nil {
		b.WriteString("    targets:\n")
	}
	if r.Names != nil {
		fmt.Fprintf(b, "      names: %s\n", quoted(r.Names))
	}
	if r.Tags != nil {
		b.WriteString("      tags:\n")
	}
	for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
		fmt.Fprintf(b, "        %s: %s\n", k, quoted(r.Tags[k]))
	}
	if r.When != nil {
		b.WriteString("    when:\n")
	}
	for _, w := range r.When {
		var days []string
		for _, d := range w.Days {
			days = append(days, strings.ToLower(d.String()[:3]))
		}
		fmt.Fprintf(b, "      - {days: %q, from: \"%02d:%02d\", to: \"%02d:%02d\", zone: %s}\n",
			strings.Join(days, ","), w.From/60, w.From%60, w.To/60, w.To%60, w.Zone)
	}
	if r.Copies != nil {
		b.WriteString("    copies:\n")
		if r.Copies.From != nil {
			fmt.Fprintf(b, "      from: %s\n", quoted(r.Copies.From))
		}
		if r.Copies.To != nil {
			fmt.Fprintf(b, "      to: %s\n", quoted(r.Copies.To))
		}
	}
	if r.Forwards != nil {
		fmt.Fprintf(b, "    forwards: %s\n", quoted(r.Forwards))
	}
	if r.Hold != nil {
		fmt.Fprintf(b, "    hold: %s\n", r.Hold.document("approvers"))
	}
	if r.Record != "" {
		fmt.Fprintf(b, "    record: %s\n", r.Record)
	}
	if r.Commands != nil {
		fmt.Fprintf(b, "    commands: %s\n", r.Commands.document())
	}
}

func (c Commands) document() string {
	var keys []string
	for t, list := range c.Tiers {
		if list != nil {
			keys = append(keys, fmt.Sprintf("%s: %s", tiers[t], quoted(list)))
		}
	}
	if c.Default >= 0 {
		keys = append(keys, "default: "+tiers[c.Default])
	}
	var own []string
	for t, effect := range c.Effects {
		if effect != "" {
			own = append(own, tiers[t]+": "+effect)
		}
	}
	if own != nil {
		keys = append(keys, "tiers: {"+strings.Join(own, ", ")+"}")
	}
	return "{" + strings.Join(keys, ", ") + "}"
}
