package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/replay"
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

// Whatever was captured is never taken a second time: not in the window, not
// below it, not in the epoch before, not after its key was evicted, not after
// the session is closed. Each row tries at least ten thousand frames.
func TestCapturedFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const frames = 10_000
		o, a := talk(t)
		tried := map[string]int{}
		replayed := func(where string, captured [][]byte, want error) {
			t.Helper()
			for tried[where] < frames {
				for _, d := range captured {
					if got, _, err := a.Open(nil, d); err != want || got != nil {
						t.Fatalf("%s: opened %q, %v", where, got, err)
					}
					tried[where]++
				}
			}
		}
		capture := func(n int) (captured [][]byte) {
			t.Helper()
			for range n {
				d := seal(t, o, "once")
				opens(t, a, d, "once")
				captured = append(captured, d)
			}
			return captured
		}

		epoch0 := capture(frames)
		replayed("below the window", epoch0[:frames-replay.WindowSize], ErrRecord)
		replayed("in the window", epoch0[frames-replay.WindowSize:], ErrRecord)

		o.seal.bytes = RekeyBytes
		epoch1 := capture(frames)
		replayed("in the epoch before, within its grace", epoch0[frames-replay.WindowSize:], ErrRecord)
		replayed("in the epoch before, below its window", epoch0[:frames-replay.WindowSize], ErrRecord)
		replayed("in the epoch after a rekey", epoch1, ErrRecord)

		// Frames that were kept back are fresh to the window: the key is what
		// is gone.
		o.seal.bytes = RekeyBytes
		var held [][]byte
		for range frames {
			held = append(held, seal(t, o, "kept back"))
		}
		opens(t, a, held[0], "kept back")
		o.seal.bytes = RekeyBytes
		capture(1)
		time.Sleep(reorderGrace)
		replayed("after the key was evicted by time", held, ErrRecord)
		replayed("after the key was evicted by newer ones", epoch0, ErrRecord)
		replayed("with the low byte of an epoch to come", epoch1, ErrRecord)

		// 256 epochs on, the low byte of the header is the same again.
		for range 257 {
			o.seal.bytes = RekeyBytes
			capture(1)
		}
		if a.open.cur.number%256 != uint64(held[0][1])+2 {
			t.Fatalf("epoch %d does not come after %d", a.open.cur.number, held[0][1])
		}
		for _, d := range held[:frames/4] {
			for _, number := range []byte{byte(a.open.cur.number - 1), byte(a.open.cur.number), byte(a.open.cur.number + 1), d[1]} {
				moved := bytes.Clone(d)
				moved[1] = number
				if _, _, err := a.Open(nil, moved); err != ErrRecord {
					t.Fatalf("after 256 epochs, as epoch %d: %v", number, err)
				}
				tried["after 256 epochs"]++
			}
		}
		a.close()
		replayed("after the session was closed", held, ErrState)
		t.Logf("none accepted: %v", tried)
	})
}

// The receive keys of a session, over a long life, against a model that knows
// every epoch and forgets nothing: which epochs can be opened, which counters are
// fresh, and that whatever left its place is erased.
func TestReceiveKeysModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("TUCDESK_TEST_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("TUCDESK_TEST_SEED: %v", err)
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("repeat with TUCDESK_TEST_SEED=%d", seed)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 2))
		o, a := talk(t)

		type frame struct {
			epoch, counter uint64
			bytes          []byte
		}
		type epochModel struct {
			seen map[uint64]bool
			next uint64
		}
		model := map[uint64]*epochModel{0: {seen: map[uint64]bool{}}}
		var cur uint64
		var ended time.Time // when the epoch before cur ended
		var flying []frame
		keys := map[*secret]uint64{a.open.cur.secret: 0} // every receive key there ever was
		outcomes := map[string]int{}

		for range steps(t) {
			switch k := r.IntN(100); {
			case k < 40:
				// A receiver that misses a whole epoch is lost, by design: the
				// sender waits for it.
				if o.seal.cur.number == cur && r.IntN(2000) == 0 {
					o.seal.bytes = RekeyBytes
				}
				d := seal(t, o, "x")
				flying = append(flying, frame{o.seal.cur.number, o.seal.counter - 1, d})
			case k < 41:
				if o.seal.cur.number != cur {
					continue
				}
				time.Sleep(time.Duration(r.IntN(int(reorderGrace))))
				synctest.Wait()
			case k < 50: // a forgery moves nothing
				if len(flying) > 0 {
					bad := bytes.Clone(flying[r.IntN(len(flying))].bytes)
					bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
					refuses(t, a, bad, ErrRecord)
				}
			default:
				if len(flying) == 0 {
					continue
				}
				at := r.IntN(len(flying))
				if r.IntN(3) > 0 { // mostly what is recent
					at = max(0, len(flying)-1-r.IntN(50))
				}
				f := flying[at]
				m := model[f.epoch]
				within := f.epoch == cur || f.epoch == cur+1 || f.epoch+1 == cur && time.Since(ended) < reorderGrace
				if m == nil {
					m = &epochModel{seen: map[uint64]bool{}}
				}
				fresh := !m.seen[f.counter] && f.counter+replay.WindowSize >= m.next
				_, _, err := a.Open(nil, f.bytes)
				if opened := err == nil; opened != (within && fresh) || err != nil && !errors.Is(err, ErrRecord) {
					t.Fatalf("epoch %d, counter %d, at epoch %d: %v; key there %v, fresh %v", f.epoch, f.counter, cur, err, within, fresh)
				}
				switch {
				case err == nil:
					outcomes["opened"]++
					m.seen[f.counter], m.next = true, max(m.next, f.counter+1)
					model[f.epoch] = m
					if f.epoch == cur+1 {
						cur, ended = f.epoch, time.Now()
						keys[a.open.cur.secret] = cur
						outcomes["epochs"]++
					}
				case !within:
					outcomes["no key"]++
				case m.seen[f.counter]:
					outcomes["seen"]++
				default:
					outcomes["below the floor"]++
				}
			}
			if len(flying) > 8000 {
				flying = append(flying[:0], flying[4000:]...)
			}
		}
		alive := 0
		a.open.mu.Lock()
		defer a.open.mu.Unlock()
		for k, number := range keys {
			if *k == (secret{}) {
				continue
			}
			alive++
			if number != cur && !(number+1 == cur && time.Since(ended) < reorderGrace) {
				t.Errorf("the key of epoch %d is alive in epoch %d", number, cur)
			}
		}
		if alive == 0 || alive > 2 {
			t.Errorf("%d receive keys are alive", alive)
		}
		for _, what := range []string{"opened", "epochs", "no key", "seen"} {
			if outcomes[what] == 0 {
				t.Errorf("nothing tried: %v", outcomes)
			}
		}
		t.Logf("%v, %d keys", outcomes, len(keys))
	})
}
