package path_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/session"
)

// switches are both sides of a session on a relay, with direct paths over
// loopback that can be harmed.
type switches struct {
	operator, agent *path.Switch
	faults          path.Faults // of the operator's side
}

func newSwitches(t testing.TB) *switches {
	t.Helper()
	s, _, _ := newSwitchesOn(t)
	return s
}

// newSwitchesOn is newSwitches with what is below.
func newSwitchesOn(t testing.TB) (s *switches, sides [2]*path.Relayed, stopRelay func()) {
	t.Helper()
	sides, stopRelay = pairOn(t)
	s = &switches{operator: path.NewSwitch(sides[0], path.Options{Loopback: true}), agent: path.NewSwitch(sides[1], path.Options{Loopback: true})}
	for from, to := range map[*path.Switch]*path.Switch{s.operator: s.agent, s.agent: s.operator} {
		if err := from.Permit(t.Context(), to.LocalRelayed()); err != nil {
			t.Fatal(err)
		}
		from.Hurry()
		t.Cleanup(func() { from.Close() })
	}
	s.operator.Fault(&s.faults)
	return s, sides, stopRelay
}

// gather begins an attempt on both sides.
func (s *switches) gather(t testing.TB) (operator, agent *path.Attempt) {
	t.Helper()
	operator, err := s.operator.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(operator.Close)
	if agent, err = s.agent.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.Close)
	return operator, agent
}

// connect makes the path direct.
func (s *switches) connect(t testing.TB) (operator, agent *path.Attempt) {
	t.Helper()
	operator, agent = s.gather(t)
	done := make(chan error, 1)
	go func() { done <- agent.Connect(t.Context(), operator.Local(), false) }()
	if err := errors.Join(operator.Connect(t.Context(), agent.Local(), true), <-done); err != nil {
		t.Fatal(err)
	}
	return operator, agent
}

// await waits for what both sides send on.
func (s *switches) await(t testing.TB, where string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, sw := range []*path.Switch{s.operator, s.agent} {
		if err := sw.Await(ctx, where); err != nil {
			t.Fatalf("waiting for %s: %v", where, err)
		}
	}
}

// ping sends a word from one side to the other.
func ping(t testing.TB, from, to *path.Switch, word string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(word), to.LocalRelayed()); err != nil {
		t.Fatal(err)
	}
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 100)
	n, addr, err := to.ReadFrom(buf)
	if err != nil || string(buf[:n]) != word {
		t.Fatalf("%q %v, want %q", buf[:n], err, word)
	}
	if addr.String() != from.LocalRelayed().String() {
		t.Errorf("from %v, want the peer's address on the relay", addr)
	}
}

func TestSwitchGoesDirectAndBack(t *testing.T) {
	s := newSwitches(t)
	if got := s.operator.Path(); got != "relay/udp" {
		t.Fatalf("begins on %s", got)
	}
	ping(t, s.operator, s.agent, "by relay")
	o, a := s.connect(t)
	s.await(t, path.Direct)
	ping(t, s.operator, s.agent, "there")
	ping(t, s.agent, s.operator, "and back")

	s.faults.Die()
	s.await(t, path.Relay)
	<-o.Lost()
	<-a.Lost()
	ping(t, s.operator, s.agent, "there again")
	ping(t, s.agent, s.operator, "and back again")
	o.Close()
	a.Close()

	s.faults.Live()
	s.connect(t)
	s.await(t, path.Direct)
	ping(t, s.operator, s.agent, "a second direct path")
}

// What was written last is sent before a direct path is closed: it says goodbye.
func TestClosedPathHasSentAll(t *testing.T) {
	s := newSwitches(t)
	s.connect(t)
	s.await(t, path.Direct)
	const words = 30
	for range words {
		if _, err := s.agent.WriteTo([]byte("goodbye"), s.operator.LocalRelayed()); err != nil {
			t.Fatal(err)
		}
	}
	s.agent.Close()
	s.operator.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 100)
	for n := range words {
		if _, _, err := s.operator.ReadFrom(buf); err != nil {
			t.Fatalf("after %d of %d: %v", n, words, err)
		}
	}
}

// A side that is on the relay hears one that is not.
func TestSwitchHearsBothPaths(t *testing.T) {
	s := newSwitches(t)
	_, a := s.connect(t)
	a.Close()
	if s.agent.Path() == path.Direct {
		t.Fatal("the agent's side is still direct")
	}
	ping(t, s.agent, s.operator, "by relay")
}

