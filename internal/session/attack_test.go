package session

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// started is a handshake with HS1 and HS2 exchanged.
type started struct {
	operator, agent Config
	i               *Initiator
	r               *Responder
	hs1, hs2        []byte
}

func start(t testing.TB, suite Suite) *started {
	t.Helper()
	s := &started{}
	s.operator, s.agent = pair(t)
	s.operator.Suites = []Suite{suite}
	var err error
	if s.i, s.hs1, err = Initiate(s.operator); err != nil {
		t.Fatal(err)
	}
	if s.r, s.hs2, err = Respond(s.agent, s.hs1); err != nil {
		t.Fatal(err)
	}
	return s
}

// mutations calls try with a change of each byte of msg; of each bit where to try
// costs no key exchange, which is up to the suites and in a third message; with
// cuts; and with one byte more.
func mutations(msg []byte, try func(what string, bad []byte)) {
	for bit := range 8 * len(msg) {
		third := msg[0] == typeHS3 || msg[0] == typeRS3
		if i := bit / 8; third || i < headerSize+nonceSize || bit%8 == i%8 {
			try(fmt.Sprintf("byte %d, bit %d", i, bit%8), changed(msg, func(b []byte) { b[i] ^= 1 << (bit % 8) }))
		}
	}
	for n := 0; n < len(msg); n += 1 + n/40 {
		try(fmt.Sprintf("cut to %d bytes", n), bytes.Clone(msg[:n]))
	}
	try("one byte more", append(bytes.Clone(msg), 0))
	bad := append(bytes.Clone(msg), 0)
	try("one byte more, and counted", setLength(bad, len(bad)))
}

// Whatever a message loses or gains, the other side gives the one error, and
// the right message still works afterwards.
func TestTampering(t *testing.T) {
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		t.Run(suite.String(), func(t *testing.T) {
			s := start(t, suite)
			mutations(s.hs1, func(what string, bad []byte) {
				r, hs2, err := Respond(s.agent, bad)
				if err != nil {
					if err != ErrHandshake || r != nil || hs2 != nil {
						t.Fatalf("HS1 %s: %v", what, err)
					}
					return
				}
				if _, est, err := s.i.Consume(hs2); err != ErrHandshake || est != nil {
					t.Fatalf("HS1 %s: the initiator took the answer: %v", what, err)
				}
			})
			mutations(s.hs2, func(what string, bad []byte) {
				hs3, est, err := s.i.Consume(bad)
				if err != ErrHandshake || hs3 != nil || est != nil {
					t.Fatalf("HS2 %s: %v", what, err)
				}
			})
			hs3, _, err := s.i.Consume(s.hs2)
			if err != nil {
				t.Fatalf("the right HS2 after bad ones: %v", err)
			}
			mutations(hs3, func(what string, bad []byte) {
				if est, err := s.r.Consume(bad); err != ErrHandshake || est != nil {
					t.Fatalf("HS3 %s: %v", what, err)
				}
			})
			if _, err := s.r.Consume(hs3); err != nil {
				t.Fatalf("the right HS3 after bad ones: %v", err)
			}
		})
	}
}

// Both ends must agree on everything that the prologue binds, and on who they are.
func TestBoundToContext(t *testing.T) {
	stranger := key.IdentityFromSeed([32]byte{99})
	for name, change := range map[string]func(operator, agent *Config){
		"another bundle":                   func(o, a *Config) { o.BundleHash[0] ^= 1 },
		"another team":                     func(o, a *Config) { a.TeamFP[31] ^= 1 },
		"an agent with another key":        func(o, a *Config) { a.Self = stranger },
		"an operator with another key":     func(o, a *Config) { o.Self = stranger },
		"agent expects another operator":   func(o, a *Config) { a.Peer = stranger.Public() },
		"operator expects another agent":   func(o, a *Config) { o.Peer = stranger.Public() },
		"agent expects another session id": func(o, a *Config) { a.ID[0] ^= 1 },
		"agent's floor is the hybrid":      func(o, a *Config) { o.Suites = []Suite{SuiteClassic}; a.MinSuite = SuiteHybrid },
	} {
		t.Run(name, func(t *testing.T) {
			operator, agent := pair(t)
			change(&operator, &agent)
			i, hs1, err := Initiate(operator)
			if err != nil {
				t.Fatal(err)
			}
			r, hs2, err := Respond(agent, hs1)
			if err != nil {
				if err != ErrHandshake {
					t.Fatal(err)
				}
				return
			}
			hs3, _, err := i.Consume(hs2)
			if err != nil {
				if err != ErrHandshake {
					t.Fatal(err)
				}
				return
			}
			if _, err := r.Consume(hs3); err != ErrHandshake {
				t.Fatalf("a session stands between two who disagree: %v", err)
			}
		})
	}
}

