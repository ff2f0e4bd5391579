package independent

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/session"
)

// meeting is one session as both implementations are told of it: the operator
// and the agent, each in both forms.
type meeting struct {
	operator, agent       Party
	ourOperator, ourAgent session.Config
}

func meet(t testing.TB, suites ...uint16) *meeting {
	t.Helper()
	seedO, seedA := [32]byte{1}, [32]byte{2}
	skO, skA := ed25519.NewKeyFromSeed(seedO[:]), ed25519.NewKeyFromSeed(seedA[:])
	m := &meeting{}
	base := Party{Suites: suites}
	for _, b := range [][]byte{base.SessionID[:], base.BundleHash[:], base.TeamFP[:]} {
		random(t, b)
	}
	m.operator, m.agent = base, base
	m.operator.Identity, m.operator.Peer = skO, skA.Public().(ed25519.PublicKey)
	m.agent.Identity, m.agent.Peer = skA, skO.Public().(ed25519.PublicKey)
	m.operator.Report = Report{Sequence: 7, Head: [32]byte{7}, Clock: 1_800_000_000, Checkpoint: []byte("the operator's checkpoint")}
	m.agent.Report = Report{Sequence: 1 << 40, Head: [32]byte{8}, Clock: 1_800_000_001}
	for _, p := range []*Party{&m.operator, &m.agent} {
		for _, b := range [][]byte{p.Nonce[:], p.Scalar[:], p.KEM[:]} {
			random(t, b)
		}
	}

	var ours []session.Suite
	for _, s := range suites {
		ours = append(ours, session.Suite(s))
	}
	config := session.Config{ID: session.ID(base.SessionID), TeamFP: base.TeamFP, BundleHash: base.BundleHash, Suites: ours}
	m.ourOperator, m.ourAgent = config, config
	o, a := key.IdentityFromSeed(seedO), key.IdentityFromSeed(seedA)
	m.ourOperator.Self, m.ourOperator.Peer = o, a.Public()
	m.ourAgent.Self, m.ourAgent.Peer = a, o.Public()
	m.ourOperator.Evidence = evidence(m.operator.Report)
	m.ourAgent.Evidence = evidence(m.agent.Report)
	return m
}

func random(t testing.TB, b []byte) {
	t.Helper()
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		t.Fatal(err)
	}
}

func evidence(r Report) session.Evidence {
	return session.Evidence{RosterSeq: r.Sequence, RosterHash: r.Head, Time: time.Unix(int64(r.Clock), 0), Checkpoint: r.Checkpoint}
}

func sameReport(t *testing.T, who string, got Report, want session.Evidence) {
	t.Helper()
	if got.Sequence != want.RosterSeq || got.Head != want.RosterHash || int64(got.Clock) != want.Time.Unix() || !bytes.Equal(got.Checkpoint, want.Checkpoint) {
		t.Fatalf("%s reports %+v, want %+v", who, got, want)
	}
}

// A side is one end of a session that stands, whoever implements it.
type side interface {
	accept() ([]byte, error)
	seal(payload []byte) ([]byte, error)
	open(datagram []byte) (payload []byte, kind byte, err error)
	exporter(label string, n int) []byte
}

type theirs struct{ *Session }

func (s theirs) accept() ([]byte, error)             { return s.Seal(KindAccept, nil, time.Now()) }
func (s theirs) seal(payload []byte) ([]byte, error) { return s.Seal(KindData, payload, time.Now()) }
func (s theirs) open(d []byte) ([]byte, byte, error) {
	kind, payload, err := s.Open(d, time.Now())
	return payload, kind, err
}
func (s theirs) exporter(label string, n int) []byte { return s.Exporter(label, n) }

type ours struct{ *session.Established }

func (s ours) accept() ([]byte, error)             { return s.Records().Accept(nil) }
func (s ours) seal(payload []byte) ([]byte, error) { return s.Records().Seal(nil, payload) }
func (s ours) open(d []byte) ([]byte, byte, error) {
	payload, kind, err := s.Records().Open(nil, d)
	return payload, byte(kind), err
}
func (s ours) exporter(label string, n int) []byte {
	b, err := s.Exporter(label, n)
	if err != nil {
		return nil
	}
	return b
}

// dropped reports whether err is the silent refusal of a datagram, in either
// implementation, and not the end of a session.
func dropped(err error) bool { return errors.Is(err, ErrDropped) || errors.Is(err, session.ErrRecord) }