// With the relay gone, a direct path carries on; without either there is none.
func TestSwitchOutlivesTheRelay(t *testing.T) {
	s, sides, stopRelay := newSwitchesOn(t)
	s.connect(t)
	stopRelay()
	ping(t, s.operator, s.agent, "no relay needed")
	sides[0].Close() // what pion/turn does when refreshing fails for good
	ping(t, s.operator, s.agent, "not at all")
	s.faults.Die()
	s.operator.SetReadDeadline(time.Time{})
	if _, _, err := s.operator.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("with no way left: %v", err)
	}
	if _, err := s.operator.WriteTo([]byte("x"), s.agent.LocalRelayed()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write with no way left: %v", err)
	}
}

func TestSwitchDeadlinesAndClose(t *testing.T) {
	s := newSwitches(t)
	s.connect(t)
	buf := make([]byte, 10)
	s.agent.SetReadDeadline(time.Now().Add(-time.Second))
	for range 3 {
		var ne net.Error
		if _, _, err := s.agent.ReadFrom(buf); !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("after the deadline: %v", err)
		}
	}
	s.agent.SetReadDeadline(time.Time{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			if _, _, err := s.agent.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a read over Close: %v", err)
			}
		})
	}
	for range 2 {
		if err := s.agent.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	readers.Wait()
	if _, err := s.agent.WriteTo(buf, s.operator.LocalRelayed()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := s.agent.Gather(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("gather after close: %v", err)
	}
	if err := s.agent.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after close: %v", err)
	}
	if err := s.operator.Await(t.Context(), path.Relay); err != nil { // it notices
		t.Error(err)
	}
}

func TestOneAttemptAtATime(t *testing.T) {
	s := newSwitches(t)
	a, err := s.operator.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.operator.Gather(t.Context()); !errors.Is(err, path.ErrAttempt) {
		t.Errorf("a second attempt: %v", err)
	}
	a.Close()
	a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.operator.Gather(ctx); !errors.Is(err, path.ErrNoDirect) {
		t.Errorf("without time: %v", err)
	}
	if a, err = s.operator.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if err := a.Connect(t.Context(), a.Local(), true); err == nil {
		t.Error("a closed attempt connects")
	}
}

