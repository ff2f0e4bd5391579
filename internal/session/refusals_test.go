package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// refusedMessage is one message of testdata/vectors/messages-refused.json. The
// state is that of the fixed handshake in File, up to where the message is
// expected: HS1 by the agent, HS2 by the operator, HS3 by the agent.
type refusedMessage struct {
	File    string   `json:"file"`
	Name    string   `json:"name"`
	Message string   `json:"message"` // HS1, HS2 or HS3
	Bytes   hexBytes `json:"bytes"`
	Expect  string   `json:"expect"` // a kind of failure of SPEC.md, section 8
}

// failure names the inner reason of a refusal as SPEC.md, section 8, does.
func failure(err error) string {
	for name, reason := range map[string]error{
		"malformed": errMalformed, "session": errSession, "suite": errSuite, "reflected": errReflected,
		"low order": key.ErrLowOrder, "kem": errKEM, "tag": errSealed, "signature": errSignature, "confirmation": errFinished,
		"attempt": errAttempt, "binder": errBinder,
	} {
		if errors.Is(err, reason) {
			return name
		}
	}
	return fmt.Sprint(err)
}

// lowOrder are points whose every multiple by an X25519 scalar is zero: zero,
// one, the two of order eight, p-1, p and p+1 (RFC 7748, section 6.1).
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// changed gives a copy of msg with f applied.
func changed(msg []byte, f func(b []byte)) []byte {
	b := bytes.Clone(msg)
	f(b)
	return b
}

func resized(msg []byte) []byte { return setLength(msg, len(msg)) }

// badFrames are the faults that every message can have.
func badFrames(msg []byte) map[string][]byte {
	other := byte(typeRS1)
	if msg[0] == typeRS1 {
		other = typeHS1
	}
	return map[string][]byte{
		"empty":                      {},
		"a header cut short":         msg[:headerSize-1],
		"a header alone":             resized(bytes.Clone(msg[:headerSize])),
		"another type":               changed(msg, func(b []byte) { b[0] = other }),
		"another version":            changed(msg, func(b []byte) { b[1] = 2 }),
		"a length one too high":      changed(msg, func(b []byte) { b[3]++ }),
		"a length one too low":       changed(msg, func(b []byte) { b[3]-- }),
		"a byte after the end":       append(bytes.Clone(msg), 0),
		"longer than any message is": resized(append(bytes.Clone(msg), make([]byte, MaxHandshake+1-len(msg))...)),
	}
}

func makeRefusals(t *testing.T) (all []refusedMessage) {
	t.Helper()
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		x := newFixture(t, suite)
		hs1, hs2, hs3, _, _ := x.shake(t)
		add := func(message, expect, name string, b []byte) {
			t.Helper()
			all = append(all, refusedMessage{fmt.Sprintf("suite-%04x.json", uint16(suite)), name, message, b, expect})
		}
		for message, msg := range map[string][]byte{"HS1": hs1, "HS2": hs2, "HS3": hs3} {
			for name, b := range badFrames(msg) {
				add(message, "malformed", name, b)
			}
			add(message, "session", "another session", changed(msg, func(b []byte) { b[4] ^= 1 }))
		}
		x.refuseHS1(add, hs1, hs2)
		x.refuseHS2(t, add, hs1, hs2)
		x.refuseHS3(t, add, hs1, hs2, hs3)
	}
	sortBy(all, func(m refusedMessage) string { return m.File + m.Message + m.Expect + m.Name })
	return all
}

type adder func(message, expect, name string, b []byte)

