package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// start runs a relay for the test and waits until it serves.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s, err := New(cfg)
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
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func id(n byte) (session [16]byte) {
	session[0] = n
	return session
}

// inAnHour is when credentials of the tests expire.
func inAnHour() time.Time { return time.Now().Add(time.Hour) }

func open(t testing.TB, s *Server, c cred.Credential) *path.Relayed {
	t.Helper()
	r, err := path.OpenRelay(t.Context(), s.Addr().String(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// pairUp opens both sides of a session and lets them permit each other.
func pairUp(t testing.TB, s *Server, secret cred.Secret, session [16]byte) (operator, agent *path.Relayed) {
	t.Helper()
	operator = open(t, s, secret.Mint(session, cred.Operator, inAnHour()))
	agent = open(t, s, secret.Mint(session, cred.Agent, inAnHour()))
	for _, e := range [][2]*path.Relayed{{operator, agent}, {agent, operator}} {
		if err := e[0].Permit(t.Context(), e[1].LocalRelayed()); err != nil {
			t.Fatal(err)
		}
	}
	return operator, agent
}

// want reads one datagram within the time that a lost one would take to show.
func want(t testing.TB, r *path.Relayed, text string) {
	t.Helper()
	buf := make([]byte, 2000)
	r.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := r.ReadFrom(buf)
	if err != nil || string(buf[:n]) != text {
		t.Fatalf("read %.60q, %v; want %.60q", buf[:n], err, text)
	}
}

func send(t testing.TB, from, to *path.Relayed, text string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(text), to.LocalRelayed()); err != nil {
		t.Fatal(err)
	}
}

func TestBothDirections(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	operator, agent := pairUp(t, s, secret, id(1))
	long := strings.Repeat("x", path.MaxDatagram)
	for i := range 50 { // past the change from Send indications to a channel
		text := fmt.Sprint("keys ", i)
		send(t, operator, agent, text)
		want(t, agent, text)
		send(t, agent, operator, "echo "+text)
		want(t, operator, "echo "+text)
	}
	send(t, operator, agent, long)
	want(t, agent, long)
	if got := value(t, s.hub.metrics.packets.WithLabelValues("agent")); got != 50 {
		t.Errorf("counted %v datagrams of the agent, want 50", got)
	}
}

func TestSessionsDoNotMeet(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	operator, agent := pairUp(t, s, secret, id(1))
	_, mallory := pairUp(t, s, secret, id(2))

	// Same address, other session: it is heard in its own session only.
	send(t, operator, agent, "for session 1")
	want(t, agent, "for session 1")
	mallory.SetReadDeadline(time.Now())
	if n, _, err := mallory.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("session 2 read %d bytes, %v", n, err)
	}
}

// rawClient is a TURN client that does what it likes, unlike package path.
func rawClient(t *testing.T, s *Server, c cred.Credential) (*turn.Client, net.PacketConn) {
	t.Helper()
	sock, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: s.Addr().String(), Username: c.Username, Password: string(c.Password), Conn: sock,
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); sock.Close() })
	return client, sock
}

func TestOnlyThePeer(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	bystander, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close()
	for _, to := range []net.Addr{
		bystander.LocalAddr(),
		s.Addr(), // the relay itself
		&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 53},
		&net.UDPAddr{IP: net.IPv4(172, 16, 0, 1), Port: 53},
		&net.UDPAddr{IP: net.IPv4(192, 168, 0, 1), Port: 53},
		&net.UDPAddr{IP: net.IPv4(100, 64, 0, 1), Port: 53},
		&net.UDPAddr{IP: net.IPv4(169, 254, 169, 254), Port: 80},
		&net.UDPAddr{IP: net.IPv4(0, 0, 0, 0), Port: 80},
		&net.UDPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 80}, // the internet too: the relay has no way there
	} {
		client, _ := rawClient(t, s, secret.Mint(id(3), cred.Operator, inAnHour()))
		alloc, err := client.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alloc.WriteTo([]byte("out"), to); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%v: %v, want 403", to, err)
		}
		alloc.Close()
		waitFor(t, func() bool { return s.hub.hasRoom(cred.Name{Session: id(3), Side: cred.Operator}) })
	}
}

