package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// makeResumeRefusals gives testdata/resume/refused.json: what refusals_test.go makes of
// a first handshake, of the resume that File fixes. Each has one fault.
func makeResumeRefusals(t *testing.T) (all []refusedMessage) {
	t.Helper()
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		x := newResumed(t, suite)
		i, rs1 := x.initiate(t)
		_, rs2, err := x.respond(t, rs1)
		if err != nil {
			t.Fatal(err)
		}
		rs3, _, err := i.Consume(rs2)
		if err != nil {
			t.Fatal(err)
		}
		add := func(message, expect, name string, b []byte) {
			t.Helper()
			all = append(all, refusedMessage{fmt.Sprintf("suite-%04x.json", uint16(suite)), name, message, b, expect})
		}
		for message, msg := range map[string][]byte{"RS1": rs1, "RS2": rs2, "RS3": rs3} {
			for name, b := range badFrames(msg) {
				add(message, "malformed", name, b)
			}
			other := changed(msg, func(b []byte) { b[4] ^= 1 })
			if message == "RS1" {
				other = x.bound(other)
			}
			add(message, "session", "another session", other)
		}
		x.refuseRS1(t, add, rs1, rs2)
		x.refuseRS2(t, add, rs1, rs2)
		x.refuseRS3(t, add, rs1, rs2, rs3)
	}
	sortBy(all, func(m refusedMessage) string { return m.File + m.Message + m.Expect + m.Name })
	return all
}

// bound gives an RS1 with the binder that the session's keys make of the rest.
func (x *resumed) bound(rs1 []byte) []byte {
	rest := bytes.Clone(rs1[:len(rs1)-macSize])
	sum := pastOf(x.o.cur, 7).bind(&x.operator, x.operator.Self.Kid(), x.operator.Peer.Kid(), rest)
	return append(rest, sum[:]...)
}

func (x *resumed) refuseRS1(t *testing.T, add adder, good, rs2 []byte) {
	t.Helper()
	const generation, attempt, nonce, suites = headerSize, headerSize + 4, headerSize + 8, headerSize + 8 + nonceSize
	m, _, _, err := parseRS1(good)
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(m *hs1)) []byte {
		other := *m
		f(&other)
		return x.bound(resized(append(other.marshal(), make([]byte, macSize)...)))
	}
	count := func(at int, n uint32) []byte {
		return x.bound(changed(good, func(b []byte) { binary.BigEndian.PutUint32(b[at:], n) }))
	}
	add("RS1", "attempt", "the number of one that was answered", count(attempt, 6))
	add("RS1", "attempt", "number zero", count(attempt, 0))
	add("RS1", "binder", "the generation before", count(generation, 2))
	add("RS1", "binder", "a generation to come", count(generation, 4))
	add("RS1", "binder", "another attempt than bound", changed(good, func(b []byte) { b[attempt+3]++ }))
	add("RS1", "binder", "another nonce than bound", changed(good, func(b []byte) { b[nonce] ^= 1 }))
	add("RS1", "binder", "another point than bound", changed(good, func(b []byte) { b[suites+1+2*len(m.suites)] ^= 1 }))
	add("RS1", "binder", "the first byte of the binder", changed(good, func(b []byte) { b[len(b)-macSize] ^= 1 }))
	add("RS1", "binder", "the last byte of the binder", changed(good, func(b []byte) { b[len(b)-1] ^= 1 }))
	add("RS1", "binder", "no binder but zeros", changed(good, func(b []byte) { clear(b[len(b)-macSize:]) }))
	stranger := &past{place{3, 7}, &secret{1}, &secret{2}}
	sum := stranger.bind(&x.operator, x.operator.Self.Kid(), x.operator.Peer.Kid(), good[:len(good)-macSize])
	add("RS1", "binder", "bound by other keys", append(bytes.Clone(good[:len(good)-macSize]), sum[:]...))
	sum = pastOf(x.o.cur, 7).bind(&x.operator, x.operator.Peer.Kid(), x.operator.Self.Kid(), good[:len(good)-macSize])
	add("RS1", "binder", "bound with the two sides exchanged", append(bytes.Clone(good[:len(good)-macSize]), sum[:]...))
	first := *m
	first.place = nil
	add("RS1", "malformed", "a first handshake's HS1", first.marshal())
	add("RS1", "malformed", "without its binder", resized(bytes.Clone(good[:len(good)-macSize])))
	add("RS1", "malformed", "no suite", with(func(m *hs1) { m.suites, m.encaps = nil, nil }))
	add("RS1", "malformed", "a suite twice", with(func(m *hs1) { m.suites = append(m.suites[:1:1], m.suites[0]) }))
	add("RS1", "suite", "unknown suites only", with(func(m *hs1) { m.suites, m.encaps = []Suite{0x7777}, nil }))
	if x.agent.MinSuite == SuiteHybrid {
		add("RS1", "suite", "a weaker suite than the session has", with(func(m *hs1) { m.suites, m.encaps = []Suite{SuiteClassic}, nil }))
		add("RS1", "kem", "an ML-KEM key with coefficients out of range", with(func(m *hs1) { m.encaps = bytes.Repeat([]byte{0xff}, encapsSize) }))
	}
	add("RS1", "reflected", "the agent's own point", with(func(m *hs1) { copy(m.point[:], rs2[54:86]) }))
	for i, p := range lowOrder {
		add("RS1", "low order", fmt.Sprintf("point %d of low order", i), with(func(m *hs1) { copy(m.point[:], mustHex(p)) }))
	}
}

