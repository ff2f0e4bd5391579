// Package storetest is the suite that every store.Store passes. Run takes one
// constructor; a new implementation adds no test of its own for what the
// interfaces promise. Random lists of operations run on the implementation and
// on Model, a plain store in memory, and must give the same answers.
//
// It serves tests. It must not be imported by a program.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/fault"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

// A Harness makes stores of one kind.
type Harness struct {
	// Open opens the store that lives at dir, a folder of the test's own; a
	// second Open, after Close, finds what the first has kept.
	Open func(t testing.TB, dir string) store.Store
	// Forgets says that nothing survives Close; the tests of durability are
	// left out.
	Forgets bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"RandomOperations", testRandom},
		{"Rollback", testRollback},
		{"TeamsAreApart", testTeams},
		{"ViewIsReadOnly", testReadOnly},
		{"ViewIsASnapshot", testSnapshot},
		{"ConcurrentWriters", testConcurrent},
		{"Panic", testPanic},
		{"CancelledContext", testCancelled},
		{"Bounds", testBounds},
		{"TextIsBytes", testText},
		{"Paging", testPaging},
		{"RecordingsGrow", testRecordings},
		{"Faults", testFaults},
		{"Durable", testDurable},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, h) })
	}
}

const acme = "acme"

func open(t testing.TB, h Harness, dir string) store.Store {
	t.Helper()
	s := h.Open(t, dir)
	t.Cleanup(func() { s.Close() })
	return s
}

func kid(n int) (k key.Kid) {
	k[0], k[30], k[31] = 1, byte(n>>8), byte(n)
	return k
}

func id(n int) (i [16]byte) {
	i[0], i[13], i[14], i[15] = 1, byte(n>>16), byte(n>>8), byte(n)
	return i
}

// appendEntry adds an entry as internal/audit does.
func appendEntry(tx store.Tx, entry []byte) (int64, error) {
	n, err := tx.Audit.Size()
	if err != nil {
		return 0, err
	}
	hashes, err := tlog.StoredHashes(n, entry, tx.Audit)
	if err != nil {
		return 0, err
	}
	return n, tx.Audit.Append(n, entry, hashes)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func size(t testing.TB, s store.Store, team string) (n int64) {
	t.Helper()
	must(t, s.View(t.Context(), team, func(tx store.Tx) (err error) {
		n, err = tx.Audit.Size()
		return err
	}))
	return n
}

func testRollback(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	why := errors.New("no")
	err := s.Tx(t.Context(), acme, func(tx store.Tx) error {
		must(t, tx.Roster.AppendStatement(store.Statement{Bytes: []byte("g")}))
		must(t, tx.Replay.Use(kid(1), "j", store.FromMillis(1)))
		_, err := appendEntry(tx, []byte("e"))
		must(t, err)
		return why
	})
	if err != why {
		t.Errorf("Tx = %v, want the error of f", err)
	}
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		if _, err := tx.Roster.Genesis(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Genesis = %v after a rollback", err)
		}
		if err := tx.Replay.Use(kid(1), "j", store.FromMillis(1)); err != nil {
			t.Errorf("Use = %v after a rollback", err)
		}
		if n, err := tx.Audit.Size(); n != 0 || err != nil {
			t.Errorf("Size = %d, %v after a rollback", n, err)
		}
		return nil
	}))
}

// Fill puts something into each aggregate of a team that is empty.
func Fill(tx store.Tx) error {
	body := []byte{0, 1, 255}
	a := store.Approval{ID: id(1), State: "pending", Operator: kid(1), Agent: kid(2), SessionID: id(1), Created: store.FromMillis(1), AskUntil: store.FromMillis(2), Body: body}
	b := store.Session{ID: id(1), State: "granted", Operator: kid(1), Agent: kid(2), ProofHash: [32]byte{1}, Created: store.FromMillis(1), EndsBy: store.FromMillis(-2)}
	_, approval := tx.Approvals.Insert(a)
	_, session := tx.Sessions.Insert(b)
	_, again := tx.Sessions.Update(store.Session{ID: b.ID, Version: 1, State: "started", Body: body})
	_, record := tx.Recordings.Append(recording(1, 1), body)
	final := recording(1, 2)
	final.Final = true
	_, more := tx.Recordings.Append(final, body)
	err := errors.Join(approval, session, again, record, more,
		tx.Roster.AppendStatement(store.Statement{Hash: [32]byte{1}, Bytes: body}),
		tx.Roster.AppendStatement(store.Statement{Seq: 1, Hash: [32]byte{2}, Bytes: body}),
		tx.Targets.Put(store.Target{Kid: kid(2), Name: "web-1", Tags: map[string]string{"env": "prod"}, LoginUser: "deploy", Exp: store.FromMillis(3)}),
		tx.Replay.Use(kid(1), "j\x00", store.FromMillis(4)),
		tx.Audit.SetChain("entry", kid(9), 1, [32]byte{3}),
	)
	for i := range 5 {
		_, add := appendEntry(tx, fmt.Appendf(nil, "entry %d", i))
		err = errors.Join(err, add)
	}
	return errors.Join(err, tx.Audit.SetCheckpoint(5, body))
}

