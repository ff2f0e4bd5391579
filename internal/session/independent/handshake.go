// Package independent is a second implementation of the session protocol, for
// tests. It was written from internal/session/SPEC.md alone, without looking at
// internal/session, and shares no code with it: where the two disagree, the
// text, the code or this package is wrong, and all three are looked at.
//
// It is slow and plain on purpose, makes no claim about constant time or
// erasure, and must never be part of a program. It imports the standard library
// and golang.org/x/crypto only. Nothing in it is safe for concurrent use.
package independent

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/curve25519"
)

// ErrAbort is the one error of SPEC.md, section 6.
var ErrAbort = errors.New("independent: abort")

// An Abort is an ErrAbort that says which check refused: a kind of failure of
// SPEC.md, section 8. A real implementation must keep that to itself.
type Abort string

// Error names the kind.
func (a Abort) Error() string { return ErrAbort.Error() + ": " + string(a) }

// Is makes every Abort an ErrAbort.
func (a Abort) Is(target error) bool { return target == ErrAbort }

// The kinds of failure of SPEC.md, section 8.
const (
	malformed    Abort = "malformed"
	otherSession Abort = "session"
	noSuite      Abort = "suite"
	reflected    Abort = "reflected"
	lowOrder     Abort = "low order"
	badKEM       Abort = "kem"
	badTag       Abort = "tag"
	badSignature Abort = "signature"
	badFinished  Abort = "confirmation"
	badBinder    Abort = "binder"
	badAttempt   Abort = "attempt"
)

// The suites of SPEC.md, section 2.1.
const (
	SuiteX25519 uint16 = 1
	SuiteHybrid uint16 = 2
)

// Sizes of SPEC.md, section 2, in bytes.
const (
	header      = 20
	epkSize     = 32
	ekSize      = 1184
	ctSize      = 1088
	tagSize     = 16
	fixedPart   = 144 // of P2 and P3, before the checkpoint
	checkpoint  = 4096
	messageMax  = 5430
	latestClock = 253402300799
)

// Party is what one side knows before the first byte (SPEC.md, section 1), and
// its ephemeral values, which a caller gives so that they can be fixed.
type Party struct {
	SessionID  [16]byte
	BundleHash [32]byte // gh
	TeamFP     [32]byte
	Identity   ed25519.PrivateKey // own
	Peer       ed25519.PublicKey
	Suites     []uint16 // offered, or accepted

	Nonce  [32]byte // nonce_o or nonce_a
	Scalar [32]byte // own X25519 scalar
	KEM    [64]byte // initiator: seed of the decapsulation key (d || z); responder: the first 32 bytes are m

	Report Report // what the side says of itself in P2 or P3

	Before *Before // nil in a first handshake
}

// Report is the rest of P2 and P3, from offset 96 on (SPEC.md, section 2.4).
type Report struct {
	Sequence   uint64
	Head       [32]byte
	Clock      uint64 // Unix seconds
	Checkpoint []byte
}

// Trace is every value of a handshake by its name in SPEC.md.
type Trace map[string][]byte

// Session is the outcome of a handshake.
type Session struct {
	Suite uint16
	Peer  Report
	Trace Trace
	Records
}

// Exporter is Exporter(label, n) of SPEC.md, section 3.
func (s *Session) Exporter(label string, n int) []byte {
	return expand(s.Trace["exporter"], []byte("exp "+label), n)
}

// Initiator waits for HS2.
type Initiator struct {
	p   Party
	hs1 []byte
}

// Initiate makes HS1.
func Initiate(p Party) (*Initiator, []byte, error) {
	pub, err := curve25519.X25519(p.Scalar[:], curve25519.Basepoint)
	if err != nil {
		return nil, nil, ErrAbort
	}
	f := p.form()
	body := append(p.Before.place(), p.Nonce[:]...)
	body = append(body, byte(len(p.Suites)))
	hybrid := false
	for _, s := range p.Suites {
		body = binary.BigEndian.AppendUint16(body, s)
		hybrid = hybrid || s == SuiteHybrid
	}
	body = append(body, pub...)
	if hybrid {
		dk, err := mlkem.NewDecapsulationKey768(p.KEM[:])
		if err != nil {
			return nil, nil, ErrAbort
		}
		body = append(body, dk.EncapsulationKey().Bytes()...)
	}
	own := p.Identity.Public().(ed25519.PublicKey)
	hs1 := p.bound(own, p.Peer, func(binder []byte) []byte { return message(f.first, p.SessionID, append(body, binder...)) })
	return &Initiator{p, hs1}, hs1, nil
}

