package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/tucdesk/tucdesk/internal/key"
)

var update = flag.Bool("update", false, "write testdata/vectors.json again")

type vector struct {
	Name     string   `json:"name"`
	Seeds    []string `json:"seeds"` // hex, RFC 8032 private keys of the signers
	Kids     []string `json:"kids"`
	Context  string   `json:"context"`
	Payload  string   `json:"payload"` // hex
	Hash     string   `json:"hash"`
	Envelope string   `json:"envelope"`         // hex
	Refuse   string   `json:"refuse,omitempty"` // why it is refused; empty: it verifies
}

// vectors makes them from fixed seeds. The refused ones are built without this
// package's checks.
func vectors(t *testing.T) []vector {
	a, b := key.IdentityFromSeed([32]byte{1}), key.IdentityFromSeed([32]byte{2})
	seed := func(n byte) string { return hex.EncodeToString(append([]byte{n}, make([]byte, 31)...)) }
	payload := []byte("\xa2\x61v\x01\x64name\x65web-1") // {"v": 1, "name": "web-1"}
	const context = "tucdesk example v1"
	one := vector{
		Seeds: []string{seed(1)}, Kids: []string{a.Kid().String()}, Context: context, Payload: hex.EncodeToString(payload), Hash: Sum(payload).String(),
	}
	two := one
	two.Seeds, two.Kids = []string{seed(1), seed(2)}, []string{a.Kid().String(), b.Kid().String()}
	raw := func(v any) string {
		out, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(out)
	}
	good := func(ids ...key.Identity) string {
		out, err := SignBytes(context, payload, ids...)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(out)
	}
	sig := func(id key.Identity, context string) wireSignature {
		return wireSignature{Kid: id.Kid(), Sig: id.Sign(context, payload)}
	}
	sigA, sigB := sig(a, context), sig(b, context)
	if bytes.Compare(sigA.Kid[:], sigB.Kid[:]) > 0 {
		sigA, sigB = sigB, sigA
	}
	with := func(v vector, name, envelope, refuse string) vector {
		v.Name, v.Envelope, v.Refuse = name, envelope, refuse
		return v
	}
	return []vector{
		with(one, "one signer", good(a), ""),
		with(two, "two signers", good(a, b), ""),
		with(two, "signatures in the wrong order", raw(wireEnvelope{Payload: payload, Signatures: []wireSignature{sigB, sigA}}), "signatures must rise by kid"),
		with(one, "one key twice", raw(wireEnvelope{Payload: payload, Signatures: []wireSignature{sig(a, context), sig(a, context)}}), "each key signs once"),
		with(one, "no signature", raw(wireEnvelope{Payload: payload, Signatures: []wireSignature{}}), "at least one signature"),
		with(one, "another context", raw(wireEnvelope{Payload: payload, Signatures: []wireSignature{sig(a, "tucdesk other v1")}}), "the signature is in another context"),
		with(one, "an unknown signer", good(b), "every signer must be known"),
		with(one, "a known and an unknown signer", good(a, b), "every signer must be known"),
		with(one, "a byte after it", good(a)+"00", "nothing follows an envelope"),
		with(one, "a length that is not the shortest", "82590010"+good(a)[4:], "only the shortest form"),
		with(one, "payload changed", hex.EncodeToString(bytes.Replace(mustHex(t, good(a)), []byte("web-1"), []byte("web-2"), 1)), "the signature is over other bytes"),
	}
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	if *update {
		b, err := json.MarshalIndent(vectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil || len(vs) < 10 {
		t.Fatalf("%d vectors: %v", len(vs), err)
	}
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			var ids []key.Identity
			for i, s := range v.Seeds {
				id := key.IdentityFromSeed([32]byte(mustHex(t, s)))
				if id.Kid().String() != v.Kids[i] {
					t.Errorf("kid %s, want %s", id.Kid(), v.Kids[i])
				}
				ids = append(ids, id)
			}
			payload := mustHex(t, v.Payload)
			if Sum(payload).String() != v.Hash {
				t.Error("hash")
			}
			u, err := Parse(mustHex(t, v.Envelope))
			if err == nil {
				_, err = u.Verify(v.Context, lookup(ids...))
			}
			if (err == nil) != (v.Refuse == "") {
				t.Errorf("%v, want refused: %q", err, v.Refuse)
			}
			if v.Refuse == "" {
				again, err := SignBytes(v.Context, payload, ids...)
				if err != nil || hex.EncodeToString(again) != v.Envelope {
					t.Errorf("signing gives other bytes: %v", err)
				}
			}
		})
	}
}
