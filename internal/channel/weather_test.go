package channel

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
)

// bad is the worst network on which a session must still echo, whatever the MTU.
func bad(mtu int, seed uint64) memnet.Options {
	return memnet.Options{
		Loss: .1, Reorder: .25, ReorderBy: 40 * time.Millisecond, Dup: .1,
		Delay: 300 * time.Millisecond, Jitter: 20 * time.Millisecond, MTU: mtu, Seed: seed,
	}
}

// steps is how often a property is tried: once, or as often as the environment
// says.
func steps(t *testing.T) int {
	v := os.Getenv("TUCDESK_TEST_STEPS")
	if v == "" {
		return 1
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TUCDESK_TEST_STEPS is %q, want a number from 1", v)
	}
	return n
}

// keystrokes types n keys with a pause between them and reads each back. It gives
// the longest time that one took.
func keystrokes(t *testing.T, c *Channel, n int, pause time.Duration) (longest time.Duration) {
	t.Helper()
	key := make([]byte, 1)
	for i := range n {
		begin := time.Now()
		sent := byte(i)
		if _, err := c.Write([]byte{sent}); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		if _, err := io.ReadFull(c, key); err != nil || key[0] != sent {
			t.Fatalf("key %d came back as %d, %v", i, key[0], err)
		}
		longest = max(longest, time.Since(begin))
		time.Sleep(pause)
	}
	return longest
}

// Echo works through 10 % loss, 25 % reordering, 10 % duplication, a round trip of
// 600 ms, and any MTU from 576 to 1500, in simulated time. What is longer than the
// MTU travels in fragments and is lost three times as often.
func TestEchoInBadWeather(t *testing.T) {
	for _, mtu := range []int{576, 1280, 1400, 1500} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			for seed := range steps(t) {
				simulated(t, func(t *testing.T) {
					operator, agent := connect(t, bad(mtu, uint64(seed)), Options{})
					c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
					longest := keystrokes(t, c, 50, 100*time.Millisecond)
					t.Logf("the slowest of 50 keys took %s", longest)
				})
			}
		})
	}
}

// Somebody types for five minutes through 10 % loss, at 50 ms: with copies of what is short
// it is rare that a key takes two round trips or more, and without them it is not.
func TestSpares(t *testing.T) {
	slow := func(with bool) (n int) {
		simulated(t, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{Loss: .1, Delay: 25 * time.Millisecond, Seed: 5}, Options{})
			if !with { // as if as many waited as may
				operator.path.spares.waiting.Store(spareWaiting)
				agent.path.spares.waiting.Store(spareWaiting)
			}
			c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
			var took []time.Duration
			for range 1500 {
				took = append(took, keystrokes(t, c, 1, 150*time.Millisecond))
			}
			slices.Sort(took)
			at, _ := slices.BinarySearch(took, 100*time.Millisecond)
			n = len(took) - at
			t.Logf("with copies: %v; median %v, 90 in 100 %v, 99 in 100 %v, all %v; %d of %d slow", with, took[len(took)/2], took[len(took)*9/10], took[len(took)*99/100], took[len(took)-1], n, len(took))
		})
		return n
	}
	if with, without := slow(true), slow(false); without < 150 || 4*with > without {
		t.Errorf("%d slow keys with copies, %d without", with, without)
	}
}

// Ten minutes of somebody typing through 10 % loss, and a quarter of an hour in
// which nobody does, end no session.
func TestNoSessionIsLost(t *testing.T) {
	for seed := range steps(t) {
		simulated(t, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{Loss: .1, Delay: 25 * time.Millisecond, Seed: uint64(seed)}, Options{})
			c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
			begin := time.Now()
			for time.Since(begin) < 10*time.Minute {
				keystrokes(t, c, 100, 150*time.Millisecond)
			}
			time.Sleep(15 * time.Minute)
			keystrokes(t, c, 10, 0)
			if operator.Err() != nil || agent.Err() != nil {
				t.Fatal(operator.Err(), agent.Err())
			}
		})
	}
}
