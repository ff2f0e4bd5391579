package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/pgtest"
	"github.com/tucdesk/tucdesk/internal/store/postgres"
	"github.com/tucdesk/tucdesk/internal/store/relational"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
)

const denied = "42501" // insufficient_privilege

// tables lists the tables that hold teams' rows, as the database knows them.
func tables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT relname FROM pg_class WHERE relkind = 'r'
		AND relnamespace = 'public'::regnamespace AND relname <> 'goose_db_version' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 12 {
		t.Fatalf("tables: %v, %v", names, err)
	}
	return names
}

// as begins a transaction with a setting, and rolls it back at the end.
func as(t *testing.T, conn *pgx.Conn, setting, value string, f func(pgx.Tx)) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if setting != "" {
		if _, err := tx.Exec(t.Context(), `SELECT set_config($1, $2, true)`, setting, value); err != nil {
			t.Fatal(err)
		}
	}
	f(tx)
}

func count(t *testing.T, tx pgx.Tx, table, where string) (n int) {
	t.Helper()
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" "+where).Scan(&n); err != nil {
		t.Fatalf("%s: %v", table, err)
	}
	return n
}

// refused fails unless the statement is, with a code.
func refused(t *testing.T, conn *pgx.Conn, team, code, query string) {
	t.Helper()
	as(t, conn, "tucdesk.team", team, func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), query)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v, want %s", query, err, code)
		}
	})
}