func testTeams(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	for _, team := range []string{"umbra", acme} {
		must(t, s.Tx(t.Context(), team, func(tx store.Tx) error {
			must(t, tx.Roster.AppendStatement(store.Statement{Bytes: []byte(team)}))
			must(t, tx.Targets.Put(store.Target{Kid: kid(1), Name: "web-1", LoginUser: team}))
			must(t, tx.Replay.Use(kid(1), "j", store.FromMillis(1)))
			if _, err := tx.Approvals.Insert(store.Approval{ID: id(1), State: team}); err != nil {
				t.Error(err)
			}
			if _, err := tx.Sessions.Insert(store.Session{ID: id(1), State: team}); err != nil {
				t.Error(err)
			}
			if _, err := tx.Recordings.Append(recording(1, 1), []byte(team)); err != nil {
				t.Error(err)
			}
			must(t, tx.Audit.SetChain("c", kid(1), 1, [32]byte{1}))
			must(t, tx.Audit.SetCheckpoint(0, []byte(team)))
			_, err := appendEntry(tx, []byte(team))
			return err
		}))
	}
	teams, err := s.Teams(t.Context(), "", 10)
	if want := []string{acme, "umbra"}; err != nil || !reflect.DeepEqual(teams, want) {
		t.Errorf("Teams = %v, %v; want %v", teams, err, want)
	}
	if teams, err := s.Teams(t.Context(), acme, 1); err != nil || !reflect.DeepEqual(teams, []string{"umbra"}) {
		t.Errorf("Teams after %s = %v, %v", acme, teams, err)
	}
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		must(t, tx.Targets.Delete(kid(1)))
		a, err := tx.Approvals.Get(id(1))
		must(t, err)
		a.State = "changed"
		_, err = tx.Approvals.Update(a)
		must(t, err)
		n, err := tx.Replay.Prune(store.FromMillis(100), 10)
		if n != 1 || err != nil {
			t.Errorf("Prune = %d, %v", n, err)
		}
		return nil
	}))
	must(t, s.View(t.Context(), "umbra", func(tx store.Tx) error {
		x, err := tx.Targets.Named("web-1")
		if err != nil || x.LoginUser != "umbra" {
			t.Errorf("the other team's target: %+v, %v", x, err)
		}
		if a, err := tx.Approvals.Get(id(1)); err != nil || a.State != "umbra" || a.Version != 1 {
			t.Errorf("the other team's approval: %+v, %v", a, err)
		}
		if all, err := tx.Recordings.Manifests(id(1), 0, 10); err != nil || len(all) != 1 || string(all[0]) != "umbra" {
			t.Errorf("the other team's manifests: %q, %v", all, err)
		}
		if all, err := tx.Audit.Entries(0, 10); err != nil || len(all) != 1 || string(all[0]) != "umbra" {
			t.Errorf("the other team's log: %q, %v", all, err)
		}
		return nil
	}))
	must(t, s.Tx(t.Context(), "umbra", func(tx store.Tx) error {
		if err := tx.Replay.Use(kid(1), "j", store.FromMillis(1)); !errors.Is(err, store.ErrReplayed) {
			t.Errorf("the other team's used proof: %v", err)
		}
		return nil
	}))
	must(t, s.View(t.Context(), "nobody", func(tx store.Tx) error {
		if _, err := tx.Targets.Named("web-1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a team with nothing finds %v", err)
		}
		if _, err := tx.Recordings.Get(id(1)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a team with nothing finds the recording %v", err)
		}
		return nil
	}))
}

