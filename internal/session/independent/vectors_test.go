package independent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
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
			read(t, "vectors/"+file, &g, &want, &fields)
			operator, agent := g.parties(t)
			hs1, hs2, hs3, so, sa := shake(t, operator, agent)
			for _, s := range []*Session{so, sa} {
				compare(t, fields, s.Trace, map[string][]byte{
					"hs1": hs1, "hs2": hs2, "hs3": hs3, "exporter_test_40": s.Exporter("test", 40),
				})
			}
			checkEpochs(t, so.Trace, want.Epochs)
			checkRecords(t, so, sa, want.Records)
		})
	}
}

// fixed are the fields that begin a vector, and those with a shape of their own.
var fixed = strings.Fields(`comment suite seed_operator seed_agent nonce_o nonce_a scalar_o scalar_a seed_kem random_kem team_fp gh
	session_id rest_p2 rest_p3 epochs records generation attempt accept data`)

// compare holds every field of a vector that is not fixed against what came out:
// more, or else the trace's value of that name.
func compare(t *testing.T, fields map[string]json.RawMessage, trace Trace, more map[string][]byte) {
	t.Helper()
	inTrace := map[string]string{
		"p2": "P2", "p3": "P3", "e2": "E2", "e3": "E3", "secret_o2a_0": "secret_o2a", "secret_a2o_0": "secret_a2o", "prologue_r": "prologue",
	}
	for field, raw := range fields {
		if slices.Contains(fixed, field) {
			continue
		}
		got, ok := more[field]
		if !ok {
			if got, ok = trace[field]; !ok {
				got = trace[inTrace[field]]
			}
		}
		var want octets
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		if len(want) == 0 || !bytes.Equal(got, want) {
			t.Errorf("%s\n got %x\nwant %x", field, got, want)
		}
	}
}

// resuming are both ends of a resume as a file fixes them.
func resuming(t *testing.T, file string, suite uint16) (operator, agent Party) {
	t.Helper()
	var g given
	var v struct{ Exporter, Generation, Attempt octets }
	read(t, file, &g, &v)
	g.Suite = suite
	operator, agent = g.parties(t)
	before := Before{[32]byte(v.Exporter), binary.BigEndian.Uint32(v.Generation), binary.BigEndian.Uint32(v.Attempt)}
	answered := before
	answered.Attempt--
	operator.Before, agent.Before = &before, &answered
	if suite == SuiteHybrid {
		agent.Suites = []uint16{SuiteHybrid} // none weaker than the session's until now
	}
	return operator, agent
}

// Every value of a resume, likewise.
func TestResumeVectors(t *testing.T) {
	for suite, file := range map[uint16]string{SuiteX25519: "resume/suite-0001.json", SuiteHybrid: "resume/suite-0002.json"} {
		t.Run(file, func(t *testing.T) {
			var v struct{ Accept, Data octets }
			var fields map[string]json.RawMessage
			read(t, file, &v, &fields)
			operator, agent := resuming(t, file, suite)
			before := *operator.Before
			rs1, rs2, rs3, so, sa := shake(t, operator, agent)
			for _, s := range []*Session{so, sa} {
				compare(t, fields, s.Trace, map[string][]byte{
					"rs1": rs1, "rs2": rs2, "rs3": rs3, "binder": rs1[len(rs1)-32:],
					"exporter": before.Exporter[:], "exporter_next": s.Trace["exporter"],
					"k_binder": expand(before.Exporter[:], []byte("resume binder"), 32),
				})
			}
			now := time.Unix(0, 0)
			if kind, payload, err := so.Open(v.Accept, now); err != nil || kind != KindAccept || len(payload) != 0 {
				t.Errorf("ACCEPT: kind %d, %q, %v", kind, payload, err)
			}
			if kind, _, err := sa.Open(v.Data, now); err != nil || kind != KindData {
				t.Errorf("DATA: kind %d, %v", kind, err)
			}
		})
	}
}

// shake runs a handshake of this implementation with itself.
func shake(t *testing.T, operator, agent Party) (first, second, third []byte, so, sa *Session) {
	t.Helper()
	i, first, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	r, second, err := Respond(agent, first)
	if err != nil {
		t.Fatal(err)
	}
	if third, so, err = i.Finish(second); err != nil {
		t.Fatal(err)
	}
	if sa, err = r.Finish(third); err != nil {
		t.Fatal(err)
	}
	return first, second, third, so, sa
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
	var all []refused
	read(t, "vectors/messages-refused.json", &all)
	ran := map[string]int{}
	for _, file := range suiteFiles {
		var g given
		read(t, "vectors/"+file, &g)
		operator, agent := g.parties(t)
		refuse(t, file, all, ran, operator, agent)
	}
	count(t, ran, len(all), 9)
}

// Every message of a resume that must be refused, likewise.
func TestResumeRefusals(t *testing.T) {
	var all []refused
	read(t, "resume/refused.json", &all)
	ran := map[string]int{}
	for suite, file := range map[uint16]string{SuiteX25519: "suite-0001.json", SuiteHybrid: "suite-0002.json"} {
		operator, agent := resuming(t, "resume/"+file, suite)
		refuse(t, file, all, ran, operator, agent)
	}
	count(t, ran, len(all), 11)
}

// count wants all vectors to have run, and so many kinds among them.
func count(t *testing.T, ran map[string]int, all, kinds int) {
	t.Helper()
	total := 0
	for _, n := range ran {
		total += n
	}
	if len(ran) != kinds || total != all {
		t.Fatalf("ran %d of %d vectors: %v", total, all, ran)
	}
	t.Logf("refused: %v", ran)
}

// refused is a message that must be refused.
type refused struct {
	File, Name, Message, Expect string
	Bytes                       octets
}

// refuse has both ends of a handshake refuse the messages that are of its file, and
// then take the right ones.
func refuse(t *testing.T, file string, all []refused, ran map[string]int, operator, agent Party) {
	t.Helper()
	i, first, err := Initiate(operator)
	if err != nil {
		t.Fatal(err)
	}
	r, second, err := Respond(agent, first)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.File != file {
			continue
		}
		var err error
		switch v.Message {
		case "HS1", "RS1":
			_, _, err = Respond(agent, v.Bytes)
		case "HS2", "RS2":
			_, _, err = i.Finish(v.Bytes)
		case "HS3", "RS3":
			_, err = r.Finish(v.Bytes)
		default:
			t.Fatalf("message %q", v.Message)
		}
		if err != Abort(v.Expect) {
			t.Errorf("%s, %s, %s: %v, want %s", file, v.Message, v.Name, err, v.Expect)
		}
		ran[v.Expect]++
	}
	third, _, err := i.Finish(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(third); err != nil {
		t.Error(err)
	}
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
	read(t, "vectors/records.json", &all)
	ran := map[string]int{}
	for _, s := range all {
		var g given
		read(t, "vectors/"+s.File, &g)
		operator, agent := g.parties(t)
		_, _, _, end, sa := shake(t, operator, agent)
		if s.At == "agent" {
			end = sa
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
