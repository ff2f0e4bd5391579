package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/store"
)

// An operation is one call, drawn once and run on both stores. It gives what
// the call gave, in a form that can be compared.
type operation struct {
	name string
	run  func(store.Tx) (any, error)
}

// errRollback ends a transaction that is drawn to fail.
var errRollback = errors.New("storetest: drawn to fail")

// testRandom runs random transactions on the store under test and on a Model.
// Each draw has teams of its own in one store, so that it needs no new file.
func testRandom(t *testing.T, h Harness) {
	s := open(t, h, t.TempDir())
	draw := 0
	rapid.Check(t, func(r *rapid.T) {
		draw++
		model := new(Model)
		for range rapid.IntRange(1, 8).Draw(r, "transactions") {
			team := fmt.Sprintf("team-%d-%d", draw, rapid.IntRange(0, 1).Draw(r, "team"))
			ops := rapid.SliceOfN(rapid.Custom(drawOperation), 1, 10).Draw(r, "operations")
			write := rapid.IntRange(0, 3).Draw(r, "view") > 0
			fail := rapid.IntRange(0, 4).Draw(r, "fail") == 0
			want := play(t, model, team, ops, write, fail)
			got := play(t, s, team, ops, write, fail)
			for i := range want {
				if !reflect.DeepEqual(got[i], want[i]) {
					r.Fatalf("%s:\n got %+v\nwant %+v", want[i].name, got[i], want[i])
				}
			}
		}
	})
}

// An answer is what one operation gave.
type answer struct {
	name  string
	value any
	err   error // one of the store's errors, or nil
}

func play(t testing.TB, s store.Store, team string, ops []operation, write, fail bool) (answers []answer) {
	run := s.View
	if write {
		run = s.Tx
	}
	err := run(t.Context(), team, func(tx store.Tx) error {
		for _, op := range ops {
			v, err := op.run(tx)
			answers = append(answers, answer{op.name, v, kind(t, op.name, err)})
		}
		if fail {
			return errRollback
		}
		return nil
	})
	if (err != nil) != fail {
		t.Fatalf("transaction: %v", err)
	}
	return answers
}

// kind maps an error to what callers branch on.
func kind(t testing.TB, name string, err error) error {
	if err == nil {
		return nil
	}
	for _, k := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrReplayed, store.ErrReadOnly, store.ErrInvalid} {
		if errors.Is(err, k) {
			return k
		}
	}
	t.Fatalf("%s: an error that says nothing: %v", name, err)
	return nil
}