// waitFor polls until the relay has done what a client does not wait for.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("did not happen")
}

// While its secret is rotated a relay takes what was minted with any of those it has.
func TestSecretsOverlap(t *testing.T) {
	now, next := cred.NewSecret(), cred.NewSecret()
	s := start(t, Config{Secret: now, Others: cred.Ring{next}})
	for i, secret := range []cred.Secret{now, next} {
		client, _ := rawClient(t, s, secret.Mint(id(byte(i)), cred.Operator, inAnHour()))
		if _, err := client.Allocate(); err != nil {
			t.Errorf("secret %d: %v", i, err)
		}
	}
	client, _ := rawClient(t, s, cred.NewSecret().Mint(id(9), cred.Operator, inAnHour()))
	if _, err := client.Allocate(); err == nil {
		t.Error("a secret that the relay does not have was taken")
	}
}

func TestForeignChannelEndsTheAllocation(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	for _, port := range []int{1, int(cred.Operator), 65535} {
		c := secret.Mint(id(4), cred.Operator, inAnHour())
		client, _ := rawClient(t, s, c)
		alloc, err := client.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		// pion's client binds a channel behind its first write.
		alloc.WriteTo([]byte("x"), &net.UDPAddr{IP: reserved.AsSlice(), Port: port})
		name, err := cred.ParseName(c.Username)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.hub.hasRoom(name) })
	}
}

