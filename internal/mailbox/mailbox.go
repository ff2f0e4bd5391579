// Package mailbox holds, for a quarter of an hour and in memory only, what
// newcomers say to those who may add them, and the answers. apid has one for the
// devices of people, rendezvousd one for agents.
//
// It believes nobody and knows nothing of what it holds: internal/contact binds
// the two ends past it. Whoever knows a topic, which is derived from words, a
// key or a token, may read its requests; whoever knows a request may read its
// answers.
//
// Invariants: entries, bytes, answers and waiting readers are bounded, in all,
// for each source and for each topic; nothing is ever replaced by another's.
//
// The package must not import os, log/slog or any service.
package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Life is how long a request waits for its answer.
const Life = 15 * time.Minute

// Bounds.
const (
	maxEntries   = 8192
	maxBytes     = 64 << 20
	maxOfSource  = 1024 // entries of one address: a fleet behind one NAT
	maxOfTopic   = 256
	maxAnswers   = 4 // to one request
	maxWaiters   = 4096
	sweepEvery   = 10 * time.Second
	sweepHurried = time.Second // where the box is half full
)

var (
	// ErrFull means that there is no room now, for anybody or for this source.
	ErrFull = errors.New("mailbox: full; try again in some minutes")
	// ErrTooLarge means more bytes than a request or an answer may have.
	ErrTooLarge = errors.New("mailbox: too large")
	// ErrUnknown means no such request, or one whose time is over.
	ErrUnknown = errors.New("mailbox: no such request, or its time is over")
)

// Problem gives what a server answers for an error of a Box; nil for nil.
func Problem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFull):
		return wire.NewProblem(wire.KindTooMany, "there is no room for this newcomer now", "try again in some minutes")
	case errors.Is(err, ErrTooLarge):
		return wire.NewProblem(wire.KindTooLarge, "the request or the answer is too large", "update the client")
	case errors.Is(err, ErrUnknown):
		return wire.NewProblem(wire.KindExpired, "there is no such request, or its time is over", "begin again")
	}
	return wire.NewProblem(wire.KindUnavailable, "the wait ended", "try again")
}

// A Request lies in a box.
type Request struct {
	ID      token.ID
	Request []byte // do not change
}

type entry struct {
	Request
	topic   envelope.Hash
	source  string
	expires time.Time
	answers [][]byte
	bytes   int
	changed chan struct{} // closed when an answer comes; nil: nobody waits
}

type topic struct {
	entries []*entry
	changed chan struct{} // closed when a request comes; nil: nobody waits
	waiting int
}

// A Box holds requests. It is safe for concurrent use.
type Box struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[token.ID]*entry
	topics  map[envelope.Hash]*topic
	sources map[string]int
	bytes   int
	waiters int
	swept   time.Time
}

// New makes an empty box. now is its clock; nil: time.Now.
func New(now func() time.Time) *Box {
	if now == nil {
		now = time.Now
	}
	return &Box{
		now: now, entries: make(map[token.ID]*entry), topics: make(map[envelope.Hash]*topic), sources: make(map[string]int),
	}
}

// ID names a request under a topic: the same everywhere, so that a request that
// is put again is the same one.
func ID(topic envelope.Hash, request []byte) token.ID {
	h := sha256.New()
	h.Write([]byte("tucdesk mailbox id v1\x00"))
	h.Write(topic[:])
	h.Write(request)
	return token.ID(h.Sum(nil)[:16])
}

// Source gives who an address counts as: itself, or its /64 in IPv6. On loopback
// all may come from one proxy: the empty source, which has no bound of its own.
func Source(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil || a.Addr().IsLoopback() {
		return ""
	}
	addr := a.Addr().Unmap()
	if addr.Is6() {
		p, _ := addr.WithZone("").Prefix(64)
		addr = p.Addr()
	}
	return addr.String()
}

// Put lays a request into the box. One that is there already stays, for a new
// Life.
func (b *Box) Put(source string, under envelope.Hash, request []byte) (token.ID, error) {
	if len(request) == 0 || len(request) > contact.MaxRequest {
		return token.ID{}, ErrTooLarge
	}
	id := ID(under, request)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	now := b.now()
	if e := b.entries[id]; e != nil {
		e.expires = now.Add(Life)
		return id, nil
	}
	t := b.topics[under]
	switch {
	case len(b.entries) >= maxEntries, b.bytes+len(request) > maxBytes,
		source != "" && b.sources[source] >= maxOfSource,
		t != nil && len(t.entries) >= maxOfTopic:
		return token.ID{}, ErrFull
	}
	if t == nil {
		t = &topic{}
		b.topics[under] = t
	}
	e := &entry{
		Request: Request{id, slices.Clone(request)}, topic: under, source: source, expires: now.Add(Life), bytes: len(request),
	}
	b.entries[id] = e
	t.entries = append(t.entries, e)
	b.sources[source]++
	b.bytes += e.bytes
	wake(&t.changed)
	return id, nil
}

