package marks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// log is the tree of a team's log, with its checkpoint.
type log struct {
	audit.Storage
	size   int64
	note   []byte
	hashes []tlog.Hash
}

func (l *log) Checkpoint() (int64, []byte, error) { return l.size, l.note, nil }

func (l *log) ReadHashes(indexes []int64) (all []tlog.Hash, err error) {
	for _, i := range indexes {
		all = append(all, l.hashes[i])
	}
	return all, nil
}

// grown gives a log with entries, signed.
func grown(t *testing.T, fp envelope.Hash, entries ...string) *log {
	t.Helper()
	l := &log{size: int64(len(entries))}
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), []byte(e), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, more...)
	}
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		t.Fatal(err)
	}
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if l.note, err = audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(fp), Size: l.size, Root: root}, id); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log.marks")
	b, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	acme, umbra := envelope.Hash{1}, envelope.Hash{2}
	if err := b.Check(acme, nil, grown(t, acme, "a")); err != nil {
		t.Errorf("a log that was never signed: %v", err)
	}
	for _, l := range []*log{grown(t, acme, "a", "b", "c"), grown(t, acme, "a")} { // the second came late
		if err := b.Signed("acme", 0, l.note); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	if b, err = Open(file); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		fp   envelope.Hash
		log  *log
		ok   bool
	}{
		{"the same", acme, grown(t, acme, "a", "b", "c"), true},
		{"another apid went on", acme, grown(t, acme, "a", "b", "c", "d"), true},
		{"another team", umbra, grown(t, umbra, "a"), true},
		{"shorter", acme, grown(t, acme, "a", "b"), false},
		{"empty", acme, grown(t, acme), false},
		{"another of the same size", acme, grown(t, acme, "a", "b", "x"), false},
		{"set back and grown again", acme, grown(t, acme, "a", "b", "x", "y"), false},
	} {
		err := b.Check(test.fp, nil, test.log)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrSetBack) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && !(strings.Contains(err.Error(), "acme") && strings.Contains(err.Error(), "tucdesk audit restart")) {
			t.Errorf("%s: the error does not say what to do: %v", test.name, err)
		}
	}
	// Admins let it go on from two entries: that counts for what was signed before, and
	// for nothing after.
	base := grown(t, acme, "a", "b")
	cp, err := audit.InsecureCheckpoint(base.note)
	if err != nil {
		t.Fatal(err)
	}
	restarts := []audit.Checkpoint{cp}
	for name, test := range map[string]struct {
		log *log
		ok  bool
	}{
		"let go on": {grown(t, acme, "a", "b", "r"), true}, "even shorter": {grown(t, acme, "a"), false}, "from another state": {grown(t, acme, "a", "x", "r"), false},
	} {
		if err := b.Check(acme, restarts, test.log); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Signed("acme", 1, grown(t, acme, "a", "b", "r", "s").note); err != nil {
		t.Fatal(err)
	}
	if n := b.Largest(acme); n != 4 {
		t.Errorf("the largest is %d", n)
	}
	for name, l := range map[string]*log{"set back again": grown(t, acme, "a", "b", "r"), "by the same restart": grown(t, acme, "a", "b", "t", "u", "v")} {
		if err := b.Check(acme, restarts, l); !errors.Is(err, ErrSetBack) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Check(acme, nil, grown(t, acme, "a", "b", "r", "s")); !errors.Is(err, ErrSetBack) {
		t.Errorf("a roster without the restart: %v", err)
	}
	if err := b.Signed("acme", 0, []byte("no note")); err == nil {
		t.Error("remembered what is no checkpoint")
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "missing", "log.marks")); err == nil {
		t.Error("opened where nothing can be written")
	}
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged memory is no empty one: %v", err)
	}
}
