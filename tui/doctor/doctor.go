// Package doctor looks at everything a device needs to work with its team: its
// home, clock, servers, keys and roster, and says of each what to do next.
//
// It looks and changes nothing, but that a newer roster is taken in. What it says
// of servers is what this device has seen; nothing rests on it.
//
// It must not import a service. Its texts may quote servers: whoever prints them
// passes them through internal/sanitize.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A State is how it stands with one thing. The zero State is none.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn" // works, and will not for long, or not as it should
	Fail State = "fail"
)

// A Finding is one line of the answer.
type Finding struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // what to do; there wherever State is not OK
}

// Healthy reports whether nothing fails.
func Healthy(fs []Finding) bool {
	return !slices.ContainsFunc(fs, func(f Finding) bool { return f.State == Fail })
}

const (
	// within bounds each thing that is looked at.
	within = 8 * time.Second
	// soon is how long before its end a key or a certificate is worth a line.
	soon = 14 * 24 * time.Hour
	// clockOff is what clocks may differ by without a word: the Date of an answer
	// is whole seconds.
	clockOff = 3 * time.Second
)

// Home says what is wrong with a home that can't be opened.
func Home(err error) []Finding {
	next := "restore the folder from a backup, or remove it and run tucdesk login"
	if errors.Is(err, profile.ErrNone) {
		next = "set TUCDESK_HOME, or join a team: tucdesk login URL"
	}
	return []Finding{{"home", Fail, err.Error(), next}}
}

// Crashes says that reports of a console which broke are there; files, the oldest first.
func Crashes(files []string) []Finding {
	if len(files) == 0 {
		return nil
	}
	return []Finding{{"crash reports", Warn, fmt.Sprintf("the console has broken; %d report(s), the newest is %s", len(files), files[len(files)-1]), "read it, send it to the project, and remove it"}}
}

// patient is what the checks share.
type patient struct {
	b    *control.Backend
	http *http.Client // pinned as the profile says; nil: the system's authorities
	now  func() time.Time
}

// Examine looks at everything, what it can at the same time, and gives the lines
// in one order always.
func Examine(ctx context.Context, b *control.Backend) []Finding {
	p := &patient{b: b, http: wire.Pinned(b.Home().Profile.Pins), now: time.Now}
	checks := []func(context.Context) []Finding{
		p.apid, p.token, p.roster, p.log, p.rendezvous, p.relays, p.machines,
	}
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			found[i] = check(ctx)
		})
	}
	all.Wait()
	prof := b.Home().Profile
	return append([]Finding{{Name: "home", State: OK, Text: fmt.Sprintf("%s belongs to team %s (%s)", b.Home().Dir, prof.TeamID, prof.TeamFP.String()[:16])}}, slices.Concat(found...)...)
}

// down is the line of a server that does not answer.
func down(name string, err error, where string) Finding {
	next := "check the network, and that the server at " + where + " runs"
	if errors.Is(err, wire.ErrPin) {
		next = "do not go on: ask an admin whether the server's key was changed, and for a new profile if it was"
	}
	return Finding{name, Fail, err.Error(), next}
}

// apid looks at the way to apid, its TLS, its clock and its version.
func (p *patient) apid(ctx context.Context) []Finding {
	base := p.b.Home().Profile.API
	r, err := reach(ctx, p.http, base)
	if err != nil {
		return []Finding{down("apid", err, base)}
	}
	out := []Finding{
		{Name: "apid", State: OK, Text: fmt.Sprintf("%s answers in %s", base, r.RTT.Round(time.Millisecond))},
		p.tls("tls apid", r), p.clock(r),
	}
	info, err := p.b.Client().Server(ctx)
	ours := daemon.Version().Version
	switch {
	case err != nil:
		out = append(out, Finding{"version", Warn, "apid does not say its version: " + err.Error(), "bring tucdesk and apid to one version"})
	case info.Version != ours:
		out = append(out, Finding{"version", Warn, fmt.Sprintf("tucdesk is %s, apid is %s", ours, orNone(info.Version)), "bring both to one version if something does not work"})
	default:
		out = append(out, Finding{Name: "version", State: OK, Text: "tucdesk and apid are " + ours})
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "older than that"
	}
	return s
}