func testReadOnly(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		_, insertApproval := tx.Approvals.Insert(store.Approval{ID: id(1), State: "s"})
		_, updateApproval := tx.Approvals.Update(store.Approval{ID: id(1), State: "s"})
		_, insertSession := tx.Sessions.Insert(store.Session{ID: id(1), State: "s"})
		_, updateSession := tx.Sessions.Update(store.Session{ID: id(1), State: "s"})
		_, prune := tx.Replay.Prune(store.FromMillis(1), 1)
		_, record := tx.Recordings.Append(recording(1, 1), []byte("m"))
		for name, err := range map[string]error{
			"AppendStatement": tx.Roster.AppendStatement(store.Statement{Bytes: []byte("g")}),
			"Put":             tx.Targets.Put(store.Target{Kid: kid(1), Name: "n"}),
			"Delete":          tx.Targets.Delete(kid(1)),
			"Use":             tx.Replay.Use(kid(1), "j", store.FromMillis(1)),
			"Prune":           prune,
			"approval Insert": insertApproval, "approval Update": updateApproval,
			"session Insert": insertSession, "session Update": updateSession, "recording Append": record,
			"Append":        tx.Audit.Append(0, []byte("e"), nil),
			"SetCheckpoint": tx.Audit.SetCheckpoint(1, []byte("n")),
			"SetChain":      tx.Audit.SetChain("c", kid(1), 1, [32]byte{}),
			"SkipChain":     tx.Audit.SkipChain("c", kid(1), 1, [32]byte{}),
		} {
			if !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("%s in View = %v, want ErrReadOnly", name, err)
			}
		}
		return nil
	}))
}

func testSnapshot(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		first, err := tx.Audit.Size()
		must(t, err)
		done := make(chan error)
		go func() {
			done <- s.Tx(t.Context(), acme, func(tx store.Tx) error {
				_, err := appendEntry(tx, []byte("e"))
				return err
			})
		}()
		must(t, <-done)
		if again, err := tx.Audit.Size(); err != nil || again != first {
			t.Errorf("Size in one View: %d, then %d (%v)", first, again, err)
		}
		return nil
	}))
	if n := size(t, s, acme); n != 1 {
		t.Errorf("Size afterwards = %d, want 1", n)
	}
}

// testConcurrent shows that a Tx is the only writer: what it has read is still
// so when it writes.
func testConcurrent(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Tx(t.Context(), acme, func(tx store.Tx) error {
					if _, err := tx.Sessions.Insert(store.Session{ID: id(w*each + i), State: "open"}); err != nil {
						return err
					}
					_, err := appendEntry(tx, fmt.Appendf(nil, "%d/%d", w, i))
					return err
				}); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		n, err := tx.Audit.Size()
		must(t, err)
		all, err := tx.Sessions.List(store.Filter{}, 0, 1000)
		must(t, err)
		if n != writers*each || len(all) != writers*each || all[0].Number != writers*each {
			t.Errorf("%d entries, %d sessions, want %d", n, len(all), writers*each)
		}
		return checkTree(tx, n)
	}))
}

// checkTree compares the stored tree with one made from the stored entries.
func checkTree(tx store.Tx, n int64) error {
	var entries [][]byte
	for {
		page, err := tx.Audit.Entries(int64(len(entries)), 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		entries = append(entries, page...)
	}
	if int64(len(entries)) != n {
		return fmt.Errorf("%d entries, want %d", len(entries), n)
	}
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (got []tlog.Hash, _ error) {
		for _, i := range at {
			got = append(got, hashes[i])
		}
		return got, nil
	})
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), e, read)
		if err != nil {
			return err
		}
		hashes = append(hashes, more...)
	}
	want, err := tlog.TreeHash(n, read)
	if err != nil {
		return err
	}
	got, err := tlog.TreeHash(n, tx.Audit)
	if err == nil && got != want {
		err = errors.New("the stored tree is not that of the stored entries")
	}
	return err
}

func testPanic(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	func() {
		defer func() { recover() }()
		s.Tx(t.Context(), acme, func(tx store.Tx) error {
			if _, err := appendEntry(tx, []byte("e")); err != nil {
				t.Error(err)
			}
			panic("f")
		})
	}()
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		_, err := appendEntry(tx, []byte("e"))
		return err
	}))
	if n := size(t, s, acme); n != 1 {
		t.Errorf("Size = %d, want 1: a panic keeps nothing and locks nothing", n)
	}
}

func testCancelled(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Tx(ctx, acme, func(tx store.Tx) error {
		if _, err := appendEntry(tx, []byte("e")); err != nil {
			t.Error(err)
		}
		cancel()
		_, err := appendEntry(tx, []byte("f"))
		return err
	})
	if err == nil {
		t.Error("a Tx whose context was cancelled said that all is well")
	}
	if n := size(t, s, acme); n != 0 {
		t.Errorf("Size = %d, want 0", n)
	}
}

