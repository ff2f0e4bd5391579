package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/document"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// A ParseError says where a document is wrong.
type ParseError = document.Error

// Limits of values, beside those of the document.
const (
	maxQuorum   = 16
	maxDuration = 7 * 24 * time.Hour
)

// What holds where a document is silent.
const (
	defaultGate       = "enforced"
	defaultRecord     = "on"
	defaultMaxSession = 12 * time.Hour
	defaultGrace      = 10 * time.Minute
	defaultMinSuite   = 1
	defaultExpires    = 15 * time.Minute
	defaultApprovers  = "role:approver"
)

// Parse reads a document (SPEC.md). It is strict: unknown and duplicate keys,
// values of another type and values without a meaning are refused, never
// ignored. Errors are *ParseError. It does not run the document's `tests`; see
// RunTests and Snapshot.Check for what a write must ask besides.
func Parse(doc []byte) (*Policy, error) {
	d := &docReader{p: &Policy{
		gate:       defaultGate,
		maxSession: defaultMaxSession,
		grace:      defaultGrace,
		minSuite:   defaultMinSuite,
	}}
	d.p.approvers = d.newHold(1)
	d.p.commands = newCommandSet()
	root := d.Read(doc)
	if d.Err() == nil {
		d.document(root)
	}
	if d.Err() != nil {
		return nil, d.Err()
	}
	return d.p, nil
}

// A docReader fills a Policy from a tree.
type docReader struct {
	document.Reader
	p     *Policy
	names map[string]bool // of entries, over both lists
	timed bool            // some entry has a `when`
}

func (d *docReader) document(n ast.Node) {
	d.names = make(map[string]bool)
	var allowlist, testlist ast.Node
	seen := d.Mapping(n, "the policy",
		document.Key("version", func(v ast.Node) { d.Number(v, "version", 1, 1) }),
		document.Key("mode", func(v ast.Node) {
			d.p.mode, d.p.modeLine = d.OneOf(v, "mode", "allowlist", "blocklist", "lockdown"), document.LineOf(v)
		}),
		document.Key("allowlist", func(v ast.Node) { allowlist = v }),
		document.Key("blocklist", func(v ast.Node) {
			d.List(v, "blocklist", func(e ast.Node) { d.p.block = append(d.p.block, d.blockRule(e)) })
		}),
		document.Key("commands", func(v ast.Node) { d.commands(v, "commands", &d.p.commands) }),
		document.Key("approvers", func(v ast.Node) { d.p.approvers = d.holdEntry(v, "approvers") }),
		document.Key("gate", func(v ast.Node) { d.p.gate = d.OneOf(v, "gate", gateLevels...) }),
		document.Key("max_session", func(v ast.Node) { d.p.maxSession = d.duration(v, "max_session") }),
		document.Key("grace", func(v ast.Node) { d.p.grace = d.durationFrom(v, "grace", 0) }),
		document.Key("min_suite", func(v ast.Node) { d.p.minSuite = d.Number(v, "min_suite", 1, 0xffff) }),
		document.Key("break_glass", d.breakGlass),
		document.Key("tests", func(v ast.Node) { testlist = v }),
	)
	// These two speak of what other keys say, wherever in the document.
	if allowlist != nil {
		d.List(allowlist, "allowlist", func(e ast.Node) { d.p.allow = append(d.p.allow, d.allowRule(e)) })
	}
	if testlist != nil {
		d.List(testlist, "tests", func(e ast.Node) { d.p.tests = append(d.p.tests, d.test(e)) })
	}
	if !seen["version"] {
		d.Fail(n, "the key `version` is missing; write version: 1")
	}
	if !seen["mode"] {
		d.Fail(n, "the key `mode` is missing; write mode: allowlist, blocklist or lockdown")
	}
	if d.p.mode == "blocklist" && len(d.p.block) == 0 {
		d.FailAt(d.p.modeLine, 1, "mode is blocklist and the blocklist is empty: everything would be allowed; name what is not, or use mode: allowlist")
	}
}