// Answer lays an answer to a request.
func (b *Box) Answer(id token.ID, answer []byte) error {
	if len(answer) == 0 || len(answer) > contact.MaxAnswer {
		return ErrTooLarge
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	e := b.entries[id]
	switch {
	case e == nil:
		return ErrUnknown
	case slices.ContainsFunc(e.answers, func(a []byte) bool { return string(a) == string(answer) }):
		return nil
	case len(e.answers) >= maxAnswers, b.bytes+len(answer) > maxBytes:
		return ErrFull
	}
	e.answers = append(e.answers, slices.Clone(answer))
	e.bytes += len(answer)
	b.bytes += len(answer)
	wake(&e.changed)
	return nil
}

func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// Answers gives the answers to a request once there are more than have, or what
// there is when wait is over.
func (b *Box) Answers(ctx context.Context, id token.ID, have int, wait time.Duration) ([][]byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		b.mu.Lock()
		b.sweep()
		e := b.entries[id]
		if e == nil {
			b.mu.Unlock()
			return nil, ErrUnknown
		}
		if len(e.answers) > have || wait <= 0 {
			defer b.mu.Unlock()
			return slices.Clone(e.answers), nil
		}
		changed, leave, err := b.join(&e.changed)
		b.mu.Unlock()
		if err != nil {
			return nil, err
		}
		wait = b.await(ctx, changed, timer, wait)
		leave()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// Requests gives the requests under a topic once there are more than have, or
// what there is when wait is over. They stand in the order in which they came.
func (b *Box) Requests(ctx context.Context, under envelope.Hash, have int, wait time.Duration) ([]Request, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		b.mu.Lock()
		b.sweep()
		t := b.topics[under]
		if t != nil && len(t.entries) > have || wait <= 0 {
			defer b.mu.Unlock()
			return t.list(), nil
		}
		if t == nil {
			t = &topic{}
		}
		changed, leave, err := b.join(&t.changed)
		if err == nil {
			t.waiting++
			b.topics[under] = t
		}
		b.mu.Unlock()
		if err != nil {
			return nil, err
		}
		wait = b.await(ctx, changed, timer, wait)
		leave()
		b.mu.Lock()
		t.waiting--
		b.drop(under, t)
		b.mu.Unlock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (t *topic) list() []Request {
	if t == nil {
		return nil
	}
	out := make([]Request, len(t.entries))
	for i, e := range t.entries {
		out[i] = e.Request
	}
	return out
}

// join makes the caller, who holds the lock, one who waits on c.
func (b *Box) join(c *chan struct{}) (<-chan struct{}, func(), error) {
	if b.waiters >= maxWaiters {
		return nil, nil, ErrFull
	}
	b.waiters++
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiters--
	}, nil
}

// await waits for a change, the timer or ctx. It gives what is left to wait: 0
// after the timer.
func (b *Box) await(ctx context.Context, changed <-chan struct{}, timer *time.Timer, wait time.Duration) time.Duration {
	select {
	case <-changed:
		return wait
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0
}

// sweep forgets what is over, from time to time.
func (b *Box) sweep() {
	now, every := b.now(), sweepEvery
	if len(b.entries) >= maxEntries/2 || b.bytes >= maxBytes/2 {
		every = sweepHurried
	}
	if now.Sub(b.swept) < every {
		return
	}
	b.swept = now
	for id, e := range b.entries {
		if now.Before(e.expires) {
			continue
		}
		delete(b.entries, id)
		b.bytes -= e.bytes
		if b.sources[e.source]--; b.sources[e.source] == 0 {
			delete(b.sources, e.source)
		}
		wake(&e.changed)
		t := b.topics[e.topic]
		t.entries = slices.DeleteFunc(t.entries, func(o *entry) bool { return o == e })
		b.drop(e.topic, t)
	}
}

// drop forgets a topic that holds nothing and for which nobody waits.
func (b *Box) drop(under envelope.Hash, t *topic) {
	if len(t.entries) == 0 && t.waiting == 0 && b.topics[under] == t {
		delete(b.topics, under)
	}
}