// An attacker who holds the agent's ephemeral secret and every handshake key,
// but no identity, must fail at the check that is meant for it. The table forges
// E2 with the right keys and one thing wrong.
func TestEachCheckRefusesAlone(t *testing.T) {
	mallory := key.IdentityFromSeed([32]byte{66})
	for name, row := range map[string]struct {
		forge func(th1 [hashSize]byte, keys *handshakeKeys, agent Config, rest []byte) []byte
		want  error
	}{
		"honest": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			return makeAuth(th1, k.finA, contextAgent, agent.Self, rest)
		}, nil},
		"signed by somebody else": {func(th1 [hashSize]byte, k *handshakeKeys, _ Config, rest []byte) []byte {
			return makeAuth(th1, k.finA, contextAgent, mallory, rest)
		}, errSignature},
		"the operator's context": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			return makeAuth(th1, k.finA, contextOperator, agent.Self, rest)
		}, errSignature},
		"signature of another transcript": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			other := th1
			other[0] ^= 1
			return makeAuth(other, k.finA, contextAgent, agent.Self, rest)
		}, errSignature},
		"other evidence than signed": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			p := makeAuth(th1, k.finA, contextAgent, agent.Self, rest)
			p[len(p)-1] ^= 1
			return p
		}, errSignature},
		"confirmation with the other side's key": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			return makeAuth(th1, k.finO, contextAgent, agent.Self, rest)
		}, errFinished},
		"no confirmation": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			p := makeAuth(th1, k.finA, contextAgent, agent.Self, rest)
			clear(p[signatureSize : signatureSize+macSize])
			return p
		}, errFinished},
		"a time after the year 9999": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			bad := bytes.Clone(rest)
			bad[8+hashSize] = 0xff
			return makeAuth(th1, k.finA, contextAgent, agent.Self, bad)
		}, errMalformed},
		"evidence too short": {func(th1 [hashSize]byte, k *handshakeKeys, agent Config, rest []byte) []byte {
			return makeAuth(th1, k.finA, contextAgent, agent.Self, rest[:evidenceSize-1])
		}, errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			operator, agent := pair(t)
			operator.Suites = []Suite{SuiteClassic}
			i, hs1Bytes, err := Initiate(operator)
			if err != nil {
				t.Fatal(err)
			}
			ephemeral, err := key.GenerateSessionPrivate()
			if err != nil {
				t.Fatal(err)
			}
			point, err := ephemeral.Public()
			if err != nil {
				t.Fatal(err)
			}
			dh, err := ephemeral.Exchange(i.point)
			if err != nil {
				t.Fatal(err)
			}
			rest := agent.Evidence.marshal()
			m := &hs2{id: operator.ID, suite: SuiteClassic, point: point}
			size := signatureSize + macSize + len(rest)
			if name == "evidence too short" {
				size = signatureSize + macSize + evidenceSize - 1
			}
			msg := m.marshalClear(typeHS2, size+tagSize)
			th1 := hashOf(prologue(operator.Self.Kid(), agent.Self.Kid(), operator.TeamFP, operator.BundleHash), hs1Bytes, msg)
			keys := deriveHandshake(th1, nil, dh, nil)
			msg = onceAEAD{keys.a2o}.seal(msg, row.forge(th1, keys, agent, rest), th1[:])
			if _, _, err := i.consume(msg); !errors.Is(err, row.want) {
				t.Fatalf("inner reason %v, want %v", err, row.want)
			}
		})
	}
}

