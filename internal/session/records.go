package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/replay"
)

// The answers of Records.Open and Records.Seal.
var (
	// ErrRecord: the datagram is not an authentic, fresh record of this
	// session: drop it and go on. It does not say what is wrong.
	ErrRecord = errors.New("session: not an authentic, fresh record")
	// ErrExhausted: too many forgeries came in. The session is over.
	ErrExhausted = errors.New("session: keys are exhausted; start a new session")
	// ErrNotAccepted: the responder has not confirmed the session yet, so
	// nothing may be sent.
	ErrNotAccepted = errors.New("session: the agent has not accepted the session yet")
	// ErrOrder: an authentic record that the protocol does not allow here.
	// The session must end.
	ErrOrder = errors.New("session: record out of order; the session must end")
)

// A Kind says what an authentic record carries. It is sealed with the payload.
type Kind byte

const (
	// KindAccept is the responder's confirmation, with no payload. It is the
	// first record of a session and may come again.
	KindAccept Kind = 1
	// KindData carries one datagram of the layer above.
	KindData Kind = 2
)

// Records seals and opens the datagrams of one session (SPEC.md 5). Sealing and
// opening are independent; each is safe for concurrent use.
type Records struct {
	responder bool
	seal      sealer
	open      opener
	accepted  atomic.Bool // the responder's confirmation was sent, or seen
}

func newRecords(out, in flow, responder bool) *Records {
	now := time.Now()
	return &Records{
		responder: responder,
		seal:      sealer{connID: out.connID, cur: newEpoch(0, out.secret), since: now},
		open:      opener{connID: in.connID, cur: newEpoch(0, in.secret)},
	}
}

// Responder reports whether this is the agent's side.
func (r *Records) Responder() bool { return r.responder }

// Accept appends to dst a record that tells the initiator that the session
// stands. Only the responder may call it, and it calls it before all else; to
// make up for loss it may do so again, each time as a new record.
func (r *Records) Accept(dst []byte) ([]byte, error) {
	if !r.responder {
		return nil, fmt.Errorf("%w: only the agent accepts a session", ErrState)
	}
	out, err := r.seal.record(dst, KindAccept, nil)
	if err == nil {
		r.accepted.Store(true)
	}
	return out, err
}

// Seal appends to dst the sealed datagram of one payload, at most MaxPayload
// bytes. dst must not overlap payload. It is ErrNotAccepted before the
// responder's Accept.
func (r *Records) Seal(dst, payload []byte) ([]byte, error) {
	if !r.accepted.Load() {
		return nil, ErrNotAccepted
	}
	return r.seal.record(dst, KindData, payload)
}

// Open appends to dst the payload of a datagram. dst must not overlap datagram.
// ErrRecord means: drop it. Every other error means that the session is over.
func (r *Records) Open(dst, datagram []byte) ([]byte, Kind, error) {
	out, kind, err := r.open.record(dst, datagram)
	if err != nil {
		return nil, 0, err
	}
	r.seal.unheard.Store(0)
	switch {
	case kind == KindAccept && !r.responder && len(out) == len(dst):
		r.accepted.Store(true)
	case kind == KindData && r.accepted.Load():
	default:
		return nil, 0, ErrOrder
	}
	return out, kind, nil
}

// Place is where a DATA record stands in its direction: its epoch's low eight bits and
// its counter. It is to be believed of a record that Open has taken, and zero for what
// is too short for one.
func Place(record []byte) (epoch byte, counter uint64) {
	if len(record) < headerSize {
		return 0, 0
	}
	return record[1], binary.BigEndian.Uint64(record[12:])
}

