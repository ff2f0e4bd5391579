// Package attention knows who reads a request to decide it, so that two people do not
// do the same work, and who could be reached now. It is shown, and decides nothing.
//
// Invariants:
//   - nobody is kept from deciding by it, and nothing is written or signed;
//   - only who may decide a request is told of as one who does, for wire.AttentionTime
//     seconds unless they say it again;
//   - the team is the token's; what is kept is in memory, and bounded by device, team and
//     in total.
//
// The package must not import net/http by itself.
package attention

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/ask"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/events"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	maxDevice = 8    // requests that one device reads at a time
	maxTeam   = 256  // readers in one team
	maxTeams  = 4096 // teams in which somebody reads
	// life is for how long one is shown who does not say it again.
	life = wire.AttentionTime * time.Second
)

// A Book is safe for concurrent use. Its exported fields are set before the first call;
// all are required.
type Book struct {
	View   func(ctx context.Context, team string, f func(store.Tx) error) error
	Online func(team string) map[string]bool // members that listen to events
	Tell   func(team string, list ...events.Event)
	Now    func() time.Time

	mu    sync.Mutex
	teams map[string][]reader // by the time they began
}

// A reader is a device on which a request is open.
type reader struct {
	id           token.ID
	kid          key.Kid
	member       string
	since, until time.Time
}

// Routes gives its part of apid's table.
func (b *Book) Routes() []door.Route {
	return []door.Route{
		door.Post("/v1/approvals/{id}/attention", door.Member, "Say that one reads a request to decide it, or does no more. Others are shown it for some seconds; it keeps nobody from deciding.", b.post),
	}
}

func (b *Book) post(ctx context.Context, r *door.Request, in wire.AttentionRequest) (struct{}, error) {
	id, err := r.ID()
	if err != nil {
		return struct{}{}, err
	}
	c, now := r.Caller, b.Now()
	var a *ask.Ask
	err = b.View(ctx, c.Team, func(tx store.Tx) (err error) {
		a, err = ask.Find(tx, id)
		return err
	})
	if err != nil {
		return struct{}{}, err
	}
	if shown := a.Show(c, now, false); !in.Over && !shown.CanDecide {
		return struct{}{}, door.Denied("it is not yours to decide: "+shown.WhyNot, "tucdesk approvals show tells who may decide")
	}
	changed, err := b.note(c.Team, reader{id, c.Kid, c.Device.MemberID, now, now.Add(life)}, in.Over)
	if err == nil && changed {
		kept := a.Outline()
		b.Tell(c.Team, events.Event{
			Event: wire.Event{Kind: wire.EventApproval, ID: id, State: string(a.Record.At(now).State)},
			Sees:  func(c *door.Caller) bool { return kept.Visible(*c, b.Now()) },
		})
	}
	return struct{}{}, err
}

// note puts a reader into the book, or takes it out, and says whether others see a change.
func (b *Book) note(team string, r reader, over bool) (changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.sweep(team, r.since)
	at := slices.IndexFunc(list, func(o reader) bool { return o.id == r.id && o.kid == r.kid })
	switch {
	case over && at >= 0:
		b.keep(team, slices.Delete(list, at, at+1))
		return true, nil
	case over:
		return false, nil
	case at >= 0:
		list[at].until = r.until
		return false, nil
	}
	own := 0
	for _, o := range list {
		if o.kid == r.kid {
			own++
		}
	}
	if own >= maxDevice || len(list) >= maxTeam || len(list) == 0 && !b.room(r.since) {
		return false, door.TooMany()
	}
	b.keep(team, append(list, r))
	return true, nil
}

// sweep gives a team's readers whose time is not over. The caller holds the lock.
func (b *Book) sweep(team string, now time.Time) []reader {
	b.keep(team, slices.DeleteFunc(b.teams[team], func(r reader) bool { return !now.Before(r.until) }))
	return b.teams[team]
}

func (b *Book) keep(team string, list []reader) {
	if b.teams == nil {
		b.teams = make(map[string][]reader)
	}
	if b.teams[team] = list; len(list) == 0 {
		delete(b.teams, team)
	}
}

// room says whether one more team may be kept.
func (b *Book) room(now time.Time) bool {
	if len(b.teams) >= maxTeams {
		for team := range b.teams {
			b.sweep(team, now)
		}
	}
	return len(b.teams) < maxTeams
}

// Show gives an ask to a caller, with who else reads it; whole also with its blobs, and
// with who of those that may decide is online.
func (b *Book) Show(c door.Caller, a *ask.Ask, whole bool) wire.Approval {
	now := b.Now()
	out := a.Show(c, now, whole)
	if out.State != wire.Pending {
		return out
	}
	skip := []string{c.Device.MemberID}
	for _, d := range a.Record.Decisions {
		skip = append(skip, d.Member)
	}
	out.Deciding = b.reading(c.Team, a.Record.ID, now, skip)
	if !whole {
		return out
	}
	online := b.Online(c.Team)
	for _, d := range a.Deciders(c.Roster, now) {
		if online[d.MemberID] && !slices.Contains(out.Online, d.MemberID) {
			out.Online = append(out.Online, d.MemberID)
		}
	}
	return out
}

// reading gives the members that read a request, each once, who began first first.
func (b *Book) reading(team string, id token.ID, now time.Time, skip []string) (list []wire.Deciding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.sweep(team, now) {
		if r.id == id && !slices.Contains(skip, r.member) {
			skip = append(skip, r.member)
			list = append(list, wire.Deciding{Member: r.member, For: int64(now.Sub(r.since) / time.Second)})
		}
	}
	return list
}
