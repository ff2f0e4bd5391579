package session

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vector is one file of testdata/vectors. SPEC.md names every field.
type vector struct {
	Comment string `json:"comment"`
	Suite   Suite  `json:"suite"`

	// What is fixed.
	SeedOperator hexBytes `json:"seed_operator"` // Ed25519
	SeedAgent    hexBytes `json:"seed_agent"`
	ScalarO      hexBytes `json:"scalar_o"` // X25519
	ScalarA      hexBytes `json:"scalar_a"`
	SeedKEM      hexBytes `json:"seed_kem,omitempty"`   // ML-KEM-768 d || z
	RandomKEM    hexBytes `json:"random_kem,omitempty"` // encapsulation randomness
	TeamFP       hexBytes `json:"team_fp"`
	GH           hexBytes `json:"gh"`
	SessionID    hexBytes `json:"session_id"`
	RestP2       hexBytes `json:"rest_p2"`
	RestP3       hexBytes `json:"rest_p3"`

	// What follows from it.
	KidOperator hexBytes      `json:"kid_operator"`
	KidAgent    hexBytes      `json:"kid_agent"`
	HS1         hexBytes      `json:"hs1"`
	HS2         hexBytes      `json:"hs2"`
	HS3         hexBytes      `json:"hs3"`
	Prologue    hexBytes      `json:"prologue"`
	TH1         hexBytes      `json:"th1"`
	DH          hexBytes      `json:"dh"`
	KEMSecret   hexBytes      `json:"mlkem_secret,omitempty"`
	PRK         hexBytes      `json:"prk"`
	KeyA2O      hexBytes      `json:"k_hs_a2o"`
	KeyO2A      hexBytes      `json:"k_hs_o2a"`
	KeyFinA     hexBytes      `json:"k_fin_a"`
	KeyFinO     hexBytes      `json:"k_fin_o"`
	P2          hexBytes      `json:"p2"`
	TH2         hexBytes      `json:"th2"`
	P3          hexBytes      `json:"p3"`
	TH3         hexBytes      `json:"th3"`
	SecretO2A   hexBytes      `json:"secret_o2a_0"`
	SecretA2O   hexBytes      `json:"secret_a2o_0"`
	CidO2A      hexBytes      `json:"cid_o2a"`
	CidA2O      hexBytes      `json:"cid_a2o"`
	Exporter    hexBytes      `json:"exporter"`
	ExportTest  hexBytes      `json:"exporter_test_40"` // Exporter("test", 40)
	Records     []vectorBlock `json:"records"`
}