func drawOperation(r *rapid.T) operation {
	small := func(name string) int { return rapid.IntRange(0, 3).Draw(r, name) }
	at := func(name string) time.Time {
		return time.UnixMilli(int64(small(name))).Add(time.Duration(small(name+" ns")) * time.Nanosecond)
	}
	state := fmt.Sprint("state-", small("state"))
	body := rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(r, "body")
	n, m, limit, k := small("n"), uint64(small("m")), small("limit"), kid(small("kid"))
	filter := store.Filter{}
	if small("by state") == 0 {
		filter.State = state
	}
	if small("by operator") == 0 {
		filter.Operator = k
	}
	if small("by agent") == 0 {
		filter.Agent = k
	}
	when, name := at("when"), fmt.Sprint("name-", n)
	ops := []operation{
		{"roster.append", func(tx store.Tx) (any, error) {
			// Mostly the next number, sometimes another.
			s := store.Statement{Seq: m, Hash: [32]byte(k), Bytes: append([]byte{1}, body...)}
			if h, err := tx.Roster.Head(); err == nil && n > 0 {
				s.Seq = h.Seq + 1
			}
			return nil, tx.Roster.AppendStatement(s)
		}},
		{"roster.statements", func(tx store.Tx) (any, error) { return tx.Roster.Statements(m, limit) }},
		{"roster.genesis", func(tx store.Tx) (any, error) { return tx.Roster.Genesis() }},
		{"roster.head", func(tx store.Tx) (any, error) { return tx.Roster.Head() }},
		{"targets.put", func(tx store.Tx) (any, error) {
			return nil, tx.Targets.Put(store.Target{Kid: k, Name: name, Tags: map[string]string{"env": state}, LoginUser: state, Exp: when})
		}},
		{"targets.delete", func(tx store.Tx) (any, error) { return nil, tx.Targets.Delete(k) }},
		{"targets.get", func(tx store.Tx) (any, error) { return tx.Targets.Get(k) }},
		{"targets.named", func(tx store.Tx) (any, error) { return tx.Targets.Named(name) }},
		{"targets.list", func(tx store.Tx) (any, error) { return tx.Targets.List(name, limit) }},
		{"replay.use", func(tx store.Tx) (any, error) { return nil, tx.Replay.Use(k, name+"\x00\xff", when) }},
		{"replay.prune", func(tx store.Tx) (any, error) { return tx.Replay.Prune(when, 0) }},
		{"approvals.insert", func(tx store.Tx) (any, error) {
			return tx.Approvals.Insert(store.Approval{ID: id(n), State: state, Operator: k, Agent: k, SessionID: id(limit), Created: when, AskUntil: when, Body: body})
		}},
		{"approvals.get", func(tx store.Tx) (any, error) { return tx.Approvals.Get(id(n)) }},
		{"approvals.list", func(tx store.Tx) (any, error) { return tx.Approvals.List(filter, m, limit) }},
		{"approvals.update", func(tx store.Tx) (any, error) {
			return tx.Approvals.Update(store.Approval{ID: id(n), Version: m, State: state, AskUntil: when, Body: body})
		}},
		{"approvals.due", func(tx store.Tx) (any, error) { return tx.Approvals.Due(state, when, limit) }},
		{"sessions.insert", func(tx store.Tx) (any, error) {
			return tx.Sessions.Insert(store.Session{ID: id(n), State: state, Operator: k, Agent: k, ProofHash: [32]byte(k), Created: when, EndsBy: when, Body: body})
		}},
		{"sessions.get", func(tx store.Tx) (any, error) { return tx.Sessions.Get(id(n)) }},
		{"sessions.list", func(tx store.Tx) (any, error) { return tx.Sessions.List(filter, m, limit) }},
		{"sessions.update", func(tx store.Tx) (any, error) {
			return tx.Sessions.Update(store.Session{ID: id(n), Version: m, State: state, EndsBy: when, Body: body})
		}},
		{"sessions.due", func(tx store.Tx) (any, error) { return tx.Sessions.Due(state, when, limit) }},
		{"recordings.append", func(tx store.Tx) (any, error) {
			// Mostly the next segment, sometimes another.
			rec := store.Recording{
				SessionID: id(n), Agent: k, Segments: m, Size: uint64(limit), Head: [32]byte{1, byte(limit)},
				Length: time.Duration(limit) * 1500 * time.Microsecond, Final: limit == 3 && n == 0, Updated: when,
			}
			if old, err := tx.Recordings.Get(id(n)); err == nil && limit > 0 {
				rec.Agent, rec.Segments = old.Agent, old.Segments+1
			}
			return tx.Recordings.Append(rec, append([]byte{1}, body...))
		}},
		{"recordings.get", func(tx store.Tx) (any, error) { return tx.Recordings.Get(id(n)) }},
		{"recordings.list", func(tx store.Tx) (any, error) { return tx.Recordings.List(m, limit) }},
		{"recordings.manifests", func(tx store.Tx) (any, error) { return tx.Recordings.Manifests(id(n), m, limit) }},
		{"audit.append", func(tx store.Tx) (any, error) { return appendEntry(tx, append([]byte{1}, body...)) }},
		{"audit.append at", func(tx store.Tx) (any, error) { return nil, tx.Audit.Append(int64(n)+100, []byte{1}, nil) }},
		{"audit.size", func(tx store.Tx) (any, error) { return tx.Audit.Size() }},
		{"audit.entries", func(tx store.Tx) (any, error) { return tx.Audit.Entries(int64(n), limit) }},
		{"audit.hashes", func(tx store.Tx) (any, error) { return tx.Audit.ReadHashes([]int64{int64(n), int64(m)}) }},
		{"audit.root", func(tx store.Tx) (any, error) {
			size, err := tx.Audit.Size()
			if err != nil {
				return nil, err
			}
			return tlog.TreeHash(size, tx.Audit)
		}},
		{"audit.checkpoint", func(tx store.Tx) (any, error) {
			size, note, err := tx.Audit.Checkpoint()
			return []any{size, string(note)}, err
		}},
		{"audit.set-checkpoint", func(tx store.Tx) (any, error) {
			return nil, tx.Audit.SetCheckpoint(int64(n), append([]byte{1}, body...))
		}},
		{"audit.chain", func(tx store.Tx) (any, error) {
			seq, last, err := tx.Audit.Chain(state, k)
			return []any{seq, last}, err
		}},
		{"audit.set-chain", func(tx store.Tx) (any, error) {
			seq, _, err := tx.Audit.Chain(state, k)
			if err != nil {
				return nil, err
			}
			return nil, tx.Audit.SetChain(state, k, seq+m, [32]byte(k))
		}},
		{"audit.skip-chain", func(tx store.Tx) (any, error) {
			return nil, tx.Audit.SkipChain(state, k, m+1, [32]byte(k))
		}},
	}
	return ops[rapid.IntRange(0, len(ops)-1).Draw(r, "operation")]
}
