//go:build netlab && linux

package netlab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/typist"
)

// soon is how long what should come at once may take on a busy machine and a bad
// network.
const soon = time.Minute

// site is what the tests share: it takes seconds to build and start.
var site *Site

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if Able() != nil {
		return m.Run() // each test says so
	}
	dir, err := os.MkdirTemp("", "tucdesk-netlab")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	if err := Programs(ctx, dir); err != nil {
		log.Print(err)
		return 1
	}
	if site, err = OpenSite(ctx, dir, dir); err != nil {
		log.Print(err)
		return 1
	}
	defer site.Close()
	return m.Run()
}

// clear gives the shared site in good weather, to which it returns after the test.
func clear(t *testing.T) *Site {
	t.Helper()
	able(t)
	t.Cleanup(func() { site.Weather(0, memnet.Options{}) })
	return site
}

// shell opens a login shell on the machine and makes it echo.
func shell(t *testing.T, s *Site, path string) *typist.Terminal {
	t.Helper()
	term, err := typist.Start(s.Tucdesk(t.Context(), "connect", "--path", path, Target), 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	if _, err := term.See("# ", soon); err != nil {
		t.Fatal(err)
	}
	if err := term.Cat(soon); err != nil {
		t.Fatal(err)
	}
	return term
}

// keys types n keys and logs how long they took to come back.
func keys(t *testing.T, term *typist.Terminal, n int) {
	t.Helper()
	var longest, all time.Duration
	for i := range n {
		took, err := term.Echo(typist.Keys[i%len(typist.Keys)], soon)
		if err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		longest, all = max(longest, took), all+took
	}
	t.Logf("%d keys: %s on average, %s at most", n, all/time.Duration(n), longest)
}

// A shell echoes on a round trip of 50 ms that loses packets, on both paths.
func TestShellThroughLoss(t *testing.T) {
	s := clear(t)
	for _, path := range []string{"relay", "direct"} {
		for _, loss := range []float64{.02, .1} {
			t.Run(fmt.Sprintf("%s, %g %%", path, loss*100), func(t *testing.T) {
				s.Weather(50*time.Millisecond, memnet.Options{Loss: loss})
				keys(t, shell(t, s, path), 40)
			})
		}
	}
}

// The rest of what a bad network does, all at once.
func TestShellThroughEverything(t *testing.T) {
	s := clear(t)
	s.Weather(300*time.Millisecond, memnet.Options{
		Loss: .05, Reorder: .25, ReorderBy: 30 * time.Millisecond, Dup: .1, Jitter: 20 * time.Millisecond, Rate: 100_000,
	})
	keys(t, shell(t, s, "relay"), 10)
}

// Links of 576 bytes carry all of it, in fragments where they must.
func TestSmallMTU(t *testing.T) {
	s := clear(t)
	for _, h := range []*Host{s.Operator, s.Agent} {
		if err := h.MTU(576); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.MTU(1500) })
	}
	for _, path := range []string{"relay", "direct"} {
		t.Run(path, func(t *testing.T) {
			keys(t, shell(t, s, path), 10)
			copied(t, s, path, 1<<20)
		})
	}
}

// An operator who gets another address, again and again, goes on typing in the same
// shell: on another path, under new keys. Also where the agent was started again in
// between, and has never seen the session begin.
func TestShellMoves(t *testing.T) {
	s := clear(t)
	term := shell(t, s, "auto")
	keys(t, term, 5)
	s.Operator.Move()
	keys(t, term, 5)
	if err := s.RestartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys(t, term, 5)
	s.Operator.Move()
	keys(t, term, 5)
}

// Where UDP is blocked the way leads to the relay over TCP, through loss too.
func TestUDPBlocked(t *testing.T) {
	s := clear(t)
	s.Operator.BlockUDP(true)
	t.Cleanup(func() { s.Operator.BlockUDP(false) })
	s.Weather(20*time.Millisecond, memnet.Options{Loss: .02})
	term := shell(t, s, "auto")
	keys(t, term, 20)
	copied(t, s, "relay", 1<<20)
}

// Nor does a machine need UDP. What it has of the relay is a stream then, which no other
// process can go on with: one that is started again takes another.
func TestUDPBlockedAtTheMachine(t *testing.T) {
	s := clear(t)
	s.Agent.BlockUDP(true)
	t.Cleanup(func() { s.Agent.BlockUDP(false) })
	s.Weather(20*time.Millisecond, memnet.Options{})
	term := shell(t, s, "auto")
	keys(t, term, 20)
	copied(t, s, "relay", 1<<20)
}

// Bytes arrive whole through loss.
func TestBulkThroughLoss(t *testing.T) {
	s := clear(t)
	s.Weather(20*time.Millisecond, memnet.Options{Loss: .02})
	copied(t, s, "relay", 1<<20)
	copied(t, s, "direct", 1<<20)
}

// copied has the machine send n bytes, and compares.
func copied(t *testing.T, s *Site, path string, n int) {
	t.Helper()
	const pattern = "0123456789abcde\n"
	out, err := s.output(s.Tucdesk(t.Context(), "exec", "--path", path, "-n", Target, "--",
		"sh", "-c", fmt.Sprintf("yes 0123456789abcde | head -c %d", n)))
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256([]byte(strings.Repeat(pattern, n/len(pattern))))
	got := sha256.Sum256([]byte(out))
	if got != want {
		t.Errorf("by %s: %d bytes, %s, want %d", path, len(out), hex.EncodeToString(got[:4]), n)
	}
}
