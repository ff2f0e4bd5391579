package session_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// This file is the second implementation that SPEC.md speaks of. It shares no
// code with the package: it reads the vectors, recomputes every value from the
// text of SPEC.md with the standard library alone, and compares.

type reference struct {
	t *testing.T
	v map[string]json.RawMessage
}

// get is a field of the vector as bytes.
func (r *reference) get(name string) []byte {
	r.t.Helper()
	var s string
	if raw, ok := r.v[name]; ok {
		if err := json.Unmarshal(raw, &s); err != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return b
}

func (r *reference) equal(name string, got []byte) {
	r.t.Helper()
	if want := r.get(name); !bytes.Equal(got, want) {
		r.t.Errorf("%s\n got %x\nwant %x", name, got, want)
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func sum(parts ...[]byte) []byte {
	s := sha256.Sum256(join(parts...))
	return s[:]
}

func refMAC(k []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, k)
	h.Write(join(parts...))
	return h.Sum(nil)
}

// refExpand is RFC 5869, 2.3, written out.
func refExpand(prk []byte, name string, n int) []byte {
	info := "tucdesk-session-v1\x00" + name
	var out, block []byte
	for i := byte(1); len(out) < n; i++ {
		block = refMAC(prk, block, []byte(info), []byte{i})
		out = append(out, block...)
	}
	return out[:n]
}

func refDerive(s []byte, name string, th []byte) []byte {
	return refExpand(s, name+"\x00"+string(th), 32)
}

func (r *reference) open(k, nonce, sealed, aad []byte) []byte {
	r.t.Helper()
	block, err := aes.NewCipher(k)
	if err != nil {
		r.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		r.t.Fatal(err)
	}
	plain, err := gcm.Open(nil, nonce, sealed, aad)
	if err != nil {
		r.t.Fatal(err)
	}
	return plain
}

func (r *reference) point(scalar []byte) (*ecdh.PrivateKey, []byte) {
	r.t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		r.t.Fatal(err)
	}
	return k, k.PublicKey().Bytes()
}

func (r *reference) identity(seed []byte) (ed25519.PublicKey, []byte) {
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return public, sum([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
}

func TestReferenceAgreesWithVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("%d vector files, want 2 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := &reference{t: t}
			if err := json.Unmarshal(b, &r.v); err != nil {
				t.Fatal(err)
			}
			r.handshake()
			r.records()
		})
	}
}

