package replay

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWindowBasics(t *testing.T) {
	var w Window
	for _, step := range []struct {
		counter uint64
		fresh   bool
	}{
		{0, true}, {0, false}, {1, true}, {5, true}, {3, true}, {3, false}, {5, false},
		{WindowSize + 4, true}, // floor becomes 5
		{4, false}, {2, false}, // never seen, but below the floor
		{5, false}, {6, true},
		{1 << 40, true}, {7, false}, {1<<40 - WindowSize, false}, {1<<40 - WindowSize + 1, true},
		{math.MaxUint64, false}, {math.MaxUint64 - 1, true}, {math.MaxUint64 - 1, false},
	} {
		if got := w.Check(step.counter); got != step.fresh {
			t.Fatalf("Check(%d) = %v, want %v", step.counter, got, step.fresh)
		}
		if got := w.Mark(step.counter); got != step.fresh {
			t.Fatalf("Mark(%d) = %v, want %v", step.counter, got, step.fresh)
		}
	}
}

// The window must agree with a model that never forgets and applies the floor.
func TestWindowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Window
		seen := map[uint64]bool{}
		var next uint64
		steps := rapid.IntRange(1, 400).Draw(t, "steps")
		for range steps {
			var c uint64
			switch rapid.IntRange(0, 3).Draw(t, "shape") {
			case 0: // near the top
				c = next + rapid.Uint64Range(0, 70).Draw(t, "ahead")
			case 1: // a jump
				c = next + rapid.Uint64Range(0, 3*WindowSize).Draw(t, "jump")
			case 2: // behind
				c = next - min(next, rapid.Uint64Range(0, WindowSize+70).Draw(t, "behind"))
			default:
				c = rapid.Uint64().Draw(t, "any")
			}
			fresh := c != math.MaxUint64 && !seen[c] && (next <= WindowSize || c >= next-WindowSize)
			if got := w.Check(c); got != fresh {
				t.Fatalf("Check(%d) = %v, model says %v (next %d)", c, got, fresh, next)
			}
			if rapid.Bool().Draw(t, "authentic") {
				if got := w.Mark(c); got != fresh {
					t.Fatalf("Mark(%d) = %v, model says %v", c, got, fresh)
				}
				if fresh {
					seen[c] = true
					next = max(next, c+1)
				}
			}
		}
	})
}

// A cache that only forgets would take each of these 5,000 frames a second time.
func TestFiveThousandReplays(t *testing.T) {
	t.Run("window", func(t *testing.T) {
		var w Window
		for c := range uint64(5000) {
			if !w.Mark(c) {
				t.Fatalf("fresh counter %d refused", c)
			}
		}
		for c := range uint64(5000) {
			if w.Check(c) || w.Mark(c) {
				t.Fatalf("replayed counter %d accepted", c)
			}
		}
	})
	t.Run("nonces", func(t *testing.T) {
		n := NewNonces(1024, time.Minute, time.Minute)
		now := time.Unix(1_800_000_000, 0)
		at := func(i int) time.Time { return now.Add(time.Duration(i) * time.Millisecond) }
		for i := range 5000 {
			if err := n.Use(number(i), at(i), at(i)); err != nil {
				t.Fatalf("fresh nonce %d: %v", i, err)
			}
		}
		if n.Len() != 1024 {
			t.Fatalf("%d entries, want the capacity of 1024", n.Len())
		}
		for i := range 5000 {
			if err := n.Use(number(i), at(i), at(5000)); err == nil {
				t.Fatalf("replayed nonce %d accepted", i)
			}
		}
	})
}

func TestNoncesRefusals(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	n := NewNonces(10, time.Minute, 30*time.Second)
	for _, step := range []struct {
		name  string
		nonce int
		at    time.Duration
		now   time.Duration
		want  error
	}{
		{"fresh", 1, 0, 0, nil},
		{"again", 1, 0, 0, ErrReplay},
		{"again with another time", 1, time.Second, 0, ErrReplay},
		{"too old", 2, -61 * time.Second, 0, ErrStale},
		{"oldest allowed", 2, -60 * time.Second, 0, nil},
		{"too new", 3, 31 * time.Second, 0, ErrFuture},
		{"newest allowed", 3, 30 * time.Second, 0, nil},
		{"a minute later the first are forgotten", 4, 61 * time.Second, 61 * time.Second, nil},
		{"the clock jumps back, the replay stays refused", 1, 0, 10 * time.Second, ErrStale},
		{"and so does what was never seen below the floor", 5, -time.Second, 10 * time.Second, ErrStale},
		{"above the floor all is well", 6, time.Second, 10 * time.Second, nil},
	} {
		if err := n.Use(number(step.nonce), now.Add(step.at), now.Add(step.now)); !errors.Is(err, step.want) {
			t.Fatalf("%s: %v, want %v", step.name, err, step.want)
		}
	}
}

// A flood of timestamps from the future must not shut out honest senders whose
// clocks are right.
func TestNoncesFloodFromTheFuture(t *testing.T) {
	n := NewNonces(64, time.Minute, time.Minute)
	now := time.Unix(1_800_000_000, 0)
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		if err := n.Use(number(2*i), now.Add(time.Minute), now); err != nil && !errors.Is(err, ErrFull) {
			t.Fatalf("flood message %d: %v", i, err)
		}
		if err := n.Use(number(2*i+1), now, now); err != nil {
			t.Fatalf("honest message %d: %v", i, err)
		}
	}
}

// Against a model that never forgets: nothing is accepted twice, whatever the
// clock, the timestamps and the capacity do; and a refusal changes nothing.
func TestNoncesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 8).Draw(t, "capacity")
		n := NewNonces(capacity, 60*time.Second, 60*time.Second)
		type message struct {
			nonce int
			at    time.Time
		}
		used := map[message]bool{}
		base := time.Unix(1_800_000_000, 0)
		now := base
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-40, 40).Draw(t, "clock")) * time.Second)
			id := rapid.IntRange(0, 30).Draw(t, "nonce")
			at := now.Add(time.Duration(rapid.IntRange(-70, 70).Draw(t, "at")) * time.Second)
			floor := n.Floor()
			err := n.Use(number(id), at, now)
			if err == nil && used[message{id, at}] {
				t.Fatalf("message %d of %v accepted twice", id, at)
			}
			if err == nil && !floor.IsZero() && !at.After(floor) {
				t.Fatalf("accepted at %v, at or below the floor %v", at, floor)
			}
			if err == nil {
				used[message{id, at}] = true
			}
			if n.Floor().Before(floor) {
				t.Fatalf("floor fell from %v to %v", floor, n.Floor())
			}
			if n.Len() > capacity {
				t.Fatalf("%d entries exceed the capacity of %d", n.Len(), capacity)
			}
		}
	})
}

func TestNewNoncesRefusesNonsense(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic for capacity 0")
		}
	}()
	NewNonces(0, time.Minute, time.Minute)
}

func number(i int) (n Nonce) {
	binary.BigEndian.PutUint64(n[:], uint64(i))
	return n
}

func BenchmarkWindow(b *testing.B) {
	var w Window
	var c uint64
	for b.Loop() {
		if !w.Check(c) || !w.Mark(c) {
			b.Fatal("fresh counter refused")
		}
		c++
	}
}

func BenchmarkNonces(b *testing.B) {
	n := NewNonces(100_000, time.Minute, time.Minute)
	now := time.Unix(1_800_000_000, 0)
	i := 0
	for b.Loop() {
		now = now.Add(time.Microsecond)
		if err := n.Use(number(i), now, now); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
