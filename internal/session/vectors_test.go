package session

import (
	"bytes"
	"cmp"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

// vector is one file of testdata/vectors. SPEC.md names every field.
type vector struct {
	Comment string `json:"comment"`
	Suite   Suite  `json:"suite"`

	// What is fixed.
	SeedOperator hexBytes `json:"seed_operator"` // Ed25519
	SeedAgent    hexBytes `json:"seed_agent"`
	NonceO       hexBytes `json:"nonce_o"`
	NonceA       hexBytes `json:"nonce_a"`
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
	SigA        hexBytes      `json:"sig_a"`
	FinA        hexBytes      `json:"fin_a"`
	P2          hexBytes      `json:"p2"`
	E2          hexBytes      `json:"e2"`
	TH2         hexBytes      `json:"th2"`
	SigO        hexBytes      `json:"sig_o"`
	FinO        hexBytes      `json:"fin_o"`
	P3          hexBytes      `json:"p3"`
	E3          hexBytes      `json:"e3"`
	TH3         hexBytes      `json:"th3"`
	SecretO2A   hexBytes      `json:"secret_o2a_0"`
	SecretA2O   hexBytes      `json:"secret_a2o_0"`
	CidO2A      hexBytes      `json:"cid_o2a"`
	CidA2O      hexBytes      `json:"cid_a2o"`
	Exporter    hexBytes      `json:"exporter"`
	ExportTest  hexBytes      `json:"exporter_test_40"` // Exporter("test", 40)
	Epochs      []vectorEpoch `json:"epochs"`
	Records     []vectorBlock `json:"records"`
}

// vectorEpoch is what SPEC.md 5.1 derives for one epoch of a direction.
type vectorEpoch struct {
	Way    string   `json:"way"` // o2a or a2o
	Epoch  uint64   `json:"epoch"`
	Secret hexBytes `json:"secret"`
	Key    hexBytes `json:"key"`
	IV     hexBytes `json:"iv"`
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

// fill gives n bytes that count up from b.
func fill(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b + byte(i)
	}
	return out
}

// fixture is a handshake with everything random fixed.
type fixture struct {
	v               *vector
	operator, agent Config
	ro, ra          func() *randomness // each call gives the values anew
	kemSecret       []byte             // what the agent encapsulated last
}

func newFixture(t *testing.T, suite Suite) *fixture {
	t.Helper()
	x := &fixture{}
	x.operator, x.agent = pair(t)
	seedO, seedA := [32]byte(fill(0x10, 32)), [32]byte(fill(0x30, 32))
	x.operator.Self, x.agent.Self = key.IdentityFromSeed(seedO), key.IdentityFromSeed(seedA)
	x.operator.Peer, x.agent.Peer = x.agent.Self.Public(), x.operator.Self.Public()
	for _, c := range []*Config{&x.operator, &x.agent} {
		c.ID, c.TeamFP, c.BundleHash = ID(fill(0xa0, 16)), [32]byte(fill(0xb0, 32)), [32]byte(fill(0xd0, 32))
	}
	x.operator.Suites = []Suite{suite}
	x.v = &vector{
		Comment:      "TDH1, SPEC.md; all bytes in hexadecimal",
		Suite:        suite,
		SeedOperator: seedO[:], SeedAgent: seedA[:],
		NonceO: fill(1, 32), NonceA: fill(2, 32),
		ScalarO: fill(0x50, 32), ScalarA: fill(0x70, 32),
		TeamFP: x.operator.TeamFP[:], GH: x.operator.BundleHash[:], SessionID: x.operator.ID[:],
		RestP2: x.agent.Evidence.marshal(), RestP3: x.operator.Evidence.marshal(),
	}
	if suite == SuiteHybrid {
		x.v.SeedKEM, x.v.RandomKEM = fill(0x40, mlkem.SeedSize), fill(0x90, 32)
	}
	x.ro = func() *randomness {
		r := &randomness{nonce: [32]byte(x.v.NonceO), private: key.SessionPrivateFromScalar([32]byte(x.v.ScalarO))}
		copy(r.kemSeed[:], x.v.SeedKEM)
		return r
	}
	x.ra = func() *randomness {
		r := &randomness{nonce: [32]byte(x.v.NonceA), private: key.SessionPrivateFromScalar([32]byte(x.v.ScalarA))}
		r.encapsulate = func(k *mlkem.EncapsulationKey768) (shared, ciphertext []byte) {
			shared, ciphertext, err := mlkemtest.Encapsulate768(k, x.v.RandomKEM)
			if err != nil {
				t.Fatal(err)
			}
			x.kemSecret = bytes.Clone(shared)
			return shared, ciphertext
		}
		return r
	}
	return x
}

func (x *fixture) initiate(t *testing.T) (*Initiator, []byte) {
	t.Helper()
	i, hs1, err := initiate(x.operator, x.ro(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, hs1
}

// respond is the agent's answer with its inner reason.
func (x *fixture) respond(t *testing.T, hs1 []byte) (*Responder, []byte, error) {
	t.Helper()
	accepted, err := x.agent.suites()
	if err != nil {
		t.Fatal(err)
	}
	return respond(x.agent, accepted, hs1, x.ra(), nil)
}

func (x *fixture) shake(t *testing.T) (hs1, hs2, hs3 []byte, eo, ea *Established) {
	t.Helper()
	i, hs1 := x.initiate(t)
	r, hs2, err := x.respond(t, hs1)
	if err != nil {
		t.Fatal(err)
	}
	if hs3, eo, err = i.Consume(hs2); err != nil {
		t.Fatal(err)
	}
	if ea, err = r.Consume(hs3); err != nil {
		t.Fatal(err)
	}
	return hs1, hs2, hs3, eo, ea
}

// makeVector runs the real handshake with fixed seeds and recomputes each
// intermediate from the package's own steps.
func makeVector(t *testing.T, suite Suite) *vector {
	t.Helper()
	return newFixture(t, suite).vector(t)
}

func (x *fixture) vector(t *testing.T) *vector {
	t.Helper()
	v, operator, agent := x.v, x.operator, x.agent
	kidO, kidA := operator.Self.Kid(), agent.Self.Kid()
	v.KidOperator, v.KidAgent = kidO[:], kidA[:]
	hs1, hs2, hs3, eo, ea := x.shake(t)
	v.HS1, v.HS2, v.HS3 = hs1, hs2, hs3
	kemSecret := x.kemSecret

	scalarO := key.SessionPrivateFromScalar([32]byte(v.ScalarO))
	pointA, err := x.ra().private.Public()
	if err != nil {
		t.Fatal(err)
	}
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
	v.E2, v.E3 = m2.sealed, hs3[headerSize:]
	v.SigA, v.FinA, v.SigO, v.FinO = v.P2[:64], v.P2[64:96], v.P3[:64], v.P3[64:96]
	th3 := hashOf(th2[:], v.P3)
	o2a, a2o, exporter := keys.deriveTraffic(th3)
	v.TH3, v.Exporter = th3[:], exporter[:]
	v.SecretO2A, v.SecretA2O = bytes.Clone(o2a.secret[:]), bytes.Clone(a2o.secret[:])
	v.CidO2A, v.CidA2O = o2a.connID[:], a2o.connID[:]
	for way, s := range map[string]*secret{"o2a": o2a.secret, "a2o": a2o.secret} {
		for n := range uint64(3) {
			e := newEpoch(n, s)
			v.Epochs = append(v.Epochs, vectorEpoch{way, n, bytes.Clone(s[:]), s.expand("key", keySize), e.iv[:]})
			s = e.next(1).secret
		}
	}
	slices.SortFunc(v.Epochs, func(a, b vectorEpoch) int {
		return cmp.Or(cmp.Compare(a.Way, b.Way), cmp.Compare(a.Epoch, b.Epoch))
	})
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
		t.Run(file, func(t *testing.T) { keep(t, filepath.Join("vectors", file), makeVector(t, suite)) })
	}
}

// keep compares vectors with their file, or writes it.
func keep(t *testing.T, file string, vectors any) {
	t.Helper()
	got, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", file)
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
}

// sortBy puts vectors that came from maps into one order.
func sortBy[T any](all []T, by func(T) string) {
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