func testBounds(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	long := make([]byte, store.MaxBody+1)
	for _, team := range []string{"", string(long[:store.MaxTeam+1]), "\xff"} {
		if err := s.Tx(t.Context(), team, func(store.Tx) error { return nil }); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("Tx of team %.10q = %v, want ErrInvalid", team, err)
		}
	}
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		_, noID := tx.Approvals.Insert(store.Approval{State: "s"})
		_, noState := tx.Sessions.Insert(store.Session{ID: id(1)})
		_, big := tx.Sessions.Insert(store.Session{ID: id(1), State: "s", Body: long})
		_, noManifest := tx.Recordings.Append(recording(1, 1), nil)
		_, noSegment := tx.Recordings.Append(recording(1, 0), []byte("m"))
		for name, err := range map[string]error{
			"empty statement": tx.Roster.AppendStatement(store.Statement{}),
			"no kid":          tx.Targets.Put(store.Target{Name: "n"}),
			"no name":         tx.Targets.Put(store.Target{Kid: kid(1)}),
			"long jti":        tx.Replay.Use(kid(1), string(long[:store.MaxJTI+1]), store.FromMillis(1)),
			"no id":           noID, "no state": noState, "big body": big, "no manifest": noManifest, "segment 0": noSegment,
			"big entry":         tx.Audit.Append(0, long, nil),
			"number 0":          tx.Audit.SetChain("c", kid(1), 0, [32]byte{}),
			"empty checkpoint":  tx.Audit.SetCheckpoint(1, nil),
			"negative":          tx.Audit.SetCheckpoint(-1, []byte("n")),
			"statement too far": tx.Roster.AppendStatement(store.Statement{Seq: 1 << 63, Bytes: []byte("s")}),
		} {
			if !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
		return nil
	}))
}

// testText shows that text is compared byte by byte, and that what is no text is
// refused without harm to the transaction, also where it is only looked for.
func testText(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	names := []string{"B", "_", "a", "a b", "a-b", "ab", "b", "\u00e9", "\uffff", "\U0001f511"}
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		for i, name := range names {
			must(t, tx.Targets.Put(store.Target{Kid: kid(i), Name: name}))
		}
		for _, bad := range []string{"\x00", "a\xff", "\xed\xa0\x80"} {
			_, insert := tx.Approvals.Insert(store.Approval{ID: id(1), State: bad})
			_, session := tx.Sessions.Insert(store.Session{ID: id(1), State: bad})
			_, named := tx.Targets.Named(bad)
			_, list := tx.Targets.List(bad, 1)
			_, approvals := tx.Approvals.List(store.Filter{State: bad}, 0, 1)
			_, sessions := tx.Sessions.List(store.Filter{State: bad}, 0, 1)
			_, due := tx.Approvals.Due(bad, store.FromMillis(1), 1)
			_, dueSessions := tx.Sessions.Due(bad, store.FromMillis(1), 1)
			_, _, chain := tx.Audit.Chain(bad, kid(1))
			_, teams := s.Teams(t.Context(), bad, 1)
			for what, err := range map[string]error{
				"approval": insert, "session": session, "Named": named, "List": list, "approvals": approvals, "sessions": sessions,
				"Due": due, "sessions Due": dueSessions, "Chain": chain, "Teams": teams,
				"SetChain": tx.Audit.SetChain(bad, kid(1), 1, [32]byte{}),
				"Put":      tx.Targets.Put(store.Target{Kid: kid(99), Name: bad}),
				"login":    tx.Targets.Put(store.Target{Kid: kid(99), Name: "n", LoginUser: bad}),
			} {
				if !errors.Is(err, store.ErrInvalid) {
					t.Errorf("%s with %q: %v, want ErrInvalid", what, bad, err)
				}
			}
		}
		return nil
	}))
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		all, err := tx.Targets.List("", 0)
		must(t, err)
		var got []string
		for _, x := range all {
			got = append(got, x.Name)
		}
		if !slices.Equal(got, names) {
			t.Errorf("names come as %q, want %q", got, names)
		}
		return nil
	}))
}

