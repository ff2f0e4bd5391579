package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/tucdesk/tucdesk/internal/envelope"
)

// The outbox file: a magic and records, appended.
//
//	0  1  type: 1 state, 2 entry, 3 acknowledged
//	1  4  length of the body
//	5  4  CRC-32C of bytes 0..4
//	9  .  body
//	.  4  CRC-32C of all before
//
// A state body is seq u64 and the hash of entry seq; an entry body is seq u64,
// its hash, and the signed bytes; an acknowledgement is seq u64. The first
// record is a state.
const (
	outboxName  = "outbox"
	outboxMagic = "tdoutb1\n"

	recState = 1
	recEntry = 2
	recAck   = 3
	recHead  = 1 + 4 + 4

	// maxPending bounds what waits for the audit log, in bytes. Beyond it
	// nothing is signed and so nothing runs.
	maxPending = 16 << 20
	// reserve of maxPending is kept for the ends of sessions that run.
	reserve = 4 << 20
	// maxOutbox bounds the file with what was acknowledged already.
	maxOutbox = 2*maxPending + 1<<20
	// maxEntry bounds one entry (trust.md 4.2: 16 KiB).
	maxEntry = 16 << 10
)

// An Entry is one signed audit entry of this agent.
type Entry struct {
	Seq   uint64
	Hash  envelope.Hash
	Bytes []byte
}

// An Outbox numbers the agent's audit entries and keeps them until the log has
// them.
type Outbox struct {
	mu      sync.Mutex
	d       Disk
	f       File
	size    int64
	seq     uint64        // of the newest entry; 0: none yet
	prev    envelope.Hash // its hash
	pending []Entry
	bytes   int
	broken  bool
	more    chan struct{}
}

func openOutbox(d Disk) (*Outbox, error) {
	f, b, err := read(d, outboxName, maxOutbox)
	if err != nil {
		return nil, err
	}
	o := &Outbox{d: d, more: make(chan struct{}, 1)}
	if f == nil {
		return o, o.rewrite()
	}
	o.f = f
	end, err := o.load(b)
	if err != nil {
		f.Close()
		return nil, err
	}
	if end < len(b) {
		// The end of a write that never returned: nobody was told about it.
		if err = f.Truncate(int64(end)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("ledger: %s: %w", outboxName, err)
		}
	}
	o.size = int64(end)
	o.signal()
	return o, nil
}

// load reads records and gives the end of the last whole one. Only the very
// last record may be torn.
func (o *Outbox) load(b []byte) (int, error) {
	bad := func(what string) (int, error) {
		return 0, fmt.Errorf("%w: %s: %s. The agent's numbered audit entries can't go on from here: keep the file as evidence and enrol the host anew", ErrDamaged, outboxName, what)
	}
	if len(b) < len(outboxMagic) || string(b[:len(outboxMagic)]) != outboxMagic {
		return bad("not an outbox")
	}
	at := len(outboxMagic)
	for first := true; at < len(b); first = false {
		r := b[at:]
		torn, what := len(r) < recHead, "cut off"
		var n int
		switch {
		case torn:
		case binary.BigEndian.Uint32(r[5:]) != sum(r[:5]):
			// Room that the file system gave and nothing was written to.
			torn, what = len(bytes.TrimLeft(r, "\x00")) == 0, "the head of a record has changed"
			if !torn {
				return bad(what)
			}
		default:
			n = int(binary.BigEndian.Uint32(r[1:]))
			if n > maxEntry+40 {
				return bad("a record is too long")
			}
			whole := recHead + n + 4
			torn = len(r) < whole
			if !torn && binary.BigEndian.Uint32(r[recHead+n:]) != sum(r[:recHead+n]) {
				torn, what = len(r) == whole, "a record has changed"
				if !torn {
					return bad(what)
				}
			}
		}
		if torn {
			if first { // the file is made whole with its first record
				return bad(what)
			}
			return at, nil
		}
		body := r[recHead : recHead+n]
		if first != (r[0] == recState) || !o.apply(r[0], body) {
			return bad("records out of order")
		}
		at += recHead + n + 4
	}
	if at == len(outboxMagic) {
		return bad("empty")
	}
	return at, nil
}

func (o *Outbox) apply(kind byte, body []byte) bool {
	switch kind {
	case recState:
		if len(body) != 40 {
			return false
		}
		o.seq, o.prev = binary.BigEndian.Uint64(body), envelope.Hash(body[8:])
	case recEntry:
		if len(body) <= 40 || binary.BigEndian.Uint64(body) != o.seq+1 {
			return false
		}
		o.push(Entry{o.seq + 1, envelope.Hash(body[8:40]), append([]byte(nil), body[40:]...)})
	case recAck:
		if len(body) != 8 || binary.BigEndian.Uint64(body) > o.seq {
			return false
		}
		o.drop(binary.BigEndian.Uint64(body))
	default:
		return false
	}
	return true
}