// withOurAgent has the second implementation dial ours.
func (m *meeting) withOurAgent(t *testing.T) (operator, agent side) {
	t.Helper()
	i, hs1, err := Initiate(m.operator)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := session.Respond(m.ourAgent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	hs3, s, err := i.Finish(hs2)
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	sameReport(t, "our agent", s.Peer, m.ourAgent.Evidence)
	sameReport(t, "their operator", m.operator.Report, e.Peer)
	if s.Suite != uint16(e.Suite) {
		t.Fatalf("suites %d and %d", s.Suite, e.Suite)
	}
	return theirs{s}, ours{e}
}

// withOurOperator has our implementation dial the second one.
func (m *meeting) withOurOperator(t *testing.T) (operator, agent side) {
	t.Helper()
	i, hs1, err := session.Initiate(m.ourOperator)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := Respond(m.agent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	hs3, e, err := i.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Finish(hs3)
	if err != nil {
		t.Fatal(err)
	}
	sameReport(t, "our operator", s.Peer, m.ourOperator.Evidence)
	sameReport(t, "their agent", m.agent.Report, e.Peer)
	if s.Suite != uint16(e.Suite) {
		t.Fatalf("suites %d and %d", s.Suite, e.Suite)
	}
	return ours{e}, theirs{s}
}

// bothWays runs f with each implementation as the operator, for each list of
// suites.
func bothWays(t *testing.T, f func(t *testing.T, operator, agent side)) {
	for _, suites := range [][]uint16{{SuiteX25519}, {SuiteHybrid}, {SuiteHybrid, SuiteX25519}, {SuiteX25519, SuiteHybrid}} {
		for name, shake := range map[string]func(*meeting, *testing.T) (side, side){
			"our agent":    (*meeting).withOurAgent,
			"our operator": (*meeting).withOurOperator,
		} {
			t.Run(fmt.Sprintf("%s/suites %v", name, suites), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					operator, agent := shake(meet(t, suites...), t)
					f(t, operator, agent)
				})
			})
		}
	}
}

