// Package rosters keeps the verified rosters of teams between requests. The store
// has the truth: each use compares heads first, so that several processes on one
// store agree.
//
// The package must not import the handlers.
package rosters

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
)

// maxTeams bounds the teams whose roster is kept in memory. Others are read
// from the store when they are asked for.
const maxTeams = 4096

// ErrNoTeam means that there is no team of this name.
var ErrNoTeam = errors.New("rosters: no such team")

// ErrDamaged means stored statements that are not the roster which their head names.
var ErrDamaged = errors.New("rosters: rows do not verify")

// A Cache keeps the verified roster of each team. It is safe for concurrent use;
// its zero value is empty and ready.
type Cache struct {
	mu   sync.Mutex
	team map[string]*roster.Roster
}

func (c *Cache) cached(team string) *roster.Roster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.team[team]
}

func (c *Cache) keep(team string, r *roster.Roster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.team == nil || len(c.team) >= maxTeams {
		c.team = make(map[string]*roster.Roster)
	}
	c.team[team] = r
}

// At gives a team's roster as it stands in tx, which must not have appended to it.
// Every statement is verified when it is read. ErrNoTeam if there is no genesis.
func (c *Cache) At(tx store.Tx, team string) (*roster.Roster, error) {
	head, err := tx.Roster.Head()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, ErrNoTeam
	case err != nil:
		return nil, err
	}
	r := c.cached(team)
	if r == nil || r.Head().Seq > head.Seq {
		genesis, err := tx.Roster.Genesis()
		if err != nil {
			return nil, err
		}
		if r, err = roster.Open(genesis.Bytes); err != nil {
			return nil, fmt.Errorf("%w: the stored genesis of team %s: %w", ErrDamaged, team, err)
		}
	}
	if (roster.Head{Seq: head.Seq, Hash: head.Hash}) == r.Head() {
		c.keep(team, r)
		return r, nil
	}
	for r.Head().Seq < head.Seq {
		page, err := tx.Roster.Statements(r.Head().Seq, store.MaxPage)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		statements := make([][]byte, len(page))
		for i := range page {
			statements[i] = page[i].Bytes
		}
		if r, err = r.Apply(statements...); err != nil {
			return nil, fmt.Errorf("%w: the stored roster of team %s: %w", ErrDamaged, team, err)
		}
	}
	if (roster.Head{Seq: head.Seq, Hash: head.Hash}) != r.Head() {
		return nil, fmt.Errorf("%w: the stored roster of team %s does not lead to its head %d", ErrDamaged, team, head.Seq)
	}
	c.keep(team, r)
	return r, nil
}
