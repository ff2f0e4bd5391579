package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
)

// chained is a session whose handshakes can go on.
type chained struct {
	t               testing.TB
	operator, agent Config
	o, a            *Chain
}

func newChained(t testing.TB, suite Suite) *chained {
	t.Helper()
	c := &chained{t: t}
	c.operator, c.agent = pair(t)
	c.operator.Suites = []Suite{suite}
	eo, ea := shake(t, c.operator, c.agent)
	accept(t, eo, ea)
	c.o, c.a = NewChain(eo), NewChain(ea)
	return c
}

// shake is a resume up to RS3 and what both sides made of it.
func (c *chained) shake() {
	c.t.Helper()
	i, rs1, err := c.o.Initiate(c.operator)
	if err != nil {
		c.t.Fatal(err)
	}
	r, rs2, err := c.a.Respond(c.agent, rs1)
	if err != nil {
		c.t.Fatal(err)
	}
	rs3, eo, err := i.Consume(rs2)
	if err != nil {
		c.t.Fatal(err)
	}
	ea, err := r.Consume(rs3)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(c.o.Follow(eo), c.a.Follow(ea)); err != nil {
		c.t.Fatal(err)
	}
}

// confirm brings ACCEPT to the operator and a record back.
func (c *chained) confirm() {
	c.t.Helper()
	c.accepted()
	c.passes(c.o, c.a)
	c.passes(c.a, c.o)
}

func (c *chained) accepted() {
	c.t.Helper()
	d, err := c.a.Accept(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, kind, err := c.o.Open(nil, d); err != nil || kind != KindAccept {
		c.t.Fatalf("ACCEPT: kind %d, %v", kind, err)
	}
}

func (c *chained) sealed(by *Chain) []byte {
	c.t.Helper()
	d, err := by.Seal(nil, []byte("text"))
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (c *chained) passes(from, to *Chain) {
	c.t.Helper()
	if got, _, err := to.Open(nil, c.sealed(from)); err != nil || string(got) != "text" {
		c.t.Fatalf("a record: %q, %v", got, err)
	}
}

func (c *chained) refuses(to *Chain, d []byte) {
	c.t.Helper()
	if got, _, err := to.Open(nil, d); !errors.Is(err, ErrRecord) || got != nil {
		c.t.Fatalf("opened %q, %v", got, err)
	}
}

func TestResume(t *testing.T) {
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		t.Run(suite.String(), func(t *testing.T) {
			c := newChained(t, suite)
			ids := map[string]bool{}
			for n := range uint32(5) {
				if c.o.Generation() != n || c.a.Generation() != n {
					t.Fatalf("generations %d and %d, want %d", c.o.Generation(), c.a.Generation(), n)
				}
				// Records go both ways at any moment, and late ones arrive.
				c.passes(c.o, c.a)
				lateO, lateA := c.sealed(c.o), c.sealed(c.a)
				c.shake()
				c.passes(c.o, c.a)
				c.passes(c.a, c.o)
				turned := c.o.Turned()
				c.confirm()
				select {
				case <-turned:
				default:
					t.Fatal("nobody was told of the new keys")
				}
				for d, to := range map[*[]byte]*Chain{&lateO: c.a, &lateA: c.o} {
					if _, _, err := to.Open(nil, *d); err != nil {
						t.Fatalf("a late record: %v", err)
					}
					c.refuses(to, *d)
				}
				for _, d := range [][]byte{c.sealed(c.o), c.sealed(c.a)} {
					if id := string(d[4:12]); ids[id] {
						t.Fatal("a connection id came again")
					} else {
						ids[id] = true
					}
				}
				if c.o.cur.Suite != suite {
					t.Fatalf("suite %v", c.o.cur.Suite)
				}
			}
		})
	}
}

// The old keys are gone two seconds after the new ones are in use, their exporter at
// once.
func TestResumeErases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChained(t, SuiteClassic)
		old := []*Established{c.o.cur, c.a.cur}
		late := [][]byte{c.sealed(c.a), c.sealed(c.o)}
		c.shake()
		c.confirm()
		for _, e := range old {
			if _, err := e.Exporter("x", 1); !errors.Is(err, ErrState) {
				t.Error("the old exporter is there")
			}
		}
		time.Sleep(reorderGrace)
		c.refuses(c.o, late[0])
		c.refuses(c.a, late[1])
		for _, e := range old {
			if e.records.open.cur != nil || e.records.seal.cur != nil {
				t.Error("old record keys are there")
			}
		}
		c.passes(c.o, c.a)
	})
}