func (x *resumed) refuseRS2(t *testing.T, add adder, rs1, good []byte) {
	t.Helper()
	m, err := parseSecond(good, typeRS2)
	if err != nil {
		t.Fatal(err)
	}
	own, err := x.ro().private.Public()
	if err != nil {
		t.Fatal(err)
	}
	add("RS2", "reflected", "the operator's own point", changed(good, func(b []byte) { copy(b[54:], own[:]) }))
	add("RS2", "tag", "another nonce", changed(good, func(b []byte) { b[20] ^= 1 }))
	add("RS2", "tag", "the last byte of the tag", changed(good, func(b []byte) { b[len(b)-1] ^= 1 }))
	add("RS2", "malformed", "E2 one byte too short", resized(bytes.Clone(good[:len(m.clear)+sealedMin-1])))
	rest := x.v["rest_p2"]
	answer := func(expect, name string, past *secret, rest []byte, make func(th [hashSize]byte, keys *handshakeKeys) []byte) {
		t.Helper()
		clear := m.marshalClear(typeRS2, signatureSize+macSize+len(rest)+tagSize)
		th1, keys := x.handshakeKeys(t, rs1, clear, past)
		add("RS2", expect, name, onceAEAD{keys.a2o}.seal(clear, make(th1, keys), th1[:]))
	}
	honest := func(th [hashSize]byte, keys *handshakeKeys) []byte {
		return makeAuth(th, keys.finA, resumeAgent, x.agent.Self, rest)
	}
	answer("tag", "by who has the identity and not the session's keys", &secret{}, rest, honest)
	answer("signature", "signed in the context of a first handshake", pastOf(x.a.cur, 7).secret, rest, func(th [hashSize]byte, keys *handshakeKeys) []byte {
		return makeAuth(th, keys.finA, contextAgent, x.agent.Self, rest)
	})
	for _, f := range forgeries(x.agent.Self, resumeAgent, resumeOperator, rest) {
		answer(f.expect, f.name, pastOf(x.a.cur, 7).secret, f.rest, func(th [hashSize]byte, keys *handshakeKeys) []byte {
			return f.make(th, keys.finA, keys.finO)
		})
	}
}

func (x *resumed) refuseRS3(t *testing.T, add adder, rs1, rs2, good []byte) {
	t.Helper()
	m, err := parseSecond(rs2, typeRS2)
	if err != nil {
		t.Fatal(err)
	}
	th1, keys := x.handshakeKeys(t, rs1, m.clear, pastOf(x.o.cur, 7).secret)
	p2, err := onceAEAD{keys.a2o}.open(m.sealed, th1[:])
	if err != nil {
		t.Fatal(err)
	}
	th2 := hashOf(th1[:], p2)
	rest := x.v["rest_p3"]
	last := func(expect, name string, rest []byte, th [hashSize]byte, make func() []byte) {
		t.Helper()
		msg := marshalThird(typeRS3, x.operator.ID, signatureSize+macSize+len(rest)+tagSize)
		add("RS3", expect, name, onceAEAD{keys.o2a}.seal(msg, make(), th[:]))
	}
	add("RS3", "tag", "the last byte of the tag", changed(good, func(b []byte) { b[len(b)-1] ^= 1 }))
	add("RS3", "malformed", "E3 one byte too short", resized(bytes.Clone(good[:headerSize+sealedMin-1])))
	last("tag", "of another RS2", rest, th1, func() []byte { return makeAuth(th2, keys.finO, resumeOperator, x.operator.Self, rest) })
	last("signature", "signed in the context of a first handshake", rest, th2, func() []byte {
		return makeAuth(th2, keys.finO, contextOperator, x.operator.Self, rest)
	})
	for _, f := range forgeries(x.operator.Self, resumeOperator, resumeAgent, rest) {
		last(f.expect, f.name, f.rest, th2, func() []byte { return f.make(th2, keys.finO, keys.finA) })
	}
}

// Every refused message of a resume is refused for the reason that its vector names,
// with the one error outside, and the right one is taken afterwards.
func TestResumeRefusals(t *testing.T) {
	all := makeResumeRefusals(t)
	keep(t, "resume/refused.json", all)
	kinds := map[string]int{}
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		x := newResumed(t, suite)
		i, rs1 := x.initiate(t)
		r, rs2, err := x.respond(t, rs1)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.File != fmt.Sprintf("suite-%04x.json", uint16(suite)) {
				continue
			}
			var inner, outer error
			switch m.Message {
			case "RS1":
				_, _, inner = x.respond(t, m.Bytes)
				if outer = ErrHandshake; m.Expect != "reflected" { // a chain draws another point
					_, _, outer = x.a.Respond(x.agent, m.Bytes)
				}
			case "RS2":
				_, _, inner = i.consume(m.Bytes)
				_, _, outer = i.Consume(m.Bytes)
			case "RS3":
				_, inner = r.consume(m.Bytes)
				_, outer = r.Consume(m.Bytes)
			}
			if failure(inner) != m.Expect || outer != ErrHandshake {
				t.Errorf("%s, %s, %s: %q and %v, want %q", m.File, m.Message, m.Name, failure(inner), outer, m.Expect)
			}
			kinds[m.Expect]++
		}
		rs3, eo, err := i.Consume(rs2)
		if err != nil {
			t.Fatalf("the right RS2 afterwards: %v", err)
		}
		ea, err := r.Consume(rs3)
		if err != nil {
			t.Fatalf("the right RS3 afterwards: %v", err)
		}
		if x.a.attempt != 6 {
			t.Errorf("what was refused has moved the chain to attempt %d", x.a.attempt)
		}
		if _, _, err := x.a.Respond(x.agent, rs1); err != nil {
			t.Errorf("the right RS1 afterwards: %v", err)
		}
		eo.Close()
		ea.Close()
	}
	if len(kinds) != 11 {
		t.Errorf("kinds of failure: %v", kinds)
	}
}
