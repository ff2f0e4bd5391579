package usage

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tucdesk/tucdesk/internal/wire"
)

// An apid that a test makes fail. It is a Teller.
type apid struct {
	mu   sync.Mutex
	err  error
	got  []wire.RelayUse
	asks int
}

func (a *apid) ReportUsage(_ context.Context, uses []wire.RelayUse) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asks++
	if a.err == nil {
		a.got = append(a.got, uses...)
	}
	return a.err
}

// told gives how many uses it has, and how often it was asked.
func (a *apid) told() (uses, asks int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.got), a.asks
}

func (a *apid) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func use(n int) wire.RelayUse {
	return wire.RelayUse{Session: [16]byte{1}, Began: int64(n), Ended: int64(n) + 1}
}

// run has a test use a book that tells an apid, and then ends it.
func run(t *testing.T, f func(b *Book, a *apid)) (a *apid) {
	a = &apid{}
	b, err := New(a, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	f(b, a)
	stop()
	running.Wait()
	return a
}

func numbers(uses []wire.RelayUse) (all []int) {
	for _, u := range uses {
		all = append(all, int(u.Began))
	}
	return all
}

// An apid that was away is told all, in order; what comes last is told at the end.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2*wire.MaxUses + 3
		a := run(t, func(b *Book, a *apid) {
			a.set(errors.New("away"))
			for i := range n {
				b.Add(use(i))
			}
			time.Sleep(time.Hour)
			if _, asks := a.told(); asks < 5 || asks > 20 {
				t.Errorf("asked %d times in an hour", asks)
			}
			a.set(nil)
			time.Sleep(againMost + time.Second)
			if uses, _ := a.told(); uses != n {
				t.Errorf("told %d", uses)
			}
			b.Add(use(n))
		})
		want := make([]int, n+1)
		for i := range want {
			want[i] = i
		}
		if got := numbers(a.got); !slices.Equal(got, want) {
			t.Errorf("told %v", got)
		}
	})
}

// What waits is bounded: the oldest gives way, and is counted.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := run(t, func(b *Book, a *apid) {
			for i := range maxWaiting + 5 {
				b.Add(use(i))
			}
			if b.len() != maxWaiting || testutil.ToFloat64(b.lost) != 5 {
				t.Errorf("%d wait, %v are lost", b.len(), testutil.ToFloat64(b.lost))
			}
		})
		if got := numbers(a.got); len(got) != maxWaiting || got[0] != 5 {
			t.Errorf("told %d, from %d on", len(got), got[0])
		}
	})
}

// A report that apid can't read is not sent for ever; one that it does not want from
// this relay is: its secret may be put right.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run(t, func(b *Book, a *apid) {
			a.set(wire.NewProblem(wire.KindUnauthenticated, "who?", ""))
			b.Add(use(1))
			time.Sleep(time.Hour)
			if b.len() != 1 {
				t.Error("dropped for a wrong secret")
			}
			a.set(wire.NewProblem(wire.KindMalformed, "what?", ""))
			time.Sleep(time.Hour)
			if b.len() != 0 || testutil.ToFloat64(b.lost) != 1 {
				t.Errorf("%d wait, %v are lost", b.len(), testutil.ToFloat64(b.lost))
			}
		})
	})
}
