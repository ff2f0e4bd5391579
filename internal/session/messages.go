package session

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// errMalformed is the inner reason for bytes that are no message. Callers
// outside see ErrHandshake.
var errMalformed = errors.New("session: malformed message")

// hs1 is the parsed first message (SPEC.md 2.1), also of a resume (SPEC.md 9.1).
type hs1 struct {
	id     ID
	place  *place // in a resume only
	nonce  [nonceSize]byte
	suites []Suite
	point  key.SessionPublic
	encaps []byte // ML-KEM-768 encapsulation key, iff suites has SuiteHybrid
}

// marshal gives the message; that of a resume lacks its binder, which is counted.
func (m *hs1) marshal() []byte {
	b, binder := appendHeader(nil, typeHS1, m.id), 0
	if m.place != nil {
		b, binder = appendHeader(nil, typeRS1, m.id), macSize
		b = binary.BigEndian.AppendUint32(b, m.place.generation)
		b = binary.BigEndian.AppendUint32(b, m.place.attempt)
	}
	b = append(b, m.nonce[:]...)
	b = append(b, byte(len(m.suites)))
	for _, s := range m.suites {
		b = binary.BigEndian.AppendUint16(b, uint16(s))
	}
	b = append(b, m.point[:]...)
	b = append(b, m.encaps...)
	return setLength(b, len(b)+binder)
}

func parseHS1(b []byte) (*hs1, error) {
	r, id, err := parseHeader(b, typeHS1)
	if err != nil {
		return nil, err
	}
	m := &hs1{id: id}
	if err := m.parse(r); err != nil {
		return nil, err
	}
	return m, r.end()
}

// parseRS1 gives the first message of a resume, what its binder is about, and the
// binder (SPEC.md 9.1).
func parseRS1(b []byte) (m *hs1, bound, binder []byte, err error) {
	r, id, err := parseHeader(b, typeRS1)
	if err != nil {
		return nil, nil, nil, err
	}
	m = &hs1{id: id, place: &place{generation: r.uint32(), attempt: r.uint32()}}
	if err := m.parse(r); err != nil {
		return nil, nil, nil, err
	}
	binder = r.take(macSize)
	return m, b[:max(0, len(b)-macSize)], binder, r.end()
}

// parse reads what first messages have in common.
func (m *hs1) parse(r *reader) error {
	copy(m.nonce[:], r.take(nonceSize))
	n := int(r.byte())
	if n < 1 || n > maxSuites {
		return errMalformed
	}
	for range n {
		s := Suite(r.uint16())
		if s == 0 || slices.Contains(m.suites, s) {
			return errMalformed
		}
		m.suites = append(m.suites, s)
	}
	copy(m.point[:], r.take(pointSize))
	if slices.Contains(m.suites, SuiteHybrid) {
		m.encaps = r.take(encapsSize)
	}
	return nil
}

// hs2 is the parsed second message (SPEC.md 2.2).
type hs2 struct {
	id         ID
	nonce      [nonceSize]byte
	suite      Suite
	point      key.SessionPublic
	ciphertext []byte // ML-KEM-768, iff suite is SuiteHybrid
	clear      []byte // the message up to and excluding sealed
	sealed     []byte // E2
}

