package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// fakes are apid and the session half.
type fakes struct {
	mu        sync.Mutex
	head      uint64 // ours; 0 is the genesis
	known     bool
	pages     []wire.RosterPage // that apid answers, the last one again and again
	asked     []time.Time
	apiErr    error
	learnErr  error
	confirmed []uint64
	owed      []Entry
	handed    []uint64
	more      chan struct{}
	recordings
}

func newFakes() *fakes {
	return &fakes{more: make(chan struct{}, 1), recordings: recordings{moreRec: make(chan struct{}, 1), uploaded: map[uint64]bool{}}}
}

func at(seq uint64) wire.Head {
	return wire.Head{Seq: seq, Hash: envelope.Sum(fmt.Append(nil, seq))}
}

func page(head uint64, more bool, statements ...string) wire.RosterPage {
	p := wire.RosterPage{Genesis: []byte("genesis"), Head: at(head), More: more}
	for _, s := range statements {
		p.Statements = append(p.Statements, []byte(s))
	}
	return p
}

func (f *fakes) Register() ([]byte, error)                       { return nil, nil }
func (f *fakes) Heartbeat(envelope.Hash, uint64) ([]byte, error) { return nil, nil }
func (f *fakes) SignRequest(string, string, [32]byte) (string, error) {
	return "", nil
}
func (f *fakes) Finish(wire.SignalFinish) {}
func (f *fakes) Offer(context.Context, wire.SignalOffer) (wire.SignalAnswer, error) {
	return wire.SignalAnswer{}, nil
}

func (f *fakes) Head() (wire.Head, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return at(f.head), f.known
}

func (f *fakes) Genesis([]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = f.learnErr == nil
	return f.learnErr
}

func (f *fakes) Learn(statements [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head += uint64(len(statements))
	return nil
}

func (f *fakes) Confirm(h wire.Head) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed = append(f.confirmed, h.Seq)
	return nil
}

func (f *fakes) Owed(n int) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.owed[:min(n, len(f.owed))])
}

func (f *fakes) More() <-chan struct{} { return f.more }

func (f *fakes) Handed(seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.owed) > 0 && f.owed[0].Seq <= seq {
		f.owed = f.owed[1:]
	}
	f.handed = append(f.handed, seq)
	return nil
}

// api is apid: the same fakes, seen from the other side.
type api struct{ *fakes }

func (f api) Roster(_ context.Context, _ string, after uint64) (wire.RosterPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, time.Now())
	if f.apiErr != nil {
		return wire.RosterPage{}, f.apiErr
	}
	p := f.pages[0]
	if len(f.pages) > 1 {
		f.pages = f.pages[1:]
	}
	return p, nil
}

func (f api) Consistency(context.Context, string, int64, int64) (tlog.TreeProof, error) {
	return nil, f.apiErr
}

func (f api) PostEntries(_ context.Context, _ string, entries ...[]byte) (wire.EntriesAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return wire.EntriesAnswer{}, f.apiErr
}

func (f *fakes) uplink(dial func(context.Context, wire.AgentHandler) error) *Uplink {
	gauge := func(float64) {}
	return New(Config{
		Team: "acme", API: api{f}, Inside: f, Dial: dial, Online: func() {}, Logger: slog.New(slog.DiscardHandler),
		Metrics: Metrics{gauge, gauge, gauge}, Poll: time.Minute,
	})
}

// Only a server that leads to the head it names confirms what we have.
func TestRefresh(t *testing.T) {
	for _, tc := range []struct {
		name      string
		start     uint64
		pages     []wire.RosterPage
		fails     bool
		confirmed []uint64
		head      uint64
	}{
		{"nothing new", 3, []wire.RosterPage{page(3, false)}, false, []uint64{3}, 3},
		{"two pages", 0, []wire.RosterPage{page(3, true, "1", "2"), page(3, false, "3")}, false, []uint64{3}, 3},
		{"older than ours", 3, []wire.RosterPage{page(2, false)}, true, nil, 3},
		{"names more than it shows", 3, []wire.RosterPage{page(5, false, "4")}, true, nil, 4},
		{"more, and never comes", 3, []wire.RosterPage{page(5, true)}, true, nil, 3},
		{"another one with our number", 3, []wire.RosterPage{{Head: wire.Head{Seq: 3}}}, true, nil, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakes()
			f.head, f.pages, f.known = tc.start, tc.pages, true
			err := f.uplink(nil).Refresh(t.Context())
			if (err != nil) != tc.fails || !slices.Equal(f.confirmed, tc.confirmed) || f.head != tc.head {
				t.Errorf("%v, confirmed %v, head %d", err, f.confirmed, f.head)
			}
		})
	}
}