// tls says how a server proves who it is.
func (p *patient) tls(name string, r reached) Finding {
	pinned := len(p.b.Home().Profile.Pins) > 0
	switch {
	case r.Certificate == nil:
		return Finding{Name: name, State: OK, Text: "plain http, which leads to this machine only"}
	case pinned: // a pinned key counts by itself, whatever its certificate says
		return Finding{Name: name, State: OK, Text: "its key is one of the profile's pins"}
	}
	if left := r.Certificate.NotAfter.Sub(p.now()); left < soon {
		return Finding{name, Warn, "its certificate is valid for " + days(left) + " more", "have whoever runs the server renew it"}
	}
	return Finding{Name: name, State: OK, Text: "a certificate that the system trusts, until " + r.Certificate.NotAfter.Format(time.DateOnly)}
}

// clock compares this clock with the one in apid's answer.
func (p *patient) clock(r reached) Finding {
	const next = "set this machine's clock (timedatectl set-ntp true), or apid's if it is the one that is off"
	if r.Date.IsZero() {
		return Finding{"clock", Warn, "apid's answers name no time to compare with", next}
	}
	off := p.now().Add(-r.RTT / 2).Sub(r.Date)
	return skew("clock", "apid's", off, next)
}

func skew(name, whose string, off time.Duration, next string) Finding {
	text := fmt.Sprintf("%s ahead of %s", off.Round(time.Second), whose)
	if off < 0 {
		text = fmt.Sprintf("%s behind %s", -off.Round(time.Second), whose)
	}
	switch off = off.Abs(); {
	case off > token.Skew:
		return Finding{name, Fail, text + ": signatures are not taken", next}
	case off > clockOff:
		return Finding{name, Warn, text, next}
	}
	return Finding{Name: name, State: OK, Text: "agrees with " + whose}
}

// token signs in, and looks how long this device may.
func (p *patient) token(ctx context.Context) []Finding {
	t, err := p.b.Client().SignIn(ctx)
	if err != nil {
		return []Finding{{"token", Fail, err.Error(), "see clock and device; an admin's `tucdesk roster show` says whether this device is on the roster"}}
	}
	return []Finding{{Name: "token", State: OK, Text: fmt.Sprintf("signed in as %s (%s), for %s", t.Email, strings.Join(t.Roles, ", "), time.Duration(t.ExpiresIn)*time.Second)}}
}

// roster brings the roster up to apid's, and looks at what stands in it.
func (p *patient) roster(ctx context.Context) []Finding {
	home := p.b.Home()
	before := home.Roster().Head()
	r, err := p.b.Sync(ctx)
	out := []Finding{{Name: "roster", State: OK, Text: fmt.Sprintf("statement %d, the same as apid's", r.Head().Seq)}}
	last, known := home.LastSync()
	switch {
	case err != nil:
		out[0] = Finding{"roster", Fail, fmt.Sprintf("statement %d, as of %s: %v", r.Head().Seq, Age(last, known, p.now()), err), "what is known stands; see apid, and tell an admin if it tells of another roster"}
	case r.Head() != before:
		out[0].Text = fmt.Sprintf("statement %d: %d new ones were fetched", r.Head().Seq, r.Head().Seq-before.Seq)
	}
	if err := home.Behind(); err != nil {
		out[0] = Finding{"roster", Fail, err.Error(), "do not go on; tell an admin of your team"}
	}
	device := Finding{Name: "device", State: OK}
	switch d, err := r.Device(home.Identity.Kid(), p.now()); {
	case err != nil:
		device = Finding{"device", Fail, err.Error(), "an admin adds it again: tucdesk roster add"}
	case d.Exp.Sub(p.now()) < soon:
		device = Finding{"device", Warn, "this device may act for " + days(d.Exp.Sub(p.now())) + " more", "have an admin renew it: tucdesk roster add"}
	default:
		device.Text = "may act until " + d.Exp.Format(time.DateOnly)
	}
	policy := Finding{Name: "policy", State: OK, Text: fmt.Sprintf("version %d (%s)", r.PolicyVersion(), r.PolicyHash().String()[:16])}
	if r.PolicyVersion() == 0 {
		policy = Finding{"policy", Warn, "the team has no policy, so everything is denied", "an admin sets one"}
	}
	return append(out, device, policy)
}

