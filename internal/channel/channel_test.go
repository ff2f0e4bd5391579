package channel

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/session"
)

// handshake gives the two ends of an established session.
func handshake(t testing.TB) (operator, agent *session.Established) {
	t.Helper()
	o := key.IdentityFromSeed([32]byte{1})
	a := key.IdentityFromSeed([32]byte{2})
	id, err := session.NewID()
	if err != nil {
		t.Fatal(err)
	}
	c := session.Config{ID: id, TeamFP: [32]byte{1}, BundleHash: [32]byte{2}, Evidence: session.Evidence{Time: time.Unix(1, 0)}}
	co, ca := c, c
	co.Self, co.Peer = o, a.Public()
	ca.Self, ca.Peer = a, o.Public()
	i, hs1, err := session.Initiate(co)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := session.Respond(ca, hs1)
	if err != nil {
		t.Fatal(err)
	}
	hs3, operator, err := i.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	agent, err = r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	return operator, agent
}

// connect gives the two Muxes of a session over a memory network. They close
// with the test.
func connect(t testing.TB, net memnet.Options, o Options) (operator, agent *Mux) {
	t.Helper()
	a, b := memnet.PacketPipe(net)
	eo, ea := handshake(t)
	accepted := make(chan error, 1)
	go func() {
		var err error
		agent, err = Accept(t.Context(), b, memnet.Addr("a"), ea, o)
		accepted <- err
	}()
	operator, err := Dial(t.Context(), a, memnet.Addr("b"), eo, o)
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		operator.Close()
		agent.Close()
	})
	return operator, agent
}

// open makes a channel that the agent allows, and hands the agent's end to serve.
func open(t testing.TB, operator, agent *Mux, m OpenMessage, serve func(*Channel)) *Channel {
	t.Helper()
	go func() {
		c, err := agent.Accept(t.Context())
		if err != nil {
			return
		}
		defer c.Close()
		if c.Answer(Answer{Effect: Allow}) == nil {
			serve(c)
		}
	}()
	c, err := operator.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.AwaitAnswer(t.Context())
	if err != nil || !answer.Allowed() {
		t.Fatalf("answer %+v, %v", answer, err)
	}
	return c
}

func echo(c *Channel) {
	io.Copy(c, struct{ io.Reader }{c})
	c.CloseWrite()
}

func TestEcho(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, ErrNotAllowed) {
		t.Fatalf("write after CloseWrite: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadNetwork(t *testing.T) {
	operator, agent := connect(t, memnet.Options{Loss: .05, Dup: .1, Reorder: .25, Delay: time.Millisecond, Seed: 3}, Options{})
	c := open(t, operator, agent, OpenMessage{Kind: "copy"}, echo)
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	go func() {
		c.Write(data)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d of %d bytes, %v", len(got), len(data), err)
	}
}

func TestBulk(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	const size = 50 << 20
	want := make(chan [32]byte, 1)
	c := open(t, operator, agent, OpenMessage{Kind: "copy"}, func(c *Channel) {
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
		if n != size || err != nil {
			t.Errorf("sent %d bytes, %v", n, err)
		}
		want <- [32]byte(h.Sum(nil))
		c.CloseWrite()
	})
	h := sha256.New()
	n, err := io.Copy(h, c)
	if n != size || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if [32]byte(h.Sum(nil)) != <-want {
		t.Fatal("the bytes differ")
	}
}
