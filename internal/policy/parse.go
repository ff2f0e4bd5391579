package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/document"
	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/policy/quorum"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/policy/window"
)

// A ParseError says where a document is wrong.
type ParseError = document.Error

// Limits of values, beside those of the document.
const (
	maxQuorum   = quorum.MaxPeople
	maxSuite    = 0xffff
	maxOutput   = 1 << 20 // MiB
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
	defaultGlass      = time.Hour
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
	d.p.approvers = newHold(quorum.Needs{{Parts: []quorum.Part{newPart()}}}, defaultExpires, 1)
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

// modes of a policy.
var modes = []string{"allowlist", "blocklist", "lockdown"}

// fields are the keys of the document. The lists that speak of what other keys say
// are kept for later.
func (d *docReader) fields(allowlist, testlist *ast.Node) []document.Field {
	return []document.Field{
		document.Key("version", func(v ast.Node) { d.Number(v, "version", 1, 1) }).Of(document.Whole(1, 1), "Of this language.").Needed(),
		document.Key("mode", func(v ast.Node) {
			d.p.mode, d.p.modeLine = d.OneOf(v, "mode", modes...), document.LineOf(v)
		}).Of(document.Words(modes...), "allowlist: what no rule allows is denied. blocklist: what no rule denies is allowed. lockdown: only break-glass.").Needed(),
		document.Key("allowlist", func(v ast.Node) { *allowlist = v }).
			Of(document.ListOf(document.Object(d.allowFields(&rule{})...)), "The first entry that covers a request decides."),
		document.Key("blocklist", func(v ast.Node) {
			d.List(v, "blocklist", func(e ast.Node) { d.p.block = append(d.p.block, d.blockRule(e)) })
		}).Of(document.ListOf(document.Object(d.entryFields(&rule{})...).AtLeast(2)), "An entry that covers a request denies it, whatever the allowlist says."),
		document.Key("commands", func(v ast.Node) { d.commands(v, "commands", &d.p.commands) }).
			Of(document.Object(d.commandFields("commands", &commandSet{})...), "How much commands can do, and what follows."),
		document.Key("approvers", func(v ast.Node) { d.p.approvers = d.holdEntry(v, "approvers") }).
			Of(document.Object(d.holdFields("approvers", &quorum.Part{}, &hold{})...), "Who approves held commands under rules without a hold of their own."),
		document.Key("gate", func(v ast.Node) { d.p.gate = d.OneOf(v, "gate", gateLevels...) }).
			Of(document.Words(gateLevels...), "The least gate level an interactive shell needs.").Else(defaultGate),
		document.Key("max_session", func(v ast.Node) { d.p.maxSession = d.duration(v, "max_session", time.Second) }).
			Of(durationShape, "The longest a session lives: 1s to 168h.").Else(short(defaultMaxSession)),
		document.Key("max_exec", func(v ast.Node) { d.p.maxExec = d.duration(v, "max_exec", time.Second) }).
			Of(durationShape, "The longest an exec runs, if that is less than max_session: 1s to 168h."),
		document.Key("max_output", func(v ast.Node) { d.p.maxOutput = int64(d.Number(v, "max_output", 1, maxOutput)) << 20 }).
			Of(document.Whole(1, maxOutput), "The most that an exec prints, in MiB; what prints more is ended. Without it: any amount."),
		document.Key("grace", func(v ast.Node) { d.p.grace = d.duration(v, "grace", 0) }).
			Of(durationShape, "How long an agent keeps a terminal whose operator lost the connection; 0s: not at all.").Else(short(defaultGrace)),
		document.Key("min_suite", func(v ast.Node) { d.p.minSuite = d.Number(v, "min_suite", 1, maxSuite) }).
			Of(document.Whole(1, maxSuite), "The least cipher suite; 2 is the post-quantum hybrid.").Else(defaultMinSuite),
		document.Key("break_glass", d.breakGlass).
			Of(document.Object(d.glassFields(&BreakGlass{})...), "A quorum of devices that stands in for the server's grant when the server is gone."),
		document.Key("tests", func(v ast.Node) { *testlist = v }).
			Of(document.ListOf(document.Object(d.testFields(&test{})...)), "Run on every write; a failing test refuses the write."),
	}
}

func (d *docReader) document(n ast.Node) {
	d.names = make(map[string]bool)
	var allowlist, testlist ast.Node
	seen := d.Mapping(n, "the policy", d.fields(&allowlist, &testlist)...)
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

// entryFields are the keys that entries of both lists have.
func (d *docReader) entryFields(r *rule) []document.Field {
	return []document.Field{
		document.Key("name", func(v ast.Node) {
			r.name = d.Name(v, "the rule's name")
			if d.names[r.name] {
				d.Fail(v, "the name %q is taken by another rule; verdicts could not tell them apart", r.name)
			}
			d.names[r.name] = true
		}).Of(document.AnyName, "Stands in verdicts; unique over both lists.").Needed(),
		document.Key("members", func(v ast.Node) { r.members = d.members(v, "members") }).Of(membersShape, "E-mail addresses with * as wildcard, or role:NAME."),
		document.Key("targets", func(v ast.Node) { d.targets(v, r) }).Of(document.Object(d.targetFields(&rule{})...).AtLeast(1), "Machines, by tags and names; all that is given must hold."),
		document.Key("sessions", func(v ast.Node) {
			for _, s := range d.Texts(v, "sessions") {
				bit := kindBit(Kind(s))
				if bit == 0 {
					d.Fail(v, "%q is not a kind of session: %s", s, strings.Join(kindNames(), ", "))
				}
				r.kinds |= bit
			}
		}).Of(document.ListOf(document.Words(kindNames()...)).AtLeast(1), "Kinds of session."),
		document.Key("as", func(v ast.Node) { r.as = d.Globs(v, "as") }).
			Of(namesShape, "Users on the target; root must be spelled out in an allowlist entry. Without it: the login user, if that is not root (allowlist), any user (blocklist)."),
		document.Key("when", func(v ast.Node) {
			d.timed = true
			d.List(v, "when", func(w ast.Node) { r.when = append(r.when, d.window(w)) })
			if len(r.when) == 0 {
				d.Fail(v, "when is empty; leave the key out for any time")
			}
		}).Of(document.ListOf(document.Object(d.windowFields(&window.Window{})...)).AtLeast(1), "Time windows, one of which must be open."),
		document.Key("copies", func(v ast.Node) { d.copies(v, r) }).Of(document.Object(d.copyFields(&copies{})...).AtLeast(1),
			"Paths on the target that a copy may reach, by direction; a direction that is not given is closed. Without it: any path (allowlist), every copy (blocklist)."),
		document.Key("forwards", func(v ast.Node) {
			d.List(v, "forwards", func(n ast.Node) { r.forwards = append(r.forwards, d.dests(n)) })
			if len(r.forwards) == 0 {
				d.Fail(v, "forwards is empty; name HOST:PORT")
			}
		}).Of(namesShape, "HOST:PORT that a forward or a proxy may reach: the host is an address, a network as 10.0.0.0/8, or a name with * as wildcard; the port a number, a range as 8000-8999, or *. Without it: nothing but the target's own sshd by a proxy (allowlist), every forward and proxy (blocklist)."),
	}
}

func (d *docReader) copyFields(c *copies) []document.Field {
	paths := func(key string, into *[]reach.Paths, doc string) document.Field {
		return document.Key(key, func(v ast.Node) {
			d.List(v, "copies."+key, func(n ast.Node) {
				s := d.Text(n, "a path")
				if d.Err() != nil {
					return
				}
				p, err := reach.ParsePaths(s)
				if err != nil {
					d.Fail(n, "the path %q: %v", s, err)
				}
				*into = append(*into, p)
			})
			if len(*into) == 0 {
				d.Fail(v, "copies.%s is empty; leave it out to close the direction", key)
			}
		}).Of(document.ListOf(document.AnyText).AtLeast(1), doc)
	}
	return []document.Field{
		paths("from", &c.from, "What may be read: absolute paths, or below ~/, with * for any run of characters. Each with all below it."),
		paths("to", &c.to, "What may be written, likewise."),
	}
}

func (d *docReader) copies(n ast.Node, r *rule) {
	r.copies = &copies{}
	if seen := d.Mapping(n, "copies", d.copyFields(r.copies)...); d.Err() == nil && len(seen) == 0 {
		d.Fail(n, "copies is empty; give from, to or both")
	}
}

func (d *docReader) dests(n ast.Node) reach.Dests {
	s := d.Text(n, "a destination")
	if d.Err() != nil {
		return reach.Dests{}
	}
	p, err := reach.ParseDests(s)
	if err != nil {
		d.Fail(n, "the destination %q: %v", s, err)
	}
	return p
}

// reaches checks that an entry says what it reaches only of kinds that it lists.
func (d *docReader) reaches(n ast.Node, r *rule) {
	switch {
	case r.kinds == 0:
	case r.copies != nil && !r.lists(kindBit(Copy)):
		d.Fail(n, "%s has `copies`, and `sessions` does not list copy", r.name)
	case r.forwards != nil && !r.lists(kindBit(Forward)|kindBit(Proxy)):
		d.Fail(n, "%s has `forwards`, and `sessions` lists neither forward nor proxy", r.name)
	}
}

// allowFields are the keys of an allowlist entry.
func (d *docReader) allowFields(r *rule) []document.Field {
	fields := d.entryFields(r)
	for i := range fields {
		switch fields[i].Name() {
		case "members", "targets", "sessions":
			fields[i] = fields[i].Needed()
		}
	}
	return append(fields,
		document.Key("hold", func(v ast.Node) {
			h := d.holdEntry(v, "hold")
			r.hold = &h
		}).Of(document.Object(d.holdFields("hold", &quorum.Part{}, &hold{})...), "What the entry allows must be approved first."),
		document.Key("record", func(v ast.Node) { r.record = d.OneOf(v, "record", records...) }).
			Of(document.Words(records...), "required: no recording, no session.").Else(defaultRecord),
		document.Key("commands", func(v ast.Node) {
			set := d.p.commands.inherit()
			d.commands(v, "commands", &set)
			r.commands = &set
		}).Of(document.Object(d.commandFields("commands", &commandSet{})...), "What it does not say holds as the policy says it."),
	)
}

var records = []string{"required", "on", "off"}

func (d *docReader) allowRule(n ast.Node) rule {
	r := rule{line: document.LineOf(n), record: defaultRecord}
	seen := d.Mapping(n, "an allowlist entry", d.allowFields(&r)...)
	if !seen["name"] {
		d.Fail(n, "an allowlist entry needs a name, for verdicts to point at")
	}
	for _, key := range []string{"members", "targets", "sessions"} {
		if !seen[key] {
			d.Fail(n, "an allowlist entry needs `%s`: say whom or what it allows; \"*\" is everybody or every target", key)
		}
	}
	d.reaches(n, &r)
	if r.commands != nil {
		r.commands.owner = r.name
	}
	r.allowed = fmt.Sprintf("allowed by %s (line %d)", r.name, r.line)
	if r.hold != nil {
		r.held = fmt.Sprintf("held by %s (line %d): %s", r.name, r.line, r.hold)
	}
	return r
}

func (d *docReader) blockRule(n ast.Node) rule {
	r := rule{line: document.LineOf(n)}
	seen := d.Mapping(n, "a blocklist entry", d.entryFields(&r)...)
	if !seen["name"] {
		d.Fail(n, "a blocklist entry needs a name, for verdicts to point at")
	}
	if len(seen) < 2 {
		d.Fail(n, "a blocklist entry needs at least one of members, targets, sessions, as, when, copies, forwards; to stop everything use mode: lockdown")
	}
	d.reaches(n, &r)
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

func (d *docReader) targetFields(r *rule) []document.Field {
	return []document.Field{
		document.Key("tags", func(v ast.Node) {
			d.Pairs(v, "tags", func(key string, keyNode, value ast.Node) {
				d.Name(keyNode, "a tag's name")
				tag := tagMatch{key: key}
				if _, isList := value.(*ast.SequenceNode); isList {
					tag.values = d.Globs(value, "a tag's values")
				} else {
					tag.values = []glob.Glob{d.Glob(value, "a tag's value")}
				}
				r.tags = append(r.tags, tag)
			})
		}).Of(document.MapOf(document.EitherOf(document.AnyName, namesShape)).AtLeast(1), "The target must have every tag, with one of its values."),
		document.Key("names", func(v ast.Node) { r.names = d.Globs(v, "names") }).Of(namesShape, "Names of targets, with * as wildcard."),
	}
}

func (d *docReader) targets(n ast.Node, r *rule) {
	seen := d.Mapping(n, "targets", d.targetFields(r)...)
	if d.Err() == nil && (len(seen) == 0 || seen["tags"] && len(r.tags) == 0) {
		d.Fail(n, "targets is empty; give tags, names or both (names: [\"*\"] is every target)")
	}
}

func (d *docReader) windowFields(w *window.Window) []document.Field {
	convert := func(key string, parse func(string) error) document.Field {
		return document.Key(key, func(v ast.Node) {
			if s := d.Text(v, key); d.Err() == nil {
				if err := parse(s); err != nil {
					d.Fail(v, "%s: %v", key, err)
				}
			}
		})
	}
	return []document.Field{
		convert("days", func(s string) (err error) { w.Days, err = window.ParseDays(s); return err }).
			Of(document.AnyText, "Days and ranges of days, with commas: mon-fri, sat. Every day, if missing."),
		convert("from", func(s string) (err error) { w.From, err = window.ParseClock(s); return err }).
			Of(clockShape, "The first minute that is in. With `to`, or neither for the whole day."),
		convert("to", func(s string) (err error) { w.To, err = window.ParseClock(s); return err }).
			Of(clockShape, "The first minute that is out. Not after `from`: the next day."),
		convert("zone", func(s string) (err error) { w.Zone, err = window.ParseZone(s); return err }).
			Of(document.AnyText, "An IANA zone such as Europe/Berlin or UTC.").Needed(),
	}
}

func (d *docReader) window(n ast.Node) window.Window {
	w := window.Window{Days: window.AllDays, To: window.DayMinutes}
	seen := d.Mapping(n, "a window", d.windowFields(&w)...)
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

// partFields are the keys of some people and how many of them.
func (d *docReader) partFields(what string, p *quorum.Part) []document.Field {
	return []document.Field{
		document.Key("approvers", func(v ast.Node) {
			d.members(v, what+".approvers")
			p.Approvers = d.Texts(v, what+".approvers")
		}).Of(membersShape, "Who may approve: e-mail addresses with * as wildcard, or role:NAME.").Else([]string{defaultApprovers}),
		document.Key("quorum", func(v ast.Node) { p.Quorum = d.Number(v, what+".quorum", 1, maxQuorum) }).
			Of(document.Whole(1, maxQuorum), "How many people, none of them the requester.").Else(1),
	}
}

func newPart() quorum.Part { return quorum.Part{Approvers: []string{defaultApprovers}, Quorum: 1} }

// stepFields are the keys of a step: some people, or all or any of several parts.
func (d *docReader) stepFields(what string, alone *quorum.Part, s *quorum.Step) []document.Field {
	parts := func(key string) func(ast.Node) {
		return func(v ast.Node) {
			if len(s.Parts) > 0 {
				d.Fail(v, "a step has `all` or `any`, not both; make it two steps")
			}
			s.Any = key == "any"
			d.List(v, what+"."+key, func(e ast.Node) {
				p := newPart()
				if !d.Mapping(e, "a part of "+key, d.partFields(what+"."+key, &p)...)["approvers"] {
					d.Fail(e, "a part of %s names its approvers", key)
				}
				s.Parts = append(s.Parts, p)
			})
			if len(s.Parts) < 2 || len(s.Parts) > quorum.MaxParts {
				d.Fail(v, "%s has 2 to %d parts, not %d; write approvers and quorum where there is one", key, quorum.MaxParts, len(s.Parts))
			}
		}
	}
	part := document.ListOf(document.Object(d.partFields(what, &quorum.Part{})...)).AtLeast(2)
	return append(d.partFields(what, alone),
		document.Key("all", parts("all")).Of(part, "Each of these parts must be complete."),
		document.Key("any", parts("any")).Of(part, "One of these parts must be complete."),
	)
}

func (d *docReader) step(n ast.Node, what string) quorum.Step {
	alone, s := newPart(), quorum.Step{}
	seen := d.Mapping(n, what, d.stepFields(what, &alone, &s)...)
	own := seen["approvers"] || seen["quorum"]
	switch {
	case own && (seen["all"] || seen["any"]):
		d.Fail(n, "a step has approvers and quorum, or all, or any: one of the three")
	case !own && s.Parts == nil:
		d.Fail(n, "a step names its approvers, or has all or any")
	case own:
		s.Parts = []quorum.Part{alone}
	}
	return s
}

func (d *docReader) holdFields(what string, alone *quorum.Part, h *hold) []document.Field {
	return append(d.partFields(what, alone),
		document.Key("steps", func(v ast.Node) {
			d.List(v, what+".steps", func(e ast.Node) { h.needs = append(h.needs, d.step(e, "a step of "+what)) })
			if problem := h.needs.Check(); problem != "" {
				d.Fail(v, "%s.steps: %s", what, problem)
			}
		}).Of(document.ListOf(document.Object(d.stepFields(what, &quorum.Part{}, &quorum.Step{})...)).AtLeast(1),
			"Instead of approvers and quorum: one step after the other. Each person counts once in all of them."),
		document.Key("expires", func(v ast.Node) { h.expires = d.duration(v, what+".expires", time.Second) }).
			Of(durationShape, "How long a request waits for their decision.").Else(short(defaultExpires)),
	)
}

func (d *docReader) holdEntry(n ast.Node, what string) hold {
	alone, h := newPart(), hold{expires: defaultExpires}
	seen := d.Mapping(n, what, d.holdFields(what, &alone, &h)...)
	switch {
	case seen["steps"] && (seen["approvers"] || seen["quorum"]):
		d.Fail(n, "%s has steps, or approvers and quorum, not both", what)
	case !seen["steps"]:
		h.needs = quorum.Needs{{Parts: []quorum.Part{alone}}}
	}
	return newHold(h.needs, h.expires, document.LineOf(n))
}

// String says what a hold needs, for reasons.
func (h *hold) String() string {
	return fmt.Sprintf("needs %s; asks expire in %s", h.needs, durationText(h.expires))
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

func (d *docReader) glassFields(b *BreakGlass) []document.Field {
	return []document.Field{
		document.Key("members", func(v ast.Node) {
			b.members = d.members(v, "break_glass.members")
			b.Members = d.Texts(v, "break_glass.members")
		}).Of(membersShape, "Who may ask, and whose devices stand in for the grant.").Needed(),
		document.Key("quorum", func(v ast.Node) { b.Quorum = d.Number(v, "break_glass.quorum", 1, maxQuorum) }).
			Of(document.Whole(1, maxQuorum), "How many of them, none of them the requester.").Needed(),
		document.Key("expires", func(v ast.Node) { b.Expires = d.duration(v, "break_glass.expires", time.Second) }).
			Of(durationShape, "How long a request waits, and how long its session lives.").Else(short(defaultGlass)),
		document.Key("notify", func(v ast.Node) { b.Notify = d.OneOf(v, "break_glass.notify", notified...) }).
			Of(document.Words(notified...), "Who is told.").Else(notified[0]),
	}
}

var notified = []string{"all"}

func (d *docReader) breakGlass(n ast.Node) {
	b := BreakGlass{Expires: defaultGlass, Notify: notified[0], line: document.LineOf(n)}
	seen := d.Mapping(n, "break_glass", d.glassFields(&b)...)
	if !seen["members"] || !seen["quorum"] {
		d.Fail(n, "break_glass needs members and quorum: it stands in for a grant")
	}
	d.p.breakGlass = &b
}

// duration reads a Go duration such as 15m or 12h, up to a week.
func (d *docReader) duration(n ast.Node, what string, least time.Duration) time.Duration {
	s := d.Text(n, what)
	v, err := time.ParseDuration(s)
	if err != nil || v < least || v > maxDuration {
		d.Fail(n, "%s is %q; it must be a time such as 15m or 12h, from %s to %s", what, s, least, durationText(maxDuration))
	}
	return v
}