// entry reads the keys that both lists have.
func (d *docReader) entry(n ast.Node, what string, more ...document.Field) (rule, map[string]bool) {
	r := rule{line: document.LineOf(n)}
	fields := append([]document.Field{
		document.Key("name", func(v ast.Node) {
			r.name = d.Name(v, "the rule's name")
			if d.names[r.name] {
				d.Fail(v, "the name %q is taken by another rule; verdicts could not tell them apart", r.name)
			}
			d.names[r.name] = true
		}),
		document.Key("members", func(v ast.Node) { r.members = d.members(v, "members") }),
		document.Key("targets", func(v ast.Node) { d.targets(v, &r) }),
		document.Key("sessions", func(v ast.Node) {
			for _, s := range d.Texts(v, "sessions") {
				bit := kindBit(Kind(s))
				if bit == 0 {
					d.Fail(v, "%q is not a kind of session: shell, exec, copy, forward, proxy, observe, join", s)
				}
				r.kinds |= bit
			}
		}),
		document.Key("as", func(v ast.Node) { r.as = d.globs(v, "as") }),
		document.Key("when", func(v ast.Node) {
			d.timed = true
			d.List(v, "when", func(w ast.Node) { r.when = append(r.when, d.window(w)) })
			if len(r.when) == 0 {
				d.Fail(v, "when is empty; leave the key out for any time")
			}
		}),
	}, more...)
	seen := d.Mapping(n, what, fields...)
	if !seen["name"] {
		d.Fail(n, "%s needs a name, for verdicts to point at", what)
	}
	return r, seen
}

func (d *docReader) allowRule(n ast.Node) rule {
	record := defaultRecord
	var held *hold
	var own *commandSet
	r, seen := d.entry(n, "an allowlist entry",
		document.Key("hold", func(v ast.Node) {
			h := d.holdEntry(v, "hold")
			held = &h
		}),
		document.Key("record", func(v ast.Node) { record = d.OneOf(v, "record", "required", "on", "off") }),
		document.Key("commands", func(v ast.Node) {
			set := d.p.commands.inherit()
			d.commands(v, "commands", &set)
			own = &set
		}),
	)
	for _, key := range []string{"members", "targets", "sessions"} {
		if !seen[key] {
			d.Fail(n, "an allowlist entry needs `%s`: say whom or what it allows; \"*\" is everybody or every target", key)
		}
	}
	r.hold, r.record, r.commands = held, record, own
	if own != nil {
		own.owner = r.name
	}
	r.allowed = fmt.Sprintf("allowed by %s (line %d)", r.name, r.line)
	if held != nil {
		r.held = fmt.Sprintf("held by %s (line %d): %s", r.name, r.line, held)
	}
	return r
}

func (d *docReader) blockRule(n ast.Node) rule {
	r, seen := d.entry(n, "a blocklist entry")
	if len(seen) < 2 {
		d.Fail(n, "a blocklist entry needs at least one of members, targets, sessions, as, when; to stop everything use mode: lockdown")
	}
	return r
}

func (d *docReader) members(n ast.Node, what string) []member {
	var members []member
	d.List(n, what, func(v ast.Node) {
		s := d.Name(v, "an entry of "+what)
		if d.Err() != nil {
			return
		}
		m, problem := parseMember(s)
		if problem != "" {
			d.Fail(v, "%q %s", s, problem)
		}
		members = append(members, m)
	})
	if len(members) == 0 {
		d.Fail(n, "%s is empty; it would name nobody", what)
	}
	return members
}

func (d *docReader) globs(n ast.Node, what string) []glob.Glob {
	var globs []glob.Glob
	d.List(n, what, func(v ast.Node) { globs = append(globs, d.glob(v, "an entry of "+what)) })
	if len(globs) == 0 {
		d.Fail(n, "%s is empty; leave the key out or name what it covers", what)
	}
	return globs
}

func (d *docReader) glob(n ast.Node, what string) glob.Glob {
	s := d.Name(n, what)
	if strings.ContainsAny(s, "?[]{}|") {
		d.Fail(n, "%s is %q; the only wildcard is *", what, s)
	}
	return glob.New(s)
}

func (d *docReader) targets(n ast.Node, r *rule) {
	seen := d.Mapping(n, "targets",
		document.Key("tags", func(v ast.Node) {
			d.Pairs(v, "tags", func(key string, keyNode, value ast.Node) {
				d.Name(keyNode, "a tag's name")
				tag := tagMatch{key: key}
				if _, isList := value.(*ast.SequenceNode); isList {
					tag.values = d.globs(value, "a tag's values")
				} else {
					tag.values = []glob.Glob{d.glob(value, "a tag's value")}
				}
				r.tags = append(r.tags, tag)
			})
		}),
		document.Key("names", func(v ast.Node) { r.names = d.globs(v, "names") }),
	)
	if d.Err() == nil && len(r.tags) == 0 && len(r.names) == 0 || len(seen) == 0 {
		d.Fail(n, "targets is empty; give tags, names or both (names: [\"*\"] is every target)")
	}
}

