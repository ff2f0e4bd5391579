package independent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// What Open says of a datagram (SPEC.md, section 5.3).
var (
	// ErrDropped: the datagram is dropped and nothing has changed.
	ErrDropped = errors.New("independent: dropped")
	// ErrEnded: the session is over.
	ErrEnded = errors.New("independent: the session is over")
)

// The kinds of SPEC.md, section 5.1.
const (
	KindAccept byte = 1
	KindData   byte = 2
)

// The limits of SPEC.md, sections 5.1 to 5.3.
const (
	padBelow      = 1024
	padTo         = 64
	windowSize    = 2048
	epochCount    = 1 << 20
	epochBytes    = 2 << 30
	epochTime     = 120 * time.Second
	epochLinger   = 2 * time.Second
	epochsAhead   = 8
	epochsUnheard = 4
)

// Records is the record layer of one side: its own direction and the other's.
type Records struct {
	initiator bool
	accepted  bool // initiator: an ACCEPT was opened
	ended     bool
	send      outbound
	receive   inbound
}

type outbound struct {
	cid, secret []byte
	epoch       uint64
	unheard     int // epochs begun since the peer was heard
	counter     uint64
	bytes       uint64
	began       time.Time // zero until the first record
}

type inbound struct {
	cid               []byte
	current, previous *keys
	ended             time.Time // when previous ended
}

// keys is one epoch of a direction, as its receiver sees it.
type keys struct {
	epoch  uint64
	secret []byte
	seen   map[uint64]bool
	next   uint64 // one above the highest counter seen
}

func newRecords(initiator bool, t Trace) Records {
	out, in := "a2o", "o2a"
	if initiator {
		out, in = in, out
	}
	return Records{
		initiator: initiator,
		send:      outbound{cid: t["cid_"+out], secret: t["secret_"+out]},
		receive:   inbound{cid: t["cid_"+in], current: &keys{secret: t["secret_"+in], seen: map[uint64]bool{}}},
	}
}

// Seal makes one datagram.
func (r *Records) Seal(kind byte, payload []byte, now time.Time) ([]byte, error) {
	if r.ended {
		return nil, ErrEnded
	}
	if r.initiator && !r.accepted {
		return nil, ErrDropped
	}
	inner := append(append([]byte{}, payload...), kind)
	if len(inner) < padBelow {
		for len(inner)%padTo != 0 {
			inner = append(inner, 0)
		}
	}
	s := &r.send
	if s.began.IsZero() {
		s.began = now
	}
	if s.counter >= epochCount || s.bytes+uint64(len(inner)) > epochBytes || now.Sub(s.began) >= epochTime && s.unheard < epochsUnheard {
		r.Rekey(now)
	}
	d := []byte{0x10, byte(s.epoch)}
	d = binary.BigEndian.AppendUint16(d, uint16(len(inner)+tagSize))
	d = append(d, s.cid...)
	d = binary.BigEndian.AppendUint64(d, s.counter)
	k, nonce := recordKey(s.secret, s.counter)
	s.counter++
	s.bytes += uint64(len(inner))
	return append(d, aead(k).Seal(nil, nonce, inner, d)...), nil
}

// Rekey has the sender go to the next epoch, as it may at any time.
func (r *Records) Rekey(now time.Time) {
	s := &r.send
	s.secret, s.epoch, s.counter, s.bytes, s.began = nextSecret(s.secret), s.epoch+1, 0, 0, now
	s.unheard++
}

// Open takes one datagram apart.
func (r *Records) Open(d []byte, now time.Time) (kind byte, payload []byte, err error) {
	if r.ended {
		return 0, nil, ErrEnded
	}
	in := &r.receive
	if len(d) < header+tagSize || d[0] != 0x10 || int(binary.BigEndian.Uint16(d[2:])) != len(d)-header || !bytes.Equal(d[4:12], in.cid) {
		return 0, nil, ErrDropped
	}
	var k *keys
	switch epoch := d[1]; {
	case epoch == byte(in.current.epoch):
		k = in.current
	case epoch-byte(in.current.epoch) <= epochsAhead:
		k = &keys{epoch: in.current.epoch, secret: in.current.secret, seen: map[uint64]bool{}}
		for byte(k.epoch) != epoch {
			k.epoch, k.secret = k.epoch+1, nextSecret(k.secret)
		}
	case in.previous != nil && epoch == byte(in.previous.epoch) && now.Sub(in.ended) <= epochLinger:
		k = in.previous
	default:
		return 0, nil, ErrDropped
	}
	counter := binary.BigEndian.Uint64(d[12:])
	if counter >= epochCount || k.seen[counter] || counter+windowSize < k.next {
		return 0, nil, ErrDropped
	}
	key, nonce := recordKey(k.secret, counter)
	inner, err := aead(key).Open(nil, nonce, d[header:], d[:header])
	if err != nil {
		return 0, nil, ErrDropped
	}
	if k.epoch > in.current.epoch {
		in.previous, in.current, in.ended = in.current, k, now
	}
	r.send.unheard = 0
	k.seen[counter] = true
	k.next = max(k.next, counter+1)

	payload = bytes.TrimRight(inner, "\x00")
	if len(payload) == 0 {
		return 0, nil, r.end()
	}
	kind, payload = payload[len(payload)-1], payload[:len(payload)-1]
	switch {
	case kind == KindAccept && r.initiator && len(payload) == 0:
		r.accepted = true
	case kind == KindData && (!r.initiator || r.accepted):
	default:
		return 0, nil, r.end()
	}
	return kind, payload, nil
}

func (r *Records) end() error {
	r.ended = true
	return ErrEnded
}

func nextSecret(secret []byte) []byte { return expand(secret, []byte("upd"), 32) }

// recordKey is key and nonce of one record (SPEC.md, section 5.1).
func recordKey(secret []byte, counter uint64) (key, nonce []byte) {
	nonce = expand(secret, []byte("iv"), 12)
	var c [12]byte
	binary.BigEndian.PutUint64(c[4:], counter)
	for i := range nonce {
		nonce[i] ^= c[i]
	}
	return expand(secret, []byte("key"), 32), nonce
}
