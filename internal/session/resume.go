package session

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// A place is where a handshake stands among those of its session.
type place struct {
	generation uint32 // resumes that are behind it
	attempt    uint32 // number of the RS1, over the whole session; 0: the first handshake
}

// A past is what a resume takes over from the keys before it. nil is that of a first
// handshake.
type past struct {
	place
	binder *secret // proves in RS1 that its sender has the old keys
	secret *secret // goes into the new ones
}

// pastOf gives what follows e.
func pastOf(e *Established, attempt uint32) *past {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.exporter == nil {
		return nil
	}
	return &past{
		place:  place{e.place.generation, attempt},
		binder: (*secret)(e.exporter.expand("resume binder", hashSize)),
		secret: (*secret)(e.exporter.expand("resume secret", hashSize)),
	}
}

// bind is the binder of an RS1, all but its last 32 bytes (SPEC.md 9.1).
func (p *past) bind(cfg *Config, operator, agent key.Kid, rs1 []byte) [macSize]byte {
	th0 := hashOf(prologueOf(resumeName, operator, agent, cfg.TeamFP, cfg.BundleHash), rs1)
	return mac(p.binder, th0[:])
}

// share gives a copy of the secret, for a key schedule to wipe.
func (p *past) share() *secret {
	if p == nil {
		return nil
	}
	s := *p.secret
	return &s
}

// next is the place of what the handshake makes.
func (p *past) next() place {
	if p == nil {
		return place{}
	}
	return place{p.generation + 1, p.attempt}
}

func (p *past) wipe() {
	if p != nil {
		p.binder.wipe()
		p.secret.wipe()
	}
}

// openRS1 checks an RS1 as far as it goes without a signature: its sender has the
// keys that the session had at the place it names.
func openRS1(cfg *Config, b []byte, before func(place) (*past, error)) (*hs1, *past, error) {
	m, bound, binder, err := parseRS1(b)
	if err != nil {
		return nil, nil, err
	}
	p, err := before(*m.place)
	if err != nil {
		return nil, nil, err
	}
	want := p.bind(cfg, cfg.Peer.Kid(), cfg.Self.Kid(), bound)
	if !hmac.Equal(want[:], binder) {
		p.wipe()
		return nil, nil, errBinder
	}
	return m, p, nil
}

// IsResume reports whether a first or third message of an operator's belongs to a
// resume. It tells by the type alone: whether the message is any good, only the
// session can.
func IsResume(message []byte) bool {
	return len(message) > 0 && (message[0] == typeRS1 || message[0] == typeRS3)
}

// A Chain is a session over all its handshakes: the first one and the resumes after
// it (SPEC.md 9). It seals and opens with the keys that are due, and is safe for
// concurrent use.
//
// It holds two sets of keys at most that can make others: the newest that both sides
// are known to have, and those of a resume until the other side has used them.
type Chain struct {
	id        ID
	responder bool

	mu      sync.Mutex
	cur     *Established // both sides have it; nil after Close
	next    *Established // of a resume; nil once it is cur
	prev    *Established // opens late records until prevEnd
	prevEnd time.Time
	attempt uint32        // of the newest RS1 that was made, or answered
	turned  chan struct{} // closed when next becomes cur
}

// NewChain begins with the first handshake. It owns e from here on.
func NewChain(e *Established) *Chain {
	return &Chain{id: e.ID, responder: e.records.responder, cur: e, turned: make(chan struct{})}
}

// ID is the session's.
func (c *Chain) ID() ID { return c.id }

// Responder reports whether this is the agent's side.
func (c *Chain) Responder() bool { return c.responder }

// Generation is the number of resumes that both sides are known to have done.
func (c *Chain) Generation() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil {
		return 0
	}
	return c.cur.place.generation
}

// Initiate makes the RS1 of the next resume, on the operator's side. What an earlier
// one has led to is forgotten, unless the agent has confirmed it. cfg is that of the
// first handshake, but for the evidence.
func (c *Chain) Initiate(cfg InitiatorConfig) (*Initiator, []byte, error) {
	c.mu.Lock()
	if c.cur == nil || c.responder {
		c.mu.Unlock()
		return nil, nil, ErrState
	}
	c.drop()
	c.attempt++
	p := pastOf(c.cur, c.attempt)
	cfg.ID, cfg.MinSuite = c.id, max(cfg.MinSuite, c.cur.Suite)
	c.mu.Unlock()
	r, err := newRandomness()
	if err != nil {
		p.wipe()
		return nil, nil, err
	}
	i, rs1, err := initiate(cfg, r, p)
	if err != nil {
		p.wipe()
	}
	return i, rs1, err
}

