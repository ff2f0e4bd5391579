package replay

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// steps is how many steps a long property run takes: what TUCDESK_TEST_STEPS
// says, or few.
func steps(t *testing.T) int {
	t.Helper()
	v := os.Getenv("TUCDESK_TEST_STEPS")
	if v == "" {
		return 20_000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TUCDESK_TEST_STEPS is %q, want a number from 1", v)
	}
	return n
}

// dice gives randomness that a failing run can be repeated with.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("TUCDESK_TEST_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("TUCDESK_TEST_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with TUCDESK_TEST_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// One window over a long life, against a map that never forgets.
func TestWindowLongModel(t *testing.T) {
	r := dice(t)
	var w Window
	seen := map[uint64]bool{}
	var next uint64
	accepted, replayed, below := 0, 0, 0
	for range steps(t) {
		var c uint64
		switch k := r.IntN(1000); {
		case k < 400: // in order, with small gaps
			c = next + r.Uint64N(3)
		case k < 800: // anywhere in the window
			c = next - min(next, r.Uint64N(WindowSize)+1)
		case k < 950: // around the floor
			c = next - min(next, WindowSize-4+r.Uint64N(8))
		case k < 997: // long ago
			c = r.Uint64N(next + 1)
		case k < 999: // a jump about as long as the window
			c = next + WindowSize - 4 + r.Uint64N(8)
		default: // a far jump, over a multiple of the ring's length
			c = next + WindowSize*(1+r.Uint64N(5))
		}
		floor := uint64(0)
		if next > WindowSize {
			floor = next - WindowSize
		}
		fresh := !seen[c] && c >= floor
		if w.Floor() != floor {
			t.Fatalf("floor %d, want %d", w.Floor(), floor)
		}
		if got := w.Check(c); got != fresh {
			t.Fatalf("Check(%d) is %v, want %v: next %d, seen %v", c, got, fresh, next, seen[c])
		}
		if r.IntN(8) == 0 { // a forgery: checked, never marked
			continue
		}
		if got := w.Mark(c); got != fresh {
			t.Fatalf("Mark(%d) is %v, want %v", c, got, fresh)
		}
		switch {
		case fresh:
			accepted++
			seen[c] = true
			next = max(next, c+1)
		case seen[c]:
			replayed++
		default:
			below++
		}
	}
	if accepted == 0 || replayed == 0 || below == 0 {
		t.Fatalf("%d accepted, %d replayed, %d below the floor: nothing was tried", accepted, replayed, below)
	}
	t.Logf("%d accepted, %d replayed, %d below the floor", accepted, replayed, below)
}

// A window near the highest counters behaves as one at zero does, and never
// takes the last one.
func TestWindowAtTheEnd(t *testing.T) {
	var w Window
	for c := uint64(math.MaxUint64 - 3*WindowSize); c < math.MaxUint64; c++ {
		if !w.Mark(c) || w.Check(c) {
			t.Fatalf("counter %d", c)
		}
	}
	if w.Check(math.MaxUint64) || w.Mark(math.MaxUint64) {
		t.Fatal("the last counter was taken")
	}
	if w.Floor() != math.MaxUint64-WindowSize || w.Check(w.Floor()) || w.Check(0) {
		t.Fatalf("floor %d", w.Floor())
	}
}

// One memory of nonces over a long life, against a list of what it must hold:
// its verdict on each message is the one that follows from the list, the floor
// and the clock alone.
func TestNoncesLongModel(t *testing.T) {
	r := dice(t)
	const capacity, past, future = 64, 60 * time.Second, 60 * time.Second
	n := NewNonces(capacity, past, future)
	type message struct {
		id int
		at time.Time
	}
	var held []message // by time
	used := map[message]bool{}
	var floor time.Time
	base := time.Unix(1_800_000_000, 0)
	now, id := base, 0
	forget := func() {
		if held[0].at.After(floor) {
			floor = held[0].at
		}
		held = held[1:]
	}
	verdicts := map[error]int{}
	for step := range steps(t) {
		now = now.Add(time.Duration(r.IntN(2100)-1000) * time.Millisecond)
		// The step makes each timestamp different: among equal ones any may be
		// forgotten first.
		m := message{id, now.Add(time.Duration(r.IntN(140_000)-70_000)*time.Millisecond + time.Duration(step))}
		switch {
		case len(held) > 0 && r.IntN(3) == 0: // a replay of something remembered
			m = held[r.IntN(len(held))]
		case id > 0 && r.IntN(3) == 0: // an old nonce, paired with a new time
			m.id = r.IntN(id)
		default:
			id++
		}
		for len(held) > 0 && held[0].at.Before(now.Add(-past)) {
			forget()
		}
		var want error
		switch {
		case slices.ContainsFunc(held, func(h message) bool { return h.id == m.id }):
			want = ErrReplay
		case m.at.Before(now.Add(-past)), !floor.IsZero() && !m.at.After(floor):
			want = ErrStale
		case m.at.After(now.Add(future)):
			want = ErrFuture
		case len(held) == capacity && m.at.After(now) && held[0].at.After(now):
			want = ErrFull
		}
		if got := n.Use(number(m.id), m.at, now); got != want {
			t.Fatalf("message %d of %v at %v: %v, want %v", m.id, m.at, now, got, want)
		}
		verdicts[want]++
		if want == nil {
			if used[m] {
				t.Fatalf("message %d of %v was accepted twice", m.id, m.at)
			}
			used[m] = true
			at, _ := slices.BinarySearchFunc(held, m, func(a, b message) int { return cmp.Or(a.at.Compare(b.at), 1) })
			held = slices.Insert(held, at, m)
			if len(held) > capacity {
				forget()
			}
		}
		if n.Len() != len(held) || !n.Floor().Equal(floor) {
			t.Fatalf("%d entries and floor %v, want %d and %v", n.Len(), n.Floor(), len(held), floor)
		}
	}
	if len(verdicts) < 4 {
		t.Fatalf("verdicts: %v", verdicts)
	}
	t.Log(verdicts)
}
