package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/session"
)

// configs gives what both sides of a session know of it.
func configs(id session.ID) (operator, agent session.Config) {
	o := key.IdentityFromSeed([32]byte{1})
	a := key.IdentityFromSeed([32]byte{2})
	operator = session.Config{ID: id, TeamFP: [32]byte{1}, BundleHash: [32]byte{2}, Evidence: session.Evidence{Time: time.Unix(1, 0)}}
	agent = operator
	operator.Self, operator.Peer = o, a.Public()
	agent.Self, agent.Peer = a, o.Public()
	return operator, agent
}

// handshake gives the two ends of an established session.
func handshake(t testing.TB) (operator, agent *session.Established) {
	t.Helper()
	id, err := session.NewID()
	if err != nil {
		t.Fatal(err)
	}
	co, ca := configs(id)
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

// simulated runs a test in a bubble whose clock has been put on beyond the start of
// this process. quic-go counts time from there and keeps 0 for "never", so before it
// all its times are negative and one that it takes for long past lies ahead: a skipped
// packet number can then be neither lost nor waited for, and its timer fires for ever.
func simulated(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(50 * 365 * 24 * time.Hour) // from 2000
		test(t)
	})
}

// join makes the two Muxes of a session over two given paths.
func join(t testing.TB, a, b net.PacketConn, o Options) (operator, agent *Mux) {
	t.Helper()
	eo, ea := handshake(t)
	accepted := make(chan error, 1)
	go func() {
		var err error
		agent, err = Accept(t.Context(), b, a.LocalAddr(), ea, o)
		accepted <- err
	}()
	operator, err := Dial(t.Context(), a, b.LocalAddr(), eo, o)
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		operator.Close()
		agent.Close()
	})
	return operator, agent
}

