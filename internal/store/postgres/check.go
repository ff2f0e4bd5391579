package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrURL means a database URL that can't be used as it is.
	ErrURL = errors.New("postgres: database url")
	// ErrRole means a role that a daemon, or an owner, must not have.
	ErrRole = errors.New("postgres: role")
	// ErrServer means a server or a database whose settings break what a store
	// promises.
	ErrServer = errors.New("postgres: server")
)

// ours selects the tables that hold teams' rows.
const ours = `pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
	AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'team_id')`

const oldest = 150000 // server_version_num of PostgreSQL 15

// daemonSettings are those of every connection of a daemon, unless the URL says
// otherwise.
var daemonSettings = map[string]string{
	"application_name":                    "tucdesk-apid",
	"statement_timeout":                   "10s",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "30s",
}

// defaultConns bounds the connections of one Store, unless the URL says
// otherwise (pool_max_conns).
const defaultConns = 16

func parse(text string, settings map[string]string) (*pgxpool.Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("%w: want postgres://ROLE@HOST/DATABASE", ErrURL) // text may hold a secret
	}
	q := u.Query()
	if _, has := u.User.Password(); has || q.Has("password") {
		return nil, fmt.Errorf("%w: it holds a password, which logs and process lists would show; name a file with ?passfile=FILE (HOST:PORT:DATABASE:ROLE:PASSWORD, readable by its owner only)", ErrURL)
	}
	cfg, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if !q.Has("pool_max_conns") {
		cfg.MaxConns = defaultConns
	}
	for name, value := range settings {
		if !q.Has(name) {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	if !q.Has("connect_timeout") {
		cfg.ConnConfig.ConnectTimeout = txTime / 6
	}
	hosts := []struct {
		name string
		tls  *tls.Config
	}{{cfg.ConnConfig.Host, cfg.ConnConfig.TLSConfig}}
	for _, f := range cfg.ConnConfig.Fallbacks {
		hosts = append(hosts, struct {
			name string
			tls  *tls.Config
		}{f.Host, f.TLSConfig})
	}
	for _, h := range hosts {
		if !here(h.name) && (h.tls == nil || h.tls.InsecureSkipVerify) {
			return nil, fmt.Errorf("%w: %s is another machine; add sslmode=verify-full, and sslrootcert=FILE for a CA of your own", ErrURL, h.name)
		}
	}
	return cfg, nil
}

// here reports whether a host is this machine: a socket's folder, or loopback.
func here(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.HasPrefix(host, "/") || host == "localhost" || err == nil && ip.IsLoopback()
}

// check refuses what a daemon must not stand on.
func (s *Store) check(ctx context.Context) error {
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if err := s.checkRole(ctx); err != nil {
		return err
	}
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	return s.checkWall(ctx)
}

// checkSchema refuses a database that is not migrated to this program's version.
// A table of versions that the daemon can't read stands before the first.
func (s *Store) checkSchema(ctx context.Context) error {
	var readable bool
	var version int64
	err := s.db.QueryRowContext(ctx, `SELECT coalesce(has_table_privilege(to_regclass('goose_db_version'), 'SELECT'), false)`).Scan(&readable)
	if err == nil && readable {
		err = s.db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version`).Scan(&version)
	}
	if err != nil {
		return fmt.Errorf("postgres: read the schema version: %w", err)
	}
	schema, err := schema()
	if err != nil {
		return err
	}
	return schema.Check(s.db, version)
}

// checkServer refuses a server that is too old, or that may lose what it has
// acknowledged, and a database that can't hold every text.
func (s *Store) checkServer(ctx context.Context) error {
	var version int
	var encoding, commit, fsync, pages string
	err := s.db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')`).
		Scan(&version, &encoding, &commit, &fsync, &pages)
	switch {
	case err != nil:
		return pg.Wrap(err)
	case version < oldest:
		return fmt.Errorf("%w: version %d.%d; TucDesk needs PostgreSQL 15 or newer", ErrServer, version/10000, version%10000)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database's encoding is %s; make it with ENCODING 'UTF8' TEMPLATE template0", ErrServer, encoding)
	case commit == "off", commit == "local", fsync == "off", pages == "off":
		return fmt.Errorf("%w: synchronous_commit=%s fsync=%s full_page_writes=%s may lose what it has acknowledged; set each to on", ErrServer, commit, fsync, pages)
	}
	return nil
}

// checkDaemonRole says how to make the daemon's role where it is missing.
func (s *Store) checkDaemonRole(ctx context.Context) error {
	var there bool
	err := s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, Daemon).Scan(&there)
	if err == nil && !there {
		return fmt.Errorf("%w: there is no role %s; as an administrator of the server: CREATE ROLE %[2]s NOLOGIN; CREATE ROLE apid LOGIN IN ROLE %[2]s", ErrRole, Daemon)
	}
	return pg.Wrap(err)
}

// checkRole refuses a role that can get past row-level security, by itself or
// as another role that it may become.
func (s *Store) checkRole(ctx context.Context) error {
	var role, why string
	err := s.db.QueryRowContext(ctx, `SELECT session_user, coalesce((
		SELECT CASE WHEN rolsuper THEN 'is a superuser' ELSE 'has BYPASSRLS' END
			FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND (pg_has_role(session_user, oid, 'MEMBER') OR pg_has_role(current_user, oid, 'MEMBER')) LIMIT 1
	), (
		SELECT 'owns the table ' || relname
			FROM `+ours+`
				AND (pg_has_role(session_user, relowner, 'MEMBER') OR pg_has_role(current_user, relowner, 'MEMBER')) LIMIT 1
	), '')`).Scan(&role, &why)
	if err == nil && why != "" {
		return fmt.Errorf("%w: %s, or a role that it may become, %s, and could read every team's rows; sign in as a role that is only a member of %s", ErrRole, role, why, Daemon)
	}
	return pg.Wrap(err)
}

// checkWall refuses a schema in which a table has no row-level security.
func (s *Store) checkWall(ctx context.Context) error {
	var open string
	err := s.db.QueryRowContext(ctx, `SELECT coalesce(string_agg(relname, ', '), '') FROM `+ours+`
			AND NOT (relrowsecurity AND relforcerowsecurity)`).Scan(&open)
	if err == nil && open != "" {
		return fmt.Errorf("%w: row-level security is not enforced for %s; ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, and find out who took it away", ErrServer, open)
	}
	return pg.Wrap(err)
}
