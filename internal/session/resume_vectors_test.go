package session

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

// makeResumeVector runs a resume with fixed seeds. SPEC.md 9 names every value.
func makeResumeVector(t *testing.T, suite Suite) map[string]hexBytes {
	t.Helper()
	operator, agent := pair(t)
	operator.Suites = []Suite{suite}
	seedO, seedA := fill(0x11, 32), fill(0x31, 32)
	operator.Self, agent.Self = key.IdentityFromSeed([32]byte(seedO)), key.IdentityFromSeed([32]byte(seedA))
	operator.Peer, agent.Peer = agent.Self.Public(), operator.Self.Public()
	for _, c := range []*Config{&operator, &agent} {
		c.ID, c.TeamFP, c.BundleHash = ID(fill(0xa1, 16)), [32]byte(fill(0xb1, 32)), [32]byte(fill(0xd1, 32))
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
	o, a := end(false), end(true)
	v := map[string]hexBytes{
		"seed_operator": seedO, "seed_agent": seedA, "nonce_o": fill(3, 32), "nonce_a": fill(4, 32), "scalar_o": fill(0x51, 32), "scalar_a": fill(0x71, 32),
		"team_fp": operator.TeamFP[:], "gh": operator.BundleHash[:], "session_id": operator.ID[:], "exporter": exporter,
		"generation": {0, 0, 0, 3}, "attempt": {0, 0, 0, 7},
		"rest_p2": agent.Evidence.marshal(), "rest_p3": operator.Evidence.marshal(),
	}
	ro := &randomness{nonce: [32]byte(v["nonce_o"]), private: key.SessionPrivateFromScalar([32]byte(v["scalar_o"]))}
	ra := &randomness{nonce: [32]byte(v["nonce_a"]), private: key.SessionPrivateFromScalar([32]byte(v["scalar_a"]))}
	if suite == SuiteHybrid {
		v["seed_kem"], v["random_kem"] = fill(0x41, mlkem.SeedSize), fill(0x91, 32)
		ro.kemSeed = [mlkem.SeedSize]byte(v["seed_kem"])
		ra.encapsulate = func(k *mlkem.EncapsulationKey768) (shared, ciphertext []byte) {
			shared, ciphertext, err := mlkemtest.Encapsulate768(k, v["random_kem"])
			if err != nil {
				t.Fatal(err)
			}
			v["mlkem_secret"] = bytes.Clone(shared)
			return shared, ciphertext
		}
	}
	scalarO := key.SessionPrivateFromScalar([32]byte(v["scalar_o"]))
	pointA, err := ra.private.Public()
	if err != nil {
		t.Fatal(err)
	}
	p := pastOf(o.cur, 7)
	o.attempt = 7
	v["k_binder"], v["resume_secret"] = bytes.Clone(p.binder[:]), bytes.Clone(p.secret[:])
	i, rs1, err := initiate(operator, ro, p)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := agent.suites()
	if err != nil {
		t.Fatal(err)
	}
	r, rs2, err := respond(agent, accepted, rs1, ra, func(at place) (*past, error) { return pastOf(a.cur, at.attempt), nil })
	if err != nil {
		t.Fatal(err)
	}
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
	dh, err := scalarO.Exchange(pointA)
	if err != nil {
		t.Fatal(err)
	}
	v["dh"] = bytes.Clone(dh.Secret())
	th1 := hashOf(v["prologue_r"], rs1, m2.clear)
	keys := deriveHandshake(th1, bytes.Clone(v["mlkem_secret"]), dh, (*secret)(bytes.Clone(v["resume_secret"])))
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
