package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/store"
)

// A Model is a store.Store in memory: the meaning of the interfaces in the
// plainest form, against which the suite compares every implementation. Tests
// of other packages may use it where nothing has to survive. Its zero value is
// empty and ready.
type Model struct {
	mu    sync.RWMutex
	teams map[string]*team
}

var _ store.Store = (*Model)(nil)

// team is the data of one team. A transaction works on a copy.
type team struct {
	statements  []store.Statement
	targets     map[key.Kid]store.Target
	used        map[use]time.Time
	approvals   []store.Approval
	sessions    []store.Session
	recordings  []store.Recording
	manifests   map[[16]byte][][]byte
	entries     [][]byte
	hashes      []tlog.Hash
	chains      map[chainName]link
	size        int64
	note        []byte
	readOnly    bool
	interrupted func() error
}

type use struct {
	signer key.Kid
	jti    string
}

type chainName struct {
	name   string
	signer key.Kid
}

type link struct {
	seq  uint64
	last envelope.Hash
}

// Close implements store.Store.
func (m *Model) Close() error { return nil }

// Tx implements store.Store.
func (m *Model) Tx(ctx context.Context, id string, f func(store.Tx) error) error {
	if err := store.CheckTeam(id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.team(id).clone()
	t.interrupted = ctx.Err
	if err := f(t.tx()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.teams == nil {
		m.teams = map[string]*team{}
	}
	m.teams[id] = t
	return nil
}

// View implements store.Store.
func (m *Model) View(ctx context.Context, id string, f func(store.Tx) error) error {
	if err := store.CheckTeam(id); err != nil {
		return err
	}
	m.mu.RLock()
	t := m.team(id).clone()
	m.mu.RUnlock()
	t.readOnly, t.interrupted = true, ctx.Err
	return f(t.tx())
}

// Teams implements store.Store.
func (m *Model) Teams(ctx context.Context, after string, limit int) ([]string, error) {
	if err := store.CheckText(after); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var ids []string
	for id, t := range m.teams {
		if len(t.statements) > 0 && id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return page(ids, limit), ctx.Err()
}

func (m *Model) team(id string) *team {
	if t, ok := m.teams[id]; ok {
		return t
	}
	return &team{}
}

func (t *team) clone() *team {
	c := *t
	c.statements = slices.Clone(t.statements)
	c.targets = maps.Clone(t.targets)
	c.used = maps.Clone(t.used)
	c.approvals = slices.Clone(t.approvals)
	c.sessions = slices.Clone(t.sessions)
	c.recordings = slices.Clone(t.recordings)
	c.manifests = maps.Clone(t.manifests)
	c.entries = slices.Clone(t.entries)
	c.hashes = slices.Clone(t.hashes)
	c.chains = maps.Clone(t.chains)
	return &c
}

func (t *team) tx() store.Tx {
	return store.Tx{
		Roster: roster{t}, Targets: targets{t}, Replay: replay{t},
		Approvals: approvals{t}, Sessions: sessions{t}, Audit: audit{t}, Recordings: recordings{t},
	}
}

// writes is the first check of everything that writes.
func (t *team) writes(invalid error) error {
	if invalid != nil {
		return invalid
	}
	if t.readOnly {
		return store.ErrReadOnly
	}
	return t.interrupted()
}

func page[T any](all []T, limit int) []T {
	if len(all) > store.Limit(limit) {
		all = all[:store.Limit(limit)]
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

type roster struct{ *team }

func (t roster) AppendStatement(s store.Statement) error {
	if err := t.writes(s.Check()); err != nil {
		return err
	}
	if s.Seq != uint64(len(t.statements)) {
		return store.ErrConflict
	}
	s.Bytes = bytes.Clone(s.Bytes)
	t.statements = append(t.statements, s)
	return nil
}

func (t roster) Statements(after uint64, limit int) ([]store.Statement, error) {
	if after >= uint64(len(t.statements)) {
		return nil, nil
	}
	return page(t.statements[after+1:], limit), nil
}

func (t roster) Genesis() (store.Statement, error) {
	if len(t.statements) == 0 {
		return store.Statement{}, store.ErrNotFound
	}
	return t.statements[0], nil
}

func (t roster) Head() (store.Statement, error) {
	if len(t.statements) == 0 {
		return store.Statement{}, store.ErrNotFound
	}
	return t.statements[len(t.statements)-1], nil
}

type targets struct{ *team }

func (t targets) Put(x store.Target) error {
	if err := t.writes(x.Check()); err != nil {
		return err
	}
	for _, o := range t.targets {
		if o.Name == x.Name && o.Kid != x.Kid {
			return store.ErrExists
		}
	}
	if t.targets == nil {
		t.team.targets = map[key.Kid]store.Target{}
	}
	x.Tags, x.Exp = maps.Clone(x.Tags), store.FromMillis(store.Millis(x.Exp))
	if x.Tags == nil {
		x.Tags = map[string]string{}
	}
	t.targets[x.Kid] = x
	return nil
}

func (t targets) Delete(k key.Kid) error {
	if err := t.writes(nil); err != nil {
		return err
	}
	if _, ok := t.targets[k]; !ok {
		return store.ErrNotFound
	}
	delete(t.targets, k)
	return nil
}

func (t targets) Get(k key.Kid) (store.Target, error) {
	x, ok := t.targets[k]
	if !ok {
		return store.Target{}, store.ErrNotFound
	}
	return x, nil
}

func (t targets) Named(name string) (store.Target, error) {
	if err := store.CheckText(name); err != nil {
		return store.Target{}, err
	}
	for _, x := range t.targets {
		if x.Name == name {
			return x, nil
		}
	}
	return store.Target{}, store.ErrNotFound
}

func (t targets) List(after string, limit int) ([]store.Target, error) {
	if err := store.CheckText(after); err != nil {
		return nil, err
	}
	var all []store.Target
	for _, x := range t.targets {
		if x.Name > after {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b store.Target) int { return cmp.Compare(a.Name, b.Name) })
	return page(all, limit), nil
}

type replay struct{ *team }

func (t replay) Use(signer key.Kid, jti string, exp time.Time) error {
	if err := t.writes(store.CheckUse(signer, jti)); err != nil {
		return err
	}
	if _, ok := t.used[use{signer, jti}]; ok {
		return store.ErrReplayed
	}
	if t.used == nil {
		t.team.used = map[use]time.Time{}
	}
	t.used[use{signer, jti}] = store.FromMillis(store.Millis(exp))
	return nil
}

func (t replay) Prune(before time.Time, limit int) (int, error) {
	if err := t.writes(nil); err != nil {
		return 0, err
	}
	var old []use
	for u, exp := range t.used {
		if store.Millis(exp) < store.Millis(before) {
			old = append(old, u)
		}
	}
	slices.SortFunc(old, func(a, b use) int { return t.used[a].Compare(t.used[b]) })
	old = page(old, limit)
	for _, u := range old {
		delete(t.used, u)
	}
	return len(old), nil
}

// rows is what approvals and sessions have in common.
type rows[T any] struct {
	all      *[]T
	id       func(*T) [16]byte
	number   func(*T) *uint64
	version  func(*T) *uint64
	selected func(*T, store.Filter) bool
	due      func(*T) (state string, at time.Time)
	update   func(into, from *T) // what Update replaces
	kept     func(*T)            // the form in which it is kept
}

func (r rows[T]) find(id [16]byte) int {
	return slices.IndexFunc(*r.all, func(x T) bool { return r.id(&x) == id })
}

func (r rows[T]) insert(x T) (T, error) {
	var zero T
	if r.find(r.id(&x)) >= 0 {
		return zero, store.ErrExists
	}
	*r.number(&x), *r.version(&x) = uint64(len(*r.all)+1), 1
	r.kept(&x)
	*r.all = append(*r.all, x)
	return x, nil
}

func (r rows[T]) get(id [16]byte) (T, error) {
	var zero T
	i := r.find(id)
	if i < 0 {
		return zero, store.ErrNotFound
	}
	return (*r.all)[i], nil
}

func (r rows[T]) list(f store.Filter, before uint64, limit int) []T {
	var found []T
	for _, x := range slices.Backward(*r.all) {
		if (before == 0 || *r.number(&x) < before) && r.selected(&x, f) {
			found = append(found, x)
		}
	}
	return page(found, limit)
}

func (r rows[T]) replace(x T) (T, error) {
	var zero T
	i := r.find(r.id(&x))
	if i < 0 {
		return zero, store.ErrNotFound
	}
	old := (*r.all)[i]
	if *r.version(&old) != *r.version(&x) {
		return zero, store.ErrConflict
	}
	r.update(&old, &x)
	*r.version(&old)++
	r.kept(&old)
	(*r.all)[i] = old
	return old, nil
}

func (r rows[T]) dueAt(state string, now time.Time, limit int) []T {
	var found []T
	for _, x := range *r.all {
		if s, at := r.due(&x); s == state && store.Millis(at) <= store.Millis(now) {
			found = append(found, x)
		}
	}
	slices.SortStableFunc(found, func(a, b T) int {
		_, x := r.due(&a)
		_, y := r.due(&b)
		return x.Compare(y)
	})
	return page(found, limit)
}

func kept(b []byte) []byte { return append([]byte(nil), b...) }

type approvals struct{ *team }

func (t approvals) rows() rows[store.Approval] {
	type A = store.Approval
	return rows[A]{
		all:    &t.team.approvals,
		id:     func(a *A) [16]byte { return a.ID },
		number: func(a *A) *uint64 { return &a.Number }, version: func(a *A) *uint64 { return &a.Version },
		selected: func(a *A, f store.Filter) bool {
			return (f.State == "" || f.State == a.State) && (f.Operator.IsZero() || f.Operator == a.Operator) && (f.Agent.IsZero() || f.Agent == a.Agent)
		},
		due:    func(a *A) (string, time.Time) { return a.State, a.AskUntil },
		update: func(into, from *A) { into.State, into.AskUntil, into.Body = from.State, from.AskUntil, from.Body },
		kept: func(a *A) {
			a.Created, a.AskUntil = store.FromMillis(store.Millis(a.Created)), store.FromMillis(store.Millis(a.AskUntil))
			a.Body = kept(a.Body)
		},
	}
}

func (t approvals) Insert(a store.Approval) (store.Approval, error) {
	if err := t.writes(a.Check()); err != nil {
		return store.Approval{}, err
	}
	return t.rows().insert(a)
}

func (t approvals) Get(id [16]byte) (store.Approval, error) { return t.rows().get(id) }

func (t approvals) List(f store.Filter, before uint64, limit int) ([]store.Approval, error) {
	if err := store.CheckText(f.State); err != nil {
		return nil, err
	}
	return t.rows().list(f, before, limit), nil
}

func (t approvals) Update(a store.Approval) (store.Approval, error) {
	if err := t.writes(a.Check()); err != nil {
		return store.Approval{}, err
	}
	return t.rows().replace(a)
}

func (t approvals) Due(state string, now time.Time, limit int) ([]store.Approval, error) {
	if err := store.CheckText(state); err != nil {
		return nil, err
	}
	return t.rows().dueAt(state, now, limit), nil
}

type sessions struct{ *team }

func (t sessions) rows() rows[store.Session] {
	type S = store.Session
	return rows[S]{
		all:    &t.team.sessions,
		id:     func(s *S) [16]byte { return s.ID },
		number: func(s *S) *uint64 { return &s.Number }, version: func(s *S) *uint64 { return &s.Version },
		selected: func(s *S, f store.Filter) bool {
			return (f.State == "" || f.State == s.State) && (f.Operator.IsZero() || f.Operator == s.Operator) && (f.Agent.IsZero() || f.Agent == s.Agent)
		},
		due:    func(s *S) (string, time.Time) { return s.State, s.EndsBy },
		update: func(into, from *S) { into.State, into.EndsBy, into.Body = from.State, from.EndsBy, from.Body },
		kept: func(s *S) {
			s.Created, s.EndsBy = store.FromMillis(store.Millis(s.Created)), store.FromMillis(store.Millis(s.EndsBy))
			s.Body = kept(s.Body)
		},
	}
}

func (t sessions) Insert(s store.Session) (store.Session, error) {
	if err := t.writes(s.Check()); err != nil {
		return store.Session{}, err
	}
	return t.rows().insert(s)
}

func (t sessions) Get(id [16]byte) (store.Session, error) { return t.rows().get(id) }

func (t sessions) List(f store.Filter, before uint64, limit int) ([]store.Session, error) {
	if err := store.CheckText(f.State); err != nil {
		return nil, err
	}
	return t.rows().list(f, before, limit), nil
}

func (t sessions) Update(s store.Session) (store.Session, error) {
	if err := t.writes(s.Check()); err != nil {
		return store.Session{}, err
	}
	return t.rows().replace(s)
}

func (t sessions) Due(state string, now time.Time, limit int) ([]store.Session, error) {
	if err := store.CheckText(state); err != nil {
		return nil, err
	}
	return t.rows().dueAt(state, now, limit), nil
}

type audit struct{ *team }

func (t audit) Size() (int64, error) { return int64(len(t.entries)), nil }

func (t audit) Append(index int64, entry []byte, hashes []tlog.Hash) error {
	if err := t.writes(store.CheckEntry(entry)); err != nil {
		return err
	}
	if index != int64(len(t.entries)) {
		return store.ErrConflict
	}
	t.entries, t.hashes = append(t.entries, bytes.Clone(entry)), append(t.hashes, hashes...)
	return nil
}

func (t audit) Entries(from int64, n int) ([][]byte, error) {
	if from >= int64(len(t.entries)) {
		return nil, nil
	}
	return page(t.entries[max(from, 0):], n), nil
}

func (t audit) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("tree hash %d: %w", x, store.ErrNotFound)
		}
		all[i] = t.hashes[x]
	}
	return all, nil
}

func (t audit) Checkpoint() (int64, []byte, error) { return t.size, t.note, nil }

func (t audit) SetCheckpoint(size int64, note []byte) error {
	if err := t.writes(store.CheckCheckpoint(size, note)); err != nil {
		return err
	}
	if size < t.size {
		return store.ErrConflict
	}
	t.team.size, t.team.note = size, bytes.Clone(note)
	return nil
}

func (t audit) Chain(name string, signer key.Kid) (uint64, envelope.Hash, error) {
	if err := store.CheckText(name); err != nil {
		return 0, envelope.Hash{}, err
	}
	l := t.chains[chainName{name, signer}]
	return l.seq, l.last, nil
}

func (t audit) SetChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return t.moveChain(seq == t.chains[chainName{name, signer}].seq+1, name, signer, seq, last)
}

func (t audit) SkipChain(name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	return t.moveChain(seq > t.chains[chainName{name, signer}].seq, name, signer, seq, last)
}

func (t audit) moveChain(fits bool, name string, signer key.Kid, seq uint64, last envelope.Hash) error {
	if err := t.writes(store.CheckChain(name, signer, seq)); err != nil {
		return err
	}
	n := chainName{name, signer}
	if !fits {
		return store.ErrConflict
	}
	if t.chains == nil {
		t.team.chains = map[chainName]link{}
	}
	t.chains[n] = link{seq, last}
	return nil
}

type recordings struct{ *team }

func (t recordings) Append(r store.Recording, manifest []byte) (store.Recording, error) {
	if err := t.writes(r.Check(manifest)); err != nil {
		return store.Recording{}, err
	}
	r.Length, r.Updated = r.Length.Truncate(time.Millisecond), store.FromMillis(store.Millis(r.Updated))
	i := slices.IndexFunc(t.recordings, func(x store.Recording) bool { return x.SessionID == r.SessionID })
	if i < 0 {
		if r.Segments != 1 {
			return store.Recording{}, store.ErrConflict
		}
		r.Number = uint64(len(t.recordings) + 1)
		t.team.recordings = append(t.recordings, r)
	} else {
		old := t.recordings[i]
		if r.Segments != old.Segments+1 || r.Agent != old.Agent || old.Final {
			return store.Recording{}, store.ErrConflict
		}
		r.Number = old.Number
		t.recordings[i] = r
	}
	if t.manifests == nil {
		t.team.manifests = map[[16]byte][][]byte{}
	}
	t.manifests[r.SessionID] = append(slices.Clip(t.manifests[r.SessionID]), bytes.Clone(manifest))
	return r, nil
}

func (t recordings) Get(id [16]byte) (store.Recording, error) {
	for _, r := range t.recordings {
		if r.SessionID == id {
			return r, nil
		}
	}
	return store.Recording{}, store.ErrNotFound
}

func (t recordings) List(before uint64, limit int) ([]store.Recording, error) {
	var found []store.Recording
	for _, r := range slices.Backward(t.recordings) {
		if before == 0 || r.Number < before {
			found = append(found, r)
		}
	}
	return page(found, limit), nil
}

func (t recordings) Manifests(id [16]byte, after uint64, limit int) ([][]byte, error) {
	all := t.manifests[id]
	if after >= uint64(len(all)) {
		return nil, nil
	}
	return page(all[after:], limit), nil
}
