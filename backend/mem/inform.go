package mem

import (
	"context"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/backend"
)

var _ backend.Informer = (*Backend)(nil)

// Inform implements backend.Informer: the script's words, and the sessions that were
// opened in this world.
func (b *Backend) Inform(ctx context.Context, req backend.OpenRequest) (backend.Info, error) {
	t, err := b.find(ctx, req)
	if err != nil {
		return backend.Info{}, err
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	info := backend.Info{Visits: slices.Clone(b.world.visits[t.ID]), Posture: t.Posture}
	if t.verdict(b.member, req).Effect != backend.Allow {
		info.Ways = t.Ways
	}
	return info, nil
}

// visited remembers that a session begins.
func (w *World) visited(member string, req backend.OpenRequest, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.visits == nil {
		w.visits = make(map[backend.TargetID][]backend.Visit)
	}
	v := backend.Visit{By: member, Kind: req.Kind, As: req.As, State: "began", Began: now}
	all := slices.Insert(w.visits[req.Target], 0, v)
	w.visits[req.Target] = all[:min(len(all), backend.MaxVisits)]
}
