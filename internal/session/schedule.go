package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"

	"github.com/tucdesk/tucdesk/internal/key"
)

// A secret is 32 bytes to derive from. It is always held by pointer: a fmt verb
// that walks into a struct around it prints an address.
type secret [hashSize]byte

func (s *secret) wipe() { clear(s[:]) }

// expand is SPEC.md 3, Expand: HKDF-Expand(s, "tucdesk-session-v1" 00 label, n).
func (s *secret) expand(purpose string, n int) []byte {
	return expand(s[:], label+"\x00"+purpose, n)
}

// derive is SPEC.md 3, Derive: expand with a transcript hash at the end.
func (s *secret) derive(purpose string, th [hashSize]byte) *secret {
	return (*secret)(s.expand(purpose+"\x00"+string(th[:]), hashSize))
}

// expand is HKDF-Expand with SHA-256 (RFC 5869, section 2.3). n is at most
// 8160; more is a mistake of this package. One block is made here: crypto/hkdf leaves a
// copy of what it gives, and all keys are of one block.
func expand(prk []byte, info string, n int) []byte {
	if n <= hashSize {
		h := hmac.New(sha256.New, prk)
		defer key.Erase(h)
		h.Write([]byte(info))
		h.Write([]byte{1})
		return h.Sum(make([]byte, 0, hashSize))[:n]
	}
	out, err := hkdf.Expand(sha256.New, prk, info, n)
	if err != nil {
		panic("session: internal error: " + err.Error())
	}
	return out
}

// extract is HKDF-Extract with SHA-256 (RFC 5869, section 2.2).
func extract(ikm, salt []byte) *secret {
	out, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("session: internal error: " + err.Error())
	}
	return (*secret)(out)
}

// An aead is AES-256-GCM with a nonce of 12 bytes and a tag of 16.
type aead struct {
	cipher.AEAD
	block cipher.Block
}

func newAEAD(k *[keySize]byte) *aead {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic("session: internal error: " + err.Error())
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("session: internal error: " + err.Error())
	}
	return &aead{gcm, block}
}

// erase zeroes the key. a must not be used again.
func (a *aead) erase() {
	key.Erase(a.AEAD)
	key.Erase(a.block)
}

// A onceAEAD encrypts or decrypts one message. Its nonce is zero, which is safe
// only because its key is derived for this one message.
type onceAEAD struct{ k *secret }

func (o onceAEAD) seal(dst, plain, aad []byte) []byte {
	a := newAEAD((*[keySize]byte)(o.k))
	defer a.erase()
	return a.Seal(dst, make([]byte, ivSize), plain, aad)
}

func (o onceAEAD) open(sealed, aad []byte) ([]byte, error) {
	a := newAEAD((*[keySize]byte)(o.k))
	defer a.erase()
	return a.Open(nil, make([]byte, ivSize), sealed, aad)
}

// hashOf hashes the concatenation of parts.
func hashOf(parts ...[]byte) (sum [hashSize]byte) {
	h := sha256.New()
	writeAll(h, parts)
	h.Sum(sum[:0])
	return sum
}

// mac is HMAC-SHA256 over the concatenation of parts.
func mac(k *secret, parts ...[]byte) (sum [macSize]byte) {
	h := hmac.New(sha256.New, k[:])
	defer key.Erase(h)
	writeAll(h, parts)
	h.Sum(sum[:0])
	return sum
}

func writeAll(h hash.Hash, parts [][]byte) {
	for _, p := range parts {
		h.Write(p)
	}
}

// prologue is SPEC.md 3: what both sides must agree on before the first byte.
func prologue(operator, agent key.Kid, teamFP, bundleHash [32]byte) []byte {
	return prologueOf(protocolName, operator, agent, teamFP, bundleHash)
}

func prologueOf(protocol string, operator, agent key.Kid, teamFP, bundleHash [32]byte) []byte {
	var b strings.Builder
	b.WriteString(label + "\x00" + protocol + "\x00")
	b.Write(bundleHash[:])
	b.Write(operator[:])
	b.Write(agent[:])
	b.Write(teamFP[:])
	return []byte(b.String())
}

// handshakeKeys are the keys between HS2 and the end of the handshake. They
// hang on th1 alone.
type handshakeKeys struct {
	prk        *secret
	a2o, o2a   *secret // seal E2 and E3
	finA, finO *secret // key confirmation
}

// deriveHandshake runs the key schedule up to th1. kemSecret is nil in suite 1,
// past is nil but in a resume. It wipes all inputs.
func deriveHandshake(th1 [hashSize]byte, kemSecret []byte, dh key.SharedSecret, past *secret) *handshakeKeys {
	ikm := make([]byte, 0, len(kemSecret)+2*hashSize)
	ikm = append(ikm, kemSecret...) // order of X25519MLKEM768
	ikm = append(ikm, dh.Secret()...)
	if past != nil {
		ikm = append(ikm, past[:]...)
		defer past.wipe()
	}
	defer clear(ikm)
	defer clear(kemSecret)
	defer dh.Wipe()
	prk := extract(ikm, th1[:])
	return &handshakeKeys{
		prk:  prk,
		a2o:  prk.derive("hs a2o", th1),
		o2a:  prk.derive("hs o2a", th1),
		finA: prk.derive("fin a", th1),
		finO: prk.derive("fin o", th1),
	}
}

func (k *handshakeKeys) wipe() {
	if k == nil {
		return
	}
	for _, s := range []*secret{k.prk, k.a2o, k.o2a, k.finA, k.finO} {
		s.wipe()
	}
}

// A flow is one direction's starting point after the handshake.
type flow struct {
	secret *secret
	connID [connIDSize]byte
}

// deriveTraffic runs the last step of the schedule: both directions and the
// exporter, from the complete transcript.
func (k *handshakeKeys) deriveTraffic(th3 [hashSize]byte) (o2a, a2o flow, exporter *secret) {
	o2a = flow{k.prk.derive("app o2a", th3), [connIDSize]byte(k.prk.derive("cid o2a", th3)[:connIDSize])}
	a2o = flow{k.prk.derive("app a2o", th3), [connIDSize]byte(k.prk.derive("cid a2o", th3)[:connIDSize])}
	return o2a, a2o, k.prk.derive("exporter", th3)
}

// An epoch is one key of one direction.
type epoch struct {
	number uint64
	secret *secret
	aead   *aead
	iv     [ivSize]byte
}

func newEpoch(number uint64, s *secret) *epoch {
	k := s.expand("key", keySize)
	defer clear(k)
	return &epoch{
		number: number,
		secret: s,
		aead:   newAEAD((*[keySize]byte)(k)),
		iv:     [ivSize]byte(s.expand("iv", ivSize)),
	}
}

// next derives the epoch that is so many after e. It leaves e as it is.
func (e *epoch) next(ahead byte) *epoch {
	s := e.secret
	for n := range ahead {
		following := (*secret)(s.expand("upd", hashSize))
		if n > 0 {
			s.wipe()
		}
		s = following
	}
	return newEpoch(e.number+uint64(ahead), s)
}

// nonce is the iv XOR the counter in the last 8 bytes (RFC 8446, section 5.3).
func (e *epoch) nonce(counter uint64) (n [ivSize]byte) {
	n = e.iv
	low := n[ivSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^counter)
	return n
}

// erase zeroes the secret, the key and the iv.
func (e *epoch) erase() {
	if e == nil || e.aead == nil {
		return
	}
	e.secret.wipe()
	clear(e.iv[:])
	e.aead.erase()
	e.aead = nil
}