// The peer answers with nothing, or under another password: the relay stays.
func TestConnectFails(t *testing.T) {
	for name, change := range map[string]func(*path.Description){
		"another password": func(d *path.Description) { d.Password = strings.Repeat("x", 32) },
		"nobody there":     func(d *path.Description) { d.Candidates = []path.Candidate{{Addr: unused(t)}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSwitches(t)
			o, a := s.gather(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			go a.Connect(ctx, o.Local(), false)
			d := a.Local()
			if name == "nobody there" {
				a.Close()
			}
			change(&d)
			if err := o.Connect(ctx, d, true); !errors.Is(err, path.ErrNoDirect) {
				t.Errorf("got %v", err)
			}
			if s.operator.Path() == path.Direct {
				t.Error("went direct all the same")
			}
		})
	}
}

// unused is an address on loopback at which nobody listens.
func unused(t testing.TB) netip.AddrPort {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Someone whom the peer names without asking gets a few checks and nothing else,
// whatever the session sends.
func TestThirdPartiesGetChecksOnly(t *testing.T) {
	s := newSwitches(t)
	victim, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	o, a := s.gather(t)
	d := a.Local()
	at := victim.LocalAddr().(*net.UDPAddr).AddrPort()
	d.Candidates = []path.Candidate{{Addr: at}, {Addr: at, Reflexive: true}}
	failed := make(chan error, 1)
	go func() { failed <- o.Connect(t.Context(), d, true) }()
	buf := make([]byte, 2048)
	got := 0
	for {
		select {
		case err = <-failed:
		default:
			ping(t, s.operator, s.agent, "a secret")
			victim.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			n, _, err := victim.ReadFrom(buf)
			if err != nil {
				continue
			}
			got++
			var m stun.Message
			if err := stun.Decode(buf[:n], &m); err != nil || m.Type != stun.BindingRequest || n > 200 {
				t.Fatalf("%d bytes %v that are no check", n, m.Type)
			}
			continue
		}
		break
	}
	if !errors.Is(err, path.ErrNoDirect) {
		t.Errorf("connect: %v", err)
	}
	// One local address, two names for one remote: at most 8 checks each.
	if got == 0 || got > 16 {
		t.Errorf("%d checks", got)
	}
}

// Whoever knows the password of an attempt, as the peer does, and forges senders
// gets answers sent to a few of them only.
func TestForgedSendersAreFew(t *testing.T) {
	s := newSwitches(t)
	o, a := s.gather(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Connect(t.Context(), o.Local(), false)
	}()
	to := net.UDPAddrFromAddrPort(a.Local().Candidates[0].Addr)
	socks := make([]*net.UDPConn, 60)
	for i := range socks {
		var err error
		if socks[i], err = net.DialUDP("udp", nil, to); err != nil {
			t.Fatal(err)
		}
		defer socks[i].Close()
	}
	for {
		for _, c := range socks {
			m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(a.Local().Fragment+":"+o.Local().Fragment),
				stun.NewShortTermIntegrity(a.Local().Password), stun.Fingerprint)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(m.Raw)
		}
		select {
		case <-done:
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	answered := 0
	for _, c := range socks {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1500)); err == nil {
			answered++
		}
	}
	if answered == 0 || answered > 24 {
		t.Errorf("%d of %d forged senders got something", answered, len(socks))
	}
}

func TestHostileDescriptions(t *testing.T) {
	addr := func(s ...string) (out []path.Candidate) {
		for _, a := range s {
			out = append(out, path.Candidate{Addr: netip.MustParseAddrPort(a)})
		}
		return out
	}
	long := func(n int) (out []path.Candidate) {
		for i := range n {
			out = append(out, addr(fmt.Sprintf("10.0.0.1:%d", 2000+i))...)
		}
		return out
	}
	good := path.Description{Fragment: "abcd", Password: strings.Repeat("p", 22)}
	for _, tt := range []struct {
		name       string
		candidates []path.Candidate
		real, demo bool // whether it passes there
	}{
		{"a private network", addr("192.168.1.7:40000", "10.1.2.3:50000", "172.16.0.1:1024", "100.64.0.1:2000", "[fd00::1]:4000"), true, false},
		{"the internet", addr("203.0.113.5:3333", "[2a01::1]:3333"), true, false},
		{"eight", long(8), true, false},
		{"nine", long(9), false, false},
		{"none", nil, false, false},
		{"loopback", addr("127.0.0.1:4000"), false, true},
		{"all of loopback", addr("127.9.9.9:4000", "[::1]:4000"), false, true},
		{"loopback among others", addr("10.0.0.1:4000", "127.0.0.1:4000"), false, false},
		{"loopback, mapped", addr("[::ffff:127.0.0.1]:4000"), false, false},
		{"private, mapped", addr("[::ffff:10.0.0.1]:4000"), false, false},
		{"link-local", addr("169.254.1.1:4000"), false, false},
		{"cloud metadata", addr("169.254.169.254:8080"), false, false},
		{"link-local IPv6", addr("[fe80::1]:4000"), false, false},
		{"a zone", addr("[fe80::1%eth0]:4000"), false, false},
		{"a zone on a global address", addr("[2a01::1%eth0]:4000"), false, false},
		{"unspecified", addr("0.0.0.0:4000"), false, false},
		{"unspecified IPv6", addr("[::]:4000"), false, false},
		{"this network", addr("0.1.2.3:4000"), false, false},
		{"broadcast", addr("255.255.255.255:4000"), false, false},
		{"reserved", addr("240.0.0.1:4000"), false, false},
		{"multicast", addr("224.0.0.251:5353"), false, false},
		{"multicast IPv6", addr("[ff02::fb]:5353"), false, false},
		{"the relay's own", addr("192.0.0.8:4000"), false, false},
		{"NAT64 to metadata", addr("[64:ff9b::a9fe:a9fe]:4000"), false, false},
		{"local NAT64", addr("[64:ff9b:1::a9fe:a9fe]:4000"), false, false},
		{"6to4 to loopback", addr("[2002:7f00:1::1]:4000"), false, false},
		{"Teredo", addr("[2001:0:4136:e378::1]:4000"), false, false},
		{"IPv4-compatible", addr("[::127.0.0.1]:4000"), false, false},
		{"a service's port", addr("10.0.0.1:53"), false, false},
		{"port 0", addr("10.0.0.1:0"), false, false},
		{"a service's port on loopback", addr("127.0.0.1:80"), false, false},
		{"no address", []path.Candidate{{}}, false, false},
	} {
		d := good
		d.Candidates = tt.candidates
		for demo, want := range map[bool]bool{false: tt.real, true: tt.demo} {
			err := d.Check(demo)
			if (err == nil) != want || err != nil && !errors.Is(err, path.ErrCandidate) {
				t.Errorf("%s (demo: %v): %v", tt.name, demo, err)
			}
			if err != nil && strings.Contains(err.Error(), "169.254") {
				t.Errorf("%s: the error shows an address: %v", tt.name, err)
			}
		}
	}
	for name, change := range map[string]func(*path.Description){
		"short fragment": func(d *path.Description) { d.Fragment = "abc" },
		"long fragment":  func(d *path.Description) { d.Fragment = strings.Repeat("a", 65) },
		"colon":          func(d *path.Description) { d.Fragment = "ab:cd" },
		"newline":        func(d *path.Description) { d.Password = strings.Repeat("p", 22) + "\n" },
		"short password": func(d *path.Description) { d.Password = strings.Repeat("p", 21) },
		"empty":          func(d *path.Description) { *d = path.Description{} },
	} {
		d := good
		d.Candidates = addr("10.0.0.1:4000")
		if err := d.Check(false); err != nil {
			t.Fatal(err)
		}
		change(&d)
		if err := d.Check(false); !errors.Is(err, path.ErrCandidate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		d := good
		d.Candidates = addr("10.0.0.1:4000")
		if s := fmt.Sprintf(verb, d); strings.Contains(s, "ppp") || strings.Contains(s, "abcd") || strings.Contains(s, "10.0") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

// What a real agent offers is never loopback or link-local.
func TestOffersOutsideADemo(t *testing.T) {
	o, _ := pair(t)
	s := path.NewSwitch(o, path.Options{})
	defer s.Close()
	a, err := s.Gather(t.Context())
	if errors.Is(err, path.ErrNoDirect) {
		return // this machine has loopback only
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Local().Check(false); err != nil {
		t.Error(err)
	}
	if err := a.Connect(t.Context(), path.Description{
		Fragment: "abcd", Password: strings.Repeat("p", 22), Candidates: []path.Candidate{{Addr: unused(t)}},
	}, true); !errors.Is(err, path.ErrCandidate) {
		t.Errorf("loopback was contacted: %v", err)
	}
}

// muxes puts a session and its channels onto the switches, with both sides
// looking for a direct path.
func (s *switches) muxes(t testing.TB) (operator, agent *channel.Mux) {
	t.Helper()
	operator, agent = s.session(t)
	go func() {
		ch, err := agent.Accept(t.Context())
		if err != nil {
			return
		}
		defer ch.Close()
		ch.Answer(channel.Answer{Effect: channel.Allow})
		direct.Follow(t.Context(), ch, direct.On(s.agent))
	}()
	ch, err := operator.Open(t.Context(), channel.OpenMessage{Kind: direct.Kind})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ch.AwaitAnswer(t.Context()); err != nil || !a.Allowed() {
		t.Fatalf("%v %v", a, err)
	}
	go func() {
		defer ch.Close()
		direct.Lead(t.Context(), ch, direct.On(s.operator))
	}()
	return operator, agent
}

func (s *switches) session(t testing.TB) (operator, agent *channel.Mux) {
	t.Helper()
	ko, ka := key.IdentityFromSeed([32]byte{1}), key.IdentityFromSeed([32]byte{2})
	id, err := session.NewID()
	if err != nil {
		t.Fatal(err)
	}
	c := session.Config{ID: id, TeamFP: [32]byte{1}, BundleHash: [32]byte{2}, Evidence: session.Evidence{Time: time.Unix(1, 0)}}
	co, ca := c, c
	co.Self, co.Peer, ca.Self, ca.Peer = ko, ka.Public(), ka, ko.Public()
	i, hs1, err := session.Initiate(co)
	if err != nil {
		t.Fatal(err)
	}
	r, hs2, err := session.Respond(ca, hs1)
	if err != nil {
		t.Fatal(err)
	}
	hs3, eo, err := i.Consume(hs2)
	if err != nil {
		t.Fatal(err)
	}
	ea, err := r.Consume(hs3)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		agent, err = channel.Accept(t.Context(), s.agent, s.operator.LocalRelayed(), ea, channel.Options{})
		accepted <- err
	}()
	operator, err = channel.Dial(t.Context(), s.operator, s.agent.LocalRelayed(), eo, channel.Options{})
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { operator.Close(); agent.Close() })
	return operator, agent
}

// A bulk is bytes under way in both directions on one channel: the agent sends
// back what it reads. Both ends hash.
type bulk struct {
	ch   *channel.Channel
	size int
	sent chan [32]byte
	got  chan [32]byte
	mark func(int) // called with the number of bytes that are back
}

func startBulk(t *testing.T, operator, agent *channel.Mux, size int, mark func(int)) *bulk {
	t.Helper()
	b := &bulk{size: size, sent: make(chan [32]byte, 1), got: make(chan [32]byte, 1), mark: mark}
	go func() {
		ch, err := agent.Accept(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		ch.Answer(channel.Answer{Effect: channel.Allow})
		if _, err := io.Copy(struct{ io.Writer }{ch}, struct{ io.Reader }{ch}); err != nil {
			t.Errorf("the agent's end: %v", err)
		}
		ch.CloseWrite()
	}()
	var err error
	if b.ch, err = operator.Open(t.Context(), channel.OpenMessage{Kind: "copy"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ch.AwaitAnswer(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() {
		h := sha256.New()
		r := rand.NewChaCha8([32]byte{9})
		if _, err := io.CopyN(io.MultiWriter(h, struct{ io.Writer }{b.ch}), r, int64(size)); err != nil {
			t.Errorf("sending: %v", err)
		}
		b.ch.CloseWrite()
		b.sent <- [32]byte(h.Sum(nil))
	}()
	go func() {
		h := sha256.New()
		buf := make([]byte, 32<<10)
		n := 0
		for {
			k, err := b.ch.Read(buf)
			h.Write(buf[:k])
			n += k
			b.mark(n)
			if err != nil {
				if err != io.EOF || n != size {
					t.Errorf("%d bytes back, then %v", n, err)
				}
				b.got <- [32]byte(h.Sum(nil))
				return
			}
		}
	}()
	return b
}

func (b *bulk) finish(t *testing.T) {
	t.Helper()
	if sent, got := <-b.sent, <-b.got; sent != got {
		t.Error("what came back is not what was sent")
	}
}

// milestones calls each function once, when so many bytes are back, and holds the
// reader up while it runs: then the flow stands still at most one window further.
type milestones map[int]func()

func (m milestones) mark(n int) {
	for at, do := range m {
		if n >= at {
			delete(m, at)
			do()
		}
	}
}

// From the relay to a direct path that dies, back, and over to the next one, under
// load in both directions, without a byte lost.
func TestNothingIsLostInTurning(t *testing.T) {
	s := newSwitches(t)
	operator, agent := s.muxes(t)
	s.await(t, path.Direct)
	const MiB = 1 << 20
	turns := milestones{
		4 * MiB:  s.faults.Die,
		8 * MiB:  func() { s.await(t, path.Relay); s.faults.Live() },
		12 * MiB: func() { s.await(t, path.Direct) },
		16 * MiB: s.faults.Die,
		20 * MiB: func() { s.await(t, path.Relay) },
	}
	startBulk(t, operator, agent, 24*MiB, turns.mark).finish(t)
	if len(turns) > 0 {
		t.Errorf("%d turns did not come", len(turns))
	}
}

// A NAT forgets: the operator's side has another address from one datagram to the
// next. The session goes on, and finds a direct path again.
func TestNewAddressUnderLoad(t *testing.T) {
	s := newSwitches(t)
	operator, agent := s.muxes(t)
	s.await(t, path.Direct)
	const MiB = 1 << 20
	move := func() {
		if err := s.faults.Move(); err != nil {
			t.Error(err)
		}
	}
	turns := milestones{3 * MiB: move, 10 * MiB: func() { s.await(t, path.Direct) }, 12 * MiB: move}
	startBulk(t, operator, agent, 20*MiB, turns.mark).finish(t)
	if len(turns) > 0 {
		t.Errorf("%d turns did not come", len(turns))
	}
}
