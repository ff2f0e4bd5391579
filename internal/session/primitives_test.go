package session

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/tucdesk/tucdesk/internal/key"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5869, appendix A.1 to A.3: with SHA-256, the others are for SHA-1.
func TestHKDFRFC5869(t *testing.T) {
	for _, v := range []struct{ ikm, salt, info, prk, okm string }{
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		}, {
			hex.EncodeToString(fill(0x00, 80)), hex.EncodeToString(fill(0x60, 80)), hex.EncodeToString(fill(0xb0, 80)),
			"06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
		}, {
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
			"19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	} {
		prk := extract(unhex(t, v.ikm), unhex(t, v.salt))
		if !bytes.Equal(prk[:], unhex(t, v.prk)) {
			t.Errorf("PRK %x, want %s", prk[:], v.prk)
		}
		if okm := expand(prk[:], string(unhex(t, v.info)), len(v.okm)/2); !bytes.Equal(okm, unhex(t, v.okm)) {
			t.Errorf("OKM %x, want %s", okm, v.okm)
		}
	}
}

func load(t *testing.T, name string, into any) {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func TestHKDFWycheproof(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                 int
				IKM, Salt, Info, OKM string
				Size                 int
				Result               string
			}
		}
	}
	load(t, "hkdf_sha256_test.json", &file)
	ran := 0
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			ran++
			prk := extract(unhex(t, v.IKM), unhex(t, v.Salt))
			if v.Result != "valid" { // more than 8160 bytes: our own mistake, never the peer's
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("test %d: %d bytes came out", v.TcID, v.Size)
						}
					}()
					expand(prk[:], string(unhex(t, v.Info)), v.Size)
				}()
				continue
			}
			if okm := expand(prk[:], string(unhex(t, v.Info)), v.Size); !bytes.Equal(okm, unhex(t, v.OKM)) {
				t.Errorf("test %d: %x, want %s", v.TcID, okm, v.OKM)
			}
		}
	}
	if ran == 0 || ran != file.NumberOfTests {
		t.Fatalf("ran %d of %d vectors", ran, file.NumberOfTests)
	}
}

// The vectors with a 256-bit key and a 96-bit nonce are ours; others can't reach
// newAEAD, whose types admit nothing else.
func TestAESGCMWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			IVSize, KeySize, TagSize int
			Tests                    []struct {
				TcID                       int
				Key, IV, AAD, Msg, CT, Tag string
				Result                     string
			}
		}
	}
	load(t, "aes_gcm_test.json", &file)
	ran := 0
	for _, g := range file.TestGroups {
		if g.KeySize != 8*keySize || g.IVSize != 8*ivSize || g.TagSize != 8*tagSize {
			continue
		}
		for _, v := range g.Tests {
			ran++
			aead := newAEAD((*[keySize]byte)(unhex(t, v.Key)))
			iv, aad, msg := unhex(t, v.IV), unhex(t, v.AAD), unhex(t, v.Msg)
			sealed := append(unhex(t, v.CT), unhex(t, v.Tag)...)
			plain, err := aead.Open(nil, iv, sealed, aad)
			if v.Result != "valid" {
				if err == nil {
					t.Errorf("test %d: invalid, and opened", v.TcID)
				}
				continue
			}
			if err != nil || !bytes.Equal(plain, msg) {
				t.Errorf("test %d: opened %x, %v", v.TcID, plain, err)
			}
			if got := aead.Seal(nil, iv, msg, aad); !bytes.Equal(got, sealed) {
				t.Errorf("test %d: sealed %x", v.TcID, got)
			}
		}
	}
	if ran != 66 {
		t.Fatalf("ran %d vectors, want the 66 of our sizes", ran)
	}
}

// HMAC with a 256-bit key and a whole tag, which is all that mac can make.
func TestHMACWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			KeySize, TagSize int
			Tests            []struct {
				TcID                  int
				Key, Msg, Tag, Result string
			}
		}
	}
	load(t, "hmac_sha256_test.json", &file)
	ran := 0
	for _, g := range file.TestGroups {
		if g.KeySize != 8*keySize || g.TagSize != 8*macSize {
			continue
		}
		for _, v := range g.Tests {
			ran++
			msg := unhex(t, v.Msg)
			sum := mac((*secret)(unhex(t, v.Key)), msg[:len(msg)/2], msg[len(msg)/2:])
			if got := bytes.Equal(sum[:], unhex(t, v.Tag)); got != (v.Result == "valid") {
				t.Errorf("test %d: the tag fits: %v, and is %s", v.TcID, got, v.Result)
			}
		}
	}
	if ran != 81 {
		t.Fatalf("ran %d vectors, want the 81 of our sizes", ran)
	}
}

// ML-KEM-768 has no wrapper of its own: the vectors go through the handshake
// that uses it. The files of semi-expanded keys have no way in: a key is made
// from a seed.
type kemVectors struct {
	NumberOfTests int
	TestGroups    []struct {
		ParameterSet string
		Tests        []struct {
			TcID              int
			Flags             []string
			Seed, EK, M, C, K string
			Result            string
		}
	}
}

// eachKEM calls f with every vector, and fails if not all are there.
func eachKEM(t *testing.T, name string, f func(id int, flags []string, seed, ek, m, c, k []byte, valid bool)) {
	t.Helper()
	var file kemVectors
	load(t, name, &file)
	ran := 0
	for _, g := range file.TestGroups {
		if g.ParameterSet != "ML-KEM-768" {
			t.Fatalf("%s has vectors of %s", name, g.ParameterSet)
		}
		for _, v := range g.Tests {
			ran++
			f(v.TcID, v.Flags, unhex(t, v.Seed), unhex(t, v.EK), unhex(t, v.M), unhex(t, v.C), unhex(t, v.K), v.Result == "valid")
		}
	}
	if ran == 0 || ran != file.NumberOfTests {
		t.Fatalf("ran %d of %d vectors", ran, file.NumberOfTests)
	}
	t.Logf("%s: %d vectors", name, ran)
}

