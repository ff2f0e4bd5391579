package key

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/fxamacker/cbor/v2"
)

// RFC 8037, appendix A.1 and A.3.
const (
	rfc8037Seed  = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
	rfc8037Kid   = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	rfc8037Point = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)

func seeded(t *testing.T, b byte) Identity {
	t.Helper()
	return IdentityFromSeed([32]byte{0: b, 31: 1})
}

func TestThumbprintRFC8037(t *testing.T) {
	seed, _ := hex.DecodeString(rfc8037Seed)
	id := IdentityFromSeed([32]byte(seed))
	if got := hex.EncodeToString(id.Public().Bytes()); got != rfc8037Point {
		t.Errorf("public key = %s, want %s", got, rfc8037Point)
	}
	if got := id.Kid().String(); got != rfc8037Kid {
		t.Errorf("kid = %s, want %s", got, rfc8037Kid)
	}
}

// TestWeakKeysRefused shows the attack first: crypto/ed25519 accepts one fixed
// signature of a small-order key on every message.
func TestWeakKeysRefused(t *testing.T) {
	encodings := map[string]string{
		"identity, y=1":                "0100000000000000000000000000000000000000000000000000000000000000",
		"identity with sign":           "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2, y=-1":                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2 with sign":            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4, y=0":                 "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4 with sign":            "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":                      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8 with sign":            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8, the other":           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, the other with sign": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"y=p (0 again)":                "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y=p+1 (1 again)":              "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y=2^255-1":                    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y=2^255-1 with sign":          "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	}
	for name, h := range encodings {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePublic(b); !errors.Is(err, ErrWeak) {
			t.Errorf("%s: ParsePublic = %v, want ErrWeak", name, err)
		}
	}
	if _, err := ParsePublic(make([]byte, 31)); !errors.Is(err, ErrMalformed) {
		t.Errorf("31 bytes: %v", err)
	}
	for i := range 64 {
		if _, err := ParsePublic(seeded(t, byte(i)).Public().Bytes()); err != nil {
			t.Errorf("an honest key was refused: %v", err)
		}
	}
}

// RFC 8032, section 7.1: tests 1 to 3 and SHA(abc), signed and verified without a
// context, and refused with any one bit changed.
func TestRFC8032(t *testing.T) {
	for name, v := range map[string]struct{ seed, public, msg, sig string }{
		"1": {rfc8037Seed, rfc8037Point, "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		"2": {
			"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			"72", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
		"3": {
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
			"af82", "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
		"SHA(abc)": {
			"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
			"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
			"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
		},
	} {
		var bytes [4][]byte
		for i, h := range []string{v.seed, v.public, v.msg, v.sig} {
			var err error
			if bytes[i], err = hex.DecodeString(h); err != nil {
				t.Fatal(err)
			}
		}
		msg, want := bytes[2], bytes[3]
		id := IdentityFromSeed([32]byte(bytes[0]))
		pub, err := ParsePublic(bytes[1])
		if err != nil || pub != id.Public() {
			t.Fatalf("test %s: public key %v, %v", name, id.Public(), err)
		}
		sig, err := id.RawSigner().Sign(nil, msg, crypto.Hash(0))
		if err != nil || hex.EncodeToString(sig) != v.sig || !pub.RawVerify(msg, want) {
			t.Errorf("test %s: signature %x, %v", name, sig, err)
		}
		for bit := range 8 * len(want) {
			bad := append([]byte(nil), want...)
			bad[bit/8] ^= 1 << (bit % 8)
			if pub.RawVerify(msg, bad) {
				t.Errorf("test %s: verifies with bit %d changed", name, bit)
			}
		}
	}
}

func TestWycheproofEd25519(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "ed25519_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID             int
				Comment          string
				Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.TestGroups {
		pk, _ := hex.DecodeString(g.PublicKey.Pk)
		pub, perr := ParsePublic(pk)
		for _, tc := range g.Tests {
			n++
			msg, _ := hex.DecodeString(tc.Msg)
			sig, _ := hex.DecodeString(tc.Sig)
			ok := perr == nil && pub.RawVerify(msg, sig)
			if want := tc.Result == "valid"; ok != want {
				t.Errorf("%d (%s): verified = %v, want %v", tc.TcID, tc.Comment, ok, want)
			}
		}
	}
	if n == 0 || n != file.NumberOfTests {
		t.Fatalf("ran %d of %d vectors", n, file.NumberOfTests)
	}
}

func TestContextsAndFraming(t *testing.T) {
	id := seeded(t, 1)
	sig := id.Sign("a", []byte("xy"))
	for _, c := range []struct {
		context string
		parts   [][]byte
		want    bool
	}{
		{"a", [][]byte{[]byte("xy")}, true},
		{"a", [][]byte{[]byte("x"), []byte("y")}, true}, // parts are concatenated, as documented
		{"b", [][]byte{[]byte("xy")}, false},
		{"a", [][]byte{[]byte("x")}, false},
		{"a", nil, false},
	} {
		if got := id.Public().Verify(c.context, sig, c.parts...); got != c.want {
			t.Errorf("context %q parts %q: %v, want %v", c.context, c.parts, got, c.want)
		}
	}
	if id.Public().RawVerify([]byte("xy"), sig[:]) {
		t.Error("a signature with a context verifies without one")
	}
	if (Public{}).Verify("a", sig, []byte("xy")) || (Public{}).RawVerify(nil, sig[:]) {
		t.Error("the zero key verifies something")
	}
}

func TestTextForms(t *testing.T) {
	id := seeded(t, 7)
	if got, err := ParseKid(id.Kid().String()); err != nil || got != id.Kid() {
		t.Errorf("kid: %v %v", got, err)
	}
	if got, err := ParsePublicText(id.Public().String()); err != nil || got != id.Public() {
		t.Errorf("public: %v %v", got, err)
	}
	if got, err := ParseIdentity(id.SecretText()); err != nil || got.Kid() != id.Kid() {
		t.Errorf("identity: %v %v", got, err)
	}
	for _, bad := range []string{"", "tdp1", "tdp1!", id.SecretText(), strings.TrimPrefix(id.Public().String(), "tdp1"), id.Public().String() + "A"} {
		if _, err := ParsePublicText(bad); err == nil {
			t.Errorf("ParsePublicText(%q) accepted", bad)
		}
	}
	// The last of 43 characters carries two bits that must be zero: other
	// spellings of the same bytes are refused.
	s := id.Kid().String()
	accepted := 0
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if k, err := ParseKid(s[:42] + string(c)); err == nil && k == id.Kid() {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("a kid has %d spellings", accepted)
	}
	if _, err := ParseIdentity("tds1" + strings.Repeat("A", 10)); err == nil || strings.Contains(err.Error(), "AAAA") {
		t.Errorf("the error of a bad secret: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	id, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	un, err := GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{id.SecretText()[4:], hex.EncodeToString(id.k().Seed()), un.SecretText()[20:], fmt.Sprint([]byte(id.k()))[1:40]}
	var out strings.Builder
	type holder struct {
		ID  Identity
		Un  Unsealer
		Raw any
		p   *Identity
	}
	h := holder{id, un, id.RawSigner(), &id}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, h)
		fmt.Fprintf(&out, verb, &h)
		fmt.Fprintf(&out, verb, id)
		fmt.Fprintf(&out, verb, &id)
		fmt.Fprintf(&out, verb, un)
		fmt.Fprintf(&out, verb, []any{id, &un, id.RawSigner()})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "id", id, "un", un, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "id", id, "un", un, "h", h)
	if _, err := json.Marshal(h); err == nil {
		t.Error("a struct with an identity became JSON")
	}
	for _, s := range secrets {
		if strings.Contains(out.String(), s) {
			t.Errorf("a secret was printed: …%s…", s[:6])
		}
	}
}

func TestSeal(t *testing.T) {
	a, _ := GenerateUnsealer()
	b, _ := GenerateUnsealer()
	sealed, err := Seal([]byte("canary"), a.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("canary")) {
		t.Error("sealed text shows the plaintext")
	}
	if got, err := a.Open(sealed, 6); err != nil || string(got) != "canary" {
		t.Errorf("Open = %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another's":   func() ([]byte, error) { return b.Open(sealed, 100) },
		"too long":    func() ([]byte, error) { return a.Open(sealed, 5) },
		"cut":         func() ([]byte, error) { return a.Open(sealed[:len(sealed)-1], 100) },
		"zero":        func() ([]byte, error) { return Unsealer{}.Open(sealed, 100) },
		"changed end": func() ([]byte, error) { c := bytes.Clone(sealed); c[len(c)-1] ^= 1; return a.Open(c, 100) },
		"not age":     func() ([]byte, error) { return a.Open([]byte("hello"), 100) },
	} {
		if got, err := open(); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v, want ErrSealed", name, got, err)
		}
	}
	if _, err := Seal([]byte("x")); err == nil {
		t.Error("sealed to nobody")
	}
	if _, err := Seal([]byte("x"), a.Recipient(), Recipient{}); err == nil {
		t.Error("sealed to the zero recipient")
	}
}

func TestCBORForms(t *testing.T) {
	un, _ := GenerateUnsealer()
	type both struct {
		P Public
		R Recipient
	}
	in := both{seeded(t, 3).Public(), un.Recipient()}
	b, err := cbor.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out both
	if err := cbor.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("%v, %v", out, err)
	}
	weak, _ := cbor.Marshal(map[string][]byte{"P": make([]byte, 32)})
	if err := cbor.Unmarshal(weak, &out); !errors.Is(err, ErrWeak) {
		t.Errorf("a weak key came in through CBOR: %v", err)
	}
}

func FuzzParsePublicText(f *testing.F) {
	f.Add("tdp1")
	f.Add(IdentityFromSeed([32]byte{1}).Public().String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePublicText(s); err == nil && p.String() != s {
			t.Errorf("%q parses, and prints as %q", s, p)
		}
	})
}
