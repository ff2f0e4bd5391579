package path

import (
	"context"
	"errors"
	"time"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
)

// A keeper looks after what carries a relayed path. All of it belongs to one
// goroutine.
type keeper struct {
	r *Relayed

	since   map[*leg]time.Time // when a leg was first heard, without a break until now
	took    time.Time          // when the leg in use was taken
	gone    error              // why the last leg was lost
	hopes   pause              // of races while the relay is silent
	lifts   pause              // of races for something better
	racing  *race              // that is on; nil: none
	arrived chan arrival       // of the race
	failed  bool               // a race that began without any leg has had no winner
}

// A race is under way: for a first leg, or for a better one.
type race struct {
	of      *pause
	without bool // it began without any leg
}

// A pause is what passes between two races; it doubles.
type pause struct {
	wait time.Duration
	next time.Time // no race before
}

// grow begins the next pause.
func (p *pause) grow(at time.Time, first, most time.Duration) {
	p.wait = min(max(2*p.wait, first), most)
	p.next = at.Add(p.wait)
}

// An arrival is how a race ended: with a leg, or none.
type arrival struct {
	leg *leg
	err error
}

// raceTime bounds one race.
const raceTime = 10 * time.Second

// retryFirst is the pause after a race that nobody has won, while the relay is
// silent; it doubles up to retryMost.
const (
	retryFirst = time.Second
	retryMost  = 15 * time.Second
)

// run looks until ctx ends or the path is lost.
func (k *keeper) run(ctx context.Context) {
	k.since, k.arrived, k.took = map[*leg]time.Time{}, make(chan arrival, 1), time.Now()
	k.lifts.grow(k.took, k.patience().again, k.patience().most)
	defer func() {
		if k.racing != nil {
			if a := <-k.arrived; a.err == nil {
				a.leg.close()
			}
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		t := time.NewTimer(k.patience().look)
		now := k.r.now.Load()
		lost := now.ended
		if now.isOver() {
			lost = nil // known
		}
		select {
		case <-lost:
		case <-ctx.Done():
			t.Stop()
			return
		case a := <-k.arrived:
			k.arrive(ctx, a)
		case <-k.r.kick:
		case <-t.C:
		}
		t.Stop()
		if err := k.look(ctx); err != nil {
			cancel()
			k.r.end(err)
			return
		}
	}
}

func (k *keeper) patience() patience {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	return k.r.patience
}

// look judges the legs, uses the best, and starts a race where none will do. Its
// error ends the path.
func (k *keeper) look(ctx context.Context) error {
	p, at := k.patience(), time.Now()
	legs := k.prune(p)
	now := k.r.now.Load()
	var best *leg
	good := false // the leg in use is heard
	for _, l := range legs {
		if l.silence() > p.silent {
			delete(k.since, l)
			continue
		}
		if k.since[l].IsZero() {
			k.since[l] = at
		}
		good = good || l == now
		if best == nil || l.transport.Rank() < best.transport.Rank() {
			best = l
		}
	}
	switch {
	case best == nil:
		switch fixed := k.r.at.Host == ""; {
		case len(legs) == 0 && (fixed || k.failed):
			return k.gone
		case len(legs) == 0 && k.racing == nil:
			k.hopes = pause{}
			fallthrough
		case !fixed:
			k.race(ctx, k.r.at.Transports(), &k.hopes, len(legs) == 0, at)
		}
	case !good, best != now && best.transport.Rank() < now.transport.Rank() && at.Sub(k.since[best]) >= p.settle:
		k.take(best, at)
	case at.Sub(k.took) > p.linger:
		if len(legs) > 1 {
			k.leave(now)
		}
		k.race(ctx, k.better(legs, now), &k.lifts, false, at)
	}
	return nil
}

// prune forgets the legs that are lost, and those that are not used and were silent
// for too long: their socket may have an address that this machine has no more.
func (k *keeper) prune(p patience) []*leg {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	var live []*leg
	for _, l := range k.r.legs {
		if err := l.err(); err != nil {
			k.gone = err
		} else if l != k.r.now.Load() && l.silence() > p.forget {
			go l.close()
		} else {
			live = append(live, l)
			continue
		}
		delete(k.since, l)
	}
	k.r.legs = live
	return live
}

// take has the path use l.
func (k *keeper) take(l *leg, at time.Time) {
	p := k.patience()
	k.took, k.hopes, k.lifts, k.failed = at, pause{}, pause{}, false
	k.lifts.grow(at, p.again, p.most)
	k.r.use(l)
	k.r.dialer.note(k.r.at, l.transport)
}

// leave closes the legs that are worse than the one in use.
func (k *keeper) leave(now *leg) {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	var kept []*leg
	for _, l := range k.r.legs {
		if l != now && l.transport.Rank() >= now.transport.Rank() {
			delete(k.since, l)
			go l.close()
			continue
		}
		kept = append(kept, l)
	}
	k.r.legs = kept
}

// better lists what is better than the leg in use and is not held already.
func (k *keeper) better(legs []*leg, now *leg) (out []carrier.Transport) {
	if k.r.at.Host == "" {
		return nil
	}
	held := map[carrier.Transport]bool{}
	for _, l := range legs {
		held[l.transport] = true
	}
	for _, t := range k.r.at.Transports() {
		if t.Rank() < now.transport.Rank() && !held[t] {
			out = append(out, t)
		}
	}
	return out
}

// race starts one over the given transports, unless one is on or it is too early.
func (k *keeper) race(ctx context.Context, over []carrier.Transport, of *pause, without bool, at time.Time) {
	if k.racing != nil || len(over) == 0 || at.Before(of.next) {
		return
	}
	k.racing = &race{of, without}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, raceTime)
		defer cancel()
		l, err := k.r.dialer.race(ctx, k.r.at, over, k.r.cred, k.r.inbox, nil)
		if err == nil {
			err = k.r.admit(ctx, l)
		}
		k.arrived <- arrival{l, err}
	}()
}

// silent reports whether the leg in use is not heard.
func (k *keeper) silent() bool {
	now := k.r.now.Load()
	return now.isOver() || now.silence() > k.patience().silent
}

// admit makes l a leg on which the peer is reached, or closes it.
func (r *Relayed) admit(ctx context.Context, l *leg) error {
	if l.alloc.LocalAddr().String() != r.local.String() {
		l.close()
		return errors.New("path: the relay gives another address")
	}
	r.mu.Lock()
	peer := r.peer
	r.mu.Unlock()
	if !peer.IsValid() {
		return nil
	}
	if err := l.permit(ctx, peer); err != nil {
		l.close()
		return err
	}
	return nil
}

// arrive takes in what a race has brought.
func (k *keeper) arrive(ctx context.Context, a arrival) {
	at, p, ended := time.Now(), k.patience(), k.racing
	k.racing = nil
	if a.err != nil {
		k.failed = ended.without
		if ended.of == &k.hopes {
			k.hopes.grow(at, retryFirst, retryMost)
		} else {
			k.lifts.grow(at, p.again, p.most)
		}
		return
	}
	l := a.leg
	// Permit may have been called meanwhile.
	k.r.mu.Lock()
	peer := k.r.peer
	k.r.mu.Unlock()
	if peer.IsValid() && !l.isPeer(peer) && k.r.admit(ctx, l) != nil {
		return
	}
	k.r.mu.Lock()
	k.r.legs = append(k.r.legs, l)
	k.r.mu.Unlock()
	k.since[l] = at
	if k.silent() {
		k.take(l, at)
	}
}
