package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates. They bound a careless or hostile client, not a busy team.
const (
	deviceRate    = 50 // requests a second of one device, agent or server
	deviceBurst   = 200
	strangerRate  = 20 // requests a second of one address that proves nobody
	strangerBurst = 200
	refusalRate   = 1 // refusals a second of one device that leave an entry
	refusalBurst  = 50
	maxLimited    = 16 << 10 // keys in each of the two generations of a limiter
)

// A limiter holds one token bucket for each key, in two generations: when the
// young one is full it becomes the old one, and buckets that nobody asks for go
// away with it. So its memory is bounded, and a flood of new keys resets a bucket
// only after 2*maxLimited of them.
type limiter struct {
	limit rate.Limit
	burst int

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{limit: rate.Limit(perSecond), burst: burst, young: make(map[string]*rate.Limiter)}
}

// take takes a token from the bucket of a key, and reports whether one was there.
func (l *limiter) take(key string, now time.Time) bool { return l.bucket(key).AllowN(now, 1) }

// left reports whether the bucket of a key holds a token, and leaves it there.
func (l *limiter) left(key string, now time.Time) bool { return l.bucket(key).TokensAt(now) >= 1 }

func (l *limiter) bucket(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.young[key]; ok {
		return b
	}
	b, ok := l.old[key]
	if !ok {
		b = rate.NewLimiter(l.limit, l.burst)
	}
	if len(l.young) >= maxLimited {
		l.old, l.young = l.young, make(map[string]*rate.Limiter)
	}
	l.young[key] = b
	return b
}