// Messages get lost at every point, and both sides still agree.
func TestResumeLosses(t *testing.T) {
	for _, lost := range []string{"RS1", "RS2", "RS3", "ACCEPT", "first record"} {
		t.Run(lost, func(t *testing.T) {
			c := newChained(t, SuiteClassic)
			for range 3 {
				c.lose(lost)
				// The session is not worse for it ...
				c.passes(c.o, c.a)
				if lost == "ACCEPT" || lost == "first record" {
					c.a.mu.Lock()
					next := c.a.next
					c.a.mu.Unlock()
					if lost == "ACCEPT" && next == nil {
						t.Fatal("the agent went on with keys that the operator has not confirmed")
					}
				}
				// ... and the next attempt works.
				generation := c.o.Generation()
				c.shake()
				c.confirm()
				if c.o.Generation() != generation+1 || c.a.Generation() != generation+1 {
					t.Fatalf("generations %d and %d, want %d", c.o.Generation(), c.a.Generation(), generation+1)
				}
			}
		})
	}
}

// lose runs a resume up to the message that is lost.
func (c *chained) lose(what string) {
	c.t.Helper()
	i, rs1, err := c.o.Initiate(c.operator)
	if err != nil || what == "RS1" {
		return
	}
	r, rs2, err := c.a.Respond(c.agent, rs1)
	if err != nil {
		c.t.Fatal(err)
	}
	if what == "RS2" {
		return
	}
	rs3, eo, err := i.Consume(rs2)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.o.Follow(eo); err != nil {
		c.t.Fatal(err)
	}
	if what == "RS3" {
		return
	}
	ea, err := r.Consume(rs3)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.a.Follow(ea); err != nil {
		c.t.Fatal(err)
	}
	d, err := c.a.Accept(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if what == "ACCEPT" {
		return
	}
	if _, _, err := c.o.Open(nil, d); err != nil {
		c.t.Fatal(err)
	}
	c.sealed(c.o) // which is lost
}

// Whatever a message of a resume loses or gains is the one error, and the right
// message still works afterwards.
func TestResumeTampering(t *testing.T) {
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		t.Run(suite.String(), func(t *testing.T) {
			c := newChained(t, suite)
			i, rs1, err := c.o.Initiate(c.operator)
			if err != nil {
				t.Fatal(err)
			}
			mutations(rs1, func(what string, bad []byte) {
				if r, rs2, err := c.a.Respond(c.agent, bad); err != ErrHandshake || r != nil || rs2 != nil {
					t.Fatalf("RS1 %s: %v", what, err)
				}
			})
			r, rs2, err := c.a.Respond(c.agent, rs1)
			if err != nil {
				t.Fatalf("the right RS1 after bad ones: %v", err)
			}
			mutations(rs2, func(what string, bad []byte) {
				if rs3, e, err := i.Consume(bad); err != ErrHandshake || rs3 != nil || e != nil {
					t.Fatalf("RS2 %s: %v", what, err)
				}
			})
			rs3, _, err := i.Consume(rs2)
			if err != nil {
				t.Fatalf("the right RS2 after bad ones: %v", err)
			}
			mutations(rs3, func(what string, bad []byte) {
				if e, err := r.Consume(bad); err != ErrHandshake || e != nil {
					t.Fatalf("RS3 %s: %v", what, err)
				}
			})
			if _, err := r.Consume(rs3); err != nil {
				t.Fatalf("the right RS3 after bad ones: %v", err)
			}
		})
	}
}

