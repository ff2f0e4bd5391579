package fault

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

// Store passes every call on to s, unless p makes it fail. The calls of one Tx
// are "tx.begin", those of the aggregates, and "tx.commit".
func Store(s store.Store, p *Plan) store.Store { return faultyStore{s, p} }

type faultyStore struct {
	store.Store
	p *Plan
}

func (s faultyStore) Tx(ctx context.Context, team string, f func(store.Tx) error) error {
	return s.run(ctx, team, f, s.Store.Tx)
}

func (s faultyStore) View(ctx context.Context, team string, f func(store.Tx) error) error {
	return s.run(ctx, team, f, s.Store.View)
}

func (s faultyStore) run(ctx context.Context, team string, f func(store.Tx) error,
	inner func(context.Context, string, func(store.Tx) error) error,
) error {
	if err := only(s.p, "tx.begin", func() error { return nil }); err != nil {
		return err
	}
	committing := false
	err := inner(ctx, team, func(tx store.Tx) error {
		if err := f(faultyTx(tx, s.p)); err != nil {
			return err
		}
		committing = true
		// A failure before the commit is one that rolls back.
		return before(s.p, "tx.commit")
	})
	if err != nil || !committing {
		return err
	}
	return after(s.p)
}

func (s faultyStore) Teams(ctx context.Context, from string, limit int) ([]string, error) {
	return do(s.p, "teams", func() ([]string, error) { return s.Store.Teams(ctx, from, limit) })
}

// before counts a call whose effect comes later, and fails it if the plan says
// Before; after is its other half.
func before(p *Plan, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
	if len(p.calls) != p.Call {
		return nil
	}
	p.hit = name
	if p.When == Before {
		return ErrInjected
	}
	return nil
}

func after(p *Plan) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) == p.Call && p.When == After {
		return ErrInjected
	}
	return nil
}

func faultyTx(tx store.Tx, p *Plan) store.Tx {
	return store.Tx{
		Roster: roster{tx.Roster, p}, Targets: targets{tx.Targets, p}, Replay: replay{tx.Replay, p},
		Approvals: approvals{tx.Approvals, p}, Sessions: sessions{tx.Sessions, p}, Audit: audit{tx.Audit, p},
		Recordings: recordings{tx.Recordings, p},
	}
}

type roster struct {
	store.Roster
	p *Plan
}

func (r roster) AppendStatement(s store.Statement) error {
	return only(r.p, "roster.append", func() error { return r.Roster.AppendStatement(s) })
}

func (r roster) Statements(from uint64, limit int) ([]store.Statement, error) {
	return do(r.p, "roster.statements", func() ([]store.Statement, error) { return r.Roster.Statements(from, limit) })
}

func (r roster) Genesis() (store.Statement, error) {
	return do(r.p, "roster.genesis", r.Roster.Genesis)
}

func (r roster) Head() (store.Statement, error) { return do(r.p, "roster.head", r.Roster.Head) }

type targets struct {
	store.Targets
	p *Plan
}

func (r targets) Put(t store.Target) error {
	return only(r.p, "targets.put", func() error { return r.Targets.Put(t) })
}

func (r targets) Delete(k key.Kid) error {
	return only(r.p, "targets.delete", func() error { return r.Targets.Delete(k) })
}

func (r targets) Get(k key.Kid) (store.Target, error) {
	return do(r.p, "targets.get", func() (store.Target, error) { return r.Targets.Get(k) })
}

func (r targets) Named(name string) (store.Target, error) {
	return do(r.p, "targets.named", func() (store.Target, error) { return r.Targets.Named(name) })
}

func (r targets) List(from string, limit int) ([]store.Target, error) {
	return do(r.p, "targets.list", func() ([]store.Target, error) { return r.Targets.List(from, limit) })
}

type replay struct {
	store.Replay
	p *Plan
}

func (r replay) Use(signer key.Kid, jti string, exp time.Time) error {
	return only(r.p, "replay.use", func() error { return r.Replay.Use(signer, jti, exp) })
}

func (r replay) Prune(until time.Time, limit int) (int, error) {
	return do(r.p, "replay.prune", func() (int, error) { return r.Replay.Prune(until, limit) })
}

type approvals struct {
	store.Approvals
	p *Plan
}

func (r approvals) Insert(a store.Approval) (store.Approval, error) {
	return do(r.p, "approvals.insert", func() (store.Approval, error) { return r.Approvals.Insert(a) })
}

