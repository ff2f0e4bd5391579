package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

// TestRetries: a transaction that the database gave up runs again, a few times,
// and nothing of the runs before is there.
func TestRetries(t *testing.T) {
	c := pgtest.Shared(t)
	s := open(t, c.URL(pgtest.Apid, database(t, c)))
	for _, test := range []struct {
		code       string
		fails, ran int
		ok         bool
	}{
		{"40001", 0, 1, true},
		{"40001", 3, 4, true},
		{"40P01", 2, 3, true},
		{"40001", 100, 4, false},
		{"57P01", 1, 1, false}, // the connection is gone: who knows
		{"23505", 1, 1, false},
	} {
		before := size(t, s, "acme")
		ran := 0
		err := s.Tx(t.Context(), "acme", func(tx store.Tx) error {
			ran++
			n, err := tx.Audit.Size()
			if err != nil {
				return err
			}
			if err := tx.Audit.Append(n, []byte{byte(n), 1}, nil); err != nil {
				return err
			}
			if ran <= test.fails {
				return &pgconn.PgError{Code: test.code}
			}
			return nil
		})
		if ran != test.ran || (err == nil) != test.ok {
			t.Errorf("%s, failing %d times: ran %d times, %v", test.code, test.fails, ran, err)
		}
		if grew := size(t, s, "acme") - before; (grew == 1) != test.ok || grew > 1 {
			t.Errorf("%s, failing %d times: %d entries", test.code, test.fails, grew)
		}
	}
	// A failed statement that f overlooks is no yes.
	if err := s.Tx(t.Context(), "acme", func(tx store.Tx) error {
		tx.Targets.Put(store.Target{Kid: [32]byte{1}, Name: "n", Exp: time.UnixMilli(1)})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return s.View(ctx, "acme", func(store.Tx) error { return nil })
	}); err == nil {
		t.Error("a Tx with a failed call was acknowledged")
	}
}

func size(t *testing.T, s store.Store, team string) (n int64) {
	t.Helper()
	if err := s.View(t.Context(), team, func(tx store.Tx) (err error) {
		n, err = tx.Audit.Size()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTwoDaemons: the team's writer is one among all processes.
func TestTwoDaemons(t *testing.T) {
	c := pgtest.Shared(t)
	url := c.URL(pgtest.Apid, database(t, c))
	stores := []store.Store{open(t, url), open(t, url), open(t, url)}
	var wg sync.WaitGroup
	var all []int
	for w, s := range stores {
		for i := range 20 {
			n := 20*w + i
			all = append(all, n)
			wg.Go(func() {
				if err := storetest.Request(t.Context(), s, "acme", n); err != nil {
					t.Errorf("request %d: %v", n, err)
				}
			})
		}
	}
	wg.Wait()
	storetest.CheckRequests(t, stores[0], "acme", all)
}

// TestBusyTeam: writers that wait for their team take no connection, so other
// teams go on with the few that there are.
func TestBusyTeam(t *testing.T) {
	c := pgtest.Shared(t)
	s := open(t, c.URL(pgtest.Apid, database(t, c))+"&pool_max_conns=2")
	writing, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Tx(t.Context(), "busy", func(store.Tx) error {
			close(writing)
			<-end
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-writing
	for n := range 10 {
		wg.Go(func() {
			if err := storetest.Request(t.Context(), s, "busy", n); err != nil {
				t.Error(err)
			}
		})
	}
	waits, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := storetest.Request(waits, s, "busy", 99); !errors.Is(err, context.Canceled) {
			t.Errorf("a writer that gave up waiting: %v", err)
		}
	})
	cancel()
	for n := range 10 {
		if err := storetest.Request(t.Context(), s, "calm", n); err != nil {
			t.Error(err)
		}
	}
	close(end)
	wg.Wait()
	storetest.CheckRequests(t, s, "busy", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
}

// TestLimits: what another connection holds for ever is not waited for for ever.
func TestLimits(t *testing.T) {
	c := pgtest.Shared(t)
	name := database(t, c)
	if err := storetest.Request(t.Context(), open(t, c.URL(pgtest.Apid, name)), "acme", 1); err != nil {
		t.Fatal(err)
	}
	tx, err := c.Connect(t, c.URL(pgtest.Admin, name)).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "LOCK TABLE writer, session"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ setting, code string }{{"lock_timeout", "55P03"}, {"statement_timeout", "57014"}} {
		s := open(t, c.URL(pgtest.Apid, name)+"&"+test.setting+"=50")
		err := storetest.Request(t.Context(), s, "acme", 2)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != test.code {
			t.Errorf("%s: %v, want %s", test.setting, err, test.code)
		}
	}
}

// TestKill kills the server without warning, again and again, while requests to
// three teams are under way, and repeats those that got an error as a client
// does. What was acknowledged is there after each start, and nothing is there
// twice or by halves. TUCDESK_TEST_KILLS says how often.
func TestKill(t *testing.T) {
	kills := 20
	if text := os.Getenv("TUCDESK_TEST_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		kills = 3
	}
	c := pgtest.Start(t)
	s := open(t, c.URL(pgtest.Apid, database(t, c)))
	teams := []string{"acme", "umbra", "stark"}
	var mu sync.Mutex
	acknowledged := map[string][]int{}
	var total atomic.Int64
	acks := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var next atomic.Int64
	for w := range 6 {
		wg.Go(func() {
			team := teams[w%len(teams)]
			for n := int(next.Add(1)); ctx.Err() == nil; {
				if storetest.Request(ctx, s, team, n) != nil {
					time.Sleep(10 * time.Millisecond)
					continue // again, the same one
				}
				mu.Lock()
				acknowledged[team] = append(acknowledged[team], n)
				mu.Unlock()
				total.Add(1)
				select {
				case acks <- struct{}{}:
				default:
				}
				n = int(next.Add(1))
			}
		})
	}
	for round := range kills {
		for until := total.Load() + 3 + rand.N(int64(12)); total.Load() < until; {
			<-acks
		}
		time.Sleep(rand.N(3 * time.Millisecond)) // to any point of a request
		mu.Lock()
		before := map[string][]int{}
		for team, all := range acknowledged {
			before[team] = all[:len(all):len(all)]
		}
		mu.Unlock()
		c.Kill(t)
		c.Restart(t)
		if round%10 == 9 || round == kills-1 || round < 3 {
			for team, all := range before {
				storetest.CheckRequests(t, s, team, all)
			}
		}
	}
	stop()
	wg.Wait()
	for team, all := range acknowledged {
		storetest.CheckRequests(t, s, team, all)
	}
	t.Logf("%d kills, %d requests", kills, total.Load())
}