// TestSecondWall asks the database as a daemon whose code has a hole in it: no
// query of this test names a team.
func TestSecondWall(t *testing.T) {
	c := pgtest.Shared(t)
	name := database(t, c)
	s := open(t, c.URL(pgtest.Apid, name))
	for _, team := range []string{"acme", "umbra"} {
		if err := s.Tx(t.Context(), team, storetest.Fill); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range []string{pgtest.Apid, pgtest.Owner} {
		conn := c.Connect(t, c.URL(role, name))
		for _, table := range tables(t, conn) {
			as(t, conn, "", "", func(tx pgx.Tx) {
				if n := count(t, tx, table, ""); n != 0 {
					t.Errorf("%s: without a team, %s shows %d rows", role, table, n)
				}
			})
			as(t, conn, "tucdesk.team", "", func(tx pgx.Tx) {
				if n := count(t, tx, table, ""); n != 0 {
					t.Errorf("%s: with an empty team, %s shows %d rows", role, table, n)
				}
			})
			as(t, conn, "tucdesk.team", "acme", func(tx pgx.Tx) {
				if n := count(t, tx, table, ""); n == 0 {
					t.Errorf("%s: %s shows nothing of the own team; the test proves nothing", role, table)
				}
				if n := count(t, tx, table, "WHERE team_id <> 'acme'"); n != 0 {
					t.Errorf("%s: %s shows %d rows of another team", role, table, n)
				}
			})
			as(t, conn, "tucdesk.all_teams", "on", func(tx pgx.Tx) {
				want := 0
				if table == "roster_statement" {
					want = 2 // each team's genesis
				}
				if n := count(t, tx, table, ""); n != want {
					t.Errorf("%s: listing teams, %s shows %d rows, want %d", role, table, n, want)
				}
			})
		}
	}
	conn := c.Connect(t, c.URL(pgtest.Apid, name))
	for _, table := range tables(t, conn) {
		var flags string
		err := conn.QueryRow(t.Context(), `SELECT concat(rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, pg_has_role(current_user, relowner, 'MEMBER'),
			relrowsecurity, relforcerowsecurity) FROM pg_roles, pg_class WHERE rolname = current_user AND relname = $1`, table).Scan(&flags)
		if err != nil || flags != "ffffftt" {
			t.Errorf("%s: superuser, bypassrls, createrole, createdb, owner, rls, forced = %s, %v", table, flags, err)
		}
		refused(t, conn, "acme", denied, "ALTER TABLE "+table+" DISABLE ROW LEVEL SECURITY")
		refused(t, conn, "acme", denied, "DROP POLICY own_team ON "+table)
		refused(t, conn, "acme", denied, "TRUNCATE "+table)
	}
	// What was recorded stays, and no row changes hands.
	for _, table := range []string{"roster_statement", "audit_entry", "audit_hash", "recording_manifest"} {
		refused(t, conn, "acme", denied, "DELETE FROM "+table)
		refused(t, conn, "acme", denied, "UPDATE "+table+" SET team_id = team_id")
	}
	for _, query := range []string{
		"UPDATE session SET team_id = 'umbra'",
		"INSERT INTO replay (team_id, signer, jti, exp) VALUES ('umbra', repeat('k', 32)::bytea, 'j', 1)",
		"INSERT INTO audit_entry (team_id, idx, bytes) VALUES ('umbra', 1, 'e')",
		"SET ROLE " + pgtest.Owner,
		"SET SESSION AUTHORIZATION " + pgtest.Admin,
		"CREATE TABLE mine (x int)",
		"SET LOCAL row_security = off; SELECT count(*) FROM session",
	} {
		refused(t, conn, "acme", denied, query)
	}
	as(t, conn, "tucdesk.team", "acme", func(tx pgx.Tx) {
		for _, query := range []string{"UPDATE session SET state = 'x' WHERE team_id = 'umbra'", "DELETE FROM target WHERE team_id = 'umbra'"} {
			if tag, err := tx.Exec(t.Context(), query); err != nil || tag.RowsAffected() != 0 {
				t.Errorf("%s: %d rows, %v", query, tag.RowsAffected(), err)
			}
		}
	})
	// The setting ends with its transaction: the next one on this connection sees nothing.
	as(t, conn, "", "", func(tx pgx.Tx) {
		if n := count(t, tx, "session", ""); n != 0 {
			t.Errorf("after a team's transaction the connection still shows %d rows", n)
		}
	})
}

// TestRefusals: Open says what is wrong and what to do, and does nothing.
func TestRefusals(t *testing.T) {
	c := pgtest.Shared(t)
	admin := func(name, query string) { c.Exec(t, c.URL(pgtest.Admin, name), query) }
	admin("postgres", "CREATE ROLE bypass LOGIN BYPASSRLS IN ROLE "+pgtest.Daemon)
	admin("postgres", "CREATE ROLE climber LOGIN IN ROLE "+pgtest.Daemon+", "+pgtest.Owner)
	ready := database(t, c)
	for _, test := range []struct {
		name, role string
		prepare    func(name string)
		want       error
		says       string
	}{
		{"a superuser", pgtest.Admin, nil, postgres.ErrRole, "is a superuser"},
		{"the owner", pgtest.Owner, nil, postgres.ErrRole, "owns the table"},
		{"bypassrls", "bypass", nil, postgres.ErrRole, "has BYPASSRLS"},
		{"a member of the owner", "climber", nil, postgres.ErrRole, "owns the table"},
		{"a table without a wall", pgtest.Apid, func(name string) {
			admin(name, "ALTER TABLE session NO FORCE ROW LEVEL SECURITY")
		}, postgres.ErrServer, "session"},
		{"a newer schema", pgtest.Apid, func(name string) {
			admin(name, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
		}, store.ErrNewerSchema, "99999"},
		{"a database that loses commits", pgtest.Apid, func(name string) {
			admin(name, "ALTER DATABASE "+name+" SET synchronous_commit = off")
		}, postgres.ErrServer, "synchronous_commit"},
	} {
		name := ready
		if test.prepare != nil {
			name = database(t, c)
			test.prepare(name)
		}
		wantRefusal(t, test.name, c.URL(test.role, name), test.want, test.says)
	}
	empty := c.Database(t)
	wantRefusal(t, "no schema", c.URL(pgtest.Apid, empty), store.ErrOlderSchema, "tucdesk-apid migrate")
	wantRefusal(t, "an old schema", c.URL(pgtest.Apid, func() string {
		name := database(t, c)
		if _, err := postgres.Migrate(t.Context(), c.URL(pgtest.Owner, name), 1); err != nil {
			t.Fatal(err)
		}
		return name
	}()), store.ErrOlderSchema, "version 1")
	admin("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C' OWNER "+pgtest.Owner)
	wantRefusal(t, "another encoding", c.URL(pgtest.Apid, "latin"), postgres.ErrServer, "UTF8")
	wantRefusal(t, "lost by the URL", c.URL(pgtest.Apid, ready)+"&synchronous_commit=off", postgres.ErrServer, "synchronous_commit")
	if _, err := postgres.Migrate(t.Context(), c.URL(pgtest.Owner, "latin"), relational.Latest); !errors.Is(err, postgres.ErrServer) {
		t.Errorf("Migrate of another encoding: %v", err)
	}
	if _, err := postgres.Migrate(t.Context(), c.URL(pgtest.Owner, ready), 77); err == nil {
		t.Error("migrated to a version that there is not")
	}
}

func wantRefusal(t *testing.T, name, url string, want error, says string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), url)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v; want %v with %q", name, err, want, says)
	}
}