func (x *fixture) refuseHS1(add adder, hs1, hs2 []byte) {
	m, err := parseHS1(hs1)
	if err != nil {
		panic(err)
	}
	with := func(f func(m *hs1Parts)) []byte {
		p := hs1Parts{*m}
		f(&p)
		return p.marshal()
	}
	add("HS1", "malformed", "no suite", with(func(m *hs1Parts) { m.suites, m.encaps = nil, nil }))
	add("HS1", "malformed", "five suites", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{1, 3, 4, 5, 6}, nil }))
	add("HS1", "malformed", "suite zero", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{1, 0}, nil }))
	add("HS1", "malformed", "a suite twice", with(func(m *hs1Parts) { m.suites = append(m.suites, m.suites[0]) }))
	add("HS1", "malformed", "the hybrid suite without a key", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{2}, nil }))
	add("HS1", "malformed", "a key without the hybrid suite", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{1}, make([]byte, encapsSize) }))
	add("HS1", "malformed", "more suites than there are bytes", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{1, 3}, nil })[:87])
	add("HS1", "suite", "unknown suites only", with(func(m *hs1Parts) { m.suites, m.encaps = []Suite{0x7777, 0xffff}, nil }))
	add("HS1", "reflected", "the agent's own point", with(func(m *hs1Parts) { copy(m.point[:], hs2[54:86]) }))
	add("HS1", "reflected", "the agent's own point with the top bit set", with(func(m *hs1Parts) { copy(m.point[:], hs2[54:86]); m.point[31] ^= 0x80 }))
	for i, p := range lowOrder {
		add("HS1", "low order", fmt.Sprintf("point %d of low order", i), with(func(m *hs1Parts) { copy(m.point[:], mustHex(p)) }))
	}
	if m.encaps != nil {
		add("HS1", "kem", "an ML-KEM key with coefficients out of range", with(func(m *hs1Parts) { m.encaps = bytes.Repeat([]byte{0xff}, encapsSize) }))
	}
}

// hs1Parts has fields to change, and marshals whatever they say.
type hs1Parts struct{ hs1 }

func (x *fixture) refuseHS2(t *testing.T, add adder, hs1, good []byte) {
	t.Helper()
	m, err := parseHS2(good)
	if err != nil {
		t.Fatal(err)
	}
	add("HS2", "malformed", "an unknown suite", changed(good, func(b []byte) { b[52], b[53] = 0x77, 0x77 }))
	add("HS2", "malformed", "E2 one byte too short", resized(bytes.Clone(good[:len(m.clear)+sealedMin-1])))
	if m.suite == SuiteClassic {
		other := &hs2{id: m.id, nonce: m.nonce, suite: SuiteHybrid, point: m.point, ciphertext: make([]byte, ciphertext768)}
		add("HS2", "suite", "a suite that was not offered", append(other.marshalClear(typeHS2, len(m.sealed)), m.sealed...))
	} else {
		other := &hs2{id: m.id, nonce: m.nonce, suite: SuiteClassic, point: m.point}
		add("HS2", "suite", "a suite that was not offered", append(other.marshalClear(typeHS2, len(m.sealed)), m.sealed...))
		add("HS2", "tag", "another ML-KEM ciphertext", changed(good, func(b []byte) { b[86] ^= 1 }))
	}
	own, err := x.ro().private.Public()
	if err != nil {
		t.Fatal(err)
	}
	add("HS2", "reflected", "the operator's own point", changed(good, func(b []byte) { copy(b[54:], own[:]) }))
	add("HS2", "reflected", "the operator's own point with the top bit set", changed(good, func(b []byte) { copy(b[54:], own[:]); b[85] ^= 0x80 }))
	for i, p := range lowOrder {
		add("HS2", "low order", fmt.Sprintf("point %d of low order", i), changed(good, func(b []byte) { copy(b[54:], mustHex(p)) }))
	}
	add("HS2", "tag", "another nonce", changed(good, func(b []byte) { b[20] ^= 1 }))
	add("HS2", "tag", "another point", changed(good, func(b []byte) { b[54] ^= 1 }))
	add("HS2", "tag", "the point's ignored bit", changed(good, func(b []byte) { b[85] ^= 0x80 }))
	add("HS2", "tag", "the first byte of E2", changed(good, func(b []byte) { b[len(m.clear)] ^= 1 }))
	add("HS2", "tag", "the last byte of the tag", changed(good, func(b []byte) { b[len(b)-1] ^= 1 }))

	// Sealed with the right key by somebody who lacks something else.
	rest := x.v.RestP2
	for _, f := range forgeries(x.agent.Self, contextAgent, contextOperator, rest) {
		clear := m.marshalClear(typeHS2, signatureSize+macSize+len(f.rest)+tagSize)
		th1, keys := x.handshakeKeys(t, hs1, clear)
		p2 := f.make(th1, keys.finA, keys.finO)
		add("HS2", f.expect, f.name, onceAEAD{keys.a2o}.seal(clear, p2, th1[:]))
	}
}