func TestLegReachesOneAddress(t *testing.T) {
	s := start(t, Config{Secret: cred.NewSecret()})
	name := cred.Name{Expiry: inAnHour(), Session: id(1), Side: cred.Operator}
	l, err := s.hub.open(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []net.Addr{
		&net.UDPAddr{IP: reserved.AsSlice(), Port: int(cred.Operator)}, // itself
		&net.UDPAddr{IP: reserved.AsSlice(), Port: 1},
		&net.UDPAddr{IP: net.IPv4(192, 0, 0, 9), Port: int(cred.Agent)},
		&net.UDPAddr{Port: int(cred.Agent)},
		&net.TCPAddr{IP: reserved.AsSlice(), Port: int(cred.Agent)},
	} {
		if _, err := l.WriteTo([]byte("x"), to); !errors.Is(err, errForeign) {
			t.Errorf("%v: %v", to, err)
		}
	}
	if _, err := l.WriteTo([]byte("x"), relayed(cred.Agent)); err != nil {
		t.Errorf("the absent peer: %v", err)
	}
}

func TestSlowReceiverDropsAndNeverBlocks(t *testing.T) {
	s := start(t, Config{Secret: cred.NewSecret()})
	var legs []*leg
	for _, side := range []cred.Side{cred.Operator, cred.Agent} {
		l, err := s.hub.open(cred.Name{Expiry: inAnHour(), Session: id(1), Side: side})
		if err != nil {
			t.Fatal(err)
		}
		legs = append(legs, l)
	}
	for range 3 * queueLen {
		if _, err := legs[0].WriteTo(make([]byte, 1200), relayed(cred.Agent)); err != nil {
			t.Fatal(err)
		}
	}
	if got := value(t, s.hub.metrics.dropped.WithLabelValues("slow")); got != 2*queueLen {
		t.Errorf("dropped %v, want %d", got, 2*queueLen)
	}
	legs[1].Close()
	if _, _, err := legs[1].ReadFrom(make([]byte, 2000)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestRefusedCredentials(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	good := secret.Mint(id(1), cred.Operator, inAnHour())
	with := func(c cred.Credential, change func(*cred.Credential)) cred.Credential {
		change(&c)
		return c
	}
	tests := map[string]cred.Credential{
		"expired":          secret.Mint(id(1), cred.Operator, time.Now().Add(-time.Second)),
		"lives too long":   secret.Mint(id(1), cred.Operator, time.Now().Add(14*time.Hour)),
		"of another relay": cred.NewSecret().Mint(id(1), cred.Operator, inAnHour()),
		"no password":      with(good, func(c *cred.Credential) { c.Password = "" }),
		"no user name":     with(good, func(c *cred.Credential) { c.Username = "" }),
		"other side":       with(good, func(c *cred.Credential) { c.Username = strings.Replace(c.Username, ".o.", ".a.", 1) }),
		"third side":       with(good, func(c *cred.Credential) { c.Username = strings.Replace(c.Username, ".o.", ".x.", 1) }),
		"other session": with(good, func(c *cred.Credential) {
			c.Username = secret.Mint(id(2), cred.Operator, inAnHour()).Username
		}),
		"longer life": with(good, func(c *cred.Credential) {
			c.Username = secret.Mint(id(1), cred.Operator, inAnHour().Add(time.Hour)).Username
		}),
	}
	for i := range []byte(good.Password) {
		tests[fmt.Sprintf("byte %d of the password", i)] = with(good, func(c *cred.Credential) {
			p := []byte(c.Password)
			p[i] ^= 1
			c.Password = cred.Password(p)
		})
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := path.OpenRelay(t.Context(), s.Addr().String(), c)
			if err == nil {
				r.Close()
			}
			if !errors.Is(err, path.ErrRefused) {
				t.Errorf("got %v, want %v", err, path.ErrRefused)
			}
			if err != nil && c.Password != "" && strings.Contains(err.Error(), string(c.Password)) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestQuotas(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret, MaxAllocations: maxLegs + 2})
	first := secret.Mint(id(1), cred.Operator, inAnHour())
	var r *path.Relayed
	for range maxLegs {
		r = open(t, s, first)
	}
	refused := func(why string, c cred.Credential) {
		t.Helper()
		if r, err := path.OpenRelay(t.Context(), s.Addr().String(), c); !errors.Is(err, path.ErrRefused) {
			t.Errorf("%s: %v, %v", why, r, err)
		}
	}
	refused("the same credential once more", first)
	refused("the same side once more", secret.Mint(id(1), cred.Operator, inAnHour().Add(-time.Minute)))
	open(t, s, secret.Mint(id(1), cred.Agent, inAnHour()))
	open(t, s, secret.Mint(id(2), cred.Agent, inAnHour()))
	refused("one more than all", secret.Mint(id(3), cred.Agent, inAnHour()))

	r.Close()
	waitFor(t, func() bool { return value(t, s.hub.metrics.allocations) == maxLegs+1 })
	open(t, s, first)
}

func TestNoTCPAndNoChosenPorts(t *testing.T) {
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret})
	c := secret.Mint(id(1), cred.Operator, inAnHour())
	client, _ := rawClient(t, s, c)
	if a, err := client.AllocateTCP(); err == nil {
		a.Close()
		t.Error("a TCP allocation was given")
	}
	for name, req := range map[string]turn.AllocateListenerConfig{
		"EVEN-PORT probe": {Network: "udp4"},
		"chosen port":     {Network: "udp4", UserID: c.Username, RequestedPort: 22},
		"IPv6":            {Network: "udp6", UserID: c.Username},
	} {
		if _, _, err := s.hub.AllocatePacketConn(req); err == nil {
			t.Errorf("%s: given", name)
		}
	}
	if _, err := s.hub.AllocateConn(turn.AllocateConnConfig{}); err == nil {
		t.Error("a TCP connection was given")
	}
}

// pion/turn admits everybody where a handler is nil, so none may ever be.
func TestNoHandlerIsNil(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0", Secret: cred.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	cfg := s.turnConfig(nil, tcp)
	if cfg.AuthHandler == nil || cfg.QuotaHandler == nil || cfg.LoggerFactory == nil {
		t.Error("a handler of the server is nil")
	}
	if len(cfg.PacketConnConfigs) == 0 || len(cfg.ListenerConfigs) == 0 {
		t.Error("no listener")
	}
	for _, l := range cfg.PacketConnConfigs {
		if l.PermissionHandler == nil || l.RelayAddressGenerator == nil {
			t.Error("a handler of a datagram listener is nil")
		}
	}
	for _, l := range cfg.ListenerConfigs {
		if l.PermissionHandler == nil || l.RelayAddressGenerator == nil {
			t.Error("a handler of a stream listener is nil")
		}
	}
	// Whoever adds a kind of listener to pion/turn adds a field: look again.
	if n := reflect.TypeFor[turn.ServerConfig]().NumField(); n != 12 {
		t.Errorf("turn.ServerConfig has %d fields, this test knows 12", n)
	}
}

func TestPermit(t *testing.T) {
	for _, ip := range []net.IP{nil, {}, {192, 0, 0}, net.IPv4zero, net.IPv6zero, net.IPv4(127, 0, 0, 1), net.IPv6loopback,
		net.ParseIP("fd00:ec2::254"), net.ParseIP("fe80::1"), net.ParseIP("::ffff:169.254.169.254"), net.ParseIP("64:ff9b::c000:8"),
		net.IPv4(192, 0, 0, 7), net.IPv4(192, 0, 0, 9), net.IPv4bcast, make(net.IP, 17)} {
		if permit(nil, ip) {
			t.Errorf("permits %v", ip)
		}
	}
	if !permit(nil, net.IPv4(192, 0, 0, 8)) || !permit(nil, net.IP{192, 0, 0, 8}) {
		t.Error("refuses the reserved address")
	}
}

func TestNewRefuses(t *testing.T) {
	secret := cred.NewSecret()
	for name, cfg := range map[string]Config{
		"no secret":          {Listen: "127.0.0.1:0"},
		"no address":         {Secret: secret},
		"every address":      {Secret: secret, Listen: ":3478"},
		"no port":            {Secret: secret, Listen: "127.0.0.1"},
		"negative quota":     {Secret: secret, Listen: "127.0.0.1:0", MaxAllocations: -1},
		"negative life time": {Secret: secret, Listen: "127.0.0.1:0", MaxLifetime: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "relay: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommand(t *testing.T) {
	secret := cred.NewSecret()
	file := filepath.Join(t.TempDir(), "relay.secret")
	write := func(mode os.FileMode, text string) {
		t.Helper()
		os.Remove(file)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(0o600, secret.SecretText())
	doc := fmt.Sprintf("listen: 127.0.0.1:0\nsecret_file: %q\nmax_allocations: 8\nmax_lifetime: 1h\nmax_rate: 1000000\n", file)
	if s, err := Command().New([]byte(doc), daemon.NewEnv(nil)); err != nil || s == nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no secret":                 "listen: 127.0.0.1:0\nmax_allocations: 8\nmax_lifetime: 1h\n",
		"no quota":                  strings.Replace(doc, "8", "0", 1),
		"no rate":                   strings.Replace(doc, "max_rate: 1000000", "max_rate: 0", 1),
		"TLS without a certificate": doc + "listen_tls: 127.0.0.1:0\n",
		"unknown key":               doc + "secret: x\n",
		"no file":                   strings.Replace(doc, "relay.secret", "other", 1),
	} {
		if _, err := Command().New([]byte(text), daemon.NewEnv(nil)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	write(0o644, secret.SecretText())
	if _, err := Command().New([]byte(doc), daemon.NewEnv(nil)); err == nil {
		t.Error("a secret that others may read was taken")
	}
}

// record keeps what several goroutines write.
type record struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// tap records every datagram of the relay's socket, in both directions.
type tap struct {
	net.PacketConn
	seen *record
}

func (p tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.PacketConn.ReadFrom(b)
	p.seen.Write(b[:n])
	return n, from, err
}

func (p tap) WriteTo(b []byte, to net.Addr) (int, error) {
	p.seen.Write(b)
	return p.PacketConn.WriteTo(b, to)
}

func TestTapAndLog(t *testing.T) {
	secret := cred.NewSecret()
	var log, seen record
	s := start(t, Config{
		Secret: secret,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ListenPacket: func(network, address string) (net.PacketConn, error) {
			c, err := net.ListenPacket(network, address)
			return tap{c, &seen}, err
		},
	})
	operator, agent := pairUp(t, s, secret, id(1))
	send(t, operator, agent, "canary-payload")
	want(t, agent, "canary-payload")
	client, sock := rawClient(t, s, secret.Mint(id(2), cred.Agent, inAnHour()))
	alloc, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	alloc.Close()
	waitFor(t, func() bool { return value(t, s.hub.metrics.allocations) == 2 })

	if !strings.Contains(seen.String(), "canary-payload") {
		t.Error("the tap does not see what passes")
	}
	s.hub.close()
	waitFor(t, func() bool { return strings.Count(log.String(), "allocation closed") == 3 })
	_, port, _ := net.SplitHostPort(sock.LocalAddr().String())
	for _, hidden := range []string{"canary", ":" + port} {
		if strings.Contains(log.String(), hidden) {
			t.Errorf("the log holds %q:\n%s", hidden, log.String())
		}
	}
	if !strings.Contains(log.String(), "allocation opened") {
		t.Errorf("the log lacks the openings:\n%s", log.String())
	}
}

// wire is a network in memory, so that time in a test is simulated.
type wire struct {
	mu    sync.Mutex
	ends  map[string]*end
	ports int
}

// cut makes every datagram from now on vanish.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ends)
}

type end struct {
	wire  *wire
	addr  *net.UDPAddr
	inbox chan packet
	done  chan struct{}
	once  sync.Once
}

type packet struct {
	data []byte
	from net.Addr
}

func (w *wire) listen() *end {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends == nil {
		w.ends = make(map[string]*end)
	}
	w.ports++
	e := &end{wire: w, addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: w.ports},
		inbox: make(chan packet, 100), done: make(chan struct{})}
	w.ends[e.addr.String()] = e
	return e
}

func (e *end) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-e.inbox:
		return copy(b, p.data), p.from, nil
	case <-e.done:
		return 0, nil, net.ErrClosed
	}
}

func (e *end) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-e.done:
		return 0, net.ErrClosed
	default:
	}
	e.wire.mu.Lock()
	peer := e.wire.ends[to.String()]
	e.wire.mu.Unlock()
	if peer != nil {
		select {
		case peer.inbox <- packet{bytes.Clone(b), e.addr}:
		default:
		}
	}
	return len(b), nil
}

