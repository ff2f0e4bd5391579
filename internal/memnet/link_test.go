package memnet

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// landing is what came out of a link, and when.
type landing struct {
	number uint32
	after  time.Duration
}

// through sends n datagrams of a size over a link, one each gap, and gives what
// came out.
func through(o Options, n, size int, gap time.Duration) (out []landing) {
	begin := time.Now()
	l := NewLink(o, 1, func(d []byte) {
		out = append(out, landing{binary.BigEndian.Uint32(d), time.Since(begin)})
	})
	defer l.Close()
	d := make([]byte, size)
	for i := range n {
		binary.BigEndian.PutUint32(d, uint32(i))
		l.Send(d)
		time.Sleep(gap)
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	return out
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 100 packets of 1,000 bytes at 10 kB/s take ten seconds.
		got := through(Options{Rate: 10_000, Buffer: 1 << 20, Delay: time.Second}, 100, 1000-headers, 0)
		if len(got) != 100 || got[0].after != 1100*time.Millisecond || got[99].after != 11*time.Second {
			t.Errorf("%d came, at %v to %v", len(got), got[0], got[len(got)-1])
		}
		// No more than the buffer waits: one is on the wire and ten wait.
		got = through(Options{Rate: 10_000, Buffer: 10_000}, 100, 1000-headers, 0)
		if len(got) != 11 {
			t.Errorf("%d passed a buffer of ten", len(got))
		}
		// A wire that is idle saves nothing up.
		got = through(Options{Rate: 10_000}, 3, 1000-headers, time.Minute)
		for i, g := range got {
			if g.after != time.Duration(i)*time.Minute+100*time.Millisecond {
				t.Errorf("%d came after %s", i, g.after)
			}
		}
	})
}

func TestJitterKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := through(Options{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Seed: 7}, 200, 100, time.Millisecond)
		times := map[time.Duration]bool{}
		for i, g := range got {
			late := g.after - time.Duration(i)*time.Millisecond
			if g.number != uint32(i) || late < 20*time.Millisecond || late >= 30*time.Millisecond {
				t.Fatalf("%d came as number %d, %s late", g.number, i, late)
			}
			times[late] = true
		}
		if len(got) != 200 || len(times) < 20 {
			t.Errorf("%d came with %d delays", len(got), len(times))
		}
	})
}

// A datagram in three fragments is lost when one is.
func TestFragments(t *testing.T) {
	for _, row := range []struct{ mtu, size, want int }{
		{0, 9000, 1}, {1500, 1472, 1}, {1500, 1473, 2}, {1280, 1237, 1}, {576, 548, 1}, {576, 549, 2}, {576, 1237, 3}, {576, 1096, 2}, {576, 1097, 3},
	} {
		if got := (Options{MTU: row.mtu}).pieces(row.size); got != row.want {
			t.Errorf("%d bytes over an MTU of %d: %d packets, want %d", row.size, row.mtu, got, row.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		whole := len(through(Options{Loss: .2, Seed: 1}, 2000, 1237, 0))
		pieces := len(through(Options{Loss: .2, Seed: 1, MTU: 576}, 2000, 1237, 0))
		if whole < 1500 || whole > 1700 || pieces < 924 || pieces > 1124 {
			t.Errorf("%d whole and %d in pieces of 2000, want about 1600 and 1024", whole, pieces)
		}
	})
}

func TestQueuesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := through(Options{Delay: time.Second, Queue: 10}, 100, 100, 0); len(got) != 10 {
			t.Errorf("%d of 100 were under way in a queue of 10", len(got))
		}
	})
}

func TestWeatherChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []byte
		l := NewLink(Options{Delay: time.Minute}, 1, func(d []byte) { got = append(got, d...) })
		l.Send([]byte{1})
		l.Set(Options{Loss: 1})
		l.Send([]byte{2})
		l.Set(Options{})
		l.Send([]byte{3}) // in order: not before the first
		time.Sleep(2 * time.Minute)
		l.Set(Options{Delay: time.Minute})
		l.Send([]byte{4})
		l.Close()
		l.Send([]byte{5})
		time.Sleep(2 * time.Minute)
		if !slices.Equal(got, []byte{1, 3}) {
			t.Errorf("got %v", got)
		}
	})
}