// Each RS1 is answered once, and none after a later one.
func TestResumeOnce(t *testing.T) {
	c := newChained(t, SuiteClassic)
	refused := func(what string, rs1 []byte) {
		t.Helper()
		if r, rs2, err := c.a.Respond(c.agent, rs1); err != ErrHandshake || r != nil || rs2 != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	make1 := func() []byte {
		t.Helper()
		_, rs1, err := c.o.Initiate(c.operator)
		if err != nil {
			t.Fatal(err)
		}
		return rs1
	}
	older, newer := make1(), make1()
	if _, _, err := c.a.Respond(c.agent, newer); err != nil {
		t.Fatal(err)
	}
	refused("the same again", newer)
	refused("an older one", older)
	kept := make1()
	c.shake()
	c.confirm()
	refused("one of the keys before", kept)
	c.shake()
	c.confirm()
	refused("one of long ago", kept)
	c.passes(c.o, c.a)
	c.passes(c.a, c.o)
}

// RS3 of an attempt that a later one has overtaken makes no session.
func TestResumeOvertaken(t *testing.T) {
	c := newChained(t, SuiteClassic)
	i, rs1, err := c.o.Initiate(c.operator)
	if err != nil {
		t.Fatal(err)
	}
	r, rs2, err := c.a.Respond(c.agent, rs1)
	if err != nil {
		t.Fatal(err)
	}
	rs3, eo, err := i.Consume(rs2)
	if err != nil {
		t.Fatal(err)
	}
	ea, err := r.Consume(rs3)
	if err != nil {
		t.Fatal(err)
	}
	c.shake()
	for side, err := range map[string]error{"operator": c.o.Follow(eo), "agent": c.a.Follow(ea)} {
		if !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", side, err)
		}
	}
	for _, e := range []*Established{eo, ea} {
		if _, err := e.Exporter("x", 1); !errors.Is(err, ErrState) {
			t.Error("keys that nobody uses were kept")
		}
	}
	c.confirm()
}

