package session

import (
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tucdesk/tucdesk/internal/key"
)

// The inner reasons of ErrHandshake. They never leave the package: tests look
// at them to know that the right check refused.
var (
	errSession   = errors.New("session: message of another session")
	errSuite     = errors.New("session: no common suite, or one that was not offered")
	errReflected = errors.New("session: the peer sent our own key share")
	errKEM       = errors.New("session: ML-KEM share refused")
	errSealed    = errors.New("session: sealed part does not open")
	errSignature = errors.New("session: transcript signature is wrong")
	errFinished  = errors.New("session: key confirmation is wrong")
	errBinder    = errors.New("session: not bound to the keys that this session has now")
	errAttempt   = errors.New("session: this resume, or a later one, was there before")
)

// A form is what tells a first handshake from a resume.
type form struct {
	protocol                      string
	second, third                 byte // types of messages
	contextAgent, contextOperator string
}

var (
	firstForm  = &form{protocolName, typeHS2, typeHS3, contextAgent, contextOperator}
	resumeForm = &form{resumeName, typeRS2, typeRS3, resumeAgent, resumeOperator}
)

// formOf gives the form of a handshake that follows past, or nothing.
func formOf(p *past) *form {
	if p == nil {
		return firstForm
	}
	return resumeForm
}

// randomness is everything random of one side. Tests put in fixed values.
type randomness struct {
	nonce       [nonceSize]byte
	private     key.SessionPrivate
	kemSeed     [mlkem.SeedSize]byte // initiator
	encapsulate func(*mlkem.EncapsulationKey768) (shared, ciphertext []byte)
}

func newRandomness() (*randomness, error) {
	r := &randomness{encapsulate: (*mlkem.EncapsulationKey768).Encapsulate}
	for _, b := range [][]byte{r.nonce[:], r.kemSeed[:]} {
		if _, err := io.ReadFull(rand.Reader, b); err != nil {
			return nil, fmt.Errorf("session: no randomness: %w", err)
		}
	}
	var err error
	r.private, err = key.GenerateSessionPrivate()
	return r, err
}

// An Initiator is the operator's side between HS1 and HS3. It is safe for
// concurrent use and serves one handshake.
type Initiator struct {
	mu      sync.Mutex
	cfg     *Config // nil when done; a pointer, so that printing what holds an Initiator stops here
	offered []Suite
	private key.SessionPrivate
	point   key.SessionPublic
	kem     *mlkem.DecapsulationKey768 // nil unless SuiteHybrid is offered
	hs1     []byte
	past    *past // nil but in a resume
	done    bool
}

// Initiate makes the first message. Errors are about the configuration.
func Initiate(cfg InitiatorConfig) (*Initiator, []byte, error) {
	r, err := newRandomness()
	if err != nil {
		return nil, nil, err
	}
	return initiate(cfg, r, nil)
}

func initiate(cfg Config, r *randomness, p *past) (*Initiator, []byte, error) {
	offered, err := cfg.suites()
	if err != nil {
		return nil, nil, err
	}
	i := &Initiator{cfg: &cfg, offered: offered, private: r.private, past: p}
	if i.point, err = i.private.Public(); err != nil {
		return nil, nil, err
	}
	msg := &hs1{id: cfg.ID, nonce: r.nonce, suites: offered, point: i.point}
	if slices.Contains(offered, SuiteHybrid) {
		if i.kem, err = mlkem.NewDecapsulationKey768(r.kemSeed[:]); err != nil {
			return nil, nil, fmt.Errorf("session: ML-KEM key: %w", err)
		}
		msg.encaps = i.kem.EncapsulationKey().Bytes()
	}
	clear(r.kemSeed[:])
	if p == nil {
		i.hs1 = msg.marshal()
	} else {
		msg.place = &p.place
		i.hs1 = msg.marshal()
		binder := p.bind(&cfg, cfg.Self.Kid(), cfg.Peer.Kid(), i.hs1)
		i.hs1 = append(i.hs1, binder[:]...)
	}
	return i, slices.Clone(i.hs1), nil
}

// Consume takes the agent's HS2 and gives HS3 and the session. A bad HS2 is
// ErrHandshake and changes nothing: the right one may still come. After success
// every further call is ErrState.
func (i *Initiator) Consume(hs2 []byte) (hs3 []byte, est *Established, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return nil, nil, ErrState
	}
	hs3, est, err = i.consume(hs2)
	if err != nil {
		return nil, nil, ErrHandshake
	}
	i.finish()
	return hs3, est, nil
}

