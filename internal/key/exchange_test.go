package key

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"
)

func bytes32(t testing.TB, s string) [32]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q: not 32 bytes of hexadecimal", s)
	}
	return [32]byte(b)
}

// RFC 7748, section 6.1.
func TestExchangeRFC7748(t *testing.T) {
	alice := SessionPrivateFromScalar(bytes32(t, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
	bob := SessionPrivateFromScalar(bytes32(t, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
	alicePublic := SessionPublic(bytes32(t, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
	bobPublic := SessionPublic(bytes32(t, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
	shared := bytes32(t, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
	for _, side := range []struct {
		private      SessionPrivate
		public, peer SessionPublic
	}{{alice, alicePublic, bobPublic}, {bob, bobPublic, alicePublic}} {
		public, err := side.private.Public()
		if err != nil || public != side.public {
			t.Errorf("public key %x, %v, want %x", public, err, side.public)
		}
		s, err := side.private.Exchange(side.peer)
		if err != nil || !bytes.Equal(s.Secret(), shared[:]) {
			t.Errorf("shared secret %x, %v, want %x", s.Secret(), err, shared)
		}
	}
}

// RFC 7748, section 5.2: two products, and one iterated.
func TestScalarsRFC7748(t *testing.T) {
	product := func(scalar, u [32]byte) [32]byte {
		t.Helper()
		s, err := SessionPrivateFromScalar(scalar).Exchange(SessionPublic(u))
		if err != nil {
			t.Fatal(err)
		}
		return [32]byte(s.Secret())
	}
	for _, v := range []struct{ scalar, u, out string }{
		{
			"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
		}, {
			"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
		},
	} {
		if got := product(bytes32(t, v.scalar), bytes32(t, v.u)); got != bytes32(t, v.out) {
			t.Errorf("%x, want %s", got, v.out)
		}
	}
	k, u := [32]byte{9}, [32]byte{9}
	for n := range 1000 {
		k, u = product(k, u), k
		want := map[int]string{
			0:   "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
			999: "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
		}[n]
		if want != "" && k != bytes32(t, want) {
			t.Errorf("after %d times: %x, want %s", n+1, k, want)
		}
	}
}

// Our rule for what Wycheproof calls acceptable: the all-zero secret is
// refused, twists and non-canonical points are as good as any.
func TestExchangeWycheproof(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "x25519_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                    int
				Flags                   []string
				Public, Private, Shared string
				Result                  string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			ran++
			s, err := SessionPrivateFromScalar(bytes32(t, v.Private)).Exchange(SessionPublic(bytes32(t, v.Public)))
			if slices.Contains(v.Flags, "ZeroSharedSecret") {
				if !errors.Is(err, ErrLowOrder) || s.Secret() != nil {
					t.Errorf("test %d: zero secret: %v", v.TcID, err)
				}
				continue
			}
			if want := bytes32(t, v.Shared); err != nil || !bytes.Equal(s.Secret(), want[:]) {
				t.Errorf("test %d: %x, %v, want %x", v.TcID, s.Secret(), err, want)
			}
		}
	}
	if ran == 0 || ran != file.NumberOfTests {
		t.Fatalf("ran %d of %d vectors", ran, file.NumberOfTests)
	}
}

func TestSessionKeyLife(t *testing.T) {
	p, err := GenerateSessionPrivate()
	if err != nil {
		t.Fatal(err)
	}
	q, err := GenerateSessionPrivate()
	if err != nil {
		t.Fatal(err)
	}
	public, err := q.Public()
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Exchange(public)
	if err != nil {
		t.Fatal(err)
	}
	copied, secret := p, s.Secret()
	p.Wipe()
	s.Wipe()
	if !copied.IsZero() || !bytes.Equal(secret, make([]byte, 32)) {
		t.Error("a copy survives Wipe")
	}
	for name, p := range map[string]SessionPrivate{"wiped": copied, "zero": {}} {
		p.Wipe()
		if _, err := p.Public(); err == nil {
			t.Errorf("%s key has a public side", name)
		}
		if _, err := p.Exchange(public); err == nil {
			t.Errorf("%s key exchanges", name)
		}
	}
	var none SharedSecret
	none.Wipe()
	if none.Secret() != nil {
		t.Error("the zero secret has bytes")
	}
	alias := public
	alias[31] ^= 0x80
	if !public.Aliases(alias) || !alias.Aliases(public) || public.Aliases(SessionPublic{9}) {
		t.Error("Aliases is wrong")
	}
}

// fmt does not call methods on unexported fields: the values must be safe there too.
func TestSecretsDoNotPrintFromUnexportedFields(t *testing.T) {
	canary := [32]byte{0xca, 0xfe, 0xba, 0xbe, 1, 2, 3}
	type inner struct {
		id     Identity
		ex     SessionPrivate
		shared SharedSecret
	}
	id := IdentityFromSeed(canary)
	ex := SessionPrivateFromScalar(canary)
	shared, err := ex.Exchange(SessionPublic{9})
	if err != nil {
		t.Fatal(err)
	}
	v := inner{id, ex, shared}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%o", "%c", "%U"} {
		for _, value := range []any{v, &v, []inner{v}, id, ex, shared, id.RawSigner()} {
			text := fmt.Sprintf(verb, value)
			for _, secret := range [][]byte{canary[:7], shared.Secret()[:7]} {
				for _, form := range []string{verb, "%x", "%X", "%d", "%#v", "% x", "%o", "%s"} {
					shape := fmt.Sprintf(form, secret)
					if form == "%d" || form == "%o" {
						shape = shape[1 : len(shape)-1]
					}
					if form == "%#v" {
						shape = shape[len("[]byte{") : len(shape)-1]
					}
					if bytes.Contains([]byte(text), []byte(shape)) {
						t.Fatalf("%s of %T shows a secret", verb, value)
					}
				}
			}
		}
	}
}