// marshalClear gives the message up to E2, with the length of a message whose
// E2 has sealedSize bytes.
func (m *hs2) marshalClear(kind byte, sealedSize int) []byte {
	b := appendHeader(nil, kind, m.id)
	b = append(b, m.nonce[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(m.suite))
	b = append(b, m.point[:]...)
	b = append(b, m.ciphertext...)
	return setLength(b, len(b)+sealedSize)
}

func parseHS2(b []byte) (*hs2, error) { return parseSecond(b, typeHS2) }

func parseSecond(b []byte, kind byte) (*hs2, error) {
	r, id, err := parseHeader(b, kind)
	if err != nil {
		return nil, err
	}
	m := &hs2{id: id}
	copy(m.nonce[:], r.take(nonceSize))
	m.suite = Suite(r.uint16())
	if !m.suite.known() {
		return nil, errMalformed
	}
	copy(m.point[:], r.take(pointSize))
	if m.suite == SuiteHybrid {
		m.ciphertext = r.take(ciphertext768)
	}
	m.sealed = r.rest()
	m.clear = b[:len(b)-len(m.sealed)]
	if len(m.sealed) < sealedMin {
		return nil, errMalformed
	}
	return m, r.end()
}

// hs3 is the third message (SPEC.md 2.3): a header and E3.
func marshalThird(kind byte, id ID, sealedSize int) []byte {
	return setLength(appendHeader(nil, kind, id), headerSize+sealedSize)
}

func parseHS3(b []byte) (id ID, sealed []byte, err error) { return parseThird(b, typeHS3) }

func parseThird(b []byte, kind byte) (id ID, sealed []byte, err error) {
	r, id, err := parseHeader(b, kind)
	if err != nil {
		return ID{}, nil, err
	}
	sealed = r.rest()
	if len(sealed) < sealedMin {
		return ID{}, nil, errMalformed
	}
	return id, sealed, r.end()
}

// sealedMin is the size of E2 and E3 with an empty checkpoint.
const sealedMin = signatureSize + macSize + evidenceSize + tagSize

// auth is the plaintext of E2 and E3 (SPEC.md 2.4).
type auth struct {
	sig  key.Signature
	fin  [macSize]byte
	rest []byte // the evidence as bytes
}

func (a *auth) marshal() []byte {
	b := make([]byte, 0, signatureSize+macSize+len(a.rest))
	b = append(b, a.sig[:]...)
	b = append(b, a.fin[:]...)
	return append(b, a.rest...)
}

func parseAuth(b []byte) (*auth, error) {
	r := &reader{b: b}
	a := &auth{}
	copy(a.sig[:], r.take(signatureSize))
	copy(a.fin[:], r.take(macSize))
	a.rest = r.rest()
	return a, r.end()
}

func (e *Evidence) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, e.RosterSeq)
	b = append(b, e.RosterHash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.Unix()))
	return append(b, e.Checkpoint...)
}

func parseEvidence(b []byte) (Evidence, error) {
	r := &reader{b: b}
	var e Evidence
	e.RosterSeq = r.uint64()
	copy(e.RosterHash[:], r.take(hashSize))
	seconds := r.uint64()
	if seconds > maxSeconds {
		return Evidence{}, errMalformed
	}
	e.Time = time.Unix(int64(seconds), 0).UTC()
	e.Checkpoint = slices.Clone(r.rest())
	if len(e.Checkpoint) > MaxCheckpoint {
		return Evidence{}, errMalformed
	}
	return e, r.end()
}

// maxSeconds is the last second of the year 9999: later times do not survive
// being printed and parsed.
const maxSeconds = 253402300799

// appendHeader writes the 20 bytes that begin each handshake message; the
// length comes with setLength.
func appendHeader(b []byte, kind byte, id ID) []byte {
	b = append(b, kind, version, 0, 0)
	return append(b, id[:]...)
}

// setLength fills in body_len: what follows the first four bytes.
func setLength(b []byte, total int) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(total-4))
	return b
}

func parseHeader(b []byte, kind byte) (*reader, ID, error) {
	if len(b) < headerSize || len(b) > MaxHandshake || b[0] != kind || b[1] != version ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-4 {
		return nil, ID{}, errMalformed
	}
	return &reader{b: b[headerSize:]}, ID(b[4:headerSize]), nil
}

// reader takes bytes off the front. After the first lack it gives zeros, and
// end tells.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || len(r.b) < n {
		r.short = true
		return make([]byte, n)
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) rest() []byte   { return r.take(len(r.b)) }
func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// end is an error unless exactly everything was taken.
func (r *reader) end() error {
	if r.short || len(r.b) != 0 {
		return errMalformed
	}
	return nil
}