func (r *Records) close() {
	r.seal.close()
	r.open.close()
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (r *Records) Format(f fmt.State, _ rune) { redact(f, "Records") }

// sealer is the sending direction. The counter is its own: nobody else can
// choose, repeat or store one.
type sealer struct {
	connID [connIDSize]byte

	mu      sync.Mutex
	cur     *epoch // nil after close
	counter uint64 // of the next record, within cur
	bytes   uint64 // sealed under cur
	since   time.Time
	nonce   [ivSize]byte // scratch, so that it is not allocated for each record

	unheard atomic.Uint32 // epochs begun since a record of the peer was opened
}

func (s *sealer) record(dst []byte, kind Kind, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("session: payload of %d bytes, at most %d", len(payload), MaxPayload)
	}
	inner := len(payload) + 1
	if inner < padBelow {
		inner = (inner + padStep - 1) / padStep * padStep
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil {
		return nil, ErrState
	}
	// A peer that hears nothing for hours must still find the epoch afterwards.
	due := time.Since(s.since) >= RekeyAfter && s.unheard.Load() < maxUnheard
	if due || s.counter >= RekeyRecords || s.bytes >= RekeyBytes {
		old := s.cur
		s.cur, s.counter, s.bytes, s.since = old.next(1), 0, 0, time.Now()
		old.erase()
		s.unheard.Add(1)
	}
	start := len(dst)
	dst = append(dst, typeData, byte(s.cur.number))
	dst = binary.BigEndian.AppendUint16(dst, uint16(inner+tagSize))
	dst = append(dst, s.connID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.counter)
	s.nonce = s.cur.nonce(s.counter)
	body := len(dst)
	dst = append(dst, payload...)
	dst = append(dst, byte(kind))
	dst = append(dst, zeros[:body+inner-len(dst)]...)
	dst = s.cur.aead.Seal(dst[:body], s.nonce[:], dst[body:], dst[start:body])
	s.counter++
	s.bytes += uint64(inner)
	return dst, nil
}

var zeros [padStep]byte

func (s *sealer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur.erase()
	s.cur = nil
}

// opener is the receiving direction: the current epoch, the one before it for a
// grace period, and one after it once a record asks for it.
type opener struct {
	connID [connIDSize]byte

	mu        sync.Mutex
	cur       *epoch // nil after close
	curSeen   replay.Window
	prev      *epoch // nil outside the grace period
	prevSeen  replay.Window
	prevUntil time.Time
	prevEnds  *time.Timer   // erases prev also when nothing more arrives
	next      *epoch        // up to maxAhead after cur, derived when asked for
	nextSeen  replay.Window // nothing: the first record of next makes it cur
	forgeries uint64
	nonce     [ivSize]byte // scratch, as in sealer
}

func (o *opener) record(dst, b []byte) ([]byte, Kind, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cur == nil {
		return nil, 0, ErrState
	}
	if o.forgeries >= maxForgeries {
		return nil, 0, ErrExhausted
	}
	if len(b) < headerSize+1+tagSize || b[0] != typeData ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize || [connIDSize]byte(b[4:12]) != o.connID {
		return nil, 0, ErrRecord
	}
	counter := binary.BigEndian.Uint64(b[12:])
	if o.prev != nil && !time.Now().Before(o.prevUntil) {
		o.forgetPrev()
	}
	ep, seen := o.find(b[1])
	if ep == nil || counter >= RekeyRecords || !seen.Check(counter) {
		return nil, 0, ErrRecord
	}
	o.nonce = ep.nonce(counter)
	out, err := ep.aead.Open(dst, o.nonce[:], b[headerSize:], b[:headerSize])
	if err != nil {
		o.forgeries++
		return nil, 0, ErrRecord
	}
	if ep == o.next {
		o.advance()
		seen = &o.curSeen
	}
	seen.Mark(counter)
	// Padding: zeros after the kind, which is not zero.
	end := len(out)
	for end > len(dst) && out[end-1] == 0 {
		end--
	}
	if end == len(dst) {
		return nil, 0, ErrOrder
	}
	return out[:end-1], Kind(out[end-1]), nil
}

// find gives the epoch that the low eight bits name, and its window. A sender may be
// some epochs ahead: what it sent in between was lost.
func (o *opener) find(low byte) (*epoch, *replay.Window) {
	switch ahead := low - byte(o.cur.number); {
	case ahead == 0:
		return o.cur, &o.curSeen
	case ahead <= maxAhead:
		if o.next == nil || byte(o.next.number) != low {
			o.next.erase()
			o.next = o.cur.next(ahead)
		}
		return o.next, &o.nextSeen
	case o.prev != nil && low == byte(o.prev.number):
		return o.prev, &o.prevSeen
	}
	return nil, nil
}

func (o *opener) advance() {
	o.forgetPrev()
	old := o.cur
	o.prev, o.prevSeen, o.prevUntil = old, o.curSeen, time.Now().Add(reorderGrace)
	o.prevEnds = time.AfterFunc(reorderGrace, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.prev == old {
			o.forgetPrev()
		}
	})
	o.cur, o.curSeen, o.next = o.next, replay.Window{}, nil
}

// forgetPrev erases the epoch before the current one.
func (o *opener) forgetPrev() {
	if o.prevEnds != nil {
		o.prevEnds.Stop()
	}
	o.prev.erase()
	o.prev = nil
}

func (o *opener) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgetPrev()
	for _, e := range []*epoch{o.cur, o.next} {
		e.erase()
	}
	o.cur, o.next = nil, nil
}
