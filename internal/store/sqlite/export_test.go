package sqlite

import "testing"

// WritePragma reads a setting of the connection that writes.
func WritePragma(t *testing.T, s *Store, name string) (v string) {
	t.Helper()
	if err := s.write.QueryRow("PRAGMA " + name).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Objects counts what the schema holds.
func Objects(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := s.write.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