func carry(t *testing.T, from, to side, payload string) []byte {
	t.Helper()
	d, err := from.seal([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	got, kind, err := to.open(d)
	if err != nil || kind != KindData || string(got) != payload {
		t.Fatalf("%d bytes arrive as %d bytes of kind %d, %v", len(payload), len(got), kind, err)
	}
	if _, _, err := to.open(d); !dropped(err) {
		t.Fatalf("the same record again: %v", err)
	}
	return d
}

func start(t *testing.T, operator, agent side) {
	t.Helper()
	if _, err := operator.seal([]byte("too early")); err == nil {
		t.Fatal("the operator speaks before ACCEPT")
	}
	for range 2 { // it may be repeated
		d, err := agent.accept()
		if err != nil {
			t.Fatal(err)
		}
		if payload, kind, err := operator.open(d); err != nil || kind != KindAccept || len(payload) != 0 {
			t.Fatalf("ACCEPT: kind %d, %d bytes, %v", kind, len(payload), err)
		}
	}
}

// Both implementations shake hands with each other, agree on the exporter, and
// open each other's records of every size, over several epochs.
func TestInterop(t *testing.T) {
	bothWays(t, func(t *testing.T, operator, agent side) {
		for label, n := range map[string]int{"": 1, "test": 40, "long": 8160} {
			if got := operator.exporter(label, n); len(got) != n || !bytes.Equal(got, agent.exporter(label, n)) {
				t.Fatalf("exporter %q of %d bytes differs", label, n)
			}
		}
		start(t, operator, agent)
		for range 3 { // epochs
			for _, n := range []int{0, 1, 62, 63, 64, 1022, 1023, 1024, 1200, session.MaxPayload} {
				carry(t, operator, agent, strings.Repeat("o", n))
				carry(t, agent, operator, strings.Repeat("\x00", n))
			}
			time.Sleep(session.RekeyAfter)
		}
		if d := carry(t, operator, agent, "in the fourth epoch"); d[1] != 3 {
			t.Fatalf("epoch %d, want 3", d[1])
		}
	})
}

// What one drops, the other drops: reordered, late and repeated records, over a
// change of epoch.
func TestInteropReordering(t *testing.T) {
	bothWays(t, func(t *testing.T, operator, agent side) {
		start(t, operator, agent)
		for _, way := range []struct{ from, to side }{{operator, agent}, {agent, operator}} {
			sealed := func(payload string) []byte {
				d, err := way.from.seal([]byte(payload))
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			takes := func(d []byte, want string) {
				t.Helper()
				if got, _, err := way.to.open(d); err != nil || string(got) != want {
					t.Fatalf("opened %q, %v, want %q", got, err, want)
				}
			}
			drops := func(what string, d []byte) {
				t.Helper()
				if _, _, err := way.to.open(d); !dropped(err) {
					t.Fatalf("%s: %v", what, err)
				}
			}
			var old [][]byte
			for range windowSize + 1 {
				old = append(old, sealed("x"))
			}
			late, tooLate := sealed("late"), sealed("too late")
			takes(old[windowSize], "x")
			drops("one below the window's floor", old[0])
			takes(old[1], "x") // the floor itself
			drops("the floor again", old[1])

			time.Sleep(session.RekeyAfter)
			first, second := sealed("first"), sealed("second")
			takes(second, "second")
			takes(late, "late")
			takes(first, "first")
			time.Sleep(epochLinger + time.Millisecond)
			drops("of an epoch that ended", tooLate)
			drops("of an epoch that ended, and seen", late)
			drops("seen", first)
			for i := range second {
				bad := bytes.Clone(sealed("changed"))
				bad[i] ^= 1
				drops(fmt.Sprintf("byte %d changed", i), bad)
			}
		}
	})
}

// Neither implementation takes a message of the other with any one bit changed;
// both take the right one afterwards. HS1 is special: what is changed in it
// shows when the initiator reads the answer.
func TestInteropTampering(t *testing.T) {
	m := meet(t, SuiteHybrid)
	flips := func(msg []byte, try func(bad []byte) error) {
		t.Helper()
		for i := range msg {
			if i > 200 && i < len(msg)-250 && i%9 != 0 {
				continue // within an ML-KEM key or ciphertext; session's own tests leave none out
			}
			bad := bytes.Clone(msg)
			bad[i] ^= 1 << (i % 8)
			if err := try(bad); !errors.Is(err, ErrAbort) && err != session.ErrHandshake {
				t.Fatalf("message %d with byte %d changed: %v", msg[0], i, err)
			}
		}
	}
	i, hs1, err := Initiate(m.operator)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := session.Respond(m.ourAgent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	flips(hs1, func(bad []byte) error {
		_, answer, err := session.Respond(m.ourAgent, bad)
		if err == nil {
			_, _, err = i.Finish(answer)
		}
		return err
	})
	flips(hs2, func(bad []byte) error { _, _, err := i.Finish(bad); return err })
	hs3, _, err := i.Finish(hs2)
	if err != nil {
		t.Fatal(err)
	}
	flips(hs3, func(bad []byte) error { _, err := r.Consume(bad); return err })
	if _, err := r.Consume(hs3); err != nil {
		t.Fatal(err)
	}

	oi, hs1, err := session.Initiate(m.ourOperator)
	if err != nil {
		t.Fatal(err)
	}
	or, hs2, err := Respond(m.agent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	flips(hs1, func(bad []byte) error {
		_, answer, err := Respond(m.agent, bad)
		if err == nil {
			_, _, err = oi.Consume(answer)
		}
		return err
	})
	flips(hs2, func(bad []byte) error { _, _, err := oi.Consume(bad); return err })
	hs3, _, err = oi.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	flips(hs3, func(bad []byte) error { _, err := or.Finish(bad); return err })
	if _, err := or.Finish(hs3); err != nil {
		t.Fatal(err)
	}
}

// Suites that only one side knows are passed over, and an offer with nothing in
// common is refused by both.
func TestInteropSuites(t *testing.T) {
	m := meet(t, 0x7777, SuiteX25519)
	i, hs1, err := Initiate(m.operator)
	if err != nil {
		t.Fatal(err)
	}
	m.ourAgent.Suites = nil
	_, hs2, err := session.Respond(m.ourAgent, hs1)
	if err != nil {
		t.Fatal(err)
	}
	if _, s, err := i.Finish(hs2); err != nil || s.Suite != SuiteX25519 {
		t.Fatalf("%+v, %v", s, err)
	}
	m.ourAgent.MinSuite = session.SuiteHybrid
	if _, _, err := session.Respond(m.ourAgent, hs1); err != session.ErrHandshake {
		t.Fatal(err)
	}
	m.agent.Suites = []uint16{SuiteHybrid}
	if _, _, err := Respond(m.agent, hs1); !errors.Is(err, ErrAbort) {
		t.Fatal(err)
	}
}

// Each resumes sessions with the other, three times in a row, and refuses what
// SPEC.md, section 9.5, has it refuse.
func TestInteropResume(t *testing.T) {
	for _, suite := range []uint16{SuiteX25519, SuiteHybrid} {
		t.Run(fmt.Sprintf("our agent/suite %d", suite), func(t *testing.T) {
			m := meet(t, suite)
			o, a := m.withOurAgent(t)
			operator, agent := o.(theirs).Session, session.NewChain(a.(ours).Established)
			for n := range uint32(3) {
				p := m.operator
				for _, b := range [][]byte{p.Nonce[:], p.Scalar[:], p.KEM[:]} {
					random(t, b)
				}
				p.Before = &Before{[32]byte(operator.Trace["exporter"]), n, n + 1}
				i, rs1, err := Initiate(p)
				if err != nil {
					t.Fatal(err)
				}
				for at, what := range map[int]string{20: "generation", 24: "attempt", 28: "nonce", len(rs1) - 1: "binder"} {
					bad := bytes.Clone(rs1)
					bad[at] ^= 1
					if _, _, err := agent.Respond(m.ourAgent, bad); err != session.ErrHandshake {
						t.Fatalf("RS1 with another %s: %v", what, err)
					}
				}
				r, rs2, err := agent.Respond(m.ourAgent, rs1)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := agent.Respond(m.ourAgent, rs1); err != session.ErrHandshake {
					t.Fatalf("RS1 again: %v", err)
				}
				rs3, next, err := i.Finish(rs2)
				if err != nil {
					t.Fatal(err)
				}
				e, err := r.Consume(rs3)
				if err != nil {
					t.Fatal(err)
				}
				if err := agent.Follow(e); err != nil {
					t.Fatal(err)
				}
				accept, err := agent.Accept(nil)
				if err != nil {
					t.Fatal(err)
				}
				operator = next
				if kind, _, err := operator.Open(accept, time.Now()); err != nil || kind != KindAccept {
					t.Fatalf("ACCEPT: kind %d, %v", kind, err)
				}
				d, err := operator.Seal(KindData, []byte("there"), time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := agent.Open(nil, d); err != nil || string(got) != "there" {
					t.Fatalf("%q, %v", got, err)
				}
				if d, err = agent.Seal(nil, []byte("and back")); err != nil {
					t.Fatal(err)
				}
				if _, got, err := operator.Open(d, time.Now()); err != nil || string(got) != "and back" {
					t.Fatalf("%q, %v", got, err)
				}
				if agent.Generation() != n+1 {
					t.Fatalf("generation %d, want %d", agent.Generation(), n+1)
				}
			}
		})
		t.Run(fmt.Sprintf("our operator/suite %d", suite), func(t *testing.T) {
			m := meet(t, suite)
			o, a := m.withOurOperator(t)
			operator, agent := session.NewChain(o.(ours).Established), a.(theirs).Session
			for n := range uint32(3) {
				i, rs1, err := operator.Initiate(m.ourOperator)
				if err != nil {
					t.Fatal(err)
				}
				p := m.agent
				for _, b := range [][]byte{p.Nonce[:], p.Scalar[:], p.KEM[:]} {
					random(t, b)
				}
				p.Before = &Before{[32]byte(agent.Trace["exporter"]), n, n + 1}
				if _, _, err := Respond(p, rs1); err != badAttempt {
					t.Fatalf("RS1 that was answered: %v", err)
				}
				p.Before.Attempt, p.Before.Exporter[0] = n, p.Before.Exporter[0]^1
				if _, _, err := Respond(p, rs1); err != badBinder {
					t.Fatalf("RS1 bound to other keys: %v", err)
				}
				p.Before.Exporter[0] ^= 1
				r, rs2, err := Respond(p, rs1)
				if err != nil {
					t.Fatal(err)
				}
				rs3, e, err := i.Consume(rs2)
				if err != nil {
					t.Fatal(err)
				}
				if agent, err = r.Finish(rs3); err != nil {
					t.Fatal(err)
				}
				if err := operator.Follow(e); err != nil {
					t.Fatal(err)
				}
				accept, err := agent.Seal(KindAccept, nil, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if _, kind, err := operator.Open(nil, accept); err != nil || kind != session.KindAccept {
					t.Fatalf("ACCEPT: kind %d, %v", kind, err)
				}
				d, err := operator.Seal(nil, []byte("there"))
				if err != nil {
					t.Fatal(err)
				}
				if _, got, err := agent.Open(d, time.Now()); err != nil || string(got) != "there" {
					t.Fatalf("%q, %v", got, err)
				}
			}
		})
	}
}
