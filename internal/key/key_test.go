package key

import (
	"bytes"
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

func TestWycheproofEd25519(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "ed25519_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
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
	if n < 100 {
		t.Fatalf("only %d vectors were read", n)
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