// connect gives the two Muxes of a session over a memory network. They close
// with the test.
func connect(t testing.TB, net memnet.Options, o Options) (operator, agent *Mux) {
	t.Helper()
	a, b := memnet.PacketPipe(net)
	return join(t, a, b, o)
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
	const size = 16 << 20
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

// A direction closes on its own: the other goes on.
func TestHalfClose(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	c := open(t, operator, agent, OpenMessage{Kind: "exec", Argv: []string{"sort"}}, func(c *Channel) {
		var in []byte
		for {
			f, err := c.ReadFrame()
			if err != nil {
				t.Errorf("agent: %v", err)
				return
			}
			switch f.Type {
			case FrameStdin:
				in = append(in, f.Payload...)
				continue
			case FrameEOF:
				c.WriteFrame(Frame{FrameStderr, []byte("read it all\n")})
				continue
			case FrameSignal:
				c.Write(in)
				c.Exit(Exit{Code: 130, Signal: string(f.Payload)})
				return
			}
		}
	})
	if _, err := c.Write([]byte("b\na\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := c.Signal("INT"); err != nil { // after EOF: still allowed
		t.Fatal(err)
	}
	var stdout, stderr []byte
	var exit Exit
	for {
		f, err := c.ReadFrame()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case FrameStdout:
			stdout = append(stdout, f.Payload...)
		case FrameStderr:
			stderr = append(stderr, f.Payload...)
		case FrameExit:
			if exit, err = f.Exit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(stdout) != "b\na\n" || string(stderr) != "read it all\n" || exit != (Exit{Code: 130, Signal: "INT"}) {
		t.Fatalf("stdout %q, stderr %q, exit %+v", stdout, stderr, exit)
	}
}

func TestRequestArrivesWhole(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	m := OpenMessage{
		Kind: "exec", Argv: []string{"printf", "%s", "a b\x00c", ""}, Cwd: "/tmp", As: "root",
		Env: [][2]string{{"LANG", "C.UTF-8"}}, TTY: &TTY{80, 24, "xterm-256color"}, Stdin: "sha256:00",
	}
	got := make(chan OpenMessage, 1)
	c := open(t, operator, agent, m, func(c *Channel) {
		got <- c.Request()
		f, err := c.ReadFrame()
		if cols, rows := f.Size(); err != nil || cols != 132 || rows != 43 {
			t.Errorf("resize to %d x %d, %v", cols, rows, err)
		}
		c.Exit(Exit{})
	})
	if err := c.Resize(132, 43); err != nil {
		t.Fatal(err)
	}
	g := <-got
	if g.Kind != m.Kind || !slices.Equal(g.Argv, m.Argv) || g.Cwd != m.Cwd || g.As != m.As || !slices.Equal(g.Env, m.Env) || *g.TTY != *m.TTY || g.Stdin != m.Stdin {
		t.Fatalf("got %+v, want %+v", g, m)
	}
	if f, err := c.ReadFrame(); err != nil || f.Type != FrameExit {
		t.Fatalf("%v, %v", f.Type, err)
	}
}

func TestRefusal(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	for _, effect := range []string{"deny", "hold", "confirm", "", "ALLOW", "allow "} {
		result := make(chan error, 2)
		go func() {
			c, err := agent.Accept(t.Context())
			if err != nil {
				result <- err
				return
			}
			err = c.Answer(Answer{Effect: effect, Rule: "no-root", Line: 12, Reason: "not at night"})
			if _, werr := c.Write([]byte("x")); !errors.Is(werr, ErrNotAllowed) {
				err = errors.Join(err, errors.New("the agent may write after a refusal"))
			}
			result <- err
		}()
		c, err := operator.Open(t.Context(), OpenMessage{Kind: "shell"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("secret")); !errors.Is(err, ErrNotAllowed) {
			t.Fatalf("keystrokes before the answer: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrNotAllowed) {
			t.Fatalf("reading before the answer: %v", err)
		}
		a, err := c.AwaitAnswer(t.Context())
		if err != nil || a.Allowed() || a.Effect != effect || a.Rule != "no-root" || a.Line != 12 || a.Reason != "not at night" {
			t.Fatalf("%q: %+v, %v", effect, a, err)
		}
		if _, err := c.Write([]byte("secret")); !errors.Is(err, ErrNotAllowed) {
			t.Fatalf("%q: keystrokes after a refusal: %v", effect, err)
		}
		if _, err := c.ReadFrame(); err != io.EOF {
			t.Fatalf("%q: after a refusal: %v", effect, err)
		}
		c.Close()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
}

func TestHundredChannels(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{MaxChannels: 100})
	var agents sync.WaitGroup
	defer agents.Wait()
	for range 100 {
		agents.Go(func() {
			c, err := agent.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := c.Answer(Answer{Effect: Allow}); err != nil {
				t.Error(err)
			}
			echo(c)
			io.Copy(io.Discard, struct{ io.Reader }{c})
		})
	}
	var opened, done sync.WaitGroup
	opened.Add(100)
	for i := range 100 {
		done.Go(func() {
			c, err := operator.Open(t.Context(), OpenMessage{Kind: "copy"})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.AwaitAnswer(t.Context()); err != nil {
				t.Error(err)
			}
			opened.Done()
			opened.Wait() // all are open at once
			data := bytes.Repeat([]byte{byte(i)}, 20_000+i)
			go func() {
				c.Write(data)
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("channel %d: %d of %d bytes, %v", i, len(got), len(data), err)
			}
		})
	}
	done.Wait()
}

// One more channel than MaxChannels waits until another is over.
func TestChannelLimit(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{MaxChannels: 2})
	first := open(t, operator, agent, OpenMessage{Kind: "copy"}, echo)
	open(t, operator, agent, OpenMessage{Kind: "copy"}, echo)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := operator.Open(ctx, OpenMessage{Kind: "copy"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a third channel: %v", err)
	}
	first.CloseWrite()
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	first.Close()
	open(t, operator, agent, OpenMessage{Kind: "copy"}, echo)
}

// Nobody reads: the writer stops after the windows are full, and goes on when
// somebody does.
func TestSlowReaderStopsTheWriter(t *testing.T) {
	simulated(t, func(t *testing.T) {
		operator, agent := connect(t, memnet.Options{}, Options{})
		const size = 64 << 20
		written, stalled := 0, make(chan struct{})
		c := open(t, operator, agent, OpenMessage{Kind: "copy"}, func(c *Channel) {
			defer close(stalled)
			block := make([]byte, 64<<10)
			c.stream.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			for {
				n, err := c.Write(block)
				written += n
				if err != nil {
					return
				}
			}
		})
		<-stalled
		if written == 0 || written > size/4 {
			t.Fatalf("the writer put %d bytes into a channel that nobody reads", written)
		}
		if _, err := io.ReadAll(c); !errors.Is(err, ErrTruncated) {
			t.Fatalf("after the writer gave up: %v", err)
		}
	})
}

// Everything but a said end is a cut.
func TestTruncation(t *testing.T) {
	for name, end := range map[string]func(c *Channel, agent *Mux){
		"closed without an end": func(c *Channel, _ *Mux) { c.Close() },
		"session closed":        func(_ *Channel, agent *Mux) { agent.Close() },
		"session closed after EOF was not said": func(c *Channel, agent *Mux) {
			c.stream.Close()
			c.ReadFrame() // so that what the peer sees is this end, and not Close
		},
		"stream ends inside a frame": func(c *Channel, _ *Mux) {
			c.stream.Write([]byte{byte(FrameStdout), 0, 0, 0, 9, 'x'})
			c.stream.Close()
		},
		"stream ends inside a header": func(c *Channel, _ *Mux) {
			c.stream.Write([]byte{byte(FrameStdout), 0})
			c.stream.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{}, Options{})
			ready := make(chan struct{})
			c := open(t, operator, agent, OpenMessage{Kind: "copy"}, func(c *Channel) {
				c.Write([]byte("part"))
				<-ready
				end(c, agent)
			})
			got := make([]byte, 4)
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			close(ready)
			if rest, err := io.ReadAll(c); !errors.Is(err, ErrTruncated) {
				t.Fatalf("read %q, %v, want ErrTruncated", rest, err)
			}
			if _, err := c.ReadFrame(); !errors.Is(err, ErrTruncated) {
				t.Fatalf("the error is not sticky: %v", err)
			}
		})
	}
}

// A hostile peer inside the session can send any bytes on a stream.
func TestHostileFrames(t *testing.T) {
	exit, err := encode(Exit{Code: 3})
	if err != nil {
		t.Fatal(err)
	}
	again, err := encode(Answer{Effect: Allow})
	if err != nil {
		t.Fatal(err)
	}
	operator, agent := connect(t, memnet.Options{}, Options{})
	for name, frames := range map[string][]byte{
		"answer sent by the agent twice": append([]byte{byte(FrameAnswer), 0, 0, 0, byte(len(again))}, again...),
		"stdin from the agent":           {byte(FrameStdin), 0, 0, 0, 1, 'x'},
		"unknown type":                   {99, 0, 0, 0, 0},
		"type zero":                      {0, 0, 0, 0, 0},
		"empty bytes":                    {byte(FrameStdout), 0, 0, 0, 0},
		"bytes too long":                 {byte(FrameStdout), 0, 0x10, 0, 1},
		"exit too long":                  {byte(FrameExit), 0, 1, 0, 1},
		"exit that is no CBOR":           {byte(FrameExit), 0, 0, 0, 1, 0xff},
		"EOF with a payload":             {byte(FrameEOF), 0, 0, 0, 1, 0},
		"bytes after EOF":                {byte(FrameEOF), 0, 0, 0, 0, byte(FrameStdout), 0, 0, 0, 1, 'x'},
		"exit after exit":                slices.Repeat(append([]byte{byte(FrameExit), 0, 0, 0, byte(len(exit))}, exit...), 2),
		"EOF after EOF":                  {byte(FrameEOF), 0, 0, 0, 0, byte(FrameEOF), 0, 0, 0, 0},
	} {
		c := open(t, operator, agent, OpenMessage{Kind: "copy"}, func(c *Channel) {
			c.stream.Write(frames)
			c.stream.Close()
			c.ReadFrame() // until the operator has seen it and gave up
		})
		var err error
		for err == nil {
			_, err = c.ReadFrame()
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want ErrProtocol", name, err)
		}
		c.Close()
	}
	// Streams that never become a channel do not reach Accept.
	for name, frames := range map[string][]byte{
		"another frame first": {byte(FrameStdin), 0, 0, 0, 1, 'x'},
		"no kind":             {byte(FrameOpen), 0, 0, 0, 7, 0xa1, 0x64, 'k', 'i', 'n', 'd', 0x60},
		"ends at once":        {},
	} {
		s, err := operator.conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Write(frames)
		s.Close()
		if _, err := io.ReadAll(s); err == nil {
			t.Errorf("%s: the agent ended it cleanly", name)
		}
	}
	if c := open(t, operator, agent, OpenMessage{Kind: "copy"}, echo); c.Request().Kind != "copy" {
		t.Error("the session did not survive")
	}
}

func TestWhatThisSideMayNotSend(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	if _, err := agent.Open(t.Context(), OpenMessage{Kind: "shell"}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("the agent opens a channel: %v", err)
	}
	var limit *quic.StreamLimitReachedError
	if _, err := agent.conn.OpenStream(); !errors.As(err, &limit) {
		t.Errorf("a dishonest agent opens a stream: %v", err)
	}
	if _, err := operator.Open(t.Context(), OpenMessage{}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a channel of no kind: %v", err)
	}
	if _, err := operator.Open(t.Context(), OpenMessage{Kind: "exec", Argv: []string{"caf\xe9"}}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("an argument that is not UTF-8: %v", err)
	}
	if _, err := operator.Open(t.Context(), OpenMessage{Kind: "exec", Argv: []string{string(make([]byte, MaxControl))}}); err == nil {
		t.Error("an argv of 64 KiB was sent")
	}
	c := open(t, operator, agent, OpenMessage{Kind: "shell"}, func(c *Channel) {
		if err := c.Answer(Answer{Effect: Allow}); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("a second answer: %v", err)
		}
		echo(c)
	})
	for name, err := range map[string]error{
		"stdout":           c.WriteFrame(Frame{FrameStdout, []byte("x")}),
		"exit":             c.Exit(Exit{}),
		"answer":           c.Answer(Answer{Effect: Allow}),
		"open":             c.WriteFrame(Frame{FrameOpen, nil}),
		"size zero":        c.Resize(0, 24),
		"no signal":        c.Signal(""),
		"a signal of text": c.Signal("INT; reboot"),
		"unknown":          c.WriteFrame(Frame{77, nil}),
	} {
		if !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Write([]byte("still fine")); err != nil {
		t.Error(err)
	}
}

// The operator sends nothing before the agent's ACCEPT, and gives up in time.
func TestSilentBeforeAccept(t *testing.T) {
	a, b := memnet.PacketPipe(memnet.Options{Tap: func(side string, _ []byte) {
		if side == "a" {
			t.Error("the operator sent a datagram before ACCEPT")
		}
	}})
	eo, ea := handshake(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	b.WriteTo([]byte("noise"), nil)
	if _, err := Dial(ctx, a, memnet.Addr("b"), eo, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := a.WriteTo(nil, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the path is open after Dial failed: %v", err)
	}
	if _, err := eo.Exporter("x", 1); !errors.Is(err, session.ErrState) {
		t.Errorf("the keys are there after Dial failed: %v", err)
	}
	c, d := memnet.PacketPipe(memnet.Options{})
	defer d.Close()
	if _, err := Dial(t.Context(), c, memnet.Addr("b"), ea, Options{}); err == nil {
		t.Error("an agent's session dialled")
	}
}

// The first datagrams of each side are lost, among them three ACCEPTs.
func TestFirstDatagramsLost(t *testing.T) {
	simulated(t, func(t *testing.T) {
		a, b := memnet.PacketPipe(memnet.Options{})
		fromOperator, fromAgent := &dropNext{PacketConn: a}, &dropNext{PacketConn: b}
		fromOperator.drop.Store(2)
		fromAgent.drop.Store(3)
		operator, agent := join(t, fromOperator, fromAgent, Options{})
		c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
		c.Write([]byte("x"))
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
		operator.Close()
		<-agent.Done()
	})
}

// What a relay captures is sealed, fits its datagrams, and is worth nothing again.
func TestCapturedDatagrams(t *testing.T) {
	canary := []byte("canary-5f3a-plaintext")
	var mu sync.Mutex
	captured := map[string][][]byte{}
	a, b := memnet.PacketPipe(memnet.Options{Tap: func(side string, d []byte) {
		mu.Lock()
		defer mu.Unlock()
		captured[side] = append(captured[side], bytes.Clone(d))
	}})
	operator, agent := join(t, a, b, Options{})
	say := func() {
		t.Helper()
		c := open(t, operator, agent, OpenMessage{Kind: "exec", Argv: []string{string(canary)}}, echo)
		c.Write(bytes.Repeat(canary, 1000))
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || len(got) != 1000*len(canary) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		c.Close()
	}
	say()
	mu.Lock()
	old := map[string][][]byte{"a": captured["a"], "b": captured["b"]}
	mu.Unlock()
	if len(old["a"]) < 20 || len(old["b"]) < 20 {
		t.Fatalf("captured only %d and %d datagrams", len(old["a"]), len(old["b"]))
	}
	for side, list := range old {
		for i, d := range list {
			if bytes.Contains(d, canary[:8]) {
				t.Fatalf("datagram %d of %s shows the plaintext", i, side)
			}
			if len(d) > packetSize+session.Overhead {
				t.Fatalf("datagram %d of %s has %d bytes", i, side, len(d))
			}
		}
	}
	for range 3 { // into the live session, both ways, from the true address
		for _, d := range old["a"] {
			a.WriteTo(d, nil)
		}
		for _, d := range old["b"] {
			b.WriteTo(d, nil)
		}
		say()
	}
	fo, fa := handshake(t) // and into another session
	if _, err := fa.Records().Accept(nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(old["a"], old["b"]...) {
		for _, r := range []*session.Records{fo.Records(), fa.Records()} {
			if _, _, err := r.Open(nil, d); !errors.Is(err, session.ErrRecord) {
				t.Fatalf("another session opened a captured datagram: %v", err)
			}
		}
	}
}

// An inner TLS that is not of this session is refused although its records are.
func TestInnerTLSIsPinned(t *testing.T) {
	eo, ea := handshake(t)
	other, _ := handshake(t)
	co, err := tlsConfig(eo, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		est *session.Established
		ok  bool
	}{"its own": {ea, true}, "another's": {other, false}} {
		ca, err := tlsConfig(row.est, false)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(ca.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		err = co.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
		if (err == nil) != row.ok {
			t.Errorf("%s certificate: %v", name, err)
		}
	}
	if err := co.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("no certificate at all is taken")
	}
}

// On a real socket: quic-go has nothing to complain about on standard error, and
// a peer whose address changes in mid-session is still the same peer.
func TestUDPAndRebinding(t *testing.T) {
	var complaints bytes.Buffer
	log.SetOutput(&complaints)
	defer log.SetOutput(os.Stderr)
	listen := func() net.PacketConn {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	a, b, moved := listen(), listen(), listen()
	roaming := &rebound{PacketConn: a, other: moved}
	operator, agent := join(t, roaming, b, Options{})
	c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
	for _, text := range []string{"before", "after"} {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		roaming.moved.Store(true)
	}
	if complaints.Len() > 0 {
		t.Errorf("quic-go wrote %q", complaints.String())
	}
}

// rebound sends from another socket once it has moved.
type rebound struct {
	net.PacketConn
	other net.PacketConn
	moved atomic.Bool
}

func (r *rebound) WriteTo(b []byte, to net.Addr) (int, error) {
	if r.moved.Load() {
		return r.other.WriteTo(b, to)
	}
	return r.PacketConn.WriteTo(b, to)
}

// A connection of a session that goes on says so when it ends, whoever ends it, and what
// a terminal had shown before comes first on the next one.
func TestLeave(t *testing.T) {
	for _, leaver := range []string{"operator", "agent"} {
		simulated(t, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{Delay: 5 * time.Millisecond}, Options{Grace: time.Minute})
			ended := make(chan error, 1)
			c := open(t, operator, agent, OpenMessage{Kind: "shell"}, func(c *Channel) {
				_, err := c.ReadFrame()
				ended <- err
			})
			if leaver == "operator" {
				operator.Leave()
			} else {
				agent.Leave()
			}
			<-operator.Done()
			<-agent.Done()
			if operator.Err() != ErrLeft || agent.Err() != ErrLeft {
				t.Errorf("left by the %s: operator %v, agent %v", leaver, operator.Err(), agent.Err())
			}
			if _, err := c.ReadFrame(); !errors.Is(err, ErrLeft) {
				t.Errorf("the operator's channel: %v", err)
			}
			if err := <-ended; !errors.Is(err, ErrLeft) {
				t.Errorf("the agent's channel: %v", err)
			}
		})
	}
}

func TestReadPast(t *testing.T) {
	for name, c := range map[string]struct {
		said Past
		send []Frame
		want string
	}{
		"all":            {Past{Bytes: 5, Lost: 9}, []Frame{{FrameStdout, []byte("abc")}, {FrameStdout, []byte("de")}, {FrameStdout, []byte("new")}}, "abcde"},
		"nothing":        {Past{}, []Frame{{FrameStdout, []byte("new")}}, ""},
		"more than said": {Past{Bytes: 4}, []Frame{{FrameStdout, []byte("abcde")}}, "error"},
		"too much":       {Past{Bytes: MaxPast + 1}, nil, "error"},
		"something else": {Past{Bytes: 4}, []Frame{{FrameStderr, []byte("abcd")}}, "error"},
		"cut off":        {Past{Bytes: 4}, []Frame{{FrameStdout, []byte("abc")}}, "error"},
	} {
		simulated(t, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{}, Options{})
			ch := open(t, operator, agent, OpenMessage{Kind: "shell"}, func(ch *Channel) {
				for _, f := range c.send {
					ch.WriteFrame(f)
				}
				ch.Exit(Exit{})
			})
			got, err := ch.ReadPast(t.Context(), Answer{Effect: Allow, Past: &c.said})
			if (err != nil) != (c.want == "error") || err == nil && string(got) != c.want {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			operator.Close()
			<-agent.Done()
		})
	}
}

// In a bubble of synctest the test fails if any goroutine outlives it, so this
// is the check that Close leaves nothing. It also is the one of Close itself.
func TestCloseLeavesNothing(t *testing.T) {
	for _, closer := range []string{"operator", "agent"} {
		simulated(t, func(t *testing.T) {
			operator, agent := connect(t, memnet.Options{Delay: 5 * time.Millisecond}, Options{})
			c := open(t, operator, agent, OpenMessage{Kind: "proxy"}, echo)
			c.Write([]byte("x"))
			if operator.Err() != nil || agent.Err() != nil {
				t.Error("an open Mux has an error")
			}
			if closer == "operator" {
				operator.Close()
			} else {
				agent.Close()
			}
			<-operator.Done()
			<-agent.Done()
			if operator.Err() != ErrClosed || agent.Err() != ErrClosed {
				t.Errorf("closed by the %s: operator %v, agent %v", closer, operator.Err(), agent.Err())
			}
			if _, err := operator.Open(t.Context(), OpenMessage{Kind: "proxy"}); !errors.Is(err, ErrClosed) {
				t.Errorf("Open after Close: %v", err)
			}
			if _, err := agent.Accept(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Accept after Close: %v", err)
			}
			if _, err := operator.Session().Seal(nil, nil); !errors.Is(err, session.ErrState) {
				t.Errorf("the keys outlive the session: %v", err)
			}
			operator.Close()
			agent.Close()
		})
	}
}

// A quiet session lives by its keepalive; a cut one is lost, which is not closed.
func TestIdleAndLost(t *testing.T) {
	simulated(t, func(t *testing.T) {
		cut := make(chan struct{})
		a, b := memnet.PacketPipe(memnet.Options{})
		operator, agent := join(t, &cuttable{a, cut}, &cuttable{b, cut}, Options{})
		c := open(t, operator, agent, OpenMessage{Kind: "shell"}, echo)
		time.Sleep(time.Hour)
		if operator.Err() != nil || agent.Err() != nil {
			t.Fatalf("a quiet hour ended the session: %v, %v", operator.Err(), agent.Err())
		}
		close(cut)
		cutAt := time.Now()
		<-operator.Done()
		<-agent.Done()
		if lived := time.Since(cutAt); lived > 2*time.Minute {
			t.Errorf("noticed after %v", lived)
		}
		if !errors.Is(operator.Err(), ErrLost) || !errors.Is(agent.Err(), ErrLost) {
			t.Errorf("operator %v, agent %v, want ErrLost", operator.Err(), agent.Err())
		}
		if _, err := c.ReadFrame(); !errors.Is(err, ErrTruncated) || !errors.Is(err, ErrLost) {
			t.Errorf("reading after the loss: %v", err)
		}
	})
}

// The goodbye of Close may get lost, alone or with all that is sent at that moment: the
// peer must still tell it from a loss, and is not waited for when it can't be heard.
func TestLostGoodbye(t *testing.T) {
	for name, c := range map[string]struct {
		operators, agents int32         // datagrams that are lost
		least, most       time.Duration // that Close takes
		heard             bool
	}{
		"nothing is lost":          {0, 0, 0, 15 * time.Millisecond, true},
		"a moment is lost":         {4, 0, 300 * time.Millisecond, 400 * time.Millisecond, true},
		"the confirmation is lost": {0, 2, 400 * time.Millisecond, time.Second, true},
		"everything is lost":       {1000, 0, 400 * time.Millisecond, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				a, b := memnet.PacketPipe(memnet.Options{Delay: 5 * time.Millisecond})
				ours, theirs := &dropNext{PacketConn: a}, &dropNext{PacketConn: b}
				operator, agent := join(t, ours, theirs, Options{Grace: grace})
				time.Sleep(time.Second) // what the handshake still had to say is said
				ours.drop.Store(c.operators)
				theirs.drop.Store(c.agents)
				began := time.Now()
				operator.Close()
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("Close took %v", took)
				}
				synctest.Wait()
				if c.heard {
					<-agent.Done()
				}
				if heard := agent.Err() == ErrClosed; heard != c.heard {
					t.Errorf("agent ended with %v", agent.Err())
				}
				agent.Close()
			})
		})
	}
	simulated(t, func(t *testing.T) {
		r := newRoaming(t)
		r.cut.Store(true)
		time.Sleep(2 * silence)
		began := time.Now()
		r.operator.Close()
		if took := time.Since(began); took > 0 {
			t.Errorf("a lost agent was waited for, %v", took)
		}
		r.cut.Store(false)
		r.agent.Close()
	})
}