// Finish takes HS2 and makes HS3. After a refusal the right HS2 may still come.
func (i *Initiator) Finish(hs2 []byte) ([]byte, *Session, error) {
	if err := framed(hs2, i.p.form().second, 86); err != nil {
		return nil, nil, err
	}
	suite := binary.BigEndian.Uint16(hs2[52:])
	open, ok := openPart(hs2, suite)
	if !ok {
		return nil, nil, malformed
	}
	if !bytes.Equal(hs2[4:header], i.p.SessionID[:]) {
		return nil, nil, otherSession
	}
	offered := false
	for _, s := range i.p.Suites {
		offered = offered || s == suite
	}
	if !offered {
		return nil, nil, noSuite
	}
	offers, _ := parseHS1(i.p.plain(i.hs1))
	epkA := hs2[54:86]
	if samePoint(epkA, offers.epk) {
		return nil, nil, reflected
	}
	var kemSecret []byte
	if suite == SuiteHybrid {
		dk, err := mlkem.NewDecapsulationKey768(i.p.KEM[:])
		if err != nil {
			return nil, nil, ErrAbort
		}
		if kemSecret, err = dk.Decapsulate(open[86:]); err != nil {
			return nil, nil, badKEM
		}
	}
	own, f := i.p.Identity.Public().(ed25519.PublicKey), i.p.form()
	t, err := schedule(i.p, own, i.p.Peer, i.hs1, open, epkA, kemSecret)
	if err != nil {
		return nil, nil, err
	}
	p2, err := unseal(t["k_hs_a2o"], t["th1"], hs2[len(open):])
	if err != nil {
		return nil, nil, err
	}
	peer, err := check(p2, i.p.Peer, f.agent, t["th1"], t["k_fin_a"])
	if err != nil {
		return nil, nil, err
	}
	t["P2"], t["sig_a"], t["fin_a"] = p2, p2[:64], p2[64:96]
	t["th2"] = hash(t["th1"], p2)
	p3, err := report(i.p.Report, i.p.Identity, f.operator, t["th2"], t["k_fin_o"])
	if err != nil {
		return nil, nil, err
	}
	t["P3"], t["sig_o"], t["fin_o"] = p3, p3[:64], p3[64:96]
	t["E2"] = hs2[len(open):]
	t["E3"] = seal(t["k_hs_o2a"], t["th2"], p3)
	hs3 := message(f.third, i.p.SessionID, t["E3"])
	finish(t)
	s := &Session{Suite: suite, Peer: peer, Trace: t}
	s.Records = newRecords(true, t)
	return hs3, s, nil
}

// Responder waits for HS3.
type Responder struct {
	p     Party
	suite uint16
	t     Trace
}

// Respond takes HS1 and makes HS2.
func Respond(p Party, hs1 []byte) (*Responder, []byte, error) {
	f, own := p.form(), p.Identity.Public().(ed25519.PublicKey)
	if err := framed(hs1, f.first, f.least); err != nil {
		return nil, nil, err
	}
	offers, ok := parseHS1(p.plain(hs1))
	if !ok {
		return nil, nil, malformed
	}
	if err := p.checkBinder(hs1, p.Peer, own); err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(hs1[4:header], p.SessionID[:]) {
		return nil, nil, otherSession
	}
	var suite uint16
	for _, s := range offers.suites {
		for _, mine := range p.Suites {
			if suite == 0 && s == mine {
				suite = s
			}
		}
	}
	if suite == 0 {
		return nil, nil, noSuite
	}
	pub, err := curve25519.X25519(p.Scalar[:], curve25519.Basepoint)
	if err != nil {
		return nil, nil, err
	}
	if samePoint(pub, offers.epk) {
		return nil, nil, reflected
	}
	body := append([]byte{}, p.Nonce[:]...)
	body = binary.BigEndian.AppendUint16(body, suite)
	body = append(body, pub...)
	var kemSecret []byte
	if suite == SuiteHybrid {
		ek, err := mlkem.NewEncapsulationKey768(offers.ek)
		if err != nil {
			return nil, nil, badKEM
		}
		secret, ct, err := mlkemtest.Encapsulate768(ek, p.KEM[:32])
		if err != nil {
			return nil, nil, badKEM
		}
		kemSecret, body = secret, append(body, ct...)
	}
	// body_len counts E2, whose size is known before it is made.
	size := fixedPart + len(p.Report.Checkpoint) + tagSize
	open := message(f.second, p.SessionID, append(body, make([]byte, size)...))
	open = open[:len(open)-size]

	t, err := schedule(p, p.Peer, own, hs1, open, offers.epk, kemSecret)
	if err != nil {
		return nil, nil, err
	}
	p2, err := report(p.Report, p.Identity, f.agent, t["th1"], t["k_fin_a"])
	if err != nil {
		return nil, nil, err
	}
	t["P2"], t["sig_a"], t["fin_a"] = p2, p2[:64], p2[64:96]
	t["E2"] = seal(t["k_hs_a2o"], t["th1"], p2)
	t["th2"] = hash(t["th1"], p2)
	return &Responder{p, suite, t}, append(append([]byte{}, open...), t["E2"]...), nil
}

