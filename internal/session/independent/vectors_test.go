package independent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// octets is a byte string that JSON has in hexadecimal.
type octets []byte

func (o *octets) UnmarshalText(b []byte) (err error) {
	*o, err = hex.DecodeString(string(b))
	return err
}

// read loads a file of vectors, with and without names of its fields.
func read(t *testing.T, name string, into ...any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range into {
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// given is what suite-*.json fixes; outcome is what must follow.
type given struct {
	Suite        uint16
	SeedOperator octets `json:"seed_operator"`
	SeedAgent    octets `json:"seed_agent"`
	NonceO       octets `json:"nonce_o"`
	NonceA       octets `json:"nonce_a"`
	ScalarO      octets `json:"scalar_o"`
	ScalarA      octets `json:"scalar_a"`
	SeedKEM      octets `json:"seed_kem"`
	RandomKEM    octets `json:"random_kem"`
	TeamFP       octets `json:"team_fp"`
	GH           octets
	SessionID    octets `json:"session_id"`
	RestP2       octets `json:"rest_p2"`
	RestP3       octets `json:"rest_p3"`
}

type outcome struct {
	HS1, HS2, HS3 octets
	Epochs        []epochVector
	Records       []recordVector
}

type epochVector struct {
	Way             string
	Epoch           uint64
	Secret, Key, IV octets
}

type recordVector struct {
	From              string
	Epoch, Counter    uint64
	Kind              byte
	Payload, Datagram octets
}

// parties are both ends as the vectors fix them.
func (g *given) parties(t *testing.T) (operator, agent Party) {
	t.Helper()
	skO, skA := ed25519.NewKeyFromSeed(g.SeedOperator), ed25519.NewKeyFromSeed(g.SeedAgent)
	base := Party{
		SessionID: [16]byte(g.SessionID), BundleHash: [32]byte(g.GH), TeamFP: [32]byte(g.TeamFP),
		Suites: []uint16{SuiteHybrid, SuiteX25519},
	}
	operator, agent = base, base
	operator.Suites = []uint16{g.Suite}
	operator.Identity, operator.Peer = skO, skA.Public().(ed25519.PublicKey)
	agent.Identity, agent.Peer = skA, skO.Public().(ed25519.PublicKey)
	operator.Nonce, operator.Scalar = [32]byte(g.NonceO), [32]byte(g.ScalarO)
	agent.Nonce, agent.Scalar = [32]byte(g.NonceA), [32]byte(g.ScalarA)
	copy(operator.KEM[:], g.SeedKEM)
	copy(agent.KEM[:], g.RandomKEM)
	for _, side := range []struct {
		p    *Party
		rest octets
	}{{&operator, g.RestP3}, {&agent, g.RestP2}} {
		r, err := readReport(side.rest)
		if err != nil {
			t.Fatal(err)
		}
		side.p.Report = r
	}
	return operator, agent
}

var suiteFiles = []string{"suite-0001.json", "suite-0002.json"}

// Every value of the positive vectors comes out of this implementation, byte for
// byte, and none is passed over.
func TestVectors(t *testing.T) {
	for _, file := range suiteFiles {
		t.Run(file, func(t *testing.T) {
			var g given
			var want outcome
			var fields map[string]json.RawMessage
			read(t, file, &g, &want, &fields)
			operator, agent := g.parties(t)
			i, hs1, err := Initiate(operator)
			if err != nil {
				t.Fatal(err)
			}
			r, hs2, err := Respond(agent, hs1)
			if err != nil {
				t.Fatal(err)
			}
			hs3, so, err := i.Finish(hs2)
			if err != nil {
				t.Fatal(err)
			}
			sa, err := r.Finish(hs3)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{
				"th1": "th1", "th2": "th2", "th3": "th3", "dh": "dh", "prk": "prk", "prologue": "prologue",
				"kid_operator": "kid_operator", "kid_agent": "kid_agent", "mlkem_secret": "mlkem_secret",
				"k_hs_a2o": "k_hs_a2o", "k_hs_o2a": "k_hs_o2a", "k_fin_a": "k_fin_a", "k_fin_o": "k_fin_o",
				"p2": "P2", "p3": "P3", "e2": "E2", "e3": "E3", "sig_a": "sig_a", "sig_o": "sig_o", "fin_a": "fin_a", "fin_o": "fin_o",
				"secret_o2a_0": "secret_o2a", "secret_a2o_0": "secret_a2o", "cid_o2a": "cid_o2a", "cid_a2o": "cid_a2o", "exporter": "exporter",
			}
			for _, s := range []*Session{so, sa} {
				got := map[string][]byte{"hs1": hs1, "hs2": hs2, "hs3": hs3, "exporter_test_40": s.Exporter("test", 40)}
				for field, name := range names {
					got[field] = s.Trace[name]
				}
				for field, raw := range fields {
					switch field {
					case "comment", "suite", "seed_operator", "seed_agent", "nonce_o", "nonce_a", "scalar_o", "scalar_a", "seed_kem",
						"random_kem", "team_fp", "gh", "session_id", "rest_p2", "rest_p3", "epochs", "records":
						continue
					}
					var w octets
					if err := json.Unmarshal(raw, &w); err != nil {
						t.Fatalf("%s: %v", field, err)
					}
					if len(w) == 0 || !bytes.Equal(got[field], w) {
						t.Errorf("%s\n got %x\nwant %x", field, got[field], w)
					}
				}
			}
			checkEpochs(t, so.Trace, want.Epochs)
			checkRecords(t, so, sa, want.Records)
		})
	}
}

func checkEpochs(t *testing.T, trace Trace, want []epochVector) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("no epochs")
	}
	for _, e := range want {
		secret := trace["secret_"+e.Way]
		for range e.Epoch {
			secret = nextSecret(secret)
		}
		k, iv := recordKey(secret, 0)
		if !bytes.Equal(secret, e.Secret) || !bytes.Equal(k, e.Key) || !bytes.Equal(iv, e.IV) {
			t.Errorf("%s, epoch %d: secret %x, key %x, iv %x", e.Way, e.Epoch, secret, k, iv)
		}
	}
}