func (o *Outbox) push(e Entry) {
	o.seq, o.prev = e.Seq, e.Hash
	o.pending = append(o.pending, e)
	o.bytes += len(e.Bytes)
}

func (o *Outbox) drop(upTo uint64) {
	for len(o.pending) > 0 && o.pending[0].Seq <= upTo {
		o.bytes -= len(o.pending[0].Bytes)
		o.pending = o.pending[1:]
	}
}

func record(kind byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := append(make([]byte, 0, recHead+n+4), kind)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, sum(b))
	for _, p := range parts {
		b = append(b, p...)
	}
	return binary.BigEndian.AppendUint32(b, sum(b))
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// rewrite replaces the file by one that holds only what waits.
func (o *Outbox) rewrite() error {
	seq, prev := o.seq, o.prev
	if len(o.pending) > 0 {
		// The state is that of the entry before the first that waits. Its hash
		// is of no use to anyone but the chain, which goes on from the last.
		seq, prev = o.pending[0].Seq-1, envelope.Hash{}
	}
	b := append([]byte(outboxMagic), record(recState, number(seq), prev[:])...)
	for _, e := range o.pending {
		b = append(b, record(recEntry, number(e.Seq), e.Hash[:], e.Bytes)...)
	}
	f, err := replace(o.d, outboxName, b)
	if err != nil {
		o.broken = true
		return fmt.Errorf("ledger: %s: %w", outboxName, err)
	}
	if o.f != nil {
		o.f.Close()
	}
	o.f, o.size = f, int64(len(b))
	return nil
}

func (o *Outbox) append(rec []byte) error {
	if _, err := o.f.WriteAt(rec, o.size); err != nil {
		o.broken = true
		return fmt.Errorf("ledger: %s: %w", outboxName, err)
	}
	if err := o.f.Sync(); err != nil {
		o.broken = true
		return fmt.Errorf("ledger: %s: %w", outboxName, err)
	}
	o.size += int64(len(rec))
	return nil
}

// Append signs one more entry and keeps it, on disk before it returns. sign
// gets the entry's number (from 1) and the hash of the entry before it (zero
// for the first), and gives the signed bytes and their hash. closing marks the
// entry that ends something: it may use the reserve.
func (o *Outbox) Append(closing bool, sign func(seq uint64, prev envelope.Hash) ([]byte, envelope.Hash, error)) (Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return Entry{}, ErrBroken
	}
	if limit := maxPending - maxEntry; o.bytes > limit || (!closing && o.bytes > limit-reserve) {
		return Entry{}, fmt.Errorf("%w: %d audit entries wait for the audit log", ErrFull, len(o.pending))
	}
	b, h, err := sign(o.seq+1, o.prev)
	if err != nil {
		return Entry{}, err
	}
	if len(b) == 0 || len(b) > maxEntry {
		return Entry{}, fmt.Errorf("ledger: an entry of %d bytes, want 1 to %d", len(b), maxEntry)
	}
	e := Entry{o.seq + 1, h, b}
	if o.size+int64(len(b))+128 > maxOutbox {
		if err := o.rewrite(); err != nil {
			return Entry{}, err
		}
	}
	if err := o.append(record(recEntry, number(e.Seq), h[:], b)); err != nil {
		return Entry{}, err
	}
	o.push(e)
	o.signal()
	return e, nil
}

// Pending gives up to n entries that wait, oldest first.
func (o *Outbox) Pending(n int) []Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Entry(nil), o.pending[:min(n, len(o.pending))]...)
}

// Ack forgets the entries up to and including seq: the audit log has them.
func (o *Outbox) Ack(seq uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return ErrBroken
	}
	if seq > o.seq {
		return errors.New("ledger: acknowledgement of an entry that was never made")
	}
	if len(o.pending) == 0 || o.pending[0].Seq > seq {
		return nil
	}
	o.drop(seq)
	if o.size > 1<<20 && o.bytes < 1<<18 {
		return o.rewrite()
	}
	return o.append(record(recAck, number(seq)))
}

// More receives after entries were added. It holds at most one signal.
func (o *Outbox) More() <-chan struct{} { return o.more }

func (o *Outbox) signal() {
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *Outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	if o.f != nil {
		o.f.Close()
	}
}
