// Package usage tells apid what sessions have used of a relay, so that a team's admins can
// see it. It knows sessions by their number and counts; whose they are, apid knows.
//
// Invariants: who relays never waits for apid; what waits to be told is bounded, and what
// gives way is counted; a use is told until apid has it, and counts there once.
//
// It must not import the relay, or anything that could open what that forwards.
package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// every is how often apid is told.
	every = 30 * time.Second
	// againMost bounds the pause after a report that has failed.
	againMost = 10 * time.Minute
	// maxWaiting bounds the uses that wait; the oldest give way.
	maxWaiting = 1 << 14
	// last bounds what is told at the end.
	last = 5 * time.Second
)

// A Use is one stretch of a session's.
type Use = wire.RelayUse

// A voucher signs requests as a relay does. It is a wire.RequestSigner.
type voucher func(sum [32]byte) string

func (v voucher) SignRequest(_, _ string, body [32]byte) (string, error) { return v(body), nil }

// A Teller takes reports: wire.Signed.
type Teller interface {
	ReportUsage(ctx context.Context, uses []Use) error
}

// A Book holds what is not told yet. It is safe for concurrent use.
type Book struct {
	to     Teller
	logger *slog.Logger
	lost   prometheus.Counter

	mu      sync.Mutex
	waiting []Use
}

// Open makes a book for the apid at a URL. pins are of its TLS keys; none: the system's
// authorities. vouch is cred.Secret.Vouch. Nothing is asked before Run.
func Open(apid string, pins []string, vouch func(sum [32]byte) string, logger *slog.Logger, registry prometheus.Registerer) (*Book, error) {
	keys, err := wire.ParsePins(pins)
	if err != nil {
		return nil, err
	}
	c, err := wire.NewSigned(wire.SignedOptions{URL: apid, Signer: voucher(vouch), HTTP: wire.Pinned(keys)})
	if err != nil {
		return nil, err
	}
	return New(c, logger, registry)
}

// New makes a book and registers its metrics.
func New(to Teller, logger *slog.Logger, registry prometheus.Registerer) (*Book, error) {
	b := &Book{to: to, logger: logger, lost: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tucdesk_relay_usage_lost_total", Help: "Uses of sessions that apid was never told of: it could not be reached for too long, or refused them."})}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tucdesk_relay_usage_waiting", Help: "Uses of sessions that wait for apid to be told of."}, func() float64 { return float64(b.len()) })
	for _, c := range []prometheus.Collector{b.lost, waiting} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("usage: metrics: %w", err)
		}
	}
	return b, nil
}

func (b *Book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Add notes a use. It never waits.
func (b *Book) Add(u Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == maxWaiting {
		b.waiting = b.waiting[1:]
		b.lost.Inc()
	}
	b.waiting = append(b.waiting, u)
}

// Run tells apid until ctx is done, and then, for a moment, what is left.
func (b *Book) Run(ctx context.Context) {
	pause := every
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
			defer cancel()
			if err := b.tell(ctx); err != nil {
				b.logger.Warn("apid was not told all that sessions have used", "uses", b.len(), "error", err)
			}
			return
		}
		if err := b.tell(ctx); err != nil && ctx.Err() == nil {
			pause = min(2*pause, againMost)
			b.logger.Warn("apid was not told what sessions have used; trying again", "uses", b.len(), "in", pause, "error", err)
			continue
		}
		pause = every
	}
}

// tell tells all that waits. What apid refuses for what it is, it refuses for ever.
func (b *Book) tell(ctx context.Context) error {
	for {
		b.mu.Lock()
		uses := append([]Use{}, b.waiting[:min(len(b.waiting), wire.MaxUses)]...)
		b.mu.Unlock()
		if len(uses) == 0 {
			return nil
		}
		err := b.to.ReportUsage(ctx, uses)
		var p *wire.ProblemError
		refused := errors.As(err, &p) && p.Kind() == wire.KindMalformed
		if err != nil && !refused {
			return err
		}
		if refused {
			b.logger.Error("apid refuses a report of what sessions have used; it is dropped", "uses", len(uses), "error", err)
			b.lost.Add(float64(len(uses)))
		}
		b.forget(uses)
	}
}

// forget drops what was told. Some of it may have given way meanwhile.
func (b *Book) forget(told []Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := told[len(told)-1]
	for i, u := range b.waiting[:min(len(b.waiting), len(told))] {
		if u == end {
			b.waiting = b.waiting[i+1:]
			return
		}
	}
}
