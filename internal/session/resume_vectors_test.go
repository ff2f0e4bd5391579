package session

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

// resumed is a resume with everything random fixed, after three others.
type resumed struct {
	v               map[string]hexBytes
	operator, agent Config
	o, a            *Chain
	ro, ra          func() *randomness // each call gives the values anew
}

func newResumed(t *testing.T, suite Suite) *resumed {
	t.Helper()
	operator, agent := pair(t)
	operator.Suites = []Suite{suite}
	seedO, seedA := fill(0x11, 32), fill(0x31, 32)
	operator.Self, agent.Self = key.IdentityFromSeed([32]byte(seedO)), key.IdentityFromSeed([32]byte(seedA))
	operator.Peer, agent.Peer = agent.Self.Public(), operator.Self.Public()
	for _, c := range []*Config{&operator, &agent} {
		c.ID, c.TeamFP, c.BundleHash, c.MinSuite = ID(fill(0xa1, 16)), [32]byte(fill(0xb1, 32)), [32]byte(fill(0xd1, 32)), suite
	}
	exporter := fill(0xe0, 32)
	end := func(responder bool) *Chain {
		s := func(b byte) *secret { return (*secret)(fill(b, 32)) }
		out, in := flow{s(1), [8]byte{1}}, flow{s(2), [8]byte{2}}
		if responder {
			out, in = in, out
		}
		e := &Established{
			ID: operator.ID, Suite: suite, place: place{generation: 3, attempt: 6},
			records: newRecords(out, in, responder), exporter: (*secret)(bytes.Clone(exporter)),
		}
		c := NewChain(e)
		c.attempt = 6
		return c
	}
	x := &resumed{operator: operator, agent: agent, o: end(false), a: end(true)}
	v := map[string]hexBytes{
		"seed_operator": seedO, "seed_agent": seedA, "nonce_o": fill(3, 32), "nonce_a": fill(4, 32), "scalar_o": fill(0x51, 32), "scalar_a": fill(0x71, 32),
		"team_fp": operator.TeamFP[:], "gh": operator.BundleHash[:], "session_id": operator.ID[:], "exporter": exporter,
		"generation": {0, 0, 0, 3}, "attempt": {0, 0, 0, 7},
		"rest_p2": agent.Evidence.marshal(), "rest_p3": operator.Evidence.marshal(),
	}
	x.v = v
	if suite == SuiteHybrid {
		v["seed_kem"], v["random_kem"] = fill(0x41, mlkem.SeedSize), fill(0x91, 32)
	}
	x.ro = func() *randomness {
		r := &randomness{nonce: [32]byte(v["nonce_o"]), private: key.SessionPrivateFromScalar([32]byte(v["scalar_o"]))}
		copy(r.kemSeed[:], v["seed_kem"])
		return r
	}
	x.ra = func() *randomness {
		r := &randomness{nonce: [32]byte(v["nonce_a"]), private: key.SessionPrivateFromScalar([32]byte(v["scalar_a"]))}
		r.encapsulate = func(k *mlkem.EncapsulationKey768) (shared, ciphertext []byte) {
			shared, ciphertext, err := mlkemtest.Encapsulate768(k, v["random_kem"])
			if err != nil {
				t.Fatal(err)
			}
			v["mlkem_secret"] = bytes.Clone(shared)
			return shared, ciphertext
		}
		return r
	}
	return x
}

func (x *resumed) initiate(t *testing.T) (*Initiator, []byte) {
	t.Helper()
	i, rs1, err := initiate(x.operator, x.ro(), pastOf(x.o.cur, 7))
	if err != nil {
		t.Fatal(err)
	}
	return i, rs1
}

// respond is the agent's answer with its inner reason.
func (x *resumed) respond(t *testing.T, rs1 []byte) (*Responder, []byte, error) {
	t.Helper()
	accepted, err := x.agent.suites()
	if err != nil {
		t.Fatal(err)
	}
	return respond(x.agent, accepted, rs1, x.ra(), func(at place) (*past, error) {
		switch {
		case at.attempt <= 6:
			return nil, errAttempt
		case at.generation != 3:
			return nil, errBinder
		}
		return pastOf(x.a.cur, at.attempt), nil
	})
}