func (x *fixture) refuseHS3(t *testing.T, add adder, hs1, hs2, good []byte) {
	t.Helper()
	add("HS3", "malformed", "E3 one byte too short", resized(bytes.Clone(good[:headerSize+sealedMin-1])))
	add("HS3", "tag", "the first byte of E3", changed(good, func(b []byte) { b[headerSize] ^= 1 }))
	add("HS3", "tag", "the last byte of the tag", changed(good, func(b []byte) { b[len(b)-1] ^= 1 }))
	m, err := parseHS2(hs2)
	if err != nil {
		t.Fatal(err)
	}
	th1, keys := x.handshakeKeys(t, hs1, m.clear)
	p2, err := onceAEAD{keys.a2o}.open(m.sealed, th1[:])
	if err != nil {
		t.Fatal(err)
	}
	th2 := hashOf(th1[:], p2)
	msg := marshalThird(typeHS3, x.operator.ID, len(p2)+tagSize)
	add("HS3", "tag", "E2's own plaintext, sent back", onceAEAD{keys.o2a}.seal(msg, p2, th1[:]))
	msg = marshalThird(typeHS3, x.operator.ID, len(p2)+tagSize)
	add("HS3", "signature", "E2's own plaintext, sealed for here", onceAEAD{keys.o2a}.seal(msg, p2, th2[:]))
	for _, f := range forgeries(x.operator.Self, contextOperator, contextAgent, x.v.RestP3) {
		msg := marshalThird(typeHS3, x.operator.ID, signatureSize+macSize+len(f.rest)+tagSize)
		add("HS3", f.expect, f.name, onceAEAD{keys.o2a}.seal(msg, f.make(th2, keys.finO, keys.finA), th2[:]))
	}
}

// handshakeKeys runs the schedule up to th1 as somebody who knows both
// ephemeral secrets.
func (x *fixture) handshakeKeys(t *testing.T, hs1, clear []byte) ([hashSize]byte, *handshakeKeys) {
	t.Helper()
	point, err := x.ra().private.Public()
	if err != nil {
		t.Fatal(err)
	}
	dh, err := x.ro().private.Exchange(point)
	if err != nil {
		t.Fatal(err)
	}
	th1 := hashOf(prologue(x.operator.Self.Kid(), x.agent.Self.Kid(), x.operator.TeamFP, x.operator.BundleHash), hs1, clear)
	return th1, deriveHandshake(th1, bytes.Clone(x.kemSecret), dh, nil)
}

// forgery is the plaintext of E2 or E3 with one thing wrong.
type forgery struct {
	expect, name string
	rest         []byte
	make         func(th [hashSize]byte, fin, otherFin *secret) []byte
}

