package path_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// counted counts the allocate requests that reach a relay.
type counted struct {
	net.PacketConn
	mu  *sync.Mutex
	all *int
}

func (c counted) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(p)
	m := &stun.Message{Raw: append([]byte(nil), p[:max(n, 0)]...)}
	if err == nil && stun.IsMessage(m.Raw) && m.Decode() == nil && m.Type == stun.NewType(stun.MethodAllocate, stun.ClassRequest) {
		c.mu.Lock()
		*c.all++
		c.mu.Unlock()
	}
	return n, from, err
}

// relayAt starts a relay at an address. asked gives the requests for an allocation that
// came since it was called last.
func relayAt(t *testing.T, listen string, secret cred.Secret) (addr string, asked func() int, stop func()) {
	t.Helper()
	var mu sync.Mutex
	var n int
	s, err := relay.New(relay.Config{Listen: listen, Secret: secret, ListenPacket: func(network, address string) (net.PacketConn, error) {
		c, err := net.ListenPacket(network, address)
		return counted{c, &mu, &n}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(up) }) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	select {
	case <-up:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return s.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { n = 0 }()
		return n
	}, stop
}

// A relay's challenge is asked for once: by the first opening, or by a knock before it.
// Another opening takes one request, until the relay does not know the challenge.
func TestChallengeIsAskedForOnce(t *testing.T) {
	secret := cred.NewSecret()
	addr, asked, stop := relayAt(t, "127.0.0.1:0", secret)
	d := new(path.Dialer)
	session := byte(0)
	open := func(what string, want int) {
		t.Helper()
		session++
		r, err := d.Open(t.Context(), addr, secret.Mint([16]byte{session}, cred.Operator, time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer r.Close()
		if r.LocalRelayed().String() != cred.Operator.RelayedAddr().String() {
			t.Errorf("%s: at %v, want %v", what, r.LocalRelayed(), cred.Operator.RelayedAddr())
		}
		if got := asked(); got != want {
			t.Errorf("%s took %d requests, want %d", what, got, want)
		}
	}
	open("the first opening", 2)
	open("the second", 1)
	stop()
	_, asked, stop = relayAt(t, addr, secret)
	open("an opening at a relay that was started again", 3)
	open("one more", 1)
	d = new(path.Dialer)
	d.Knock(t.Context(), addr)
	d.Knock(t.Context(), addr)
	if got := asked(); got != 1 {
		t.Errorf("two knocks took %d requests, want 1", got)
	}
	open("an opening after a knock", 1)
	stop()
}

// Who shows a forged credential is refused whatever was known before.
func TestKnownChallengeAdmitsNobody(t *testing.T) {
	addr, _, _ := relayAt(t, "127.0.0.1:0", cred.NewSecret())
	var d path.Dialer
	d.Knock(t.Context(), addr)
	forged := cred.NewSecret().Mint([16]byte{1}, cred.Agent, time.Now().Add(time.Hour))
	if _, err := d.Open(t.Context(), addr, forged); !errors.Is(err, path.ErrRefused) {
		t.Errorf("a forged credential: %v", err)
	}
}

// What answers nonsense, or nothing, is no reason to fail or to wait for long.
func TestKnockAtNobody(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		buf := make([]byte, 2000)
		n, from, err := silent.ReadFrom(buf)
		if err == nil {
			silent.WriteTo(buf[:n/2], from)
			silent.WriteTo(buf[:n], from) // its own request
		}
		cancel()
	}()
	var d path.Dialer
	d.Knock(ctx, silent.LocalAddr().String())
	d.Knock(t.Context(), "no relay")
}