// Abort gives the handshake up and erases its keys.
func (i *Initiator) Abort() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.finish()
}

func (i *Initiator) finish() {
	i.done = true
	i.private.Wipe()
	key.Erase(i.kem)
	i.kem = nil
	i.cfg = nil
	i.past.wipe()
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (i *Initiator) Format(f fmt.State, _ rune) { redact(f, "Initiator") }

func (i *Initiator) consume(b []byte) ([]byte, *Established, error) {
	// <- HS2
	f := formOf(i.past)
	m, err := parseSecond(b, f.second)
	switch {
	case err != nil:
		return nil, nil, err
	case m.id != i.cfg.ID:
		return nil, nil, errSession
	case !slices.Contains(i.offered, m.suite):
		return nil, nil, errSuite
	case m.point.Aliases(i.point):
		return nil, nil, errReflected
	}
	var kemSecret []byte
	if m.suite == SuiteHybrid {
		if kemSecret, err = i.kem.Decapsulate(m.ciphertext); err != nil {
			return nil, nil, errKEM
		}
	}
	dh, err := i.private.Exchange(m.point)
	if err != nil {
		clear(kemSecret)
		return nil, nil, err
	}
	self, peer := i.cfg.Self.Kid(), i.cfg.Peer.Kid()
	th1 := hashOf(prologueOf(f.protocol, self, peer, i.cfg.TeamFP, i.cfg.BundleHash), i.hs1, m.clear)
	keys := deriveHandshake(th1, kemSecret, dh, i.past.share())
	defer keys.wipe()
	p2, evidence, err := openAuth(onceAEAD{keys.a2o}, m.sealed, th1, keys.finA, f.contextAgent, i.cfg.Peer)
	if err != nil {
		return nil, nil, err
	}

	// -> HS3
	th2 := hashOf(th1[:], p2)
	rest := i.cfg.Evidence.marshal()
	p3 := makeAuth(th2, keys.finO, f.contextOperator, i.cfg.Self, rest)
	hs3 := marshalThird(f.third, i.cfg.ID, len(p3)+tagSize)
	hs3 = onceAEAD{keys.o2a}.seal(hs3, p3, th2[:])

	th3 := hashOf(th2[:], p3)
	o2a, a2o, exporter := keys.deriveTraffic(th3)
	return hs3, &Established{
		ID: i.cfg.ID, PeerKid: peer, Suite: m.suite, Peer: evidence, place: i.past.next(),
		records: newRecords(o2a, a2o, false), exporter: exporter,
	}, nil
}

// A Responder is the agent's side between HS2 and HS3. It is safe for
// concurrent use and serves one handshake.
type Responder struct {
	mu    sync.Mutex
	id    ID
	peer  key.Public
	suite Suite
	keys  *handshakeKeys
	th2   [hashSize]byte
	form  *form
	place place // of the session that this makes
	done  bool
}

// Respond takes the operator's HS1 and makes HS2. Call it only after the bundle
// was checked (trust.md 2.4, steps 1 to 5): HS2 proves the agent's identity to
// whoever asks. An HS1 that does not fit is ErrHandshake; other errors are
// about the configuration.
func Respond(cfg ResponderConfig, hs1 []byte) (*Responder, []byte, error) {
	accepted, err := cfg.suites()
	if err != nil {
		return nil, nil, err
	}
	r, err := newRandomness()
	if err != nil {
		return nil, nil, err
	}
	responder, hs2, err := respond(cfg, accepted, hs1, r, nil)
	if err != nil {
		return nil, nil, ErrHandshake
	}
	return responder, hs2, nil
}

// respond answers HS1 or, where before gives what the session had until now for its
// place, RS1.
func respond(cfg Config, accepted []Suite, b []byte, r *randomness, before func(place) (*past, error)) (*Responder, []byte, error) {
	defer r.private.Wipe()
	self, peer := cfg.Self.Kid(), cfg.Peer.Kid()
	// -> HS1
	var p *past
	var m1 *hs1
	var err error
	if before == nil {
		m1, err = parseHS1(b)
	} else {
		m1, p, err = openRS1(&cfg, b, before)
		defer p.wipe()
	}
	if err != nil {
		return nil, nil, err
	}
	f := formOf(p)
	if m1.id != cfg.ID {
		return nil, nil, errSession
	}
	// The initiator's order decides among what we accept; both lists have
	// dropped what is below the floor of their side.
	at := slices.IndexFunc(m1.suites, func(s Suite) bool { return slices.Contains(accepted, s) })
	if at < 0 {
		return nil, nil, errSuite
	}
	point, err := r.private.Public()
	if err != nil {
		return nil, nil, err
	}
	if m1.point.Aliases(point) {
		return nil, nil, errReflected
	}
	m2 := &hs2{id: cfg.ID, nonce: r.nonce, suite: m1.suites[at], point: point}
	var kemSecret []byte
	if m2.suite == SuiteHybrid {
		encaps, err := mlkem.NewEncapsulationKey768(m1.encaps)
		if err != nil {
			return nil, nil, errKEM
		}
		kemSecret, m2.ciphertext = r.encapsulate(encaps)
	}
	dh, err := r.private.Exchange(m1.point)
	if err != nil {
		clear(kemSecret)
		return nil, nil, err
	}

	// <- HS2
	rest := cfg.Evidence.marshal()
	msg := m2.marshalClear(f.second, signatureSize+macSize+len(rest)+tagSize)
	th1 := hashOf(prologueOf(f.protocol, peer, self, cfg.TeamFP, cfg.BundleHash), b, msg)
	keys := deriveHandshake(th1, kemSecret, dh, p.share())
	p2 := makeAuth(th1, keys.finA, f.contextAgent, cfg.Self, rest)
	msg = onceAEAD{keys.a2o}.seal(msg, p2, th1[:])
	return &Responder{
		id: cfg.ID, peer: cfg.Peer, suite: m2.suite,
		keys: keys, th2: hashOf(th1[:], p2), form: f, place: p.next(),
	}, msg, nil
}

// Consume takes the operator's HS3 and gives the session. A bad HS3 is
// ErrHandshake and changes nothing. After success every further call is
// ErrState.
func (r *Responder) Consume(hs3 []byte) (*Established, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil, ErrState
	}
	est, err := r.consume(hs3)
	if err != nil {
		return nil, ErrHandshake
	}
	r.finish()
	return est, nil
}