func forgeries(self Signer, context, otherContext string, rest []byte) []forgery {
	mallory := key.IdentityFromSeed([32]byte{66})
	late := changed(rest, func(b []byte) { binary.BigEndian.PutUint64(b[8+hashSize:], maxSeconds+1) })
	long := append(bytes.Clone(rest[:evidenceSize]), make([]byte, MaxCheckpoint+1)...)
	return []forgery{
		{"signature", "signed by somebody else", rest, func(th [hashSize]byte, fin, _ *secret) []byte {
			return makeAuth(th, fin, context, mallory, rest)
		}},
		{"signature", "signed in the other side's context", rest, func(th [hashSize]byte, fin, _ *secret) []byte {
			return makeAuth(th, fin, otherContext, self, rest)
		}},
		{"signature", "signed over another transcript", rest, func(th [hashSize]byte, fin, _ *secret) []byte {
			other := th
			other[0] ^= 1
			p := makeAuth(other, fin, context, self, rest)
			sum := mac(fin, th[:], p[:signatureSize])
			copy(p[signatureSize:], sum[:])
			return p
		}},
		{"signature", "another rest than signed", rest, func(th [hashSize]byte, fin, _ *secret) []byte {
			return changed(makeAuth(th, fin, context, self, rest), func(b []byte) { b[len(b)-1] ^= 1 })
		}},
		{"confirmation", "confirmed with the other side's key", rest, func(th [hashSize]byte, _, otherFin *secret) []byte {
			return makeAuth(th, otherFin, context, self, rest)
		}},
		{"confirmation", "one bit of the confirmation", rest, func(th [hashSize]byte, fin, _ *secret) []byte {
			return changed(makeAuth(th, fin, context, self, rest), func(b []byte) { b[signatureSize] ^= 1 })
		}},
		{"malformed", "a clock after the year 9999", late, func(th [hashSize]byte, fin, _ *secret) []byte {
			return makeAuth(th, fin, context, self, late)
		}},
		{"malformed", "a checkpoint one byte too long", long, func(th [hashSize]byte, fin, _ *secret) []byte {
			return makeAuth(th, fin, context, self, long)
		}},
	}
}

// Every refused message is refused for the reason that its vector names, and
// with the one error outside.
func TestRefusalVectors(t *testing.T) {
	all := makeRefusals(t)
	keep(t, "vectors/messages-refused.json", all)
	kinds := map[string]int{}
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		x := newFixture(t, suite)
		hs1, hs2, hs3, _, _ := x.shake(t)
		i, _ := x.initiate(t)
		r, _, err := x.respond(t, hs1)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.File != fmt.Sprintf("suite-%04x.json", uint16(suite)) {
				continue
			}
			var inner, outer error
			switch m.Message {
			case "HS1":
				_, _, inner = x.respond(t, m.Bytes)
				if _, _, outer = Respond(x.agent, m.Bytes); m.Expect == "reflected" {
					outer = ErrHandshake // another agent's point is drawn
				}
			case "HS2":
				_, _, inner = i.consume(m.Bytes)
				_, _, outer = i.Consume(m.Bytes)
			case "HS3":
				_, inner = r.consume(m.Bytes)
				_, outer = r.Consume(m.Bytes)
			}
			if failure(inner) != m.Expect || outer != ErrHandshake {
				t.Errorf("%s, %s, %s: %q and %v, want %q", m.File, m.Message, m.Name, failure(inner), outer, m.Expect)
			}
			kinds[m.Expect]++
		}
		if _, _, err := i.Consume(hs2); err != nil {
			t.Errorf("the right HS2 afterwards: %v", err)
		}
		if _, err := r.Consume(hs3); err != nil {
			t.Errorf("the right HS3 afterwards: %v", err)
		}
	}
	if len(kinds) != 9 {
		t.Errorf("kinds of failure: %v", kinds)
	}
}

// recordStory is one session of testdata/vectors/records.json: the handshake of
// File with what arrives afterwards at one end.
type recordStory struct {
	File  string       `json:"file"`
	Name  string       `json:"name"`
	At    string       `json:"at"` // operator or agent
	Steps []recordStep `json:"steps"`
}

// recordStep is one datagram. Both ends were established at time zero, and the
// agent has sent one ACCEPT.
type recordStep struct {
	Milliseconds int64    `json:"ms"`
	Datagram     hexBytes `json:"datagram"`
	Expect       string   `json:"expect"` // opened, dropped or ended
	Why          string   `json:"why"`
	Kind         Kind     `json:"kind,omitempty"`
	Payload      hexBytes `json:"payload,omitempty"`
}