func (r *reference) handshake() {
	hs1, hs2, hs3 := r.get("hs1"), r.get("hs2"), r.get("hs3")
	suite := byte(1)
	if len(r.get("seed_kem")) > 0 {
		suite = 2
	}
	publicO, kidO := r.identity(r.get("seed_operator"))
	publicA, kidA := r.identity(r.get("seed_agent"))
	r.equal("kid_operator", kidO)
	r.equal("kid_agent", kidA)
	id := r.get("session_id")

	// 2.1
	privateO, pointO := r.point(r.get("scalar_o"))
	_, pointA := r.point(r.get("scalar_a"))
	body := join(id, hs1[20:52], []byte{1, 0, suite}, pointO)
	var kem *mlkem.DecapsulationKey768
	if suite == 2 {
		var err error
		if kem, err = mlkem.NewDecapsulationKey768(r.get("seed_kem")); err != nil {
			r.t.Fatal(err)
		}
		body = append(body, kem.EncapsulationKey().Bytes()...)
	}
	r.equal("hs1", join([]byte{1, 1, byte(len(body) >> 8), byte(len(body))}, body))

	// 2.2
	e2At := 86
	if suite == 2 {
		e2At += 1088
	}
	rest := len(hs2) - 4
	r.equal("hs2", join([]byte{2, 1, byte(rest >> 8), byte(rest)}, id, hs2[20:52], []byte{0, suite}, pointA, hs2[86:]))

	// 3
	prologue := join([]byte("tucdesk-session-v1\x00TDH1\x00"), r.get("gh"), kidO, kidA, r.get("team_fp"))
	r.equal("prologue", prologue)
	th1 := sum(prologue, hs1, hs2[:e2At])
	r.equal("th1", th1)
	peer, err := ecdh.X25519().NewPublicKey(pointA)
	if err != nil {
		r.t.Fatal(err)
	}
	ikm, err := privateO.ECDH(peer)
	if err != nil {
		r.t.Fatal(err)
	}
	r.equal("dh", ikm)
	if suite == 2 {
		secret, err := kem.Decapsulate(hs2[86:e2At])
		if err != nil {
			r.t.Fatal(err)
		}
		r.equal("mlkem_secret", secret)
		ikm = join(secret, ikm)
	}
	prk := refMAC(th1, ikm)
	r.equal("prk", prk)
	keyA2O, keyO2A := refDerive(prk, "hs a2o", th1), refDerive(prk, "hs o2a", th1)
	finA, finO := refDerive(prk, "fin a", th1), refDerive(prk, "fin o", th1)
	r.equal("k_hs_a2o", keyA2O)
	r.equal("k_hs_o2a", keyO2A)
	r.equal("k_fin_a", finA)
	r.equal("k_fin_o", finO)

	// 2.4 and 4
	zero := make([]byte, 12)
	p2 := r.open(keyA2O, zero, hs2[e2At:], th1)
	r.equal("p2", p2)
	r.equal("rest_p2", p2[96:])
	signed := join([]byte("tucdesk-sig-v1\x00hs-agent\x00"), th1, sum(p2[96:]))
	if !ed25519.Verify(publicA, signed, p2[:64]) || !bytes.Equal(p2[64:96], refMAC(finA, th1, p2[:64])) {
		r.t.Error("sig_a or fin_a is wrong")
	}
	th2 := sum(th1, p2)
	r.equal("th2", th2)
	rest = len(hs3) - 4
	r.equal("hs3", join([]byte{3, 1, byte(rest >> 8), byte(rest)}, id, hs3[20:]))
	p3 := r.open(keyO2A, zero, hs3[20:], th2)
	r.equal("p3", p3)
	r.equal("rest_p3", p3[96:])
	signed = join([]byte("tucdesk-sig-v1\x00hs-operator\x00"), th2, sum(p3[96:]))
	if !ed25519.Verify(publicO, signed, p3[:64]) || !bytes.Equal(p3[64:96], refMAC(finO, th2, p3[:64])) {
		r.t.Error("sig_o or fin_o is wrong")
	}
	th3 := sum(th2, p3)
	r.equal("th3", th3)
	r.equal("secret_o2a_0", refDerive(prk, "app o2a", th3))
	r.equal("secret_a2o_0", refDerive(prk, "app a2o", th3))
	r.equal("cid_o2a", refDerive(prk, "cid o2a", th3)[:8])
	r.equal("cid_a2o", refDerive(prk, "cid a2o", th3)[:8])
	r.equal("exporter", refDerive(prk, "exporter", th3))
	r.equal("exporter_test_40", refExpand(r.get("exporter"), "exp test", 40))
}

func (r *reference) records() {
	var blocks []struct {
		From     string `json:"from"`
		Epoch    int    `json:"epoch"`
		Counter  byte   `json:"counter"`
		Kind     byte   `json:"kind"`
		Payload  string `json:"payload"`
		Datagram string `json:"datagram"`
	}
	if err := json.Unmarshal(r.v["records"], &blocks); err != nil || len(blocks) < 8 {
		r.t.Fatalf("%d records, %v", len(blocks), err)
	}
	for i, b := range blocks {
		way := map[string]string{"operator": "o2a", "agent": "a2o"}[b.From]
		secret := r.get("secret_" + way + "_0")
		for range b.Epoch {
			secret = refExpand(secret, "upd", 32)
		}
		payload, err1 := hex.DecodeString(b.Payload)
		d, err2 := hex.DecodeString(b.Datagram)
		if err1 != nil || err2 != nil {
			r.t.Fatal(err1, err2)
		}
		n := len(d) - 20
		header := join([]byte{0x10, byte(b.Epoch), byte(n >> 8), byte(n)}, r.get("cid_"+way), make([]byte, 7), []byte{b.Counter})
		if !bytes.Equal(d[:20], header) {
			r.t.Errorf("record %d: header\n got %x\nwant %x", i, d[:20], header)
		}
		nonce := refExpand(secret, "iv", 12)
		nonce[11] ^= b.Counter
		want := join(payload, []byte{b.Kind})
		if len(want) < 1024 {
			want = append(want, make([]byte, (64-len(want)%64)%64)...)
		}
		if got := r.open(refExpand(secret, "key", 32), nonce, d[20:], header); !bytes.Equal(got, want) {
			r.t.Errorf("record %d: inner\n got %x\nwant %x", i, got, want)
		}
	}
}