func (e *end) Close() error                     { e.once.Do(func() { close(e.done) }); return nil }
func (e *end) LocalAddr() net.Addr              { return e.addr }
func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

// simulate runs f on a relay in memory, in simulated time.
func simulate(t *testing.T, f func(t *testing.T, w *wire, s *Server, open func(cred.Credential) *path.Relayed, secret cred.Secret)) {
	synctest.Test(t, func(t *testing.T) {
		var w wire
		secret := cred.NewSecret()
		s := start(t, Config{Secret: secret, UDPOnly: true, ListenPacket: func(string, string) (net.PacketConn, error) { return w.listen(), nil }})
		f(t, &w, s, func(c cred.Credential) *path.Relayed {
			t.Helper()
			r, err := path.OpenRelayOn(t.Context(), w.listen(), s.Addr(), c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			return r
		}, secret)
	})
}

// Allocations, permissions and channels live 10 minutes and nonces an hour:
// all must have been renewed several times.
func TestFiveSimulatedHours(t *testing.T) {
	simulate(t, func(t *testing.T, _ *wire, s *Server, open func(cred.Credential) *path.Relayed, secret cred.Secret) {
		exp := time.Now().Add(12 * time.Hour)
		operator, agent := open(secret.Mint(id(1), cred.Operator, exp)), open(secret.Mint(id(1), cred.Agent, exp))
		for _, e := range [][2]*path.Relayed{{operator, agent}, {agent, operator}} {
			if err := e[0].Permit(t.Context(), e[1].LocalRelayed()); err != nil {
				t.Fatal(err)
			}
		}
		for i, pause := range []time.Duration{0, 9 * time.Minute, 11 * time.Minute, time.Hour, 2 * time.Hour, 100 * time.Minute} {
			time.Sleep(pause)
			text := fmt.Sprint("after pause ", i)
			send(t, operator, agent, text)
			want(t, agent, text)
			send(t, agent, operator, text)
			want(t, operator, text)
		}
	})
}

func TestAllocationEndsWithItsCredential(t *testing.T) {
	simulate(t, func(t *testing.T, _ *wire, s *Server, open func(cred.Credential) *path.Relayed, secret cred.Secret) {
		r := open(secret.Mint(id(1), cred.Operator, time.Now().Add(30*time.Minute)))
		time.Sleep(29 * time.Minute)
		if got := value(t, s.hub.metrics.allocations); got != 1 {
			t.Errorf("%v allocations after 29 minutes", got)
		}
		time.Sleep(2 * time.Minute)
		if got := value(t, s.hub.metrics.allocations); got != 0 {
			t.Errorf("%v allocations after 31 minutes", got)
		}
		r.Close()
	})
}

func TestVanishedClientIsForgotten(t *testing.T) {
	simulate(t, func(t *testing.T, w *wire, s *Server, open func(cred.Credential) *path.Relayed, secret cred.Secret) {
		open(secret.Mint(id(1), cred.Agent, inAnHour().Add(time.Hour)))
		s.hub.mu.Lock()
		if len(s.hub.pairs) != 1 {
			t.Errorf("%d sessions are remembered, want 1", len(s.hub.pairs))
		}
		s.hub.mu.Unlock()
		w.cut()
		time.Sleep(11 * time.Minute)
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		if len(s.hub.pairs) != 0 || s.hub.legs != 0 {
			t.Errorf("%d sessions, %d allocations are remembered", len(s.hub.pairs), s.hub.legs)
		}
	})
}

// BenchmarkRelay measures what one relay forwards on loopback, 32 datagrams at
// a time, both clients in the same process: the figure is of the whole path,
// not of the relay alone.
func BenchmarkRelay(b *testing.B) {
	secret := cred.NewSecret()
	s := start(b, Config{Secret: secret})
	operator, agent := pairUp(b, s, secret, id(1))
	const window = 32
	payload := make([]byte, 1200)
	buf := make([]byte, 2000)
	b.SetBytes(window * int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		for range window {
			if _, err := operator.WriteTo(payload, agent.LocalRelayed()); err != nil {
				b.Fatal(err)
			}
		}
		agent.SetReadDeadline(time.Now().Add(time.Second))
		for range window {
			if _, _, err := agent.ReadFrom(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkHandover measures the relay's own part between its two socket calls.
func BenchmarkHandover(b *testing.B) {
	s := start(b, Config{Secret: cred.NewSecret()})
	from, err := s.hub.open(cred.Name{Expiry: inAnHour(), Session: id(1), Side: cred.Operator})
	if err != nil {
		b.Fatal(err)
	}
	to, err := s.hub.open(cred.Name{Expiry: inAnHour(), Session: id(1), Side: cred.Agent})
	if err != nil {
		b.Fatal(err)
	}
	payload, buf := make([]byte, 1200), make([]byte, 2000)
	peer := relayed(cred.Agent)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		from.WriteTo(payload, peer)
		to.ReadFrom(buf)
	}
}

// value reads a counter or a gauge.
func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// A side that sends more than it may loses the rest, and the other side is not held
// up.
func TestRate(t *testing.T) {
	s := start(t, Config{Secret: cred.NewSecret(), MaxRate: 1000})
	legs := map[cred.Side]*leg{}
	for _, side := range []cred.Side{cred.Operator, cred.Agent} {
		l, err := s.hub.open(cred.Name{Expiry: inAnHour(), Session: id(1), Side: side})
		if err != nil {
			t.Fatal(err)
		}
		legs[side] = l
	}
	const some = 64 << 10 // at once
	for range 2 * some / 1000 {
		if _, err := legs[cred.Operator].WriteTo(make([]byte, 1000), relayed(cred.Agent)); err != nil {
			t.Fatal(err)
		}
	}
	if got := value(t, s.hub.metrics.bytes.WithLabelValues("operator")); got < some-1000 || got > some+10_000 {
		t.Errorf("%v bytes passed, want about %d", got, some)
	}
	if got := value(t, s.hub.metrics.dropped.WithLabelValues("rate")); got == 0 {
		t.Error("nothing was dropped")
	}
	legs[cred.Agent].WriteTo([]byte("x"), relayed(cred.Operator))
	if got := value(t, s.hub.metrics.bytes.WithLabelValues("agent")); got != 1 {
		t.Errorf("%v bytes of the other side", got)
	}
}

// While a side goes over from one allocation to another, both get what is for it;
// when it has, the one that is silent gets nothing. Nobody takes the traffic away by
// sending more.
func TestOneSideWithSeveralLegs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(Config{MaxAllocations: 10, MaxRate: 1 << 30, Usage: func(Usage) {}}, mustMetrics(t))
		open := func(side cred.Side) *leg {
			l, err := h.open(cred.Name{Expiry: inAnHour(), Session: id(1), Side: side})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return l
		}
		agent, old := open(cred.Agent), open(cred.Operator)
		waiting := func(l *leg) (n int) {
			for ; len(l.inbox) > 0; n++ {
				<-l.inbox
			}
			return n
		}
		to := func() { agent.WriteTo([]byte("x"), relayed(cred.Operator)) }
		time.Sleep(time.Minute)
		to()
		if waiting(old) != 1 {
			t.Error("a lone leg that was silent gets nothing")
		}
		next := open(cred.Operator)
		old.WriteTo(nil, relayed(cred.Agent))
		to()
		if waiting(old) != 1 || waiting(next) != 1 {
			t.Error("both legs of a side that goes over do not get what is for it")
		}
		time.Sleep(behind + time.Second)
		next.WriteTo([]byte("more"), relayed(cred.Agent))
		to()
		if waiting(old) != 0 || waiting(next) != 1 {
			t.Error("the leg that was left still gets what is for its side")
		}
		next.Close()
		to()
		if waiting(old) != 1 {
			t.Error("the leg that is left alone gets nothing")
		}
	})
}

func mustMetrics(t *testing.T) *metrics {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Usage is told once a session is over, with what each side has sent, whatever way
// it took.
func TestUsage(t *testing.T) {
	used := make(chan Usage, 2)
	secret := cred.NewSecret()
	s := start(t, Config{Secret: secret, Usage: func(u Usage) { used <- u }})
	operator, agent := pairUp(t, s, secret, id(9))
	send(t, operator, agent, "four")
	want(t, agent, "four")
	send(t, agent, operator, "seventh")
	want(t, operator, "seventh")
	operator.Close()
	agent.Close()
	if u := <-used; u.Session != id(9) || u.Operator != 4 || u.Agent != 7 || u.Ended.Before(u.Began) {
		t.Errorf("%+v", u)
	}
}

// A relay that listens on all addresses of both families serves clients of both.
func TestBothFamilies(t *testing.T) {
	secret := cred.NewSecret()
	s, err := New(Config{Secret: secret, Listen: "[::]:0"})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else {
		l.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-ready
	_, port, _ := net.SplitHostPort(s.Addr().String())
	var ends []*path.Relayed
	for side, host := range map[cred.Side]string{cred.Operator: "127.0.0.1", cred.Agent: "::1"} {
		r, err := path.OpenRelay(t.Context(), net.JoinHostPort(host, port), secret.Mint(id(1), side, inAnHour()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if r.Transport() != "udp" {
			t.Errorf("%s: over %s", host, r.Transport())
		}
		ends = append(ends, r)
	}
	for _, e := range [][2]*path.Relayed{{ends[0], ends[1]}, {ends[1], ends[0]}} {
		if err := e[0].Permit(t.Context(), e[1].LocalRelayed()); err != nil {
			t.Fatal(err)
		}
	}
	send(t, ends[0], ends[1], "to the other family")
	want(t, ends[1], "to the other family")
	send(t, ends[1], ends[0], "and back")
	want(t, ends[0], "and back")
}