func TestReflectionAndWeakPoints(t *testing.T) {
	s := start(t, SuiteClassic)
	m, err := parseHS2(s.hs2)
	if err != nil {
		t.Fatal(err)
	}
	put := func(p key.SessionPublic) []byte {
		bad := bytes.Clone(s.hs2)
		copy(bad[54:], p[:])
		return bad
	}
	alias := s.i.point
	alias[31] ^= 0x80
	var zero key.SessionPublic
	for name, row := range map[string]struct {
		msg  []byte
		want error
	}{
		"our own point":           {put(s.i.point), errReflected},
		"our own point, aliased":  {put(alias), errReflected},
		"the all-zero point":      {put(zero), key.ErrLowOrder},
		"the point one":           {put(key.SessionPublic{1}), key.ErrLowOrder},
		"a suite not offered":     {(&hs2{id: m.id, suite: SuiteHybrid, point: m.point, ciphertext: make([]byte, ciphertext768)}).marshalClear(typeHS2, sealedMin), errMalformed},
		"our own first message":   {s.hs1, errMalformed},
		"HS2 of another session":  {append([]byte{2, 1, s.hs2[2], s.hs2[3], 9}, s.hs2[5:]...), errSession},
		"a point that is nothing": {put(key.SessionPublic{7, 7}), errSealed},
	} {
		if _, _, err := s.i.consume(row.msg); !errors.Is(err, row.want) {
			t.Errorf("%s: inner reason %v, want %v", name, err, row.want)
		}
	}
	full := append((&hs2{id: m.id, suite: SuiteHybrid, point: m.point, ciphertext: make([]byte, ciphertext768)}).marshalClear(typeHS2, sealedMin), make([]byte, sealedMin)...)
	if _, _, err := s.i.consume(full); !errors.Is(err, errSuite) {
		t.Errorf("a suite not offered: inner reason %v, want %v", err, errSuite)
	}
	bad := bytes.Clone(s.hs1)
	clear(bad[55:87])
	if _, _, err := Respond(s.agent, bad); err != ErrHandshake {
		t.Errorf("HS1 with the all-zero point: %v", err)
	}
}

// The responder's own checks of HS1, which a wrong transcript would only catch later.
func TestResponderRefusesAlone(t *testing.T) {
	operator, agent := pair(t)
	accepted, err := agent.suites()
	if err != nil {
		t.Fatal(err)
	}
	i, hs1Bytes, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		change func(m *hs1, own *randomness)
		want   error
	}{
		"another session":                 {func(m *hs1, _ *randomness) { m.id[0] ^= 1 }, errSession},
		"no common suite":                 {func(m *hs1, _ *randomness) { m.suites, m.encaps = []Suite{0x7777}, nil }, errSuite},
		"the responder's own point":       {func(m *hs1, own *randomness) { m.point, _ = own.private.Public() }, errReflected},
		"an alias of it":                  {func(m *hs1, own *randomness) { m.point, _ = own.private.Public(); m.point[31] ^= 0x80 }, errReflected},
		"an ML-KEM key that is none":      {func(m *hs1, _ *randomness) { m.encaps = bytes.Repeat([]byte{0xff}, encapsSize) }, errKEM},
		"a point of low order":            {func(m *hs1, _ *randomness) { m.point = key.SessionPublic{1} }, key.ErrLowOrder},
		"nothing wrong (the control row)": {func(*hs1, *randomness) {}, nil},
	} {
		m, err := parseHS1(hs1Bytes)
		if err != nil {
			t.Fatal(err)
		}
		own, err := newRandomness()
		if err != nil {
			t.Fatal(err)
		}
		row.change(m, own)
		if _, _, err := respond(agent, accepted, m.marshal(), own, nil); !errors.Is(err, row.want) {
			t.Errorf("%s: inner reason %v, want %v", name, err, row.want)
		}
	}
	i.Abort()
}

// A relay that strips the hybrid suite from the offer gains nothing.
func TestDowngrade(t *testing.T) {
	operator, agent := pair(t)
	i, hs1Bytes, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseHS1(hs1Bytes)
	if err != nil {
		t.Fatal(err)
	}
	m.suites, m.encaps = []Suite{SuiteClassic}, nil
	_, hs2, err := Respond(agent, m.marshal())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.consume(hs2); !errors.Is(err, errSealed) {
		t.Fatalf("inner reason %v, want %v", err, errSealed)
	}
	agent.MinSuite = SuiteHybrid
	if _, _, err := Respond(agent, m.marshal()); err != ErrHandshake {
		t.Fatalf("below the agent's floor: %v", err)
	}
}

