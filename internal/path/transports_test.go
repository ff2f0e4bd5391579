package path_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/carrier"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// A town is a relay with all transports, each of which can be blocked.
type town struct {
	secret   cred.Secret
	addr     string // with the port for TLS
	roots    *x509.CertPool
	udp      *mute
	tcp, tls *gate
}

// A gate is a listener behind which a network lets nothing through any more.
type gate struct {
	net.Listener
	shut  atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.shut.Load() {
			g.mu.Lock()
			g.conns = append(g.conns, c)
			g.mu.Unlock()
			return c, nil
		}
		c.Close()
	}
}

// block also ends what is there, as a firewall does that has lost its table.
func (g *gate) block() {
	g.shut.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Close()
	}
}

func newTown(t testing.TB) *town {
	t.Helper()
	w := &town{secret: cred.NewSecret()}
	cert, roots := certificate(t)
	w.roots = roots
	s, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", ListenTLS: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, Secret: w.secret,
		ListenPacket: func(network, address string) (net.PacketConn, error) {
			c, err := net.ListenPacket(network, address)
			w.udp = &mute{PacketConn: c}
			return w.udp, err
		},
		ListenStream: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			g := &gate{Listener: l}
			if strings.HasSuffix(address, ":0") {
				w.tls = g
			} else {
				w.tcp = g
			}
			return g, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-ended })
	w.addr = fmt.Sprintf("%s,tls=%d", s.Addr(), s.TLSAddr().(*net.TCPAddr).Port)
	return w
}

// certificate is one for loopback, of an authority of its own.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}, roots
}

func (w *town) dialer() *path.Dialer {
	return &path.Dialer{Carrier: carrier.Dialer{TLS: &tls.Config{RootCAs: w.roots}}}
}

// open opens one side by whatever goes.
func (w *town) open(t testing.TB, d *path.Dialer, side cred.Side) *path.Relayed {
	t.Helper()
	r, err := d.Open(t.Context(), w.addr, w.secret.Mint([16]byte{1}, side, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.Hurry()
	return r
}

// TestWhateverGoes: the best transport that is not blocked is taken, and both sides
// need not have the same.
func TestWhateverGoes(t *testing.T) {
	t.Parallel()
	for _, want := range []carrier.Transport{carrier.UDP, carrier.TCP, carrier.TLS} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			agent := w.open(t, w.dialer(), cred.Agent) // over UDP
			w.udp.on.Store(want != carrier.UDP)
			if want == carrier.TLS {
				w.tcp.block()
			}
			d := w.dialer()
			operator := w.open(t, d, cred.Operator)
			if got := operator.Transport(); got != want {
				t.Fatalf("over %s, want %s", got, want)
			}
			if udp := operator.UDP(); (udp != nil) != (want == carrier.UDP) {
				t.Errorf("over %s: socket %v", want, udp)
			}
			w.udp.on.Store(false)
			permit(t, operator, agent)
			permit(t, agent, operator)
			passes(t, operator, agent, "there")
			passes(t, agent, operator, "and back")
			long := strings.Repeat("x", path.MaxDatagram)
			passes(t, operator, agent, long)
			passes(t, agent, operator, long)
			passes(t, operator, agent, "odd")
		})
	}
}

// TestAllBlocked: the error names each way.
func TestAllBlocked(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.udp.on.Store(true)
	w.tcp.block()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	// The relay's certificate is of nobody that the system knows.
	_, err := new(path.Dialer).Open(ctx, w.addr, w.secret.Mint([16]byte{1}, cred.Operator, time.Now().Add(time.Hour)))
	if !errors.Is(err, path.ErrUnreachable) {
		t.Fatal(err)
	}
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	if !errors.As(err, &unknown) && !errors.As(err, &certificate) {
		t.Errorf("TLS without a known authority: %v", err)
	}
}