// Finish takes HS3. After a refusal the right HS3 may still come.
func (r *Responder) Finish(hs3 []byte) (*Session, error) {
	if err := framed(hs3, r.p.form().third, header+fixedPart+tagSize); err != nil {
		return nil, err
	}
	if !bytes.Equal(hs3[4:header], r.p.SessionID[:]) {
		return nil, otherSession
	}
	t := Trace{}
	for name, value := range r.t {
		t[name] = value
	}
	p3, err := unseal(t["k_hs_o2a"], t["th2"], hs3[header:])
	if err != nil {
		return nil, err
	}
	peer, err := check(p3, r.p.Peer, r.p.form().operator, t["th2"], t["k_fin_o"])
	if err != nil {
		return nil, err
	}
	t["P3"], t["sig_o"], t["fin_o"], t["E3"] = p3, p3[:64], p3[64:96], hs3[header:]
	finish(t)
	s := &Session{Suite: r.suite, Peer: peer, Trace: t}
	s.Records = newRecords(false, t)
	return s, nil
}

// message is the common frame of SPEC.md, section 2.
func message(kind byte, id [16]byte, rest []byte) []byte {
	m := []byte{kind, 1}
	m = binary.BigEndian.AppendUint16(m, uint16(16+len(rest)))
	m = append(m, id[:]...)
	return append(m, rest...)
}

// framed checks the first 20 bytes of SPEC.md, section 2, and that at least
// `least` bytes are there.
func framed(m []byte, kind byte, least int) error {
	if len(m) < max(header, least) || len(m) > messageMax || m[0] != kind || m[1] != 1 ||
		int(binary.BigEndian.Uint16(m[2:])) != len(m)-4 {
		return malformed
	}
	return nil
}

type offers struct {
	suites  []uint16
	epk, ek []byte
}

// parseHS1 takes a framed HS1 apart (SPEC.md, section 2.1), or an RS1 that plain
// has made like one.
func parseHS1(m []byte) (o offers, ok bool) {
	n := int(m[52])
	if n < 1 || n > 4 || len(m) < 53+2*n+epkSize {
		return o, false
	}
	hybrid := false
	for i := range n {
		s := binary.BigEndian.Uint16(m[53+2*i:])
		for _, before := range o.suites {
			if s == before {
				return o, false
			}
		}
		if s == 0 {
			return o, false
		}
		hybrid = hybrid || s == SuiteHybrid
		o.suites = append(o.suites, s)
	}
	rest := m[53+2*n:]
	o.epk, rest = rest[:epkSize], rest[epkSize:]
	if hybrid {
		if len(rest) != ekSize {
			return o, false
		}
		o.ek = rest
		return o, true
	}
	return o, len(rest) == 0
}

// openPart is HS2 up to and excluding E2. Without knowing the suite nobody can
// tell where that is.
func openPart(hs2 []byte, suite uint16) ([]byte, bool) {
	n := 86
	switch suite {
	case SuiteX25519:
	case SuiteHybrid:
		n += ctSize
	default:
		return nil, false
	}
	if len(hs2) < n+fixedPart+tagSize {
		return nil, false
	}
	return hs2[:n], true
}

// samePoint compares two X25519 points, the top bit aside.
func samePoint(a, b []byte) bool {
	return bytes.Equal(a[:31], b[:31]) && a[31]&0x7f == b[31]&0x7f
}

// schedule is SPEC.md, section 3, up to the keys of the handshake. peer is the
// other side's point.
func schedule(p Party, operator, agent ed25519.PublicKey, hs1, open, peer, kemSecret []byte) (Trace, error) {
	kidO, kidA := kid(operator), kid(agent)
	if bytes.Equal(kidO, kidA) {
		return nil, ErrAbort
	}
	dh, err := curve25519.X25519(p.Scalar[:], peer) // refuses an all-zero result
	if err != nil {
		return nil, lowOrder
	}
	t := Trace{"dh": dh, "kid_operator": kidO, "kid_agent": kidA}
	t["prologue"] = p.prologue(operator, agent)
	t["th1"] = hash(t["prologue"], hs1, open)
	ikm := dh
	if kemSecret != nil {
		t["mlkem_secret"] = kemSecret
		ikm = append(append([]byte{}, kemSecret...), dh...)
	}
	if p.Before != nil {
		t["resume_secret"] = expand(p.Before.Exporter[:], []byte("resume secret"), 32)
		ikm = append(append([]byte{}, ikm...), t["resume_secret"]...)
	}
	t["prk"] = mac(t["th1"], ikm) // HKDF-Extract(salt, ikm) = HMAC(salt, ikm)
	for name, label := range map[string]string{"k_hs_a2o": "hs a2o", "k_hs_o2a": "hs o2a", "k_fin_a": "fin a", "k_fin_o": "fin o"} {
		t[name] = derive(t["prk"], label, t["th1"])
	}
	return t, nil
}