// forger makes any record of one direction.
type forger struct {
	connID [connIDSize]byte
	first  *epoch
}

func (f *forger) record(number, counter uint64, inner []byte) []byte {
	e := f.first
	for range number {
		e = e.next(1)
	}
	d := []byte{typeData, byte(number)}
	d = binary.BigEndian.AppendUint16(d, uint16(len(inner)+tagSize))
	d = append(d, f.connID[:]...)
	d = binary.BigEndian.AppendUint64(d, counter)
	nonce := e.nonce(counter)
	return e.aead.Seal(d, nonce[:], inner, d)
}

func (f *forger) data(number, counter uint64) []byte {
	return f.record(number, counter, append([]byte{'x', byte(KindData)}, make([]byte, 62)...))
}

func makeStories(t *testing.T) (all []recordStory) {
	t.Helper()
	x := newFixture(t, SuiteClassic)
	_, _, _, eo, ea := x.shake(t)
	fromO := &forger{eo.records.seal.connID, newEpoch(0, eo.records.seal.cur.secret)}
	fromA := &forger{ea.records.seal.connID, newEpoch(0, ea.records.seal.cur.secret)}

	story := func(name, at string, steps ...recordStep) {
		all = append(all, recordStory{"suite-0001.json", name, at, steps})
	}
	opened := func(d []byte, why string) recordStep {
		return recordStep{Datagram: d, Expect: "opened", Why: why, Kind: KindData, Payload: []byte("x")}
	}
	dropped := func(d []byte, why string) recordStep {
		return recordStep{Datagram: d, Expect: "dropped", Why: why}
	}
	ended := func(d []byte, why string) recordStep { return recordStep{Datagram: d, Expect: "ended", Why: why} }
	at := func(ms int64, s recordStep) recordStep { s.Milliseconds = ms; return s }

	d := fromO.data
	story("replay", "agent",
		opened(d(0, 0), "fresh"), dropped(d(0, 0), "marked"), opened(d(0, 3), "ahead"), opened(d(0, 1), "late"),
		dropped(d(0, 3), "marked"), dropped(d(0, 1), "marked"), opened(d(0, 2), "late"))
	story("floor of the window", "agent",
		opened(d(0, 2049), "2049 is the highest, so 2 is the floor"), dropped(d(0, 1), "below the floor"), opened(d(0, 2), "the floor"),
		dropped(d(0, 2), "marked"), opened(d(0, 100000), "far ahead"), dropped(d(0, 97952), "below the floor"), opened(d(0, 97953), "the floor"))
	bad := []recordStep{
		dropped(nil, "empty"), dropped(d(0, 0)[:headerSize], "a header alone"), dropped(d(0, 0)[:headerSize+tagSize], "shorter than a kind and a tag"),
		dropped(append(d(0, 0), 0), "a byte after the end"), dropped(changed(d(0, 0), func(b []byte) { b[3]++ }), "length"),
		dropped(changed(d(0, 0), func(b []byte) { b[0] = 0x11 }), "type"), dropped(changed(d(0, 0), func(b []byte) { b[4] ^= 1 }), "connection id"),
		dropped(changed(d(0, 0), func(b []byte) { b[1] = 1 }), "tag: another epoch"), dropped(changed(d(0, 0), func(b []byte) { b[19] = 1 }), "tag: another counter"),
		dropped(changed(d(0, 0), func(b []byte) { b[20] ^= 1 }), "tag: another ciphertext"), dropped(changed(d(0, 0), func(b []byte) { b[len(b)-1] ^= 1 }), "tag"),
		dropped(fromA.data(0, 0), "connection id: reflected to its sender"),
	}
	story("changed on the way", "agent", append(bad, opened(d(0, 0), "nothing above has used it up"))...)
	story("epochs", "agent",
		opened(d(0, 0), "epoch 0"), dropped(d(9, 0), "nine epochs ahead"), opened(d(1, 7), "the next epoch"), opened(d(1, 0), "late in it"),
		at(1999, opened(d(0, 1), "the epoch before, within 2 s")), at(2001, dropped(d(0, 2), "the epoch before, after 2 s")),
		at(2001, dropped(d(255, 0), "long gone")), at(2002, opened(d(2, 0), "the next epoch")), at(2003, dropped(d(0, 3), "two epochs behind")),
		at(2003, opened(d(1, 8), "the epoch before")), at(2003, dropped(d(1, 7), "marked in its epoch")),
		at(2004, dropped(d(11, 0), "nine epochs ahead")), at(2004, opened(d(10, 0), "eight epochs ahead")),
		at(2005, opened(d(2, 1), "the one that was current before")), at(2005, dropped(d(9, 0), "in between, where nothing was opened")),
		at(2005, opened(d(11, 0), "the next epoch")))
	story("highest counter", "agent",
		dropped(d(0, RekeyRecords), "no sender reaches it"), dropped(d(0, 1<<63), "no sender reaches it"), opened(d(0, RekeyRecords-1), "the last one"))
	story("padding", "agent",
		opened(fromO.record(0, 0, []byte{'x', 2}), "none"), opened(fromO.record(0, 1, append([]byte{'x', 2}, make([]byte, 2000)...)), "much"))
	for name, inner := range map[string][]byte{
		"all zeros": make([]byte, 64), "an unknown kind": {'x', 3}, "ACCEPT from the operator": {1},
	} {
		story(name, "agent", opened(d(0, 0), "so far, so good"), ended(fromO.record(0, 1, inner), name))
	}
	acceptStep := recordStep{Datagram: fromA.record(0, 0, append([]byte{1}, make([]byte, 63)...)), Expect: "opened", Kind: KindAccept, Why: "ACCEPT"}
	again := acceptStep
	again.Datagram = fromA.record(0, 1, append([]byte{1}, make([]byte, 63)...))
	story("ACCEPT", "operator", acceptStep, dropped(acceptStep.Datagram, "marked"), again, opened(fromA.data(0, 2), "DATA after ACCEPT"))
	story("ACCEPT with a payload", "operator", ended(fromA.record(0, 0, []byte{'x', 1}), "ACCEPT has none"))
	story("DATA before ACCEPT", "operator", ended(fromA.data(0, 0), "nothing comes before ACCEPT"))
	story("ACCEPT lost with its epoch", "operator", dropped(fromA.data(9, 0), "nine epochs ahead"), acceptStep)
	sortBy(all, func(s recordStory) string { return s.Name })
	return all
}

// What arrives is opened, dropped or the end, as its vector says.
func TestRecordVectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := makeStories(t)
		keep(t, "vectors/records.json", all)
		for _, s := range all {
			_, _, _, eo, ea := newFixture(t, SuiteClassic).shake(t)
			if _, err := ea.Records().Accept(nil); err != nil {
				t.Fatal(err)
			}
			began, end := time.Now(), ea.Records()
			if s.At == "operator" {
				end = eo.Records()
			}
			for n, step := range s.Steps {
				time.Sleep(time.Duration(step.Milliseconds)*time.Millisecond - time.Since(began))
				payload, kind, err := end.Open(nil, step.Datagram)
				got := "opened"
				switch {
				case errors.Is(err, ErrRecord):
					got = "dropped"
				case errors.Is(err, ErrOrder):
					got = "ended"
				case err != nil:
					t.Fatal(err)
				}
				if got != step.Expect || kind != step.Kind || !bytes.Equal(payload, step.Payload) {
					t.Errorf("%s, step %d (%s): %s, kind %d, %q, %v", s.Name, n, step.Why, got, kind, payload, err)
				}
			}
		}
	})
}