func testPaging(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	const n = store.MaxPage + 5
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		for i := range n {
			must(t, tx.Targets.Put(store.Target{Kid: kid(i), Name: fmt.Sprintf("t%05d", i)}))
			_, err := tx.Approvals.Insert(store.Approval{ID: id(i), State: "pending", AskUntil: store.FromMillis(int64(n - i))})
			must(t, err)
		}
		return nil
	}))
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		for _, limit := range []int{0, -1, n} {
			all, err := tx.Targets.List("", limit)
			if err != nil || len(all) != store.MaxPage {
				t.Errorf("List with limit %d gave %d, %v", limit, len(all), err)
			}
		}
		var names []string
		for after := ""; ; {
			p, err := tx.Targets.List(after, 100)
			must(t, err)
			if len(p) == 0 {
				break
			}
			for _, x := range p {
				names = append(names, x.Name)
			}
			after = p[len(p)-1].Name
		}
		if len(names) != n || names[0] != "t00000" || names[n-1] != fmt.Sprintf("t%05d", n-1) {
			t.Errorf("paging gave %d names", len(names))
		}
		var before uint64
		seen := 0
		for {
			p, err := tx.Approvals.List(store.Filter{State: "pending"}, before, 300)
			must(t, err)
			if len(p) == 0 {
				break
			}
			seen += len(p)
			before = p[len(p)-1].Number
		}
		if seen != n {
			t.Errorf("paging gave %d approvals", seen)
		}
		due, err := tx.Approvals.Due("pending", store.FromMillis(3), 10)
		if err != nil || len(due) != 3 || due[0].Number != n {
			t.Errorf("Due = %d rows, %v; want the 3 that are due, the earliest first", len(due), err)
		}
		return nil
	}))
}

// Request does what a request with an effect does: it uses a proof up, makes
// session n of the team, and leaves an entry, a chain and a checkpoint. As a
// client does after an error, repeat it until it gives none.
func Request(ctx context.Context, s store.Store, team string, n int) error {
	return s.Tx(ctx, team, func(tx store.Tx) error {
		_, err := tx.Sessions.Get(id(n))
		if err == nil {
			return nil // an earlier try has got through
		}
		if !errors.Is(err, store.ErrNotFound) || errors.Is(err, fault.ErrInjected) {
			return err
		}
		if err := tx.Replay.Use(kid(1), fmt.Sprint(n), store.FromMillis(1)); err != nil {
			return err
		}
		if _, err := tx.Sessions.Insert(store.Session{ID: id(n), State: "open"}); err != nil {
			return err
		}
		at, err := appendEntry(tx, fmt.Appendf(nil, "session %d", n))
		if err != nil {
			return err
		}
		if err := tx.Audit.SetChain("entry", kid(9), uint64(at)+1, [32]byte{1}); err != nil {
			return err
		}
		return tx.Audit.SetCheckpoint(at+1, fmt.Appendf(nil, "note %d", at+1))
	})
}

// CheckRequests fails unless each of a team's acknowledged requests is there,
// and everything that is there is there once and whole.
func CheckRequests(t testing.TB, s store.Store, team string, acknowledged []int) {
	t.Helper()
	must(t, s.View(t.Context(), team, func(tx store.Tx) error {
		for _, n := range acknowledged {
			if _, err := tx.Sessions.Get(id(n)); err != nil {
				t.Errorf("%s: request %d was acknowledged: %v", team, n, err)
			}
		}
		end, err := tx.Audit.Size()
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for from := int64(0); from < end; {
			page, err := tx.Audit.Entries(from, 0)
			if err != nil {
				return err
			}
			for _, e := range page {
				if seen[string(e)] {
					t.Errorf("%s: %s is there twice", team, e)
				}
				seen[string(e)] = true
			}
			from += int64(len(page))
		}
		var rows int64
		for before := uint64(0); ; {
			page, err := tx.Sessions.List(store.Filter{}, before, 0)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			rows, before = rows+int64(len(page)), page[len(page)-1].Number
		}
		seq, _, err := tx.Audit.Chain("entry", kid(9))
		if err != nil {
			return err
		}
		covered, _, err := tx.Audit.Checkpoint()
		if err != nil {
			return err
		}
		if rows != end || int64(seq) != end || covered != end {
			t.Errorf("%s: %d entries, %d sessions, chain %d, checkpoint %d", team, end, rows, seq, covered)
		}
		return checkTree(tx, end)
	}))
}