type vectorBlock struct {
	From     string   `json:"from"` // operator or agent
	Epoch    uint64   `json:"epoch"`
	Counter  uint64   `json:"counter"`
	Kind     Kind     `json:"kind"`
	Payload  hexBytes `json:"payload"`
	Datagram hexBytes `json:"datagram"`
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// makeVector runs the real handshake with fixed seeds and recomputes each
// intermediate from the package's own steps.
func makeVector(t *testing.T, suite Suite) *vector {
	t.Helper()
	fill := func(b byte, n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = b + byte(i)
		}
		return out
	}
	operator, agent := pair(t)
	seedO, seedA := [32]byte(fill(0x10, 32)), [32]byte(fill(0x30, 32))
	operator.Self, agent.Self = key.IdentityFromSeed(seedO), key.IdentityFromSeed(seedA)
	operator.Peer, agent.Peer = agent.Self.Public(), operator.Self.Public()
	for _, c := range []*Config{&operator, &agent} {
		c.ID, c.TeamFP, c.BundleHash = ID(fill(0xa0, 16)), [32]byte(fill(0xb0, 32)), [32]byte(fill(0xd0, 32))
	}
	v := &vector{
		Comment:      "TDH1, SPEC.md; all bytes in hexadecimal",
		Suite:        suite,
		SeedOperator: seedO[:], SeedAgent: seedA[:],
		ScalarO: fill(0x50, 32), ScalarA: fill(0x70, 32),
		TeamFP: operator.TeamFP[:], GH: operator.BundleHash[:], SessionID: operator.ID[:],
		RestP2: agent.Evidence.marshal(), RestP3: operator.Evidence.marshal(),
	}
	kidO, kidA := operator.Self.Kid(), agent.Self.Kid()
	v.KidOperator, v.KidAgent = kidO[:], kidA[:]

	operator.Suites = []Suite{suite}
	ro := &randomness{nonce: [32]byte(fill(1, 32)), private: key.SessionPrivateFromScalar([32]byte(v.ScalarO))}
	ra := &randomness{nonce: [32]byte(fill(2, 32)), private: key.SessionPrivateFromScalar([32]byte(v.ScalarA))}
	var kemSecret []byte
	if suite == SuiteHybrid {
		v.SeedKEM, v.RandomKEM = fill(0x40, mlkem.SeedSize), fill(0x90, 32)
		ro.kemSeed = [mlkem.SeedSize]byte(v.SeedKEM)
		ra.encapsulate = func(k *mlkem.EncapsulationKey768) (shared, ciphertext []byte) {
			shared, ciphertext, err := mlkemtest.Encapsulate768(k, v.RandomKEM)
			if err != nil {
				t.Fatal(err)
			}
			kemSecret = bytes.Clone(shared)
			return shared, ciphertext
		}
	}
	scalarO := key.SessionPrivateFromScalar([32]byte(v.ScalarO))
	pointA, err := ra.private.Public()
	if err != nil {
		t.Fatal(err)
	}
	i, hs1, err := initiate(operator, ro, nil)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := agent.suites()
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := respond(agent, accepted, hs1, ra, nil)
	if err != nil {
		t.Fatal(err)
	}
	hs3, eo, err := i.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	ea, err := r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	v.HS1, v.HS2, v.HS3 = hs1, hs2, hs3

	m2, err := parseHS2(hs2)
	if err != nil {
		t.Fatal(err)
	}
	dh, err := scalarO.Exchange(pointA)
	if err != nil {
		t.Fatal(err)
	}
	v.DH, v.KEMSecret = bytes.Clone(dh.Secret()), kemSecret
	v.Prologue = prologue(kidO, kidA, operator.TeamFP, operator.BundleHash)
	th1 := hashOf(v.Prologue, hs1, m2.clear)
	keys := deriveHandshake(th1, bytes.Clone(kemSecret), dh, nil)
	v.TH1, v.PRK = th1[:], keys.prk[:]
	v.KeyA2O, v.KeyO2A, v.KeyFinA, v.KeyFinO = keys.a2o[:], keys.o2a[:], keys.finA[:], keys.finO[:]
	if v.P2, err = (onceAEAD{keys.a2o}).open(m2.sealed, th1[:]); err != nil {
		t.Fatal(err)
	}
	th2 := hashOf(th1[:], v.P2)
	v.TH2 = th2[:]
	if v.P3, err = (onceAEAD{keys.o2a}).open(hs3[headerSize:], th2[:]); err != nil {
		t.Fatal(err)
	}
	th3 := hashOf(th2[:], v.P3)
	o2a, a2o, exporter := keys.deriveTraffic(th3)
	v.TH3, v.Exporter = th3[:], exporter[:]
	v.SecretO2A, v.SecretA2O = bytes.Clone(o2a.secret[:]), bytes.Clone(a2o.secret[:])
	v.CidO2A, v.CidA2O = o2a.connID[:], a2o.connID[:]
	if v.ExportTest, err = eo.Exporter("test", 40); err != nil {
		t.Fatal(err)
	}

	block := func(from string, s *sealer, d []byte, kind Kind, payload []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		v.Records = append(v.Records, vectorBlock{from, s.cur.number, s.counter - 1, kind, payload, d})
	}
	d, err := ea.Records().Accept(nil)
	block("agent", &ea.records.seal, d, KindAccept, nil, err)
	if _, _, err := eo.Records().Open(nil, d); err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{[]byte("keystroke"), fill(0, 63), fill(0, 64), fill(0, 1022), fill(0, 1023), fill(0, 1200)} {
		d, err = eo.Records().Seal(nil, payload)
		block("operator", &eo.records.seal, d, KindData, payload, err)
	}
	d, err = ea.Records().Seal(nil, []byte("echo"))
	block("agent", &ea.records.seal, d, KindData, []byte("echo"), err)
	eo.records.seal.bytes = RekeyBytes // the next record starts a new epoch
	for _, payload := range [][]byte{[]byte("next epoch"), nil} {
		d, err = eo.Records().Seal(nil, payload)
		block("operator", &eo.records.seal, d, KindData, payload, err)
	}
	return v
}

func TestVectors(t *testing.T) {
	for file, suite := range map[string]Suite{"suite-0001.json": SuiteClassic, "suite-0002.json": SuiteHybrid} {
		t.Run(file, func(t *testing.T) {
			got, err := json.MarshalIndent(makeVector(t, suite), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", "vectors", file)
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s differs from what the code does: the protocol has changed", path)
			}
		})
	}
}