// log looks at what this home has seen of the audit log.
func (p *patient) log(context.Context) []Finding {
	const tell = "show both notes in it to the admins and auditors of your team; once they have it, move the file away"
	seen, err := p.b.Home().Checkpoints()
	var forks []string
	var note []byte
	var open int
	if err == nil {
		forks, err = seen.Forks()
	}
	if err == nil {
		open, err = seen.Unproved()
	}
	if err == nil {
		note, _, err = seen.Newest()
	}
	var c audit.Checkpoint
	if err == nil && note != nil {
		c, err = audit.InsecureCheckpoint(note) // what is kept was verified
	}
	switch {
	case err != nil:
		return []Finding{{"audit log", Fail, err.Error(), "look at the folder checkpoints of this home"}}
	case len(forks) > 0:
		return []Finding{{"audit log", Fail, "it has told two stories; evidence: " + strings.Join(forks, ", "), tell}}
	case open > 0:
		return []Finding{{"audit log", Warn, fmt.Sprintf("%d checkpoints that others have shown could not be compared yet", open), "see apid; they are compared once it answers"}}
	case note == nil:
		return []Finding{{Name: "audit log", State: OK, Text: "nothing was seen of it yet"}}
	}
	return []Finding{{Name: "audit log", State: OK, Text: fmt.Sprintf("seen up to %d entries, one story from all", c.Size)}}
}

// rendezvous looks at the way to the rendezvous.
func (p *patient) rendezvous(ctx context.Context) []Finding {
	base := p.b.Home().Profile.Rendezvous
	r, err := reach(ctx, p.http, base)
	if err != nil {
		return []Finding{down("rendezvous", err, base)}
	}
	return []Finding{{Name: "rendezvous", State: OK, Text: fmt.Sprintf("%s answers in %s", base, r.RTT.Round(time.Millisecond))}, p.tls("tls rendezvous", r)}
}

// relays asks each relay, over each transport that it has, for an allocation under a
// name that it does not take: an answer, though a no, has gone both ways through
// everything between. One that works is enough for sessions.
func (p *patient) relays(ctx context.Context) []Finding {
	relays := p.b.Home().Roster().Relays()
	if len(relays) == 0 {
		return []Finding{{"relay", Fail, "the roster names no relay", "an admin signs the servers' addresses: tucdesk roster rotate"}}
	}
	d := path.Dialer{Carrier: carrier.Dialer{TLS: wire.PinnedTLS(p.b.Home().Profile.Pins)}}
	found := make([][]Finding, len(relays))
	var all sync.WaitGroup
	for i, addr := range relays {
		all.Go(func() { found[i] = relay(ctx, &d, addr) })
	}
	all.Wait()
	return slices.Concat(found...)
}

// relay looks at one relay.
func relay(ctx context.Context, d *path.Dialer, addr string) []Finding {
	at, err := carrier.Parse(addr)
	if err != nil {
		return []Finding{{"relay", Fail, err.Error(), "an admin corrects relays in apid's settings and signs them: tucdesk roster rotate"}}
	}
	ways := at.Transports()
	times, errs := make([]time.Duration, len(ways)), make([]error, len(ways))
	var all sync.WaitGroup
	for i, t := range ways {
		all.Go(func() { times[i], errs[i] = d.Probe(ctx, at, t) })
	}
	all.Wait()
	works := slices.Contains(errs, nil)
	out := make([]Finding, len(ways))
	for i, t := range ways {
		name, over := "relay", strings.ToUpper(string(t))
		if t != carrier.UDP {
			name += " " + string(t)
		}
		switch {
		case errs[i] == nil:
			out[i] = Finding{Name: name, State: OK, Text: fmt.Sprintf("%s answers over %s in %s", addr, over, times[i].Round(time.Millisecond))}
		case !works:
			out[i] = Finding{name, Fail, fmt.Sprintf("%s: %v", addr, errs[i]), "let " + over + " to it through the firewalls between, and check that tucdesk-relayd runs"}
		case t == carrier.UDP:
			out[i] = Finding{name, Warn, fmt.Sprintf("%s: %v", addr, errs[i]), "sessions go over TCP or TLS, and feel lost packets more; let UDP to it through the firewalls between if you can"}
		default:
			out[i] = Finding{name, Warn, fmt.Sprintf("%s: %v", addr, errs[i]), "sessions from here need another way to it; let this one through too, or have its admin see to it"}
		}
	}
	return out
}

