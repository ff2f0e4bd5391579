package session

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5869, appendix A.1 and A.3.
func TestHKDFRFC5869(t *testing.T) {
	for _, v := range []struct{ ikm, salt, info, prk, okm string }{
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
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
		if okm := expand(prk[:], string(unhex(t, v.info)), 42); !bytes.Equal(okm, unhex(t, v.okm)) {
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
	if ran < 50 {
		t.Fatalf("ran only %d vectors", ran)
	}
}