// dropNext loses as many of the next datagrams as it is told.
type dropNext struct {
	net.PacketConn
	drop atomic.Int32
}

func (d *dropNext) WriteTo(b []byte, to net.Addr) (int, error) {
	if d.drop.Load() > 0 {
		d.drop.Add(-1)
		return len(b), nil
	}
	return d.PacketConn.WriteTo(b, to)
}

// cuttable drops everything once cut is closed.
type cuttable struct {
	net.PacketConn
	cut chan struct{}
}

func (c *cuttable) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.cut:
		return len(b), nil
	default:
		return c.PacketConn.WriteTo(b, to)
	}
}

// A stream whose Open frame does not come is dropped, not kept.
func TestOpenFrameHasADeadline(t *testing.T) {
	simulated(t, func(t *testing.T) {
		operator, _ := connect(t, memnet.Options{}, Options{})
		s, err := operator.conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte{byte(FrameOpen), 0, 0})
		begin := time.Now()
		if _, err := io.ReadAll(s); err == nil {
			t.Error("the stream ended cleanly")
		}
		if waited := time.Since(begin); waited < openTimeout || waited > 2*openTimeout {
			t.Errorf("dropped after %v", waited)
		}
	})
}

func TestAwaitAnswerGivesUp(t *testing.T) {
	operator, _ := connect(t, memnet.Options{}, Options{})
	c, err := operator.Open(t.Context(), OpenMessage{Kind: "shell"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.AwaitAnswer(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

// Close does not wait for a peer that does not read.
func TestCloseFreesABlockedWriter(t *testing.T) {
	operator, agent := connect(t, memnet.Options{}, Options{})
	hold := make(chan struct{})
	c := open(t, operator, agent, OpenMessage{Kind: "copy"}, func(*Channel) { <-hold })
	defer close(hold)
	failed := make(chan error, 1)
	go func() {
		block := make([]byte, 1<<20)
		for {
			if _, err := c.Write(block); err != nil {
				failed <- err
				return
			}
		}
	}()
	c.Close()
	if err := <-failed; err == nil {
		t.Fatal("no error")
	}
	c.Close()
}

func FuzzFrames(f *testing.F) {
	exit, err := encode(Exit{Code: 1, Signal: "TERM"})
	if err != nil {
		f.Fatal(err)
	}
	ask, err := encode(OpenMessage{Kind: "exec", Argv: []string{"id"}, TTY: &TTY{80, 24, "xterm"}})
	if err != nil {
		f.Fatal(err)
	}
	answer, err := encode(Answer{Effect: Allow, Rule: "r", Line: 3})
	if err != nil {
		f.Fatal(err)
	}
	frame := func(t FrameType, p []byte) []byte { return append([]byte{byte(t), 0, 0, 0, byte(len(p))}, p...) }
	f.Add(true, slices.Concat(frame(FrameOpen, ask), frame(FrameStdin, []byte("in")), frame(FrameResize, []byte{0, 80, 0, 24}), frame(FrameSignal, []byte("INT")), frame(FrameEOF, nil)))
	f.Add(false, slices.Concat(frame(FrameAnswer, answer), frame(FrameStdout, []byte("out")), frame(FrameStderr, []byte("err")), frame(FrameExit, exit)))
	f.Add(false, slices.Concat(frame(FrameAnswer, answer), frame(FrameStdout, []byte("cut"))))
	f.Add(false, frame(FrameAnswer, []byte{0xa1, 0x66, 'e', 'f', 'f', 'e', 'c', 't', 0x60}))
	f.Fuzz(func(t *testing.T, opener bool, b []byte) {
		r := newFrameReader(bytes.NewReader(b), opener)
		var again []byte
		ended := false
		for {
			fr, err := r.frame()
			if err != nil {
				if err == io.EOF && !ended {
					t.Fatal("a stream without its end reads as complete")
				}
				if err == io.EOF && !bytes.Equal(again, b) {
					t.Fatal("what was read is not what was sent")
				}
				return
			}
			if !fr.Type.from(opener) || len(fr.Payload) > MaxControl {
				t.Fatalf("%v of %d bytes", fr.Type, len(fr.Payload))
			}
			if a, err := fr.answer(); err == nil {
				ended = !a.Allowed()
			}
			ended = ended || fr.Type == FrameEOF || fr.Type == FrameExit
			// Bytes come in pieces; all in this input fit into one.
			again = append(again, byte(fr.Type), 0, 0, byte(len(fr.Payload)>>8), byte(len(fr.Payload)))
			again = append(again, fr.Payload...)
			if fr.Type.bytes() && r.left > 0 {
				return
			}
			if len(b) > 4096 {
				return
			}
		}
	})
}

func BenchmarkBulk(b *testing.B) {
	operator, agent := connect(b, memnet.Options{}, Options{})
	c := open(b, operator, agent, OpenMessage{Kind: "copy"}, func(c *Channel) { io.Copy(io.Discard, struct{ io.Reader }{c}) })
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	operator, agent := connect(b, memnet.Options{}, Options{})
	c := open(b, operator, agent, OpenMessage{Kind: "shell"}, echo)
	key := make([]byte, 1)
	for b.Loop() {
		if _, err := c.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, key); err != nil {
			b.Fatal(err)
		}
	}
}