// A hundred who want a refresh at once cost apid two, and never more than four a
// second.
func TestRefreshIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.known, f.pages = true, []wire.RosterPage{page(0, false)}
		u := f.uplink(nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := u.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(f.asked); n > 2 {
			t.Errorf("asked %d times", n)
		}
		before := len(f.asked)
		for range 8 {
			u.Refresh(t.Context())
		}
		for i := before; i < len(f.asked); i++ {
			if d := f.asked[i].Sub(f.asked[i-1]); d < refreshEvery {
				t.Errorf("asked again after %v", d)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := u.Refresh(ctx); err == nil {
			t.Error("a caller who is gone got an answer")
		}
	})
}

func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.apiErr = errors.New("down")
		f.pages = []wire.RosterPage{page(0, false)}
		u := f.uplink(nil)
		time.AfterFunc(10*time.Minute, func() { f.mu.Lock(); f.apiErr = nil; f.mu.Unlock() })
		start := time.Now()
		if err := u.Join(t.Context()); err != nil || time.Since(start) < 10*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n := len(f.asked); n < 15 || n > 60 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		f.known, f.learnErr = false, fmt.Errorf("of a demo: %w", ErrHopeless)
		if err := u.Join(t.Context()); !errors.Is(err, ErrHopeless) {
			t.Errorf("%v", err)
		}
		f.learnErr = errors.New("odd")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := u.Join(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// A rendezvous that is gone is dialled again, less and less often, and at once
// often again when it was there in between.
func TestKeepsReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.known, f.pages = true, []wire.RosterPage{page(0, false)}
		var dials []time.Time
		online := 0
		u := f.uplink(func(ctx context.Context, h wire.AgentHandler) error {
			dials = append(dials, time.Now())
			if len(dials) == 20 {
				h.Welcome(wire.SignalWelcome{HeadSeq: 9})
				online++
			}
			return wire.ErrUnavailable
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		u.Run(ctx)
		for i := 1; i < len(dials); i++ {
			d := dials[i].Sub(dials[i-1])
			if d > redialMost || d < redialFirst/2 || i == 19 && d < redialMost/2 || i == 20 && d > redialFirst {
				t.Errorf("dial %d after %v", i, d)
			}
		}
		if len(dials) < 120 || online != 1 {
			t.Errorf("%d dials in an hour", len(dials))
		}
	})
}

// Entries are handed in in order and in bounded batches, again until apid takes
// them, and once more when the agent stops.
func TestDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.known, f.pages = true, []wire.RosterPage{page(0, false)}
		u := f.uplink(func(ctx context.Context, _ wire.AgentHandler) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { u.Run(ctx) })
		synctest.Wait()
		owe := func(from, to uint64) {
			f.mu.Lock()
			for n := from; n <= to; n++ {
				f.owed = append(f.owed, Entry{Seq: n})
			}
			f.mu.Unlock()
			f.more <- struct{}{}
		}
		owe(1, 40)
		time.Sleep(time.Second)
		f.mu.Lock()
		if want := []uint64{16, 32, 40}; !slices.Equal(f.handed, want) {
			t.Errorf("%v", f.handed)
		}
		f.apiErr = errors.New("down")
		f.mu.Unlock()
		owe(41, 41)
		time.Sleep(5 * time.Minute)
		f.mu.Lock()
		f.apiErr = nil
		f.mu.Unlock()
		time.Sleep(redialMost)
		synctest.Wait()
		if len(f.Owed(1)) > 0 {
			t.Error("not handed in after apid came back")
		}
		cancel()
		running.Wait()
		f.owed = []Entry{{Seq: 42}}
		u.Last()
		if f.handed[len(f.handed)-1] != 42 {
			t.Errorf("%v", f.handed)
		}
		f.owed, f.apiErr = []Entry{{Seq: 43}}, errors.New("down")
		u.Last() // gives up
	})
}