// machines compares the newest words that agents have signed with this device's
// roster and clock. Up to one page of them.
func (p *patient) machines(ctx context.Context) []Finding {
	r := p.b.Home().Roster()
	agents := r.Agents()
	agents = agents[:min(len(agents), wire.MaxAgents)]
	if len(agents) == 0 {
		return []Finding{{"machines", Warn, "the team has no machine yet", "add one: tucdesk-agent shows a key, tucdesk pair takes it"}}
	}
	kids := make([]key.Kid, len(agents))
	for i, a := range agents {
		kids[i] = a.Kid
	}
	receipts, err := p.b.Client().Receipts(ctx, p.b.Home().Profile.Rendezvous, kids)
	if err == nil && len(receipts) != len(kids) {
		err = errors.New("the rendezvous answers for other machines than it was asked about")
	}
	if err != nil {
		return []Finding{{"machines", Fail, "which machines have this roster is not known: " + err.Error(), "see rendezvous and token"}}
	}
	var have int
	var off time.Duration // the largest difference, with its sign
	var whose string
	for i, a := range agents {
		h, at, ok := token.LastWord(receipts[i], a.Public)
		if !ok {
			continue
		}
		if h.Seq >= r.Head().Seq {
			have++
		}
		// A word that is old says nothing of its clock but that it is not ahead.
		if d := at.Sub(p.now()); d > 0 && d > off {
			off, whose = d, a.Name
		}
	}
	out := p.removal(ctx)
	out = append(out, Finding{Name: "machines", State: OK, Text: fmt.Sprintf("all %d have signed that they have roster statement %d", len(agents), r.Head().Seq)})
	if have < len(agents) {
		out[len(out)-1] = Finding{"machines", Warn, fmt.Sprintf("%d of %d have signed that they have roster statement %d", have, len(agents), r.Head().Seq), "tucdesk agents shows which are offline; the others follow within a minute"}
	}
	if off > clockOff {
		out = append(out, skew("machines' clocks", "that of "+whose, -off, "set that machine's clock, or this one's if it is the one that is off"))
	}
	return out
}

// removal says which machines have not confirmed that somebody was removed.
func (p *patient) removal(ctx context.Context) []Finding {
	missing, gone, err := p.b.Unconfirmed(ctx)
	switch {
	case err != nil || gone.Seq == 0: // what is wrong is the next line's to say
		return nil
	case len(missing) == 0:
		return []Finding{{Name: "removals", State: OK, Text: fmt.Sprintf("all machines know that %s was removed (statement %d)", gone.What, gone.Seq)}}
	}
	const most = 5
	names := strings.Join(missing[:min(len(missing), most)], ", ")
	if n := len(missing) - most; n > 0 {
		names += fmt.Sprintf(" and %d more", n)
	}
	return []Finding{{"removals", Warn, fmt.Sprintf("%d machine(s) have not confirmed that %s was removed (statement %d): %s", len(missing), gone.What, gone.Seq, names),
		"they learn it when they are back; until then keep that key away from them"}}
}

func days(d time.Duration) string {
	if d < 0 {
		return "no time"
	}
	if d < 48*time.Hour {
		return d.Round(time.Hour).String()
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// Age says how long ago the roster was last compared with apid's.
func Age(last time.Time, known bool, now time.Time) string {
	if !known {
		return "a time that is not known"
	}
	d := now.Sub(last)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d seconds ago", max(0, int(d/time.Second)))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days ago", int(d/(24*time.Hour)))
}
