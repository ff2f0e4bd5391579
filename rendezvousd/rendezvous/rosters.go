package rendezvous

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A Source gives pages of a team's statements: a *wire.Signed.
type Source interface {
	Roster(ctx context.Context, team string, after uint64) (wire.RosterPage, error)
}

const (
	rosterAge   = 10 * time.Second // a roster that is older is fetched again when it is needed
	rosterPause = time.Second      // between two questions about one team
	noTeamAge   = 2 * time.Second  // for how long a team that is not there is not asked for
	rosterStale = 24 * time.Hour   // a roster that could not be fetched for longer serves nobody
	fetchTime   = 5 * time.Second
	maxTeams    = 10_000
	maxPages    = 64 // of one fetch
)

// Cached keeps rosters that it gets from apid. It pins each team's fingerprint
// when it first sees it, and never goes back behind a head.
type Cached struct {
	source Source
	now    func() time.Time
	limit  *rate.Limiter // questions for teams that are not known yet
	news   func(*roster.Roster)

	mu    sync.Mutex
	teams map[string]*cachedTeam
}

type cachedTeam struct {
	fetching chan struct{} // holds one value; who has it may fetch

	mu      sync.Mutex
	roster  *roster.Roster // nil: no such team, or never fetched
	err     error          // of the last fetch
	asked   time.Time      // start of the last fetch
	fetched time.Time      // start of the last fetch that went well
	used    time.Time
}

// NewCached makes an empty cache over a source. Its clock measures ages.
func NewCached(source Source, now func() time.Time) *Cached {
	if now == nil {
		now = time.Now
	}
	return &Cached{
		source: source, now: now, limit: rate.NewLimiter(50, 100), teams: make(map[string]*cachedTeam),
		news: func(*roster.Roster) {},
	}
}

// Watch implements Rosters.
func (c *Cached) Watch(news func(*roster.Roster)) { c.news = news }

