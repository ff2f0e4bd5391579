package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

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
		minSuite:   defaultMinSuite,
	}}
	d.p.approvers = d.newHold(1)
	d.p.commands = newCommandSet()
	root := d.read(doc)
	if d.err == nil {
		d.document(root)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.p, nil
}

// A docReader fills a Policy from a tree.
type docReader struct {
	reader
	p     *Policy
	names map[string]bool // of entries, over both lists
	timed bool            // some entry has a `when`
}

func (d *docReader) document(n ast.Node) {
	d.names = make(map[string]bool)
	var allowlist, testlist ast.Node
	seen := d.mapping(n, "the policy",
		field{"version", func(v ast.Node) { d.number(v, "version", 1, 1) }},
		field{"mode", func(v ast.Node) {
			d.p.mode, d.p.modeLine = d.oneOf(v, "mode", "allowlist", "blocklist", "lockdown"), lineOf(v)
		}},
		field{"allowlist", func(v ast.Node) { allowlist = v }},
		field{"blocklist", func(v ast.Node) {
			d.list(v, "blocklist", func(e ast.Node) { d.p.block = append(d.p.block, d.blockRule(e)) })
		}},
		field{"commands", func(v ast.Node) { d.commands(v, "commands", &d.p.commands) }},
		field{"approvers", func(v ast.Node) { d.p.approvers = d.holdEntry(v, "approvers") }},
		field{"gate", func(v ast.Node) { d.p.gate = d.oneOf(v, "gate", gateLevels...) }},
		field{"max_session", func(v ast.Node) { d.p.maxSession = d.duration(v, "max_session") }},
		field{"min_suite", func(v ast.Node) { d.p.minSuite = d.number(v, "min_suite", 1, 0xffff) }},
		field{"break_glass", d.breakGlass},
		field{"tests", func(v ast.Node) { testlist = v }},
	)
	// These two speak of what other keys say, wherever in the document.
	if allowlist != nil {
		d.list(allowlist, "allowlist", func(e ast.Node) { d.p.allow = append(d.p.allow, d.allowRule(e)) })
	}
	if testlist != nil {
		d.list(testlist, "tests", func(e ast.Node) { d.p.tests = append(d.p.tests, d.test(e)) })
	}
	if !seen["version"] {
		d.fail(n, "the key `version` is missing; write version: 1")
	}
	if !seen["mode"] {
		d.fail(n, "the key `mode` is missing; write mode: allowlist, blocklist or lockdown")
	}
	if d.p.mode == "blocklist" && len(d.p.block) == 0 {
		d.failAt(d.p.modeLine, 1, "mode is blocklist and the blocklist is empty: everything would be allowed; name what is not, or use mode: allowlist")
	}
}

// entry reads the keys that both lists have.
func (d *docReader) entry(n ast.Node, what string, more ...field) (rule, map[string]bool) {
	r := rule{line: lineOf(n)}
	fields := append([]field{
		{"name", func(v ast.Node) {
			r.name = d.name(v, "the rule's name")
			if d.names[r.name] {
				d.fail(v, "the name %q is taken by another rule; verdicts could not tell them apart", r.name)
			}
			d.names[r.name] = true
		}},
		{"members", func(v ast.Node) { r.members = d.members(v, "members") }},
		{"targets", func(v ast.Node) { d.targets(v, &r) }},
		{"sessions", func(v ast.Node) {
			for _, s := range d.texts(v, "sessions") {
				bit := kindBit(Kind(s))
				if bit == 0 {
					d.fail(v, "%q is not a kind of session: shell, exec, copy, forward, proxy, observe, join", s)
				}
				r.kinds |= bit
			}
		}},
		{"as", func(v ast.Node) { r.as = d.globs(v, "as") }},
		{"when", func(v ast.Node) {
			d.timed = true
			d.list(v, "when", func(w ast.Node) { r.when = append(r.when, d.window(w)) })
			if len(r.when) == 0 {
				d.fail(v, "when is empty; leave the key out for any time")
			}
		}},
	}, more...)
	seen := d.mapping(n, what, fields...)
	if !seen["name"] {
		d.fail(n, "%s needs a name, for verdicts to point at", what)
	}
	return r, seen
}

