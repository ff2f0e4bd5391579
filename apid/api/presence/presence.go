// Package presence is what apid knows of which agents are connected: it asks
// rendezvousd, a page of agents at a time, and remembers the answer for two
// seconds, so that a thousand open consoles are one question.
//
// Nothing here grants anything: a state only spares people a session that can't
// begin.
//
// The package must not import internal/store.
package presence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	life     = 2 * time.Second
	timeout  = 5 * time.Second // of one question
	maxKnown = 256 << 10       // states that are remembered, of all teams together
)

// A Source says which agents are connected. It is safe for concurrent use.
type Source interface {
	// States gives one state for each key id, in their order.
	States(ctx context.Context, team string, kids []key.Kid) ([]wire.AgentState, error)
}

// Rendezvous asks the rendezvousd at a URL over HTTP. id is apid's grant key,
// which every team's roster names.
func Rendezvous(url string, pins []envelope.Hash, id key.Identity, now func() time.Time) (Source, error) {
	if url == "" {
		return nil, errors.New("presence: a rendezvous url is needed: sessions need to know which agents are online")
	}
	c, err := wire.NewSigned(wire.SignedOptions{URL: url, Identity: id, HTTP: wire.Pinned(pins), Now: now})
	if err != nil {
		return nil, err
	}
	return rendezvous{c}, nil
}

type rendezvous struct{ signed *wire.Signed }

func (r rendezvous) States(ctx context.Context, team string, kids []key.Kid) ([]wire.AgentState, error) {
	answer, err := r.signed.Registry(ctx, team, kids)
	return answer.Agents, err
}

// A Cache remembers what a Source said. It is safe for concurrent use.
type Cache struct {
	source Source
	now    func() time.Time

	mu    sync.Mutex
	known map[id]known
}

type id struct {
	team string
	kid  key.Kid
}

type known struct {
	state wire.AgentState
	at    time.Time
}

// NewCache makes an empty cache.
func NewCache(source Source, now func() time.Time) *Cache {
	return &Cache{source: source, now: now, known: make(map[id]known)}
}

// States gives one state for each key, in their order. Where rendezvousd can't
// be asked, or answers about other keys, the state is Unknown.
func (c *Cache) States(ctx context.Context, team string, kids []key.Kid) ([]wire.AgentState, error) {
	out := make([]wire.AgentState, len(kids))
	var ask []key.Kid
	var where []int
	c.mu.Lock()
	for i, kid := range kids {
		if k, ok := c.known[id{team, kid}]; ok && c.now().Sub(k.at) < life {
			out[i] = k.state
			continue
		}
		out[i] = wire.AgentState{Kid: kid, State: wire.Unknown}
		ask, where = append(ask, kid), append(where, i)
	}
	c.mu.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := c.source.States(ctx, team, ask)
	if err == nil && len(answer) != len(ask) {
		err = fmt.Errorf("presence: rendezvous answers %d of %d agents", len(answer), len(ask))
	}
	if err != nil {
		return out, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known)+len(ask) > maxKnown {
		clear(c.known)
	}
	for i, a := range answer {
		if a.Kid != ask[i] || a.State != wire.Online && a.State != wire.Offline {
			continue
		}
		out[where[i]] = a
		c.known[id{team, a.Kid}] = known{a, c.now()}
	}
	return out, nil
}