// seeded makes an HS1 whose ML-KEM key comes from the seed.
func seeded(t *testing.T, operator Config, seed []byte) (*Initiator, []byte) {
	t.Helper()
	r, err := newRandomness()
	if err != nil {
		t.Fatal(err)
	}
	r.kemSeed = [mlkem.SeedSize]byte(seed)
	i, hs1, err := initiate(operator, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, hs1
}

// HS1 has the encapsulation key that belongs to the seed.
func TestKEMKeysWycheproof(t *testing.T) {
	operator, _ := pair(t)
	operator.Suites = []Suite{SuiteHybrid}
	eachKEM(t, "mlkem_768_keygen_seed_test.json", func(id int, _ []string, seed, ek, _, _, _ []byte, valid bool) {
		if _, hs1 := seeded(t, operator, seed); bytes.Equal(hs1[len(hs1)-encapsSize:], ek) != valid {
			t.Errorf("test %d: %x", id, hs1[len(hs1)-encapsSize:])
		}
	})
}

// An HS2 with the vector's ciphertext, sealed under keys from the vector's secret,
// is taken; one sealed under another secret is not.
func TestKEMDecapsulationWycheproof(t *testing.T) {
	operator, agent := pair(t)
	operator.Suites = []Suite{SuiteHybrid}
	noWay := 0
	eachKEM(t, "mlkem_768_test.json", func(id int, _ []string, seed, ek, _, c, k []byte, valid bool) {
		if len(seed) != mlkem.SeedSize { // can't become a randomness.kemSeed
			noWay++
			if valid {
				t.Errorf("test %d: valid with a seed of %d bytes", id, len(seed))
			}
			return
		}
		i, hs1 := seeded(t, operator, seed)
		if valid && !bytes.Equal(hs1[len(hs1)-encapsSize:], ek) {
			t.Errorf("test %d: encapsulation key %x", id, hs1[len(hs1)-encapsSize:])
		}
		ephemeral, err := key.GenerateSessionPrivate()
		if err != nil {
			t.Fatal(err)
		}
		point, err := ephemeral.Public()
		if err != nil {
			t.Fatal(err)
		}
		answer := func(kemSecret []byte) []byte {
			t.Helper()
			dh, err := ephemeral.Exchange(i.point)
			if err != nil {
				t.Fatal(err)
			}
			rest := agent.Evidence.marshal()
			m := &hs2{id: operator.ID, suite: SuiteHybrid, point: point, ciphertext: c}
			msg := m.marshalClear(typeHS2, signatureSize+macSize+len(rest)+tagSize)
			th1 := hashOf(prologueOf(protocolName, operator.Self.Kid(), agent.Self.Kid(), operator.TeamFP, operator.BundleHash), hs1, msg)
			keys := deriveHandshake(th1, bytes.Clone(kemSecret), dh, nil)
			return onceAEAD{keys.a2o}.seal(msg, makeAuth(th1, keys.finA, contextAgent, agent.Self, rest), th1[:])
		}
		if _, _, err := i.Consume(answer(make([]byte, 32))); err != ErrHandshake {
			t.Errorf("test %d: taken with another secret: %v", id, err)
		}
		if _, _, err := i.Consume(answer(k)); valid != (err == nil) || err != nil && err != ErrHandshake {
			t.Errorf("test %d: %v, valid %v", id, err, valid)
		}
	})
	t.Logf("%d have a seed of another size, which no code can pass on", noWay)
}

// HS2 has the ciphertext that belongs to the key and the randomness, and a key
// that FIPS 203 refuses is refused.
func TestKEMEncapsulationWycheproof(t *testing.T) {
	operator, agent := pair(t)
	operator.Suites = []Suite{SuiteHybrid}
	_, hs1Bytes, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	m1, err := parseHS1(hs1Bytes)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]int{}
	eachKEM(t, "mlkem_768_encaps_test.json", func(id int, _ []string, _, ek, m, c, k []byte, valid bool) {
		r, err := newRandomness()
		if err != nil {
			t.Fatal(err)
		}
		var shared []byte
		r.encapsulate = func(k *mlkem.EncapsulationKey768) ([]byte, []byte) {
			s, ciphertext, err := mlkemtest.Encapsulate768(k, m)
			if err != nil {
				t.Fatal(err)
			}
			shared = bytes.Clone(s)
			return s, ciphertext
		}
		m1.encaps = ek
		_, hs2, err := respond(agent, []Suite{SuiteHybrid}, m1.marshal(), r, nil)
		if !valid {
			refused[failure(err)]++
			if want := map[bool]string{true: "kem", false: "malformed"}[len(ek) == encapsSize]; failure(err) != want {
				t.Errorf("test %d: a bad key of %d bytes: %v", id, len(ek), err)
			}
			return
		}
		if err != nil {
			t.Errorf("test %d: %v", id, err)
		} else if !bytes.Equal(hs2[86:86+ciphertext768], c) || !bytes.Equal(shared, k) {
			t.Errorf("test %d: another ciphertext or secret", id)
		}
	})
	if refused["kem"] == 0 || refused["malformed"] == 0 {
		t.Errorf("refused: %v", refused)
	}
	t.Logf("refused: %v", refused)
}