// finish is the rest of the schedule, from P3 on.
func finish(t Trace) {
	t["th3"] = hash(t["th2"], t["P3"])
	for _, way := range []string{"o2a", "a2o"} {
		t["secret_"+way] = derive(t["prk"], "app "+way, t["th3"])
		t["cid_"+way] = derive(t["prk"], "cid "+way, t["th3"])[:8]
	}
	t["exporter"] = derive(t["prk"], "exporter", t["th3"])
}

// report makes P2 or P3 (SPEC.md, sections 2.4 and 4).
func report(r Report, sk ed25519.PrivateKey, context string, th, finKey []byte) ([]byte, error) {
	if len(r.Checkpoint) > checkpoint || r.Clock > latestClock {
		return nil, ErrAbort
	}
	rest := binary.BigEndian.AppendUint64(nil, r.Sequence)
	rest = append(rest, r.Head[:]...)
	rest = binary.BigEndian.AppendUint64(rest, r.Clock)
	rest = append(rest, r.Checkpoint...)
	sig := ed25519.Sign(sk, signed(context, th, rest))
	return bytes.Join([][]byte{sig, mac(finKey, append(append([]byte{}, th...), sig...)), rest}, nil), nil
}

// check takes P2 or P3 apart and checks signature and confirmation.
func check(p []byte, from ed25519.PublicKey, context string, th, finKey []byte) (r Report, err error) {
	sig, fin, rest := p[:64], p[64:96], p[96:]
	if !ed25519.Verify(from, signed(context, th, rest), sig) {
		return r, badSignature
	}
	if !hmac.Equal(fin, mac(finKey, append(append([]byte{}, th...), sig...))) {
		return r, badFinished
	}
	return readReport(rest)
}

// readReport reads what stands behind signature and confirmation.
func readReport(rest []byte) (r Report, err error) {
	r.Sequence = binary.BigEndian.Uint64(rest)
	copy(r.Head[:], rest[8:])
	r.Clock = binary.BigEndian.Uint64(rest[40:])
	r.Checkpoint = rest[48:]
	if r.Clock > latestClock || len(r.Checkpoint) > checkpoint {
		return r, malformed
	}
	return r, nil
}

// signed is the text under a signature: th || SHA256(rest), in its context.
func signed(context string, th, rest []byte) []byte {
	return bytes.Join([][]byte{[]byte("tucdesk-sig-v1\x00" + context + "\x00"), th, hash(rest)}, nil)
}

// kid is the thumbprint of RFC 7638 of the JWK of RFC 8037.
func kid(pub ed25519.PublicKey) []byte {
	return hash([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(pub) + `"}`))
}

func hash(parts ...[]byte) []byte {
	h := sha256.Sum256(bytes.Join(parts, nil))
	return h[:]
}

func mac(k, m []byte) []byte {
	h := hmac.New(sha256.New, k)
	h.Write(m)
	return h.Sum(nil)
}

// expand is Expand(s, label, n): HKDF-Expand of RFC 5869, section 2.3, by hand.
func expand(s, label []byte, n int) []byte {
	info := append([]byte("tucdesk-session-v1\x00"), label...)
	var out, block []byte
	for i := byte(1); len(out) < n; i++ {
		block = mac(s, bytes.Join([][]byte{block, info, {i}}, nil))
		out = append(out, block...)
	}
	return out[:n]
}

// derive is Derive(s, label, th).
func derive(s []byte, label string, th []byte) []byte {
	return expand(s, append([]byte(label+"\x00"), th...), 32)
}

func aead(k []byte) cipher.AEAD {
	block, err := aes.NewCipher(k)
	if err != nil {
		panic("independent: " + err.Error())
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("independent: " + err.Error())
	}
	return gcm
}

func seal(k, aad, plain []byte) []byte {
	return aead(k).Seal(nil, make([]byte, 12), plain, aad)
}

func unseal(k, aad, sealed []byte) ([]byte, error) {
	plain, err := aead(k).Open(nil, make([]byte, 12), sealed, aad)
	if err != nil {
		return nil, badTag
	}
	return plain, nil
}