// Learn implements Rosters.
func (c *Cached) Learn(ctx context.Context, teamID string, statements [][]byte) (*roster.Roster, error) {
	r, err := c.Roster(ctx, teamID)
	if err != nil {
		return nil, err
	}
	if _, err := r.Apply(statements...); errors.Is(err, roster.ErrGap) {
		if _, err := c.Refresh(ctx, teamID); err != nil {
			return nil, err
		}
	}
	t, err := c.team(teamID)
	if err != nil {
		return nil, err
	}
	select {
	case <-t.fetching:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { t.fetching <- struct{}{} }()
	t.mu.Lock()
	r = t.roster
	t.mu.Unlock()
	if r == nil {
		return nil, ErrNoTeam
	}
	next, err := r.Learn(c.now(), statements...)
	c.advance(t, next)
	return next, err
}

// advance keeps a newer roster, and tells who watches. The caller may fetch.
func (c *Cached) advance(t *cachedTeam, r *roster.Roster) {
	t.mu.Lock()
	newer := r != nil && (t.roster == nil || r.Head().Seq > t.roster.Head().Seq)
	if newer {
		t.roster = r
	}
	t.mu.Unlock()
	if newer {
		c.news(r)
	}
}

// Roster implements Rosters.
func (c *Cached) Roster(ctx context.Context, teamID string) (*roster.Roster, error) {
	return c.get(ctx, teamID, rosterAge)
}

// Refresh implements Rosters. It asks at most once a second for each team.
func (c *Cached) Refresh(ctx context.Context, teamID string) (*roster.Roster, error) {
	return c.get(ctx, teamID, rosterPause)
}

func (c *Cached) get(ctx context.Context, teamID string, age time.Duration) (*roster.Roster, error) {
	if sanitize.Name(teamID) != nil {
		return nil, ErrNoTeam
	}
	t, err := c.team(teamID)
	if err != nil {
		return nil, err
	}
	if r, err, ok := t.have(c.now(), age); ok {
		return r, err
	}
	select {
	case <-t.fetching:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { t.fetching <- struct{}{} }()
	if r, err, ok := t.have(c.now(), age); ok { // somebody fetched meanwhile
		return r, err
	}
	// The fetch serves all who wait, so it does not end with the first one's request.
	fetchCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	return c.fetch(fetchCtx, teamID, t)
}

// team gives the entry of a team, or makes one, in the place of the team that
// was used longest ago where there is no room.
func (c *Cached) team(teamID string) (*cachedTeam, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	t := c.teams[teamID]
	if t == nil {
		if !c.limit.AllowN(now, 1) {
			return nil, errors.New("rendezvous: too many questions for unknown teams; try again shortly")
		}
		if len(c.teams) >= maxTeams {
			c.evict()
		}
		t = &cachedTeam{fetching: make(chan struct{}, 1)}
		t.fetching <- struct{}{}
		c.teams[teamID] = t
	}
	t.mu.Lock()
	t.used = now
	t.mu.Unlock()
	return t, nil
}

// evict forgets one team: of a few, the one that is not a team or was used
// longest ago. Looking at a few keeps it cheap when names are made up.
func (c *Cached) evict() {
	var victim string
	var oldest time.Time
	seen := 0
	for id, t := range c.teams {
		t.mu.Lock()
		used := t.used
		if t.roster == nil {
			used = time.Time{}
		}
		t.mu.Unlock()
		if seen == 0 || used.Before(oldest) {
			victim, oldest = id, used
		}
		if seen++; seen == 32 {
			break
		}
	}
	delete(c.teams, victim)
}

// have gives what is known, if it is recent enough or was asked for just now.
func (t *cachedTeam) have(now time.Time, age time.Duration) (*roster.Roster, error, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.asked.IsZero():
		return nil, nil, false
	case t.roster == nil && errors.Is(t.err, ErrNoTeam):
		return nil, t.err, now.Sub(t.asked) < noTeamAge
	case now.Sub(t.asked) < rosterPause || now.Sub(t.fetched) < age:
		r, err := t.serve(now)
		return r, err, true
	}
	return nil, nil, false
}

// serve gives the roster as long as it is not stale, whatever the last fetch
// said: while apid is away agents stay reachable.
func (t *cachedTeam) serve(now time.Time) (*roster.Roster, error) {
	if t.roster != nil && now.Sub(t.fetched) < rosterStale {
		return t.roster, nil
	}
	return nil, t.err
}

func (c *Cached) fetch(ctx context.Context, teamID string, t *cachedTeam) (*roster.Roster, error) {
	t.mu.Lock()
	r := t.roster
	t.mu.Unlock()
	asked := c.now()
	r, err := c.load(ctx, teamID, r)
	c.advance(t, r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.err = asked, err
	if err == nil {
		t.fetched = asked
	}
	return t.serve(asked)
}

// load applies what the source has after r's head. It gives the roster as far as
// it is good, also with an error.
func (c *Cached) load(ctx context.Context, teamID string, r *roster.Roster) (*roster.Roster, error) {
	for range maxPages {
		var after uint64
		if r != nil {
			after = r.Head().Seq
		}
		page, err := c.source.Roster(ctx, teamID, after)
		switch {
		case errors.Is(err, wire.ErrNotFound), errors.Is(err, wire.ErrUnauthenticated):
			// apid tells a rendezvous that is not on the team's roster no
			// more than that.
			return r, ErrNoTeam
		case err != nil:
			return r, fmt.Errorf("rendezvous: roster: %w", err)
		}
		if r == nil {
			if r, err = roster.Open(page.Genesis); err != nil {
				return nil, fmt.Errorf("rendezvous: roster: %w", err)
			}
			if r.TeamID() != teamID {
				return nil, errors.New("rendezvous: the API server gave another team's roster")
			}
		}
		if !bytes.Equal(page.Genesis, r.Genesis()) {
			return r, errors.New("rendezvous: the API server changed the team's genesis; keep its data as evidence and tell an admin of the team")
		}
		if len(page.Statements) > 0 {
			next, err := r.Learn(c.now(), page.Statements...)
			if next != nil {
				r = next
			}
			if err != nil {
				return r, fmt.Errorf("rendezvous: roster: %w", err)
			}
		}
		if !page.More || r.Head().Seq == after {
			return r, nil
		}
	}
	return r, errors.New("rendezvous: the roster has too many pages for one fetch")
}