// testFaults fails every call of a request, before and after its effect, and
// repeats the request as a client does. What was acknowledged is there, once,
// with its entry; what failed is there whole or not at all.
func testFaults(t *testing.T, h Harness) {
	request := func(s store.Store, n int) error { return Request(t.Context(), s, acme, n) }
	s := open(t, h, t.TempDir())
	counting := &fault.Plan{}
	must(t, request(fault.Store(s, counting), 0))
	must(t, request(s, 1)) // an odd and an even tree below
	n := 2
	for call := range counting.Calls() {
		for _, when := range []fault.When{fault.Before, fault.After} {
			before := size(t, s, acme)
			plan := &fault.Plan{Call: call + 1, When: when}
			err := request(fault.Store(s, plan), n)
			if !errors.Is(err, fault.ErrInjected) {
				t.Fatalf("call %d (%s): %v, want the injected failure", call+1, plan.Hit(), err)
			}
			grew := size(t, s, acme) - before
			if want := plan.Hit() == "tx.commit" && when == fault.After; (grew == 1) != want || grew > 1 {
				t.Errorf("a failed %s (%v) left %d entries", plan.Hit(), when, grew)
			}
			must(t, request(s, n))
			if end := size(t, s, acme); end != before+1 {
				t.Errorf("after a failed %s and a repeat: %d entries, want %d", plan.Hit(), end, before+1)
			}
			CheckRequests(t, s, acme, []int{n})
			n++
		}
	}
}

func testDurable(t *testing.T, h Harness) {
	if h.Forgets {
		return
	}
	dir := t.TempDir()
	s := open(t, h, dir)
	for i := range 10 {
		must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
			_, err := appendEntry(tx, fmt.Appendf(nil, "%d", i))
			return err
		}))
	}
	must(t, s.Close())
	s = open(t, h, dir)
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error { return checkTree(tx, 10) }))
}

// recording gives the row of a session's recording after a number of segments.
func recording(session int, segments uint64) store.Recording {
	return store.Recording{SessionID: id(session), Agent: kid(1), Segments: segments, Size: segments, Head: [32]byte{byte(segments), 1}, Updated: store.FromMillis(1)}
}

// testRecordings shows that a recording only grows, by its own agent, until its
// final manifest.
func testRecordings(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	must(t, s.Tx(t.Context(), acme, func(tx store.Tx) error {
		for n := uint64(1); n <= 3; n++ {
			r := recording(1, n)
			r.Final = n == 3
			got, err := tx.Recordings.Append(r, fmt.Appendf(nil, "manifest %d", n))
			if err != nil || got.Number != 1 {
				t.Errorf("segment %d: %+v, %v", n, got, err)
			}
			other := recording(1, n+1)
			other.Agent = kid(2)
			gap := recording(1, n+2)
			for what, r := range map[string]store.Recording{"another agent": other, "a gap": gap, "the same again": recording(1, n)} {
				if _, err := tx.Recordings.Append(r, []byte("m")); !errors.Is(err, store.ErrConflict) {
					t.Errorf("%s after segment %d: %v, want ErrConflict", what, n, err)
				}
			}
		}
		if _, err := tx.Recordings.Append(recording(1, 4), []byte("m")); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a segment after the final one: %v, want ErrConflict", err)
		}
		if _, err := tx.Recordings.Append(recording(2, 2), []byte("m")); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a recording that begins with segment 2: %v, want ErrConflict", err)
		}
		_, err := tx.Recordings.Append(recording(3, 1), []byte("m"))
		return err
	}))
	must(t, s.View(t.Context(), acme, func(tx store.Tx) error {
		all, err := tx.Recordings.List(0, 10)
		if err != nil || len(all) != 2 || all[0].SessionID != id(3) || all[1].Segments != 3 || !all[1].Final {
			t.Errorf("List = %+v, %v", all, err)
		}
		got, err := tx.Recordings.Manifests(id(1), 1, 10)
		if err != nil || len(got) != 2 || string(got[0]) != "manifest 2" || string(got[1]) != "manifest 3" {
			t.Errorf("Manifests after 1 = %q, %v", got, err)
		}
		return nil
	}))
}

// Benchmark measures durable requests: each is one transaction with an effect,
// an entry, a chain and a checkpoint. One team has one writer; teams do not wait
// for each other.
func Benchmark(b *testing.B, s store.Store) {
	var n atomic.Int64
	b.Run("OneTeam", func(b *testing.B) {
		for b.Loop() {
			must(b, Request(b.Context(), s, acme, int(n.Add(1))))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	})
	b.Run("Teams", func(b *testing.B) {
		var next atomic.Int64
		b.SetParallelism(8)
		b.RunParallel(func(p *testing.PB) {
			team := fmt.Sprint("team-", next.Add(1))
			for p.Next() {
				must(b, Request(b.Context(), s, team, int(n.Add(1))))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	})
}