// checkRecords seals what the vectors seal, and opens it at the other end.
func checkRecords(t *testing.T, operator, agent *Session, want []recordVector) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("no records")
	}
	now := time.Unix(0, 0)
	for n, v := range want {
		from, to := agent, operator
		if v.From == "operator" {
			from, to = operator, agent
		}
		for from.send.epoch < v.Epoch {
			from.Rekey(now)
		}
		d, err := from.Seal(v.Kind, v.Payload, now)
		if err != nil || !bytes.Equal(d, v.Datagram) {
			t.Fatalf("record %d\n got %x, %v\nwant %x", n, d, err, []byte(v.Datagram))
		}
		kind, payload, err := to.Open(d, now)
		if err != nil || kind != v.Kind || !bytes.Equal(payload, v.Payload) {
			t.Fatalf("record %d: kind %d, %x, %v", n, kind, payload, err)
		}
	}
}

// Every message that must be refused is refused, for the reason its vector
// names, and the right message is taken afterwards.
func TestRefusals(t *testing.T) {
	var all []struct {
		File, Name, Message, Expect string
		Bytes                       octets
	}
	read(t, "messages-refused.json", &all)
	ran := map[string]int{}
	for _, file := range suiteFiles {
		var g given
		var good outcome
		read(t, file, &g, &good)
		operator, agent := g.parties(t)
		i, hs1, err := Initiate(operator)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := Respond(agent, hs1)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			if v.File != file {
				continue
			}
			var err error
			switch v.Message {
			case "HS1":
				_, _, err = Respond(agent, v.Bytes)
			case "HS2":
				_, _, err = i.Finish(v.Bytes)
			case "HS3":
				_, err = r.Finish(v.Bytes)
			default:
				t.Fatalf("message %q", v.Message)
			}
			if err != Abort(v.Expect) {
				t.Errorf("%s, %s, %s: %v, want %s", file, v.Message, v.Name, err, v.Expect)
			}
			ran[v.Expect]++
		}
		if _, _, err := i.Finish(good.HS2); err != nil {
			t.Error(err)
		}
		if _, err := r.Finish(good.HS3); err != nil {
			t.Error(err)
		}
	}
	total := 0
	for _, n := range ran {
		total += n
	}
	if len(ran) != 9 || total != len(all) {
		t.Fatalf("ran %d of %d vectors: %v", total, len(all), ran)
	}
	t.Logf("refused: %v", ran)
}

// What arrives after the handshake is opened, dropped or the end, as each story
// says.
func TestStories(t *testing.T) {
	var all []struct {
		File, Name, At string
		Steps          []struct {
			Ms                int64
			Datagram, Payload octets
			Expect, Why       string
			Kind              byte
		}
	}
	read(t, "records.json", &all)
	ran := map[string]int{}
	for _, s := range all {
		var g given
		read(t, s.File, &g)
		operator, agent := g.parties(t)
		i, hs1, err := Initiate(operator)
		if err != nil {
			t.Fatal(err)
		}
		r, hs2, err := Respond(agent, hs1)
		if err != nil {
			t.Fatal(err)
		}
		hs3, end, err := i.Finish(hs2)
		if err != nil {
			t.Fatal(err)
		}
		if s.At == "agent" {
			if end, err = r.Finish(hs3); err != nil {
				t.Fatal(err)
			}
		}
		for n, step := range s.Steps {
			kind, payload, err := end.Open(step.Datagram, time.UnixMilli(step.Ms))
			got := "opened"
			switch {
			case errors.Is(err, ErrDropped):
				got = "dropped"
			case errors.Is(err, ErrEnded):
				got = "ended"
			}
			if got != step.Expect || kind != step.Kind || !bytes.Equal(payload, step.Payload) {
				t.Errorf("%s, step %d (%s): %s, kind %d, %q", s.Name, n, step.Why, got, kind, payload)
			}
			ran[got]++
		}
	}
	if ran["opened"] == 0 || ran["dropped"] == 0 || ran["ended"] == 0 {
		t.Fatal("too few steps", fmt.Sprint(ran))
	}
	t.Logf("%v", ran)
}