func (d *docReader) window(n ast.Node) window.Window {
	w := window.Window{Days: window.AllDays, To: window.DayMinutes}
	convert := func(v ast.Node, what string, parse func(string) error) {
		if s := d.Text(v, what); d.Err() == nil {
			if err := parse(s); err != nil {
				d.Fail(v, "%s: %v", what, err)
			}
		}
	}
	clock := func(what string, minutes *int) document.Field {
		return document.Key(what, func(v ast.Node) {
			convert(v, what, func(s string) (err error) { *minutes, err = window.ParseClock(s); return err })
		})
	}
	seen := d.Mapping(n, "a window",
		document.Key("days", func(v ast.Node) {
			convert(v, "days", func(s string) (err error) { w.Days, err = window.ParseDays(s); return err })
		}),
		clock("from", &w.From), clock("to", &w.To),
		document.Key("zone", func(v ast.Node) {
			convert(v, "zone", func(s string) (err error) { w.Zone, err = window.ParseZone(s); return err })
		}),
	)
	switch {
	case !seen["zone"]:
		d.Fail(n, "a window needs a zone such as Europe/Berlin or UTC")
	case seen["from"] != seen["to"]:
		d.Fail(n, "a window needs both from and to, or neither for the whole day")
	case w.From == w.To || w.From == window.DayMinutes || w.To == 0:
		d.Fail(n, "a window must not be empty; from 00:00 to 24:00 is the whole day, and to: \"24:00\" is midnight at its end")
	}
	return w
}

func (d *docReader) newHold(line int) hold {
	return hold{
		approvers: []string{defaultApprovers},
		members:   []member{{role: strings.TrimPrefix(defaultApprovers, "role:")}},
		quorum:    1, expires: defaultExpires, line: line,
	}
}

func (d *docReader) holdEntry(n ast.Node, what string) hold {
	h := d.newHold(document.LineOf(n))
	d.Mapping(n, what,
		document.Key("approvers", func(v ast.Node) {
			h.members, h.approvers = d.members(v, what+".approvers"), d.Texts(v, what+".approvers")
		}),
		document.Key("quorum", func(v ast.Node) { h.quorum = d.Number(v, what+".quorum", 1, maxQuorum) }),
		document.Key("expires", func(v ast.Node) { h.expires = d.duration(v, what+".expires") }),
	)
	return h
}

// String says what a hold needs, for reasons.
func (h *hold) String() string {
	return fmt.Sprintf("needs %d of %s; asks expire in %s", h.quorum, strings.Join(h.approvers, ", "), durationText(h.expires))
}

// durationText writes whole minutes, hours and days as people do.
func durationText(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}

func (d *docReader) breakGlass(n ast.Node) {
	b := BreakGlass{Expires: time.Hour, Notify: "all"}
	seen := d.Mapping(n, "break_glass",
		document.Key("members", func(v ast.Node) {
			b.members = d.members(v, "break_glass.members")
			b.Members = d.Texts(v, "break_glass.members")
		}),
		document.Key("quorum", func(v ast.Node) { b.Quorum = d.Number(v, "break_glass.quorum", 1, maxQuorum) }),
		document.Key("expires", func(v ast.Node) { b.Expires = d.duration(v, "break_glass.expires") }),
		document.Key("notify", func(v ast.Node) { b.Notify = d.OneOf(v, "break_glass.notify", "all") }),
	)
	if !seen["members"] || !seen["quorum"] {
		d.Fail(n, "break_glass needs members and quorum: it stands in for a grant")
	}
	b.line = document.LineOf(n)
	d.p.breakGlass = &b
}

// duration reads a Go duration such as 15m or 12h, from a second to a week.
func (d *docReader) duration(n ast.Node, what string) time.Duration {
	return d.durationFrom(n, what, time.Second)
}

func (d *docReader) durationFrom(n ast.Node, what string, least time.Duration) time.Duration {
	s := d.Text(n, what)
	v, err := time.ParseDuration(s)
	if err != nil || v < least || v > maxDuration {
		d.Fail(n, "%s is %q; it must be a time such as 15m or 12h, from %s to %s", what, s, least, durationText(maxDuration))
	}
	return v
}
