package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// pipes is a listener in memory, so that time in a test is simulated.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3478} }

// dial gives the client's end of a connection from the given port.
func (p *pipes) dial(port int) net.Conn {
	ours, theirs := net.Pipe()
	client := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	p.conns <- from{theirs, client, p.Addr()}
	return from{ours, p.Addr(), client}
}

type from struct {
	net.Conn
	remote, local net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.remote }
func (f from) LocalAddr() net.Addr  { return f.local }

// onPipes runs f on a relay with a stream listener in memory.
func onPipes(t *testing.T, cfg Config, f func(t *testing.T, s *Server, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		var w wire
		p := newPipes()
		if cfg.Secret.IsZero() {
			cfg.Secret = cred.NewSecret()
		}
		cfg.ListenPacket = func(string, string) (net.PacketConn, error) { return w.listen(), nil }
		cfg.ListenStream = func(string, string) (net.Listener, error) { return p, nil }
		f(t, start(t, cfg), p)
	})
}

// ended waits until the relay has closed a connection, and gives how long that took.
func ended(c net.Conn) time.Duration {
	began := time.Now()
	io.Copy(io.Discard, c)
	return time.Since(began)
}

// A connection that asks for no allocation ends, whatever it sends.
func TestConnectionWithoutAllocationEnds(t *testing.T) {
	onPipes(t, Config{}, func(t *testing.T, s *Server, p *pipes) {
		silent := p.dial(1001)
		if took := ended(silent); took != greeting {
			t.Errorf("a silent one ended after %v", took)
		}
		chatty := p.dial(1002)
		go func() {
			for {
				m := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
				if _, err := chatty.Write(m.Raw); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if took := ended(chatty); took != greeting {
			t.Errorf("one that asks other things ended after %v", took)
		}
		for name, b := range map[string][]byte{
			"HTTP":                      []byte("GET / HTTP/1.1\r\nHost: relay\r\n\r\n"),
			"a message longer than any": binary.BigEndian.AppendUint16([]byte{0x40, 0x00}, 0xfff0),
			"a header without the rest": {0, 1, 0, 8},
		} {
			c := p.dial(1003)
			go c.Write(append(b, make([]byte, 100)...))
			if took := ended(c); took > greeting {
				t.Errorf("%s ended after %v", name, took)
			}
		}
		synctest.Wait()
		if got := value(t, s.hub.metrics.connections); got != 0 {
			t.Errorf("%v connections are left", got)
		}
	})
}

// Connections are bounded, also those without an allocation.
func TestConnectionsAreBounded(t *testing.T) {
	onPipes(t, Config{MaxAllocations: 2}, func(t *testing.T, s *Server, p *pipes) {
		for port := range 2 + spare {
			p.dial(1000 + port)
		}
		if took := ended(p.dial(9000)); took != 0 {
			t.Errorf("one too many ended after %v", took)
		}
		if got := value(t, s.hub.metrics.refused.WithLabelValues("connections")); got != 1 {
			t.Errorf("%v were refused", got)
		}
		time.Sleep(greeting + time.Second)
		c := p.dial(9001)
		go c.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
		if _, err := io.ReadFull(c, make([]byte, 20)); err != nil {
			t.Errorf("when the others are gone: %v", err)
		}
	})
}

// A client's connection lives as long as its allocation, hours if need be, and the
// allocation no longer than the connection.
func TestAllocationAndConnectionEndTogether(t *testing.T) {
	secret := cred.NewSecret()
	onPipes(t, Config{Secret: secret}, func(t *testing.T, s *Server, p *pipes) {
		open := func(port int, side cred.Side, life time.Duration) (*path.Relayed, net.Conn) {
			c := p.dial(port)
			r, err := path.OpenRelayOn(t.Context(), carrier.OnStream(c), p.Addr(), secret.Mint(id(1), side, time.Now().Add(life)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			return r, c
		}
		operator, _ := open(1001, cred.Operator, 5*time.Hour)
		agent, raw := open(1002, cred.Agent, 5*time.Hour)
		for _, e := range [][2]*path.Relayed{{operator, agent}, {agent, operator}} {
			if err := e[0].Permit(t.Context(), e[1].LocalRelayed()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			time.Sleep(time.Hour)
			send(t, operator, agent, "an odd length")
			want(t, agent, "an odd length")
		}
		raw.Close()
		synctest.Wait()
		if got := value(t, s.hub.metrics.allocations); got != 1 {
			t.Errorf("%v allocations after a connection was lost, want 1", got)
		}
		_, short := open(1003, cred.Agent, time.Minute)
		time.Sleep(2 * time.Minute)
		if _, err := short.Write([]byte{0}); err == nil {
			t.Error("the connection outlives its credential")
		}
		if got := value(t, s.hub.metrics.connections); got != 1 {
			t.Errorf("%v connections, want 1", got)
		}
		operator.Close()
		agent.Close()
		time.Sleep(time.Minute) // what was asked without an answer gives up
	})
}

// Over TLS, nothing that is logged names a client or what passes.
func TestTLSLogsNoAddress(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	var log record
	secret := cred.NewSecret()
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, Config{
		Secret: secret, ListenTLS: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}},
		Logger: logger, Usage: logUsage(logger),
	})
	c, err := tls.Dial("tcp", s.TLSAddr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	operator, err := path.OpenRelayOn(t.Context(), carrier.OnStream(c), s.TLSAddr(), secret.Mint(id(7), cred.Operator, inAnHour()))
	if err != nil {
		t.Fatal(err)
	}
	agent := open(t, s, secret.Mint(id(7), cred.Agent, inAnHour()))
	for _, e := range [][2]*path.Relayed{{operator, agent}, {agent, operator}} {
		if err := e[0].Permit(t.Context(), e[1].LocalRelayed()); err != nil {
			t.Fatal(err)
		}
	}
	send(t, operator, agent, "canary-payload")
	want(t, agent, "canary-payload")
	// A stranger that shakes no hands.
	stranger, err := net.Dial("tcp", s.TLSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	stranger.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	io.Copy(io.Discard, stranger)
	_, other, _ := net.SplitHostPort(stranger.LocalAddr().String())
	stranger.Close()
	operator.Close()
	agent.Close()
	waitFor(t, func() bool { return strings.Contains(log.String(), "session relayed") })
	for _, hidden := range []string{"canary", ":" + port, ":" + other} {
		if strings.Contains(log.String(), hidden) {
			t.Errorf("the log holds %q:\n%s", hidden, log.String())
		}
	}
	if !strings.Contains(log.String(), "operator_bytes=14 agent_bytes=0") {
		t.Errorf("the log lacks what the session used:\n%s", log.String())
	}
}