// Abort gives the handshake up and erases its keys.
func (r *Responder) Abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish()
}

func (r *Responder) finish() {
	r.done = true
	r.keys.wipe()
}

// Format implements fmt.Formatter: every verb prints the same redacted text.
func (r *Responder) Format(f fmt.State, _ rune) { redact(f, "Responder") }

func (r *Responder) consume(b []byte) (*Established, error) {
	// -> HS3
	id, sealed, err := parseThird(b, r.form.third)
	if err != nil {
		return nil, err
	}
	if id != r.id {
		return nil, errSession
	}
	p3, evidence, err := openAuth(onceAEAD{r.keys.o2a}, sealed, r.th2, r.keys.finO, r.form.contextOperator, r.peer)
	if err != nil {
		return nil, err
	}
	th3 := hashOf(r.th2[:], p3)
	o2a, a2o, exporter := r.keys.deriveTraffic(th3)
	return &Established{
		ID: r.id, PeerKid: r.peer.Kid(), Suite: r.suite, Peer: evidence, place: r.place,
		records: newRecords(a2o, o2a, true), exporter: exporter,
	}, nil
}

// makeAuth builds the plaintext of E2 or E3: signature and confirmation over
// the transcript so far and over what stands beside them.
func makeAuth(th [hashSize]byte, fin *secret, context string, self Signer, rest []byte) []byte {
	restHash := hashOf(rest)
	a := &auth{sig: self.Sign(context, th[:], restHash[:]), rest: rest}
	a.fin = mac(fin, th[:], a.sig[:])
	return a.marshal()
}

// openAuth is the inverse of makeAuth with every check. It gives the plaintext,
// for the transcript, and the evidence.
func openAuth(aead onceAEAD, sealed []byte, th [hashSize]byte, fin *secret, context string, peer key.Public) ([]byte, Evidence, error) {
	plain, err := aead.open(sealed, th[:])
	if err != nil {
		return nil, Evidence{}, errSealed
	}
	a, err := parseAuth(plain)
	if err != nil {
		return nil, Evidence{}, err
	}
	restHash := hashOf(a.rest)
	if !peer.Verify(context, a.sig, th[:], restHash[:]) {
		return nil, Evidence{}, errSignature
	}
	want := mac(fin, th[:], a.sig[:])
	if !hmac.Equal(want[:], a.fin[:]) {
		return nil, Evidence{}, errFinished
	}
	evidence, err := parseEvidence(a.rest)
	return plain, evidence, err
}