func (d *docReader) allowRule(n ast.Node) rule {
	record := defaultRecord
	var held *hold
	var own *commandSet
	r, seen := d.entry(n, "an allowlist entry",
		field{"hold", func(v ast.Node) {
			h := d.holdEntry(v, "hold")
			held = &h
		}},
		field{"record", func(v ast.Node) { record = d.oneOf(v, "record", "required", "on", "off") }},
		field{"commands", func(v ast.Node) {
			set := d.p.commands.inherit()
			d.commands(v, "commands", &set)
			own = &set
		}},
	)
	for _, key := range []string{"members", "targets", "sessions"} {
		if !seen[key] {
			d.fail(n, "an allowlist entry needs `%s`: say whom or what it allows; \"*\" is everybody or every target", key)
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
		d.fail(n, "a blocklist entry needs at least one of members, targets, sessions, as, when; to stop everything use mode: lockdown")
	}
	return r
}

func (d *docReader) members(n ast.Node, what string) []member {
	var members []member
	d.list(n, what, func(v ast.Node) {
		s := d.name(v, "an entry of "+what)
		if d.err != nil {
			return
		}
		m, problem := parseMember(s)
		if problem != "" {
			d.fail(v, "%q %s", s, problem)
		}
		members = append(members, m)
	})
	if len(members) == 0 {
		d.fail(n, "%s is empty; it would name nobody", what)
	}
	return members
}

func (d *docReader) globs(n ast.Node, what string) []glob {
	var globs []glob
	d.list(n, what, func(v ast.Node) { globs = append(globs, d.glob(v, "an entry of "+what)) })
	if len(globs) == 0 {
		d.fail(n, "%s is empty; leave the key out or name what it covers", what)
	}
	return globs
}

func (d *docReader) glob(n ast.Node, what string) glob {
	s := d.name(n, what)
	if strings.ContainsAny(s, "?[]{}|") {
		d.fail(n, "%s is %q; the only wildcard is *", what, s)
	}
	return newGlob(s)
}

func (d *docReader) targets(n ast.Node, r *rule) {
	seen := d.mapping(n, "targets",
		field{"tags", func(v ast.Node) {
			d.pairs(v, "tags", func(key string, keyNode, value ast.Node) {
				d.name(keyNode, "a tag's name")
				tag := tagMatch{key: key}
				if _, isList := value.(*ast.SequenceNode); isList {
					tag.values = d.globs(value, "a tag's values")
				} else {
					tag.values = []glob{d.glob(value, "a tag's value")}
				}
				r.tags = append(r.tags, tag)
			})
		}},
		field{"names", func(v ast.Node) { r.names = d.globs(v, "names") }},
	)
	if d.err == nil && len(r.tags) == 0 && len(r.names) == 0 || len(seen) == 0 {
		d.fail(n, "targets is empty; give tags, names or both (names: [\"*\"] is every target)")
	}
}

func (d *docReader) window(n ast.Node) window {
	w := window{days: allDays, to: dayMinutes}
	convert := func(v ast.Node, what string, parse func(string) error) {
		if s := d.text(v, what); d.err == nil {
			if err := parse(s); err != nil {
				d.fail(v, "%s: %v", what, err)
			}
		}
	}
	clock := func(what string, minutes *int) field {
		return field{what, func(v ast.Node) {
			convert(v, what, func(s string) (err error) { *minutes, err = parseClock(s); return err })
		}}
	}
	seen := d.mapping(n, "a window",
		field{"days", func(v ast.Node) {
			convert(v, "days", func(s string) (err error) { w.days, err = parseDays(s); return err })
		}},
		clock("from", &w.from), clock("to", &w.to),
		field{"zone", func(v ast.Node) {
			convert(v, "zone", func(s string) (err error) { w.zone, err = parseZone(s); return err })
		}},
	)
	switch {
	case !seen["zone"]:
		d.fail(n, "a window needs a zone such as Europe/Berlin or UTC")
	case seen["from"] != seen["to"]:
		d.fail(n, "a window needs both from and to, or neither for the whole day")
	case w.from == w.to || w.from == dayMinutes || w.to == 0:
		d.fail(n, "a window must not be empty; from 00:00 to 24:00 is the whole day, and to: \"24:00\" is midnight at its end")
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
	h := d.newHold(lineOf(n))
	d.mapping(n, what,
		field{"approvers", func(v ast.Node) {
			h.members, h.approvers = d.members(v, what+".approvers"), d.texts(v, what+".approvers")
		}},
		field{"quorum", func(v ast.Node) { h.quorum = d.number(v, what+".quorum", 1, maxQuorum) }},
		field{"expires", func(v ast.Node) { h.expires = d.duration(v, what+".expires") }},
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
	seen := d.mapping(n, "break_glass",
		field{"members", func(v ast.Node) {
			d.members(v, "break_glass.members")
			b.Members = d.texts(v, "break_glass.members")
		}},
		field{"quorum", func(v ast.Node) { b.Quorum = d.number(v, "break_glass.quorum", 1, maxQuorum) }},
		field{"expires", func(v ast.Node) { b.Expires = d.duration(v, "break_glass.expires") }},
		field{"notify", func(v ast.Node) { b.Notify = d.oneOf(v, "break_glass.notify", "all") }},
	)
	if !seen["members"] || !seen["quorum"] {
		d.fail(n, "break_glass needs members and quorum: it stands in for a grant")
	}
	d.p.breakGlass, d.p.breakLine = &b, lineOf(n)
}

// duration reads a Go duration such as 15m or 12h, from a second to a week.
func (d *docReader) duration(n ast.Node, what string) time.Duration {
	s := d.text(n, what)
	v, err := time.ParseDuration(s)
	if err != nil || v < time.Second || v > maxDuration {
		d.fail(n, "%s is %q; it must be a time such as 15m or 12h, from 1s to %s", what, s, durationText(maxDuration))
	}
	return v
}
