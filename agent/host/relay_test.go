//go:build unix

package host

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// tap keeps all that a socket receives and sends.
type tap struct {
	net.PacketConn
	mu   *sync.Mutex
	seen *bytes.Buffer
}

func (t tap) keep(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Write(b)
}

func (t tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(b)
	t.keep(b[:n])
	return n, from, err
}

func (t tap) WriteTo(b []byte, to net.Addr) (int, error) {
	t.keep(b)
	return t.PacketConn.WriteTo(b, to)
}

// Through a real relay, which sees neither the command nor what it says.
func TestThroughARelay(t *testing.T) {
	secret := cred.NewSecret()
	var mu sync.Mutex
	var seen bytes.Buffer
	server, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", Secret: secret,
		ListenPacket: func(network, address string) (net.PacketConn, error) {
			c, err := net.ListenPacket(network, address)
			return tap{c, &mu, &seen}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-up
	w := newWorldOn(t, server.Addr().String(), secret)
	w.start()
	e := w.try(attempt{argv: []string{"sh", "-c", "echo canary-in-argv | tr a-z A-Z"}})
	if e.stdout != "CANARY-IN-ARGV\n" || e.exit.Code != 0 {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	mu.Lock()
	defer mu.Unlock()
	if text := strings.ToLower(seen.String()); len(text) < 4096 || strings.Contains(text, "canary") {
		t.Errorf("the relay has seen the canary, or nothing at all (%d bytes)", len(text))
	}
}