// Who has not both the old keys and the right identity resumes nothing, and no
// message stands in for one of another kind.
func TestResumeByOthers(t *testing.T) {
	stranger := key.IdentityFromSeed([32]byte{99})
	for name, change := range map[string]func(c *chained){
		"another device of the operator's": func(c *chained) { c.operator.Self = stranger },
		"another agent":                    func(c *chained) { c.agent.Self = stranger },
		"another bundle":                   func(c *chained) { c.operator.BundleHash[0] ^= 1 },
		"another team":                     func(c *chained) { c.agent.TeamFP[0] ^= 1 },
		"another session's keys": func(c *chained) {
			other := newChained(c.t, SuiteClassic)
			c.o = other.o
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChained(t, SuiteClassic)
			change(c)
			_, rs1, err := c.o.Initiate(c.operator)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.a.Respond(c.agent, rs1); err != ErrHandshake {
				t.Fatalf("RS1 was answered: %v", err)
			}
		})
	}
	t.Run("the keys without the identity", func(t *testing.T) {
		// A thief of the operator's memory, but not of its device key: the binder is
		// right, the signature is not.
		c := newChained(t, SuiteClassic)
		i, rs1, err := c.o.Initiate(c.operator)
		if err != nil {
			t.Fatal(err)
		}
		i.cfg.Self = stranger
		r, rs2, err := c.a.Respond(c.agent, rs1)
		if err != nil {
			t.Fatal(err)
		}
		if rs3, _, err := i.Consume(rs2); err == nil {
			if _, err := r.Consume(rs3); err != ErrHandshake {
				t.Fatalf("RS3 was taken: %v", err)
			}
		}
	})
	t.Run("kinds of messages", func(t *testing.T) {
		c := newChained(t, SuiteClassic)
		first := start(t, SuiteClassic)
		i, rs1, err := c.o.Initiate(c.operator)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.a.Respond(c.agent, first.hs1); err != ErrHandshake {
			t.Errorf("HS1 for RS1: %v", err)
		}
		if _, _, err := Respond(c.agent, rs1); err != ErrHandshake {
			t.Errorf("RS1 for HS1: %v", err)
		}
		if _, _, err := i.Consume(first.hs2); err != ErrHandshake {
			t.Errorf("HS2 for RS2: %v", err)
		}
		r, rs2, err := c.a.Respond(c.agent, rs1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := first.i.Consume(rs2); err != ErrHandshake {
			t.Errorf("RS2 for HS2: %v", err)
		}
		hs3, _, err := first.i.Consume(first.hs2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Consume(hs3); err != ErrHandshake {
			t.Errorf("HS3 for RS3: %v", err)
		}
	})
}

// A resume is not weaker than the session.
func TestResumeDowngrade(t *testing.T) {
	c := newChained(t, SuiteHybrid)
	c.operator.Suites = []Suite{SuiteClassic}
	if _, _, err := c.o.Initiate(c.operator); err == nil {
		t.Error("the operator's side offered less than the session has")
	}
	p := pastOf(c.o.cur, 9)
	r, err := newRandomness()
	if err != nil {
		t.Fatal(err)
	}
	_, rs1, err := initiate(c.operator, r, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.a.Respond(c.agent, rs1); err != ErrHandshake {
		t.Errorf("the agent took less than the session has: %v", err)
	}
}

// Frames that were captured before are worth nothing after a resume, before and after
// the old keys are gone: tens of thousands are tried.
func TestResumeReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChained(t, SuiteClassic)
		var captured [2][][]byte // to the agent, to the operator
		both := []*Chain{c.o, c.a}
		record := func(n int) {
			for range n {
				for from, by := range both {
					d := c.sealed(by)
					captured[from] = append(captured[from], bytes.Clone(d))
					if _, _, err := both[1-from].Open(nil, d); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		tried := 0
		replay := func() {
			for from := range both {
				for _, d := range captured[from] {
					for _, to := range both { // back to its sender as well
						c.refuses(to, d)
						tried++
					}
				}
			}
		}
		for range 3 {
			record(2500)
			c.shake()
			record(100)
			c.confirm()
			replay()
			time.Sleep(reorderGrace)
			replay()
		}
		record(1)
		if tried < 50_000 {
			t.Errorf("only %d frames were tried", tried)
		}
	})
}

func TestChainStates(t *testing.T) {
	c := newChained(t, SuiteClassic)
	if _, _, err := c.a.Initiate(c.operator); !errors.Is(err, ErrState) {
		t.Errorf("the agent's side began a resume: %v", err)
	}
	if _, _, err := c.o.Respond(c.agent, nil); !errors.Is(err, ErrState) {
		t.Errorf("the operator's side answered one: %v", err)
	}
	d := c.sealed(c.o)
	for range 2 {
		c.o.Close()
		c.a.Close()
	}
	_, sealErr := c.o.Seal(nil, nil)
	_, acceptErr := c.a.Accept(nil)
	_, _, openErr := c.a.Open(nil, d)
	_, _, initErr := c.o.Initiate(c.operator)
	_, _, respErr := c.a.Respond(c.agent, nil)
	for i, err := range []error{sealErr, acceptErr, openErr, initErr, respErr} {
		if !errors.Is(err, ErrState) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb, c.o); text != "session.Chain(redacted)" {
			t.Errorf("%s prints %q", verb, strings.ToValidUTF8(text, "?"))
		}
	}
}

func FuzzRS1(f *testing.F) {
	addVectors(f, "HS1", "hs1", "rs1")
	other := newChained(f, SuiteHybrid) // no RS1 that comes here is bound to its keys
	for _, suite := range []Suite{SuiteClassic, SuiteHybrid} {
		c := newChained(f, suite)
		_, rs1, err := c.o.Initiate(c.operator)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rs1)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, bound, binder, err := parseRS1(b)
		if err == nil && !bytes.Equal(append(m.marshal(), binder...), b) {
			t.Fatalf("%x parses and is not what it marshals to", b)
		}
		if err == nil && len(bound)+len(binder) != len(b) {
			t.Fatal("what the binder is about and the binder are not the message")
		}
		if r, rs2, err := other.a.Respond(other.agent, b); err != ErrHandshake || r != nil || rs2 != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkResume(b *testing.B) {
	c := newChained(b, SuiteHybrid)
	for b.Loop() {
		c.shake()
		c.confirm()
	}
}