// Respond answers an RS1, on the agent's side. Whatever is wrong with it is
// ErrHandshake, and then nothing has changed. Each RS1 is answered once at most, and
// none that was made before one that has been answered.
func (c *Chain) Respond(cfg ResponderConfig, rs1 []byte) (*Responder, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil || !c.responder {
		return nil, nil, ErrState
	}
	cfg.ID, cfg.MinSuite = c.id, max(cfg.MinSuite, c.cur.Suite)
	accepted, err := cfg.suites()
	if err != nil {
		return nil, nil, err
	}
	r, err := newRandomness()
	if err != nil {
		return nil, nil, err
	}
	var from *Established
	var at place
	responder, rs2, err := respond(cfg, accepted, rs1, r, func(p place) (*past, error) {
		switch {
		case p.attempt <= c.attempt:
			return nil, errAttempt
		case p.generation == c.cur.place.generation:
			from = c.cur
		case c.next != nil && p.generation == c.next.place.generation:
			from = c.next // the operator has seen our ACCEPT, and we not yet a record of theirs
		default:
			return nil, errBinder
		}
		at = p
		return pastOf(from, p.attempt), nil
	})
	if err != nil {
		return nil, nil, ErrHandshake
	}
	c.attempt = at.attempt
	if from == c.next {
		c.turn()
	}
	return responder, rs2, nil
}

// Follow takes what a resume's Consume gave. On the agent's side its ACCEPT is then
// due; each side goes on with the new keys when it has opened a record of them. An e
// that is not of this session's newest resume is ErrState, and closed.
func (c *Chain) Follow(e *Established) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil || e.ID != c.id || e.records.responder != c.responder || e.place.attempt != c.attempt ||
		e.place.generation != c.cur.place.generation+1 {
		e.Close()
		return ErrState
	}
	c.drop()
	c.next = e
	return nil
}

// drop forgets what was not confirmed. c.mu is held.
func (c *Chain) drop() {
	if c.next != nil {
		c.next.Close()
		c.next = nil
	}
}

// turn makes next the current keys. c.mu is held.
func (c *Chain) turn() {
	if c.prev != nil {
		c.prev.Close()
	}
	c.prev, c.prevEnd = c.cur, time.Now().Add(reorderGrace)
	c.prev.forgetExporter()
	c.cur, c.next = c.next, nil
	close(c.turned)
	c.turned = make(chan struct{})
}

// Turned is closed when the next resume's keys are in use.
func (c *Chain) Turned() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turned
}

// Accept appends to dst the agent's ACCEPT of the newest handshake, as
// [Records.Accept] does.
func (c *Chain) Accept(dst []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cur == nil:
		return nil, ErrState
	case c.next != nil:
		return c.next.records.Accept(dst)
	}
	return c.cur.records.Accept(dst)
}

// Seal is [Records.Seal] with the keys that are due.
func (c *Chain) Seal(dst, payload []byte) ([]byte, error) {
	c.mu.Lock()
	cur := c.cur
	c.mu.Unlock()
	if cur == nil {
		return nil, ErrState
	}
	return cur.records.Seal(dst, payload)
}

// Open is [Records.Open] of whatever keys the datagram names. The first record of new
// keys makes them the ones in use.
func (c *Chain) Open(dst, datagram []byte) ([]byte, Kind, error) {
	e := c.find(datagram)
	if e == nil {
		if c.isClosed() {
			return nil, 0, ErrState
		}
		return nil, 0, ErrRecord
	}
	out, kind, err := e.records.Open(dst, datagram)
	if errors.Is(err, ErrState) && !c.isClosed() {
		return nil, 0, ErrRecord // of keys that were dropped meanwhile
	}
	if err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e == c.next {
		c.turn()
	}
	return out, kind, nil
}

// find gives the keys of a datagram by its connection id.
func (c *Chain) find(datagram []byte) *Established {
	if len(datagram) < headerSize {
		return nil
	}
	connID := [connIDSize]byte(datagram[4:12])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prev != nil && !time.Now().Before(c.prevEnd) {
		c.prev.Close()
		c.prev = nil
	}
	for _, e := range []*Established{c.cur, c.next, c.prev} {
		if e != nil && e.records.open.connID == connID {
			return e
		}
	}
	return nil
}

func (c *Chain) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cur == nil
}

// Close erases all keys. It may be called more than once.
func (c *Chain) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range []*Established{c.cur, c.next, c.prev} {
		if e != nil {
			e.Close()
		}
	}
	c.cur, c.next, c.prev = nil, nil, nil
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (c *Chain) Format(f fmt.State, _ rune) { redact(f, "Chain") }