func TestURL(t *testing.T) {
	for _, test := range []struct{ url, says string }{
		{"postgres://apid:hunter2@localhost/x", "passfile"},
		{"postgres://apid@localhost/x?password=hunter2", "passfile"},
		{"postgres://apid@db.example.com/x", "sslmode=verify-full"},
		{"postgres://apid@db.example.com/x?sslmode=require", "sslmode=verify-full"},
		{"postgres://apid@192.0.2.1/x?sslmode=prefer", "sslmode=verify-full"},
		{"postgres://apid@localhost,db.example.com/x", "sslmode=verify-full"},
		{"mysql://hunter2@localhost/x", "want postgres://"},
		{"postgres://apid:hunter2@[::1/x", "want postgres://"},
		{"postgres://apid@localhost/x?pool_max_conns=hunter", "pool_max_conns"},
	} {
		_, err := postgres.Open(t.Context(), test.url)
		if !errors.Is(err, postgres.ErrURL) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%s: %v, want ErrURL with %q", test.url, err, test.says)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", test.url, err)
		}
	}
}

func TestMigrationsBothWays(t *testing.T) {
	c := pgtest.Start(t) // whose roles it takes away
	name := database(t, c)
	owner := c.URL(pgtest.Owner, name)
	conn := c.Connect(t, owner)
	objects := func() (n int) {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
			AND relname NOT LIKE 'goose_db_version%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := objects()
	from, err := postgres.Migrate(t.Context(), owner, 0)
	if err != nil || from == 0 {
		t.Fatalf("down from %d: %v", from, err)
	}
	if n := objects(); n != 0 {
		t.Errorf("%d objects are left after taking every migration back", n)
	}
	for n := range from { // one step at a time
		if _, err := postgres.Migrate(t.Context(), owner, n+1); err != nil {
			t.Fatal(err)
		}
	}
	if n := objects(); n != all {
		t.Errorf("%d objects after going down and up, want %d", n, all)
	}
	s := open(t, c.URL(pgtest.Apid, name))
	if err := s.Tx(t.Context(), "acme", storetest.Fill); err != nil {
		t.Error(err)
	}
	c.Exec(t, c.URL(pgtest.Admin, "postgres"), "CREATE DATABASE bare OWNER "+pgtest.Owner)
	c.Exec(t, c.URL(pgtest.Admin, name), "DROP OWNED BY "+pgtest.Daemon)
	c.Exec(t, c.URL(pgtest.Admin, "postgres"), "DROP ROLE "+pgtest.Daemon)
	if _, err := postgres.Migrate(t.Context(), c.URL(pgtest.Owner, "bare"), relational.Latest); !errors.Is(err, postgres.ErrRole) || !strings.Contains(err.Error(), "CREATE ROLE") {
		t.Errorf("Migrate without the daemon's role: %v", err)
	}
}