// TestRefusedOverEach: a no is a no over every transport, and Probe takes it as a sign
// of life.
func TestRefusedOverEach(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	at, err := carrier.Parse(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	d := w.dialer()
	for _, over := range at.Transports() {
		if _, err := d.Probe(t.Context(), at, over); err != nil {
			t.Errorf("%s: %v", over, err)
		}
	}
	w.udp.on.Store(true)
	if _, err := d.Open(t.Context(), w.addr, cred.NewSecret().Mint([16]byte{1}, cred.Operator, time.Now().Add(time.Hour))); !errors.Is(err, path.ErrRefused) {
		t.Errorf("a forged credential over TCP: %v", err)
	}
	w.tls.block()
	if _, err := d.Probe(t.Context(), at, carrier.TLS); !errors.Is(err, path.ErrUnreachable) {
		t.Errorf("TLS that is blocked: %v", err)
	}
}

// TestGoesOver: what carries the path is blocked while a session runs on it, and is
// back later. The session goes over and back, and loses no byte.
func TestGoesOver(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	s := &switches{}
	ends := map[string]*path.Relayed{"operator": w.open(t, w.dialer(), cred.Operator), "agent": w.open(t, w.dialer(), cred.Agent)}
	s.operator, s.agent = path.NewSwitch(ends["operator"], path.Options{Loopback: true}), path.NewSwitch(ends["agent"], path.Options{Loopback: true})
	for from, to := range map[*path.Switch]*path.Switch{s.operator: s.agent, s.agent: s.operator} {
		if err := from.Permit(t.Context(), to.LocalRelayed()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { from.Close() })
	}
	operator, agent := s.session(t)
	sums := make(chan [32]byte, 1)
	go func() {
		ch, err := agent.Accept(t.Context())
		if err != nil {
			return
		}
		ch.Answer(channel.Answer{Effect: channel.Allow})
		h := sha256.New()
		if _, err := io.Copy(h, struct{ io.Reader }{ch}); err != nil {
			t.Error(err)
		}
		sums <- [32]byte(h.Sum(nil))
	}()
	ch, err := operator.Open(t.Context(), channel.OpenMessage{Kind: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.AwaitAnswer(t.Context()); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	sent := make(chan [32]byte, 1)
	go func() {
		h, block := sha256.New(), make([]byte, 10_000)
		for !stop.Load() {
			rand.Read(block)
			h.Write(block)
			if _, err := ch.Write(block); err != nil {
				t.Error(err)
				break
			}
			time.Sleep(time.Millisecond)
		}
		ch.CloseWrite()
		sent <- [32]byte(h.Sum(nil))
	}()
	s.await(t, "relay/udp")
	w.udp.on.Store(true)
	s.await(t, "relay/tcp")
	w.tcp.block()
	s.await(t, "relay/tls")
	w.tcp.shut.Store(false)
	s.await(t, "relay/tcp")
	w.udp.on.Store(false)
	s.await(t, "relay/udp")
	w.tcp.block()
	w.tls.block()
	stop.Store(true)
	if a, b := <-sent, <-sums; a != b {
		t.Error("what has arrived is not what was sent")
	}
}

// TestRemembers: what worked for a relay is tried together with UDP the next time.
func TestRemembers(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.udp.on.Store(true)
	w.tcp.block()
	d := w.dialer()
	w.open(t, d, cred.Operator)
	if got := d.Worked(w.addr); got != carrier.TLS {
		t.Errorf("remembers %q", got)
	}
	if r := w.open(t, d, cred.Operator); r.Transport() != carrier.TLS {
		t.Errorf("over %s", r.Transport())
	}
}

// A connectProxy is an HTTP proxy that wants a name and a password.
type connectProxy struct {
	net.Listener
	asked  chan string
	refuse string // an answer in place of the connection
}

func newConnectProxy(t testing.TB) *connectProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &connectProxy{Listener: l, asked: make(chan string, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer c.Close()
	b := bufio.NewReader(c)
	req, err := http.ReadRequest(b)
	if err != nil {
		return
	}
	r := http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
	name, password, _ := r.BasicAuth()
	switch {
	case p.refuse != "":
		io.WriteString(c, p.refuse)
		return
	case req.Method != "CONNECT" || name != "alice" || password != "canary-password":
		io.WriteString(c, "HTTP/1.1 407 no\r\n\r\n")
		return
	}
	p.asked <- req.Host
	far, err := net.Dial("tcp", req.Host)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 no\r\n\r\n")
		return
	}
	defer far.Close()
	io.WriteString(c, "HTTP/1.1 200 go on\r\n\r\n")
	go io.Copy(far, b)
	io.Copy(c, far)
}

func (p *connectProxy) through(user string) func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return url.Parse("http://" + user + p.Addr().String()) }
}

// TestProxy: TCP and TLS go through an HTTP proxy, with its name and password, and no
// error shows those.
func TestProxy(t *testing.T) {
	t.Parallel()
	p := newConnectProxy(t)
	for _, want := range []carrier.Transport{carrier.TCP, carrier.TLS} {
		w := newTown(t)
		w.udp.on.Store(true)
		if want == carrier.TLS {
			w.tcp.block()
		}
		d := w.dialer()
		d.Carrier.Proxy = p.through("alice:canary-password@")
		operator, agent := w.open(t, d, cred.Operator), w.open(t, d, cred.Agent)
		if operator.Transport() != want {
			t.Fatalf("over %s", operator.Transport())
		}
		permit(t, operator, agent)
		permit(t, agent, operator)
		passes(t, operator, agent, "through the proxy")
		passes(t, agent, operator, "and back")
		if host := <-p.asked; !strings.HasPrefix(host, "127.0.0.1:") {
			t.Errorf("the proxy was asked for %s", host)
		}
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	at, err := carrier.Parse(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ user, refuse, want string }{
		"no password":    {"", "", "wants a name and a password"},
		"a wrong one":    {"alice:canary-wrong@", "", "wants a name and a password"},
		"forbidden":      {"alice:canary-password@", "HTTP/1.1 403 canary-text\r\n\r\n", "status 403"},
		"no proxy":       {"alice:canary-password@", "SSH-2.0-canary\r\n", "does not answer like a proxy"},
		"an endless one": {"alice:canary-password@", "HTTP/1.1 200 x\r\nA: " + strings.Repeat("b", 1<<16) + "\r\n\r\n", "does not answer like a proxy"},
		"talkative":      {"alice:canary-password@", "HTTP/1.1 200 x\r\n\r\ncanary", "speaks before"},
	} {
		p := newConnectProxy(t)
		p.refuse = tt.refuse
		d := carrier.Dialer{Proxy: p.through(tt.user)}
		c, err := d.Dial(t.Context(), at, carrier.TCP)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, carrier.ErrProxy) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProxyOfTheEnvironment: HTTPS_PROXY and NO_PROXY are honoured, and a proxy that
// can't be used is an error without its password.
func TestProxyOfTheEnvironment(t *testing.T) {
	p := newConnectProxy(t)
	t.Setenv("HTTPS_PROXY", "http://alice:canary-password@"+p.Addr().String())
	t.Setenv("NO_PROXY", "direct.invalid")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dial := func(host string) error {
		c, err := new(carrier.Dialer).Dial(ctx, carrier.Address{Host: host, Port: 3478}, carrier.TCP)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial("relay.invalid"); !errors.Is(err, carrier.ErrProxy) || !strings.Contains(err.Error(), "status 502") {
		t.Errorf("through the proxy: %v", err)
	}
	if host := <-p.asked; host != "relay.invalid:3478" {
		t.Errorf("the proxy was asked for %s", host)
	}
	if err := dial("direct.invalid"); err == nil || errors.Is(err, carrier.ErrProxy) {
		t.Errorf("without it: %v", err)
	}
	t.Setenv("HTTPS_PROXY", "socks5://alice:canary@127.0.0.1:1")
	if err := dial("relay.invalid"); !errors.Is(err, carrier.ErrProxy) || strings.Contains(err.Error(), "canary") {
		t.Errorf("another kind: %v", err)
	}
}
