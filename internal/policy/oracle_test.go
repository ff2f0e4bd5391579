package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The oracle is a second evaluator: slow, written over plain data and regular
// expressions, and sharing no code with the first. Random documents are judged
// by both.

type oracleRule struct {
	Name     string
	Members  []string
	Tags     map[string]string
	Names    []string
	Sessions []string
	As       []string
	When     []oracleWindow
	Hold     bool
}

type oracleWindow struct {
	Days     []time.Weekday
	From, To int // minutes
	Zone     string
}

type oraclePolicy struct {
	Mode  string
	Allow []oracleRule
	Block []oracleRule
}

func oracleGlob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^(?s:" + strings.Join(parts, ".*") + ")$").MatchString(s)
}

func oracleAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return oracleGlob(p, s) })
}

// oracleOpen walks the minutes of each window that could hold the instant and
// looks whether the wall clock shows one of them.
func oracleOpen(w oracleWindow, at time.Time) bool {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		panic(err)
	}
	shown := at.In(zone).Format("2006-01-02 15:04")
	y, m, d := at.In(zone).Date()
	for back := 0; back <= 1; back++ {
		day := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
		if !slices.Contains(w.Days, day.Weekday()) {
			continue
		}
		length := w.To - w.From
		if length <= 0 {
			length += 24 * 60
		}
		for i := range length {
			if day.Add(time.Duration(w.From+i)*time.Minute).Format("2006-01-02 15:04") == shown {
				return true
			}
		}
	}
	return false
}

func oracleCovers(r oracleRule, req *Request, blocks bool) bool {
	if r.Members != nil && !slices.ContainsFunc(r.Members, func(m string) bool {
		if strings.HasPrefix(m, "role:") {
			return slices.Contains(req.Roles, m[len("role:"):])
		}
		return oracleGlob(strings.ToLower(m), strings.ToLower(req.Member))
	}) {
		return false
	}
	for k, v := range r.Tags {
		have, ok := req.Tags[k]
		if !ok || !oracleGlob(v, have) {
			return false
		}
	}
	if r.Names != nil && !oracleAny(r.Names, req.Target) {
		return false
	}
	if r.Sessions != nil && !slices.Contains(r.Sessions, string(req.Kind)) {
		return false
	}
	user := req.As
	if user == "" {
		user = req.LoginUser
	}
	switch {
	case blocks && r.As != nil:
		if !oracleAny(r.As, user) {
			return false
		}
	case !blocks && r.As == nil:
		if user != req.LoginUser || user == "root" {
			return false
		}
	case !blocks && user == "root":
		if !slices.Contains(r.As, "root") {
			return false
		}
	case !blocks:
		if !oracleAny(r.As, user) {
			return false
		}
	}
	return r.When == nil || slices.ContainsFunc(r.When, func(w oracleWindow) bool { return oracleOpen(w, req.At) })
}

func (p oraclePolicy) judge(req *Request) (Effect, string) {
	if p.Mode == "lockdown" || !slices.Contains([]string{"shell", "exec", "copy", "forward", "proxy", "observe", "join"}, string(req.Kind)) {
		return Deny, ""
	}
	for _, r := range p.Block {
		if oracleCovers(r, req, true) {
			return Deny, r.Name
		}
	}
	for _, r := range p.Allow {
		if oracleCovers(r, req, false) {
			if r.Hold {
				return Hold, r.Name
			}
			return Allow, r.Name
		}
	}
	if p.Mode == "blocklist" && (req.As == "" || req.As == req.LoginUser) && req.LoginUser != "root" {
		return Allow, "mode: blocklist"
	}
	return Deny, ""
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// document writes the policy as YAML.
func (p oraclePolicy) document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nmode: %s\n", p.Mode)
	write := func(list string, rules []oracleRule) {
		if len(rules) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", list)
		for _, r := range rules {
			fmt.Fprintf(&b, "  - name: %s\n", r.Name)
			if r.Members != nil {
				fmt.Fprintf(&b, "    members: %s\n", quoteAll(r.Members))
			}
			if r.Tags != nil || r.Names != nil {
				b.WriteString("    targets:\n")
				if r.Names != nil {
					fmt.Fprintf(&b, "      names: %s\n", quoteAll(r.Names))
				}
				if r.Tags != nil {
					b.WriteString("      tags:\n")
				}
				for k, v := range r.Tags {
					fmt.Fprintf(&b, "        %s: %q\n", k, v)
				}
			}
			if r.Sessions != nil {
				fmt.Fprintf(&b, "    sessions: %s\n", quoteAll(r.Sessions))
			}
			if r.As != nil {
				fmt.Fprintf(&b, "    as: %s\n", quoteAll(r.As))
			}
			if r.When != nil {
				b.WriteString("    when:\n")
			}
			for _, w := range r.When {
				var days []string
				for _, d := range w.Days {
					days = append(days, strings.ToLower(d.String()[:3]))
				}
				fmt.Fprintf(&b, "      - {days: %q, from: \"%02d:%02d\", to: \"%02d:%02d\", zone: %s}\n",
					strings.Join(days, ","), w.From/60, w.From%60, w.To/60, w.To%60, w.Zone)
			}
			if r.Hold {
				b.WriteString("    hold: {}\n")
			}
		}
	}
	write("allowlist", p.Allow)
	write("blocklist", p.Block)
	return b.String()
}

