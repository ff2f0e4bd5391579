package relational

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/tucdesk/tucdesk/internal/store"
)

// Latest, as a version to migrate to, is the newest that this program knows.
const Latest = -1

// A Schema is the migrations of one engine, as files NNNNN_name.sql with an Up
// and a Down part.
type Schema struct {
	Engine  Engine
	Dialect goose.Dialect
	Files   fs.FS
	Options []goose.ProviderOption
}

func (s Schema) provider(db *sql.DB) (*goose.Provider, error) {
	p, err := goose.NewProvider(s.Dialect, db, s.Files,
		append(s.Options, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))...)
	return p, s.Engine.Wrap(err)
}

// Check refuses a database that stands at another version than the newest.
// store.ErrNewerSchema and store.ErrOlderSchema say which.
func (s Schema) Check(db *sql.DB, current int64) error {
	p, err := s.provider(db)
	if err != nil {
		return err
	}
	newest, err := s.newest(p, current)
	if err == nil && current < newest {
		err = fmt.Errorf("%w: version %d, and this program needs %d; run tucdesk-apid migrate as the database's owner", store.ErrOlderSchema, current, newest)
	}
	return err
}

// Migrate takes the database to a version, up or down, and gives the version
// that it had. Down loses what the older schema has no place for.
func (s Schema) Migrate(ctx context.Context, db *sql.DB, to int64) (from int64, err error) {
	p, err := s.provider(db)
	if err != nil {
		return 0, err
	}
	if from, err = p.GetDBVersion(ctx); err != nil {
		return 0, fmt.Errorf("%s: read the schema version: %w", s.Engine.Name, err)
	}
	newest, err := s.newest(p, from)
	if err != nil {
		return from, err
	}
	if to == Latest {
		to = newest
	}
	switch {
	case to < 0 || to > newest:
		return from, fmt.Errorf("%s: no schema version %d; there are 0 to %d", s.Engine.Name, to, newest)
	case to < from:
		_, err = p.DownTo(ctx, to)
	default:
		_, err = p.UpTo(ctx, to)
	}
	if err != nil {
		return from, fmt.Errorf("%s: migrate from version %d to %d: %w", s.Engine.Name, from, to, err)
	}
	return from, nil
}

// newest gives the newest version, and refuses a database that is beyond it.
func (s Schema) newest(p *goose.Provider, current int64) (newest int64, err error) {
	for _, source := range p.ListSources() {
		newest = max(newest, source.Version)
	}
	if current > newest {
		err = fmt.Errorf("%w: version %d, and this program knows up to %d; install the newer TucDesk, or restore a backup made before the upgrade",
			store.ErrNewerSchema, current, newest)
	}
	return newest, err
}
