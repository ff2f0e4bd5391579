package door

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
	maxLimited    = 16 << 10 // keys in each of the two generations of a Limiter
)

// A Limiter holds one token bucket for each key, in two generations: when the
// young one is full it becomes the old one, and buckets that nobody asks for go
// away with it. So its memory is bounded, and a flood of new keys resets a bucket
// only after 2*maxLimited of them.
type Limiter struct {
	limit rate.Limit
	burst int

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

func NewLimiter(perSecond float64, burst int) *Limiter {
	return &Limiter{limit: rate.Limit(perSecond), burst: burst, young: make(map[string]*rate.Limiter)}
}

// Take takes a token from the bucket of a key, and reports whether one was there.
func (l *Limiter) Take(key string, now time.Time) bool { return l.bucket(key).AllowN(now, 1) }

// left reports whether the bucket of a key holds a token, and leaves it there.
func (l *Limiter) left(key string, now time.Time) bool { return l.bucket(key).TokensAt(now) >= 1 }

func (l *Limiter) bucket(key string) *rate.Limiter {
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