// some draws a list of 1 to 3 of the values, or sometimes nil.
func some(t *rapid.T, label string, optional bool, values ...string) []string {
	low := 1
	if optional {
		low = 0
	}
	list := rapid.SliceOfN(rapid.SampledFrom(values), low, 3).Draw(t, label)
	if len(list) == 0 {
		return nil
	}
	return list
}

func drawRule(t *rapid.T, name string, blocks bool) oracleRule {
	r := oracleRule{
		Name:     name,
		Members:  some(t, "members", blocks, "*", "role:sre", "role:dba", "alice@example.com", "B*@example.com", "*@*.org"),
		Names:    some(t, "names", true, "*", "web-*", "*-1", "db-1", "w*b*1"),
		Sessions: some(t, "sessions", blocks, "shell", "exec", "forward", "copy"),
		As:       some(t, "as", true, "deploy", "root", "*", "r*", "d*y"),
	}
	if rapid.Bool().Draw(t, "tagged") {
		r.Tags = map[string]string{rapid.SampledFrom([]string{"env", "tier"}).Draw(t, "tag"): rapid.SampledFrom([]string{"prod", "*", "st*"}).Draw(t, "value")}
	}
	if !blocks && r.Tags == nil && r.Names == nil {
		r.Names = []string{"*"}
	}
	if blocks && r.Members == nil && r.Names == nil && r.Sessions == nil && r.Tags == nil && r.As == nil {
		r.As = []string{"root"}
	}
	for range rapid.IntRange(0, 2).Draw(t, "windows") {
		w := oracleWindow{
			Days: rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 6), func(d int) time.Weekday { return time.Weekday(d) }), 1, 4).Draw(t, "days"),
			From: rapid.IntRange(0, 24*60-1).Draw(t, "from"),
			To:   rapid.IntRange(1, 24*60).Draw(t, "to"),
			Zone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"}).Draw(t, "zone"),
		}
		if w.From != w.To {
			r.When = append(r.When, w)
		}
	}
	if !blocks {
		r.Hold = rapid.Bool().Draw(t, "hold")
	}
	return r
}

func drawRequest(t *rapid.T) *Request {
	req := &Request{
		Member:    rapid.SampledFrom([]string{"alice@example.com", "bob@example.com", "Bob@Example.com", "eve@evil.org"}).Draw(t, "member"),
		Roles:     some(t, "roles", true, "sre", "dba", "role:sre", "*"),
		Target:    rapid.SampledFrom([]string{"web-1", "web-2", "db-1", "wb1"}).Draw(t, "target"),
		LoginUser: rapid.SampledFrom([]string{"deploy", "root"}).Draw(t, "login"),
		As:        rapid.SampledFrom([]string{"", "deploy", "root", "dy"}).Draw(t, "user"),
		Kind:      Kind(rapid.SampledFrom([]string{"shell", "exec", "forward", "copy", "telnet"}).Draw(t, "kind")),
		// around the clock changes of 2026 in the zones above, and in between
		At: rapid.SampledFrom([]time.Time{
			time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC),
			time.Date(2026, 9, 6, 2, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 13, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
		}).Draw(t, "around").Add(time.Duration(rapid.IntRange(0, 48*60*60).Draw(t, "seconds")) * time.Second),
	}
	if env := rapid.SampledFrom([]string{"", "prod", "staging"}).Draw(t, "env"); env != "" {
		req.Tags = map[string]string{"env": env}
	}
	return req
}

func TestEvaluateAgreesWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := oraclePolicy{Mode: rapid.SampledFrom([]string{"allowlist", "allowlist", "blocklist", "lockdown"}).Draw(t, "mode")}
		for i := range rapid.IntRange(0, 3).Draw(t, "allow") {
			p.Allow = append(p.Allow, drawRule(t, fmt.Sprintf("allow-%d", i), false))
		}
		low := 0
		if p.Mode == "blocklist" {
			low = 1
		}
		for i := range rapid.IntRange(low, 2).Draw(t, "block") {
			p.Block = append(p.Block, drawRule(t, fmt.Sprintf("block-%d", i), true))
		}
		doc := p.document()
		parsed, err := Parse([]byte(doc))
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		for range 8 {
			req := drawRequest(t)
			v := Evaluate(req, &Snapshot{Policy: parsed})
			effect, rule := p.judge(req)
			if v.Effect != effect || rule != "" && v.Rule != rule {
				t.Fatalf("got %s by %s (%s), the oracle says %s by %s\n%+v\n%s", v.Effect, v.Rule, v.Reason, effect, rule, req, doc)
			}
			if v.Effect != Deny && !strings.Contains(strings.Split(doc, "\n")[v.Line-1], strings.TrimPrefix(v.Rule, "mode: ")) {
				t.Fatalf("line %d is not where %s stands\n%s", v.Line, v.Rule, doc)
			}
		}
	})
}
