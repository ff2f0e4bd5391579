package envelope

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

type body struct {
	V    uint64 `cbor:"v"`
	Name string `cbor:"name"`
	List []int  `cbor:"list"`
}

func ident(b byte) key.Identity { return key.IdentityFromSeed([32]byte{b, 9}) }

func lookup(ids ...key.Identity) func(key.Kid) (key.Public, bool) {
	return func(k key.Kid) (key.Public, bool) {
		for _, i := range ids {
			if i.Kid() == k {
				return i.Public(), true
			}
		}
		return key.Public{}, false
	}
}

func sign(t testing.TB, v any, ids ...key.Identity) []byte {
	t.Helper()
	b, err := Sign("test", v, ids...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignVerifyDecode(t *testing.T) {
	a, b := ident(1), ident(2)
	in := body{V: 1, Name: "x", List: []int{1, 2}}
	raw := sign(t, in, a, b)
	if !bytes.Equal(raw, sign(t, in, b, a)) {
		t.Error("the order of signers changes the bytes")
	}
	u, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Verify("test", lookup(a, b))
	if err != nil {
		t.Fatal(err)
	}
	var out body
	if err := v.Decode(&out); err != nil || out.Name != "x" || len(out.List) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if v.Hash() != Sum(v.Payload()) || len(v.Signers()) != 2 {
		t.Error("hash or signers")
	}
	if _, err := u.Verify("other", lookup(a, b)); !errors.Is(err, ErrSignature) {
		t.Errorf("another context: %v", err)
	}
	if _, err := u.Verify("test", lookup(a)); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("one signer unknown: %v", err)
	}
	if _, err := u.Verify("test", func(key.Kid) (key.Public, bool) { return a.Public(), true }); !errors.Is(err, ErrUnknownSigner) {
		t.Errorf("a lookup that answers the wrong key: %v", err)
	}
	if err := (Verified{}).Decode(&out); !errors.Is(err, ErrMalformed) {
		t.Errorf("the zero Verified decodes: %v", err)
	}
	if _, err := (Unverified{}).Verify("test", lookup(a)); err == nil {
		t.Error("the zero Unverified verifies")
	}
}

func TestCosign(t *testing.T) {
	a, b := ident(1), ident(2)
	in := body{V: 1, List: []int{}}
	u, _ := Parse(sign(t, in, a))
	both, err := u.AddSignature("test", b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(both.Bytes(), sign(t, in, a, b)) {
		t.Error("adding a signature gives other bytes than signing at once")
	}
	if _, err := both.AddSignature("test", a); err == nil {
		t.Error("one key signed twice")
	}
}

// TestTampering flips every bit of an envelope: none of the results verifies.
func TestTampering(t *testing.T) {
	a, b := ident(1), ident(2)
	raw := sign(t, body{V: 1, Name: "rm", List: []int{7}}, a, b)
	for i := range raw {
		for bit := range 8 {
			c := bytes.Clone(raw)
			c[i] ^= 1 << bit
			u, err := Parse(c)
			if err != nil {
				continue
			}
			if _, err := u.Verify("test", lookup(a, b)); err == nil {
				t.Fatalf("byte %d bit %d flipped and still verified", i, bit)
			}
		}
	}
	for i := range raw {
		if _, err := Parse(raw[:i]); err == nil {
			t.Fatalf("cut to %d bytes and still parsed", i)
		}
	}
	if _, err := Parse(append(bytes.Clone(raw), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a trailing byte: %v", err)
	}
}

func TestStrictPayload(t *testing.T) {
	good := "\xa3\x61v\x01\x64list\x80\x64name\x61x" // keys in bytewise order of their encodings
	var out body
	if err := Unmarshal([]byte(good), &out); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, bad := range map[string]string{
		"duplicate key":       "\xa4\x61v\x01\x61v\x01\x64list\x80\x64name\x61x",
		"unknown key":         "\xa4\x61v\x01\x61w\x01\x64list\x80\x64name\x61x",
		"case variant":        "\xa3\x61V\x01\x64list\x80\x64name\x61x",
		"missing key":         "\xa2\x61v\x01\x64list\x80",
		"keys out of order":   "\xa3\x64list\x80\x61v\x01\x64name\x61x",
		"non-shortest int":    "\xa3\x61v\x18\x01\x64list\x80\x64name\x61x",
		"non-shortest length": "\xa3\x61v\x01\x64list\x80\x64name\x78\x01x",
		"indefinite list":     "\xa3\x61v\x01\x64list\x9f\xff\x64name\x61x",
		"null for list":       "\xa3\x61v\x01\x64list\xf6\x64name\x61x",
		"a tag":               "\xa3\x61v\xc1\x01\x64list\x80\x64name\x61x",
		"invalid UTF-8":       "\xa3\x61v\x01\x64list\x80\x64name\x61\xff",
		"bytes for text":      "\xa3\x61v\x01\x64list\x80\x64name\x41x",
		"float for int":       "\xa3\x61v\xf9\x3c\x00\x64list\x80\x64name\x61x",
		"trailing bytes":      good + "\x00",
		"empty":               "",
	} {
		if err := Unmarshal([]byte(bad), &out); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestBounds(t *testing.T) {
	if _, err := Sign("test", body{}); err == nil {
		t.Error("signed by nobody")
	}
	if _, err := Sign("test", body{}, key.Identity{}); err == nil {
		t.Error("signed by the zero identity")
	}
	if _, err := Sign("test", body{Name: strings.Repeat("x", MaxSize)}, ident(1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("too large: %v", err)
	}
	var many []key.Identity
	for i := range MaxSignatures + 1 {
		many = append(many, ident(byte(i)))
	}
	if _, err := Sign("test", body{}, many...); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many signatures: %v", err)
	}
	if _, err := ParseHash(strings.Repeat("A", 64)); err == nil {
		t.Error("upper-case hash")
	}
}

// FuzzParse holds that whatever parses is the only encoding of itself.
func FuzzParse(f *testing.F) {
	raw := sign(f, body{V: 1, Name: "x", List: []int{1}}, ident(1))
	f.Add(raw)
	f.Add([]byte("\x82\x40\x80"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := Parse(b)
		if err != nil {
			return
		}
		again, err := u.w.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x parses, and encodes as %x (%v)", b, again, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	id := ident(1)
	raw := sign(b, body{V: 1, Name: strings.Repeat("x", 300)}, id)
	for b.Loop() {
		u, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := u.Verify("test", One(id.Public())); err != nil {
			b.Fatal(err)
		}
	}
}