func (r approvals) Get(id [16]byte) (store.Approval, error) {
	return do(r.p, "approvals.get", func() (store.Approval, error) { return r.Approvals.Get(id) })
}

func (r approvals) List(f store.Filter, from uint64, limit int) ([]store.Approval, error) {
	return do(r.p, "approvals.list", func() ([]store.Approval, error) { return r.Approvals.List(f, from, limit) })
}

func (r approvals) Update(a store.Approval) (store.Approval, error) {
	return do(r.p, "approvals.update", func() (store.Approval, error) { return r.Approvals.Update(a) })
}

func (r approvals) Due(state string, now time.Time, limit int) ([]store.Approval, error) {
	return do(r.p, "approvals.due", func() ([]store.Approval, error) { return r.Approvals.Due(state, now, limit) })
}

type sessions struct {
	store.Sessions
	p *Plan
}

func (r sessions) Insert(s store.Session) (store.Session, error) {
	return do(r.p, "sessions.insert", func() (store.Session, error) { return r.Sessions.Insert(s) })
}

func (r sessions) Get(id [16]byte) (store.Session, error) {
	return do(r.p, "sessions.get", func() (store.Session, error) { return r.Sessions.Get(id) })
}

func (r sessions) List(f store.Filter, from uint64, limit int) ([]store.Session, error) {
	return do(r.p, "sessions.list", func() ([]store.Session, error) { return r.Sessions.List(f, from, limit) })
}

func (r sessions) Update(s store.Session) (store.Session, error) {
	return do(r.p, "sessions.update", func() (store.Session, error) { return r.Sessions.Update(s) })
}

func (r sessions) Due(state string, now time.Time, limit int) ([]store.Session, error) {
	return do(r.p, "sessions.due", func() ([]store.Session, error) { return r.Sessions.Due(state, now, limit) })
}

type audit struct {
	store.Audit
	p *Plan
}

func (r audit) Size() (int64, error) { return do(r.p, "audit.size", r.Audit.Size) }

func (r audit) Append(index int64, entry []byte, hashes []tlog.Hash) error {
	return only(r.p, "audit.append", func() error { return r.Audit.Append(index, entry, hashes) })
}

func (r audit) Entries(from int64, n int) ([][]byte, error) {
	return do(r.p, "audit.entries", func() ([][]byte, error) { return r.Audit.Entries(from, n) })
}

func (r audit) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	return do(r.p, "audit.hashes", func() ([]tlog.Hash, error) { return r.Audit.ReadHashes(indexes) })
}

func (r audit) Checkpoint() (size int64, note []byte, err error) {
	err = only(r.p, "audit.checkpoint", func() (err error) {
		size, note, err = r.Audit.Checkpoint()
		return err
	})
	return size, note, err
}

func (r audit) SetCheckpoint(size int64, note []byte) error {
	return only(r.p, "audit.set-checkpoint", func() error { return r.Audit.SetCheckpoint(size, note) })
}

func (r audit) Chain(name string, signer key.Kid) (seq uint64, last envelope.Hash, err error) {
	err = only(r.p, "audit.chain", func() (err error) {
		seq, last, err = r.Audit.Chain(name, signer)
		return err
	})
	return seq, last, err
}

func (r audit) SetChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return only(r.p, "audit.set-chain", func() error { return r.Audit.SetChain(name, signer, seq, last) })
}

func (r audit) SkipChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return only(r.p, "audit.skip-chain", func() error { return r.Audit.SkipChain(name, signer, seq, last) })
}

type recordings struct {
	store.Recordings
	p *Plan
}

func (r recordings) Append(rec store.Recording, manifest []byte) (store.Recording, error) {
	return do(r.p, "recordings.append", func() (store.Recording, error) { return r.Recordings.Append(rec, manifest) })
}

func (r recordings) Get(id [16]byte) (store.Recording, error) {
	return do(r.p, "recordings.get", func() (store.Recording, error) { return r.Recordings.Get(id) })
}

func (r recordings) List(from uint64, limit int) ([]store.Recording, error) {
	return do(r.p, "recordings.list", func() ([]store.Recording, error) { return r.Recordings.List(from, limit) })
}

func (r recordings) Manifests(id [16]byte, from uint64, limit int) ([][]byte, error) {
	return do(r.p, "recordings.manifests", func() ([][]byte, error) { return r.Recordings.Manifests(id, from, limit) })
}
