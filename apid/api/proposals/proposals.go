// Package proposals is the box in which admins of a team leave each other changes of the
// roster that several of them must sign. It adds signatures up and changes no byte that is
// signed: whoever signs judges the bytes by itself, and they count in the roster alone.
//
// It is in memory and bounded: what is not signed soon is overtaken by the next statement
// anyway, and each admin's device keeps what it has signed and brings it back. So a restart
// of apid loses nothing that two admins have.
//
// The package must not import internal/store.
package proposals

import (
	"context"
	"errors"
	"sync"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	maxTeam = 16       // proposals of one team
	maxAll  = 64 << 20 // bytes of all
	maxOne  = 256 << 10
)

// A Box is safe for concurrent use. The zero value is empty and ready.
type Box struct {
	mu    sync.Mutex
	teams map[string][]entry
	bytes int
}

type entry struct {
	id   token.ID
	what roster.Proposal
}

func size(p roster.Proposal) (n int) {
	for _, st := range p.Statements {
		n += len(st)
	}
	return n
}

// Routes gives its part of apid's table.
func (b *Box) Routes() []door.Route {
	return []door.Route{
		door.Get("/v1/roster/proposals", door.Member, "Changes of the roster that wait for more admins' signatures; for admins.", b.list),
		door.Post("/v1/roster/proposals", door.Member, "Leave such a change, or add signatures to it.", b.add),
		door.Post("/v1/roster/proposals/{id}/withdraw", door.Member, "Take such a change out.", b.withdraw),
	}
}

func admins(r *door.Request) error {
	if !r.Caller.Device.Admin {
		return door.Denied("only admins propose changes of the roster", "ask an admin of your team")
	}
	return nil
}

// sweep forgets what a newer statement has overtaken. The caller holds the lock.
func (b *Box) sweep(team string, now roster.Head) {
	var kept []entry
	for _, e := range b.teams[team] {
		if on, err := e.what.Follows(); err == nil && on == now {
			kept = append(kept, e)
		} else {
			b.bytes -= size(e.what)
		}
	}
	b.keep(team, kept)
}

func (b *Box) keep(team string, list []entry) {
	if b.teams == nil {
		b.teams = map[string][]entry{}
	}
	if b.teams[team] = list; len(list) == 0 {
		delete(b.teams, team)
	}
}

func (b *Box) list(_ context.Context, r *door.Request) (wire.ProposalsPage, error) {
	if err := admins(r); err != nil {
		return wire.ProposalsPage{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(r.Caller.Team, r.Caller.Roster.Head())
	page := wire.ProposalsPage{Proposals: []wire.Proposal{}}
	for _, e := range b.teams[r.Caller.Team] {
		page.Proposals = append(page.Proposals, wire.Proposal{ID: e.id, Statements: e.what.Statements})
	}
	return page, nil
}

func (b *Box) add(_ context.Context, r *door.Request, in wire.ProposalRequest) (wire.Proposal, error) {
	if err := admins(r); err != nil {
		return wire.Proposal{}, err
	}
	p := roster.Proposal{Statements: in.Statements}
	if size(p) > maxOne {
		return wire.Proposal{}, door.Malformed("the proposal is too long", "propose it in parts")
	}
	raw, err := p.ID()
	if err == nil {
		err = b.judge(r.Caller.Roster, p)
	}
	if errors.Is(err, roster.ErrGap) {
		return wire.Proposal{}, wire.NewProblem(wire.KindConflict, err.Error(), "propose it again on top of the present roster")
	}
	if err != nil {
		return wire.Proposal{}, door.Malformed(err.Error(), "propose it again")
	}
	id := token.ID(raw)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(r.Caller.Team, r.Caller.Roster.Head())
	list := b.teams[r.Caller.Team]
	for i, e := range list {
		if e.id != id {
			continue
		}
		if p, err = e.what.With(p); err != nil {
			return wire.Proposal{}, door.Malformed(err.Error(), "propose it again")
		}
		b.bytes += size(p) - size(e.what)
		list[i].what = p
		return wire.Proposal{ID: id, Statements: p.Statements}, nil
	}
	if len(list) >= maxTeam || b.bytes+size(p) > maxAll {
		return wire.Proposal{}, wire.NewProblem(wire.KindTooMany, "too many changes of the roster wait for signatures", "sign or withdraw some: tucdesk roster pending")
	}
	b.bytes += size(p)
	b.keep(r.Caller.Team, append(list, entry{id, p}))
	return wire.Proposal{ID: id, Statements: p.Statements}, nil
}

// judge refuses what would not hold if it were signed, and what no admin has signed.
func (b *Box) judge(r *roster.Roster, p roster.Proposal) error {
	tallies, err := r.Consider(p)
	for _, t := range tallies {
		if t.Have == 0 {
			return roster.ErrThreshold
		}
	}
	return err
}

func (b *Box) withdraw(_ context.Context, r *door.Request, _ struct{}) (struct{}, error) {
	if err := admins(r); err != nil {
		return struct{}{}, err
	}
	id, err := r.ID()
	if err != nil {
		return struct{}{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.teams[r.Caller.Team]
	for i, e := range list {
		if e.id == id {
			b.bytes -= size(e.what)
			b.keep(r.Caller.Team, append(list[:i:i], list[i+1:]...))
			return struct{}{}, nil
		}
	}
	return struct{}{}, door.NotFound()
}