func TestParseHS1Refuses(t *testing.T) {
	good := &hs1{id: ID{1}, suites: []Suite{SuiteClassic}}
	for name, m := range map[string]*hs1{
		"no suites":              {id: ID{1}},
		"suite zero":             {id: ID{1}, suites: []Suite{0}},
		"one suite twice":        {id: ID{1}, suites: []Suite{1, 1}},
		"five suites":            {id: ID{1}, suites: []Suite{1, 3, 4, 5, 6}},
		"hybrid without its key": {id: ID{1}, suites: []Suite{SuiteHybrid}},
		"key without hybrid":     {id: ID{1}, suites: []Suite{SuiteClassic}, encaps: make([]byte, encapsSize)},
	} {
		if _, err := parseHS1(m.marshal()); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	if _, err := parseHS1(good.marshal()); err != nil {
		t.Error(err)
	}
	unknown := &hs1{id: ID{1}, suites: []Suite{0x7777, SuiteClassic}}
	if _, err := parseHS1(unknown.marshal()); err != nil {
		t.Errorf("an unknown suite must be passed over: %v", err)
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no id":                  func(c *Config) { c.ID = ID{} },
		"no identity":            func(c *Config) { c.Self = key.Identity{} },
		"no peer":                func(c *Config) { c.Peer = key.Public{} },
		"a session with oneself": func(c *Config) { c.Peer = c.Self.Public() },
		"no team":                func(c *Config) { c.TeamFP = [32]byte{} },
		"no bundle":              func(c *Config) { c.BundleHash = [32]byte{} },
		"no time":                func(c *Config) { c.Evidence.Time = time.Time{} },
		"checkpoint too long":    func(c *Config) { c.Evidence.Checkpoint = make([]byte, MaxCheckpoint+1) },
		"empty list of suites":   func(c *Config) { c.Suites = []Suite{} },
		"unknown suite":          func(c *Config) { c.Suites = []Suite{3} },
		"suite twice":            func(c *Config) { c.Suites = []Suite{1, 1} },
		"all below the floor":    func(c *Config) { c.Suites, c.MinSuite = []Suite{1}, 2 },
		"floor above all":        func(c *Config) { c.MinSuite = 3 },
	} {
		operator, agent := pair(t)
		_, hs1, err := Initiate(operator)
		if err != nil {
			t.Fatal(err)
		}
		change(&operator)
		change(&agent)
		if _, _, err := Initiate(operator); err == nil || errors.Is(err, ErrHandshake) {
			t.Errorf("%s: Initiate: %v", name, err)
		}
		if _, _, err := Respond(agent, hs1); err == nil || errors.Is(err, ErrHandshake) {
			t.Errorf("%s: Respond: %v", name, err)
		}
	}
}

func TestLargestHandshake(t *testing.T) {
	operator, agent := pair(t)
	operator.Evidence.Checkpoint = bytes.Repeat([]byte{'o'}, MaxCheckpoint)
	agent.Evidence.Checkpoint = bytes.Repeat([]byte{'a'}, MaxCheckpoint)
	_, hs1, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	_, hs2, err := Respond(agent, hs1)
	if err != nil || len(hs2) != MaxHandshake {
		t.Fatalf("HS2 of %d bytes, want %d, %v", len(hs2), MaxHandshake, err)
	}
	o, a := shake(t, operator, agent)
	if len(o.Peer.Checkpoint) != MaxCheckpoint || len(a.Peer.Checkpoint) != MaxCheckpoint {
		t.Fatal("checkpoints were cut")
	}
}

func TestSingleUse(t *testing.T) {
	s := start(t, SuiteHybrid)
	hs3, _, err := s.i.Consume(s.hs2)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.i.Consume(s.hs2); err != ErrState {
		t.Fatalf("a second HS2: %v", err)
	}
	if _, err := s.r.Consume(hs3); err != nil {
		t.Fatal(err)
	}
	if _, err := s.r.Consume(hs3); err != ErrState {
		t.Fatalf("a second HS3: %v", err)
	}
	s = start(t, SuiteClassic)
	s.i.Abort()
	if _, _, err := s.i.Consume(s.hs2); err != ErrState {
		t.Fatalf("HS2 after Abort: %v", err)
	}
	s.r.Abort()
	if _, err := s.r.Consume(hs3); err != ErrState {
		t.Fatalf("HS3 after Abort: %v", err)
	}
}

// Two handshakes with the same configuration share no byte that matters.
func TestNothingRepeats(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, b []byte) {
		t.Helper()
		if old, ok := seen[string(b)]; ok {
			t.Fatalf("%s repeats %s", what, old)
		}
		seen[string(b)] = what
	}
	operator, agent := pair(t)
	for range 10 {
		i, hs1, err := Initiate(operator)
		if err != nil {
			t.Fatal(err)
		}
		r, hs2, err := Respond(agent, hs1)
		if err != nil {
			t.Fatal(err)
		}
		hs3, o, err := i.Consume(hs2)
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Consume(hs3)
		if err != nil {
			t.Fatal(err)
		}
		accept(t, o, a)
		d, err := o.Records().Seal(nil, []byte("same"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := o.Exporter("same", 32)
		if err != nil {
			t.Fatal(err)
		}
		for what, b := range map[string][]byte{
			"nonce_o": hs1[20:52], "nonce_a": hs2[20:52], "epk_a": hs2[54:86], "E3": hs3[20:],
			"datagram": d[20:], "exporter": e, "cid_o2a": o.records.seal.connID[:], "cid_a2o": o.records.open.connID[:],
			"secret_o2a": o.records.seal.cur.secret[:], "secret_a2o": o.records.open.cur.secret[:],
		} {
			note(what, b)
		}
	}
}

// After use nothing is left that could open what was recorded.
func TestKeysAreErased(t *testing.T) {
	s := start(t, SuiteHybrid)
	private, keys := s.i.private, s.r.keys
	hs3, o, err := s.i.Consume(s.hs2)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	if !private.IsZero() || s.i.kem != nil || s.i.cfg != nil {
		t.Error("the initiator keeps keys after the handshake")
	}
	for _, k := range []*secret{keys.prk, keys.a2o, keys.o2a, keys.finA, keys.finO} {
		if *k != (secret{}) {
			t.Error("the responder keeps keys after the handshake")
		}
	}
	dh, err := key.SessionPrivateFromScalar([32]byte{1}).Exchange(key.SessionPublic{9})
	if err != nil {
		t.Fatal(err)
	}
	kem := bytes.Repeat([]byte{1}, 32)
	deriveHandshake([hashSize]byte{}, kem, dh, nil)
	if !bytes.Equal(kem, make([]byte, 32)) || !bytes.Equal(dh.Secret(), make([]byte, 32)) {
		t.Error("the key schedule leaves its inputs behind")
	}
	accept(t, o, a)
	d, err := a.Records().Seal(nil, []byte("late"))
	if err != nil {
		t.Fatal(err)
	}
	left := []*secret{o.exporter, o.records.seal.cur.secret, o.records.open.cur.secret}
	o.Close()
	o.Close()
	for _, k := range left {
		if *k != (secret{}) {
			t.Error("the session keeps keys after Close")
		}
	}
	if _, _, err := o.Records().Open(nil, d); err != ErrState {
		t.Errorf("Open after Close: %v", err)
	}
	if _, err := o.Records().Seal(nil, nil); err != ErrState {
		t.Errorf("Seal after Close: %v", err)
	}
	if _, err := o.Exporter("x", 32); !errors.Is(err, ErrState) {
		t.Errorf("Exporter after Close: %v", err)
	}
	for _, n := range []int{-1, 0, 255*hashSize + 1} {
		if _, err := a.Exporter("x", n); !errors.Is(err, ErrState) {
			t.Errorf("Exporter of %d bytes: %v", n, err)
		}
	}
}

// No verb prints a key, not even of a struct that holds the types.
func TestNoKeyIsPrinted(t *testing.T) {
	operator, agent := pair(t)
	i, hs1, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	scalar := [32]byte{1, 2, 3, 0xca, 0xfe, 0xba, 0xbe}
	i.private = key.SessionPrivateFromScalar(scalar)
	r, _, err := Respond(agent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := shake(t, operator, agent)
	dh, err := i.private.Exchange(key.SessionPublic{9})
	if err != nil {
		t.Fatal(err)
	}
	canaries := [][]byte{
		scalar[:], make([]byte, 32), dh.Secret(), r.keys.prk[:], r.keys.a2o[:], r.keys.finO[:],
		o.exporter[:], o.records.seal.cur.secret[:], o.records.open.cur.secret[:], o.records.seal.cur.iv[:],
	}
	canaries[1][0] = 1 // the operator's seed, see pair
	type holder struct {
		I *Initiator
		R *Responder
		E *Established
		P *Records
		K key.SessionPrivate
		S key.SharedSecret
		C Config
		i *Initiator
		r *Responder
		e *Established
		k key.SessionPrivate
		s key.SharedSecret
		c Config
	}
	h := holder{i, r, o, o.Records(), i.private, dh, operator, i, r, o, i.private, dh, operator}
	values := []any{i, r, o, o.Records(), i.private, &i.private, dh, &dh, operator, &operator, h, &h, []any{h}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%T", "%p", "%o", "%b", "%c", "%U"} {
		for at, v := range values {
			text := fmt.Sprintf(verb, v)
			for n, c := range canaries {
				for _, form := range []string{
					string(c), hex.EncodeToString(c), fmt.Sprintf("%X", c), fmt.Sprintf("%d", c), fmt.Sprintf("% x", c), fmt.Sprintf("%#v", c)[7:],
					base64.StdEncoding.EncodeToString(c), base64.RawURLEncoding.EncodeToString(c), fmt.Sprintf("%q", string(c)), fmt.Sprintf("%o", c),
				} {
					if bytes.Contains([]byte(text), []byte(form)) {
						t.Fatalf("value %d under %s shows canary %d", at, verb, n)
					}
				}
			}
		}
	}
	if got := fmt.Sprint(i, r, o, o.Records()); got != "session.Initiator(redacted) session.Responder(redacted) session.Established(redacted) session.Records(redacted)" {
		t.Error(got)
	}
	if _, err := i.private.MarshalText(); err == nil {
		t.Error("a session key became text")
	}
	if _, err := dh.MarshalText(); err == nil {
		t.Error("a shared secret became text")
	}
}

func TestIDText(t *testing.T) {
	id, err := NewID()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseID(id.String())
	if err != nil || back != id || id.IsZero() {
		t.Fatalf("%v became %v, %v", id, back, err)
	}
	text, err := id.MarshalText()
	var again ID
	if err != nil || again.UnmarshalText(text) != nil || again != id {
		t.Fatalf("%s became %v, %v", text, again, err)
	}
	for _, bad := range []string{"", "00", id.String() + "0", "A" + id.String()[1:], "g" + id.String()[1:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q parsed", bad)
		}
	}
}

func FuzzHS1(f *testing.F) {
	operator, agent := pair(f)
	for _, suites := range [][]Suite{{SuiteClassic}, {SuiteHybrid}, nil} {
		operator.Suites = suites
		_, hs1, err := Initiate(operator)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(hs1)
	}
	addVectors(f, "HS1", "hs1", "rs1")
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseHS1(b); err == nil && !bytes.Equal(m.marshal(), b) {
			t.Fatal("parsed, but there is another encoding")
		}
		if _, _, err := Respond(agent, b); err != nil && err != ErrHandshake {
			t.Fatal(err)
		}
	})
}

func FuzzHS2(f *testing.F) {
	addVectors(f, "HS2", "hs2", "rs2")
	var sides []*started
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		s := start(f, suite)
		f.Add(s.hs2)
		sides = append(sides, s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseHS2(b); err == nil && !bytes.Equal(append(m.marshalClear(typeHS2, len(m.sealed)), m.sealed...), b) {
			t.Fatal("parsed, but there is another encoding")
		}
		for _, s := range sides {
			if slices.Equal(b, s.hs2) {
				continue
			}
			if _, _, err := s.i.Consume(b); err != ErrHandshake {
				t.Fatal(err)
			}
		}
	})
}

func FuzzHS3(f *testing.F) {
	addVectors(f, "HS3", "hs3", "rs3")
	s := start(f, SuiteClassic)
	hs3, _, err := s.i.Consume(s.hs2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hs3)
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, sealed, err := parseHS3(b); err == nil && !bytes.Equal(append(marshalThird(typeHS3, id, len(sealed)), sealed...), b) {
			t.Fatal("parsed, but there is another encoding")
		}
		if slices.Equal(b, hs3) {
			return
		}
		if _, err := s.r.Consume(b); err != ErrHandshake {
			t.Fatal(err)
		}
		if a, err := parseAuth(b); err == nil && !bytes.Equal(a.marshal(), b) {
			t.Fatal("E2/E3: parsed, but there is another encoding")
		}
		if e, err := parseEvidence(b); err == nil && !bytes.Equal(e.marshal(), b) {
			t.Fatal("evidence: parsed, but there is another encoding")
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		b.Run(suite.String(), func(b *testing.B) {
			operator, agent := pair(b)
			operator.Suites = []Suite{suite}
			for b.Loop() {
				shake(b, operator, agent)
			}
		})
	}
}
