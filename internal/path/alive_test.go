package path_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// A mute drops all that its socket receives while it is on: a network that fails.
type mute struct {
	net.PacketConn
	on atomic.Bool
}

func (m *mute) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(p)
		if err != nil || !m.on.Load() {
			return n, from, err
		}
	}
}

// A killable relay can be stopped and started again at its address.
type killable struct {
	t      *testing.T
	secret cred.Secret
	addr   string
	mute   *mute
	stop   func()
}

func startKillable(t *testing.T) *killable {
	k := &killable{t: t, secret: cred.NewSecret(), addr: "127.0.0.1:0"}
	k.start()
	t.Cleanup(func() { k.stop() })
	return k
}

func (k *killable) start() {
	k.t.Helper()
	s, err := relay.New(relay.Config{Listen: k.addr, Secret: k.secret, ListenPacket: func(network, address string) (net.PacketConn, error) {
		c, err := net.ListenPacket(network, address)
		k.mute = &mute{PacketConn: c}
		return k.mute, err
	}})
	if err != nil {
		k.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		k.t.Fatal(err)
	}
	k.addr = s.Addr().String()
	k.stop = func() { cancel(); <-ended; ended <- nil }
}

func (k *killable) open() *path.Relayed { return k.openAs(cred.Operator) }

func (k *killable) openAs(side cred.Side) *path.Relayed {
	k.t.Helper()
	r, err := path.OpenRelay(k.t.Context(), k.addr, k.secret.Mint([16]byte{1}, side, time.Now().Add(time.Hour)))
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { r.Close() })
	return r
}

// passes sends a word until it has come: some are lost meanwhile.
func passes(t testing.TB, from, to interface {
	net.PacketConn
	LocalRelayed() net.Addr
}, word string) {
	t.Helper()
	buf := make([]byte, 2000)
	for until := time.Now().Add(40 * time.Second); time.Now().Before(until); {
		if _, err := from.WriteTo([]byte(word), to.LocalRelayed()); err != nil {
			t.Fatal(err)
		}
		to.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _, err := to.ReadFrom(buf)
		if err == nil && string(buf[:n]) == word {
			return
		}
		if errors.Is(err, net.ErrClosed) {
			t.Fatalf("%q: the path has ended", word)
		}
	}
	t.Fatalf("%q has not come", word)
}

// ends reads until the path ends and gives why it did.
func ends(r *path.Relayed) error {
	for {
		_, _, err := r.ReadFrom(make([]byte, 2000))
		if errors.Is(err, net.ErrClosed) {
			return r.Err()
		}
	}
}

// TestLostRelay: a relay that is killed is noticed soon, and a reader learns it.
func TestLostRelay(t *testing.T) {
	t.Parallel()
	k := startKillable(t)
	r := k.open()
	k.stop()
	if err := ends(r); !errors.Is(err, path.ErrGone) || !strings.Contains(err.Error(), "it is down") {
		t.Errorf("%v, want that it is down", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestRestartedRelay: a relay that was killed and is there again at once has lost the
// allocation. The path makes it anew, at the same address.
func TestRestartedRelay(t *testing.T) {
	t.Parallel()
	k := startKillable(t)
	r, peer := k.open(), k.openAs(cred.Agent)
	permit(t, r, peer)
	permit(t, peer, r)
	k.stop()
	k.start()
	passes(t, r, peer, "after the restart")
	passes(t, peer, r, "and back")
}

// TestSilentRelay: a network that fails for a while costs nothing, and a relay that
// answers is left alone.
func TestSilentRelay(t *testing.T) {
	t.Parallel()
	k := startKillable(t)
	r := k.open()
	for _, silent := range []bool{false, true, false} {
		k.mute.on.Store(silent)
		r.SetReadDeadline(time.Now().Add(4 * time.Second))
		if _, _, err := r.ReadFrom(make([]byte, 2000)); errors.Is(err, net.ErrClosed) {
			t.Fatalf("silent %v: the path ended: %v", silent, r.Err())
		}
	}
	if err := r.Close(); err != nil || r.Err() != nil {
		t.Errorf("closed by its owner: %v, %v", err, r.Err())
	}
}