// handshakeKeys runs the schedule up to th1 as somebody who knows both ephemeral
// secrets, and the given one of the session until now.
func (x *resumed) handshakeKeys(t *testing.T, rs1, clear []byte, past *secret) ([hashSize]byte, *handshakeKeys) {
	t.Helper()
	point, err := x.ra().private.Public()
	if err != nil {
		t.Fatal(err)
	}
	dh, err := x.ro().private.Exchange(point)
	if err != nil {
		t.Fatal(err)
	}
	th1 := hashOf(prologueOf(resumeName, x.operator.Self.Kid(), x.agent.Self.Kid(), x.operator.TeamFP, x.operator.BundleHash), rs1, clear)
	return th1, deriveHandshake(th1, bytes.Clone(x.v["mlkem_secret"]), dh, past)
}

// makeResumeVector runs a resume with fixed seeds. SPEC.md 9 names every value.
func makeResumeVector(t *testing.T, suite Suite) map[string]hexBytes {
	t.Helper()
	x := newResumed(t, suite)
	v, o, a, operator, agent := x.v, x.o, x.a, x.operator, x.agent
	p := pastOf(o.cur, 7)
	v["k_binder"], v["resume_secret"] = bytes.Clone(p.binder[:]), bytes.Clone(p.secret[:])
	i, rs1 := x.initiate(t)
	r, rs2, err := x.respond(t, rs1)
	if err != nil {
		t.Fatal(err)
	}
	o.attempt = 7
	a.attempt = 7
	rs3, eo, err := i.Consume(rs2)
	if err != nil {
		t.Fatal(err)
	}
	ea, err := r.Consume(rs3)
	if err != nil {
		t.Fatal(err)
	}
	v["rs1"], v["rs2"], v["rs3"], v["binder"] = rs1, rs2, rs3, rs1[len(rs1)-macSize:]
	v["prologue_r"] = prologueOf(resumeName, operator.Self.Kid(), agent.Self.Kid(), operator.TeamFP, operator.BundleHash)
	m2, err := parseSecond(rs2, typeRS2)
	if err != nil {
		t.Fatal(err)
	}
	point, err := x.ra().private.Public()
	if err != nil {
		t.Fatal(err)
	}
	dh, err := x.ro().private.Exchange(point)
	if err != nil {
		t.Fatal(err)
	}
	v["dh"] = bytes.Clone(dh.Secret())
	th1, keys := x.handshakeKeys(t, rs1, m2.clear, (*secret)(bytes.Clone(v["resume_secret"])))
	v["th1"], v["prk"] = th1[:], keys.prk[:]
	if v["p2"], err = (onceAEAD{keys.a2o}).open(m2.sealed, th1[:]); err != nil {
		t.Fatal(err)
	}
	th2 := hashOf(th1[:], v["p2"])
	if v["p3"], err = (onceAEAD{keys.o2a}).open(rs3[headerSize:], th2[:]); err != nil {
		t.Fatal(err)
	}
	th3 := hashOf(th2[:], v["p3"])
	o2a, a2o, next := keys.deriveTraffic(th3)
	v["th2"], v["th3"], v["exporter_next"] = th2[:], th3[:], next[:]
	v["secret_o2a_0"], v["secret_a2o_0"] = bytes.Clone(o2a.secret[:]), bytes.Clone(a2o.secret[:])
	v["cid_o2a"], v["cid_a2o"] = o2a.connID[:], a2o.connID[:]

	c := &chained{t: t, operator: operator, agent: agent, o: o, a: a}
	if o.Follow(eo) != nil || a.Follow(ea) != nil {
		t.Fatal("the resume was not taken")
	}
	if v["accept"], err = a.Accept(nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Open(nil, v["accept"]); err != nil {
		t.Fatal(err)
	}
	v["data"] = c.sealed(o)
	if _, _, err := a.Open(nil, v["data"]); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestResumeVectors(t *testing.T) {
	for file, suite := range map[string]Suite{"suite-0001.json": SuiteClassic, "suite-0002.json": SuiteHybrid} {
		t.Run(file, func(t *testing.T) { keep(t, filepath.Join("resume", file), makeResumeVector(t, suite)) })
	}
}
