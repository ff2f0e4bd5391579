// Package engine opens a store by what its address says: postgres://… is a
// PostgreSQL database, and anything else is the name of a SQLite file. It is the
// one place that knows both.
//
// It must not import a service package.
package engine

import (
	"context"
	"strings"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/postgres"
	"github.com/tucdesk/tucdesk/internal/store/relational"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
)

// A Store is a store.Store that can be copied whole.
type Store interface {
	store.Store
	// Dump gives every row of a team, from one unchanging state, in an order
	// that depends on the rows only. An error of yield ends it.
	Dump(ctx context.Context, team string, yield func(relational.Row) error) error
	// Load runs f, which loads teams into a store that has none, in one
	// transaction.
	Load(ctx context.Context, f func(*relational.Loader) error) error
}

// Latest, as a version for Migrate, is the newest that this program knows.
const Latest = relational.Latest

// IsServer reports whether an address is that of a database server.
func IsServer(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

// Open opens a store: see sqlite.Open, which makes and migrates the file, and
// postgres.Open, which wants a database that its owner has migrated.
func Open(ctx context.Context, address string) (Store, error) {
	if IsServer(address) {
		s, err := postgres.Open(ctx, address)
		if err != nil {
			return nil, err // and no nil in an interface
		}
		return s, nil
	}
	s, err := sqlite.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Migrate takes a database to a version of its schema, up or down, as its owner.
// It gives the version that the database had.
func Migrate(ctx context.Context, address string, to int64) (from int64, err error) {
	if IsServer(address) {
		return postgres.Migrate(ctx, address, to)
	}
	return sqlite.Migrate(ctx, address, to)
}
