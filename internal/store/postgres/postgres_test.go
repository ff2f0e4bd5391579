package postgres_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/store/postgres"
	"github.com/tucdesk/tucdesk/internal/store/relational"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

// database makes a database with the schema and gives its name.
func database(t testing.TB, c *pgtest.Cluster) string {
	t.Helper()
	name := c.Database(t)
	if _, err := postgres.Migrate(context.Background(), c.URL(pgtest.Owner, name), relational.Latest); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSuite(t *testing.T) {
	c := pgtest.Shared(t)
	var mu sync.Mutex
	names := map[string]string{} // of databases, by folder
	storetest.Run(t, storetest.Harness{Open: func(t testing.TB, dir string) store.Store {
		mu.Lock()
		defer mu.Unlock()
		if names[dir] == "" {
			names[dir] = database(t, c)
		}
		return open(t, c.URL(pgtest.Apid, names[dir]))
	}})
}

func BenchmarkRequest(b *testing.B) {
	c := pgtest.Shared(b)
	storetest.Benchmark(b, open(b, c.URL(pgtest.Apid, database(b, c))))
}
