// Package relay forwards ciphertext between the two sides of a session: a TURN
// server (RFC 8656) on which an allocation reaches the other allocation of its
// own session and nothing else.
//
// Relayed addresses are not sockets. Every session sees the same two reserved
// addresses, one for each side, and a datagram for the other side's address is
// handed over in memory. So no allocation can name another session's, a peer
// outside the relay or a host behind it, and a relay needs one open port: for UDP,
// for TCP, and perhaps another for TLS. internal/decisions/0010 and 0012 say why.
//
// Invariants:
//   - who holds no credential minted for (session, side) gets no allocation;
//   - at most maxLegs live allocations for each (session, side), and none outlives
//     its credential;
//   - the permission handler is never nil and admits only the reserved address;
//   - nothing blocks on a slow receiver: queues are bounded and drop;
//   - a connection without an allocation ends soon, and connections are bounded;
//   - payloads and addresses are never logged or stored.
//
// The package must not import internal/session, internal/recording or anything
// else that could open what it forwards.
package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/path/offload"
)

// realm is the TURN realm. It only separates password spaces (RFC 8489, 9.2).
const realm = "tucdesk"

// inboundMTU bounds one datagram, in bytes. Longer ones are dropped.
const inboundMTU = 1600

// socketBuffer is asked from the system for the listening socket, in bytes:
// room for about 2,000 full datagrams while the reader is not running.
const socketBuffer = 4 << 20

// Config is what a relay needs. The zero values of Max fields take the defaults.
type Config struct {
	// Listen is the address for UDP and TCP, "127.0.0.1:3478". An empty host is
	// refused: listening on all addresses is asked for as 0.0.0.0 or [::].
	Listen string
	// ListenTLS is the TCP address for TLS; it needs TLS. Empty: none.
	ListenTLS string
	TLS       *tls.Config
	// UDPOnly leaves TCP out.
	UDPOnly bool
	// Secret is shared with apid. The zero value is refused.
	Secret cred.Secret
	// Others are taken as well, while the secret is rotated.
	Others cred.Ring
	// MaxAllocations bounds the allocations of all sessions. Default 4096,
	// which is 2,048 sessions.
	MaxAllocations int
	// MaxLifetime refuses credentials that are good for longer from now.
	// Default 13 hours: a session's 12 and an hour of slack.
	MaxLifetime time.Duration
	// MaxRate bounds what one allocation may send, in bytes each second; more is
	// dropped. Default 125 MB, which is a gigabit.
	MaxRate int64
	// Usage is told what a session has used when its last allocation has ended.
	// It must not block. Nil: nobody.
	Usage func(Usage)
	// Tell, if set, runs beside the relay, until it has ended: it passes on what
	// Usage was told.
	Tell func(context.Context)
	// Logger gets openings and refusals, without addresses. Nil discards.
	Logger *slog.Logger
	// Registry takes the metrics. Nil means a private one.
	Registry prometheus.Registerer
	// ListenPacket and ListenStream open the sockets; nil is [net.ListenPacket] and
	// [net.Listen]. Tests wrap them to see all that passes, or to have no network.
	ListenPacket func(network, address string) (net.PacketConn, error)
	ListenStream func(network, address string) (net.Listener, error)
}

// Server is one relay. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	secrets cred.Ring
	hub     *hub
	streams *streams

	mu   sync.Mutex
	addr net.Addr
	tls  net.Addr
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Secret.IsZero() {
		return nil, errors.New("relay: no secret: without the one of apid nobody could be admitted")
	}
	if err := checkListen("listen", cfg.Listen); err != nil {
		return nil, err
	}
	switch {
	case cfg.ListenTLS != "" && cfg.TLS == nil:
		return nil, fmt.Errorf("relay: %w", refuse("listen_tls", errors.New("TLS needs a certificate: set tls_cert and tls_key, or acme_domains")))
	case cfg.ListenTLS == "" && cfg.TLS != nil:
		return nil, fmt.Errorf("relay: %w", refuse("listen_tls", errors.New("there is a certificate and no address to use it at: set this, to port 443 if that is free")))
	case cfg.ListenTLS != "":
		if err := checkListen("listen_tls", cfg.ListenTLS); err != nil {
			return nil, err
		}
	}
	if cfg.MaxAllocations == 0 {
		cfg.MaxAllocations = 4096
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = 13 * time.Hour
	}
	if cfg.MaxRate == 0 {
		cfg.MaxRate = 125_000_000
	}
	if cfg.Usage == nil {
		cfg.Usage = func(Usage) {}
	}
	if cfg.MaxAllocations < 0 || cfg.MaxLifetime < 0 || cfg.MaxRate < 0 {
		return nil, errors.New("relay: limits must be more than zero")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	if cfg.ListenPacket == nil {
		cfg.ListenPacket = net.ListenPacket
	}
	if cfg.ListenStream == nil {
		cfg.ListenStream = net.Listen
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, secrets: append(cred.Ring{cfg.Secret}, cfg.Others...), hub: newHub(cfg, m), streams: newStreams(cfg.MaxAllocations, m)}, nil
}

func checkListen(key, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		err = fmt.Errorf("%q names no host; write 0.0.0.0 to mean every address", addr)
	}
	if err != nil {
		return fmt.Errorf("relay: %w", refuse(key, err))
	}
	return nil
}

// Addr is the address that is listened on over UDP, and over TCP, with the port that
// the system chose where the configuration said 0. Nil before ready.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// TLSAddr is the address that is listened on over TLS; nil before ready, and if there
// is none.
func (s *Server) TLSAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tls
}

// Run relays until ctx is done. See daemon.Service.
func (s *Server) Run(ctx context.Context, ready func()) error {
	conn, tcp, err := s.listen()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	listeners := []net.Listener{tcp}
	if tcp == nil {
		listeners = nil
	}
	if s.cfg.ListenTLS != "" {
		over, err := s.cfg.ListenStream("tcp", s.cfg.ListenTLS)
		if err != nil {
			conn.Close()
			closeAll(listeners)
			return fmt.Errorf("relay: %w", err)
		}
		listeners = append(listeners, tlsListener{over, s.cfg.TLS})
	}
	if b, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		b.SetReadBuffer(socketBuffer) // best effort: the system may give less
	}
	if udp, ok := conn.(*net.UDPConn); ok {
		if many := offload.New(udp); many != nil {
			conn = manyAtATime{many}
		}
	}
	srv, err := turn.NewServer(s.turnConfig(conn, listeners...))
	if err != nil {
		conn.Close()
		closeAll(listeners)
		return fmt.Errorf("relay: %w", err)
	}
	up := []any{"listen", conn.LocalAddr().String(), "tcp", tcp != nil}
	s.mu.Lock()
	s.addr = conn.LocalAddr()
	if s.cfg.ListenTLS != "" {
		s.tls = listeners[len(listeners)-1].Addr()
		up = append(up, "listen_tls", s.tls.String())
	}
	s.mu.Unlock()
	tell, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var telling sync.WaitGroup
	if s.cfg.Tell != nil {
		telling.Go(func() { s.cfg.Tell(tell) })
	}
	s.cfg.Logger.Info("relay is up", up...)
	ready()
	<-ctx.Done()
	err = srv.Close()
	s.streams.close()
	s.hub.close()
	stop()
	telling.Wait()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// listen opens the sockets for UDP and TCP, on one port.
func (s *Server) listen() (net.PacketConn, net.Listener, error) {
	for try := 1; ; try++ {
		conn, err := s.cfg.ListenPacket("udp", s.cfg.Listen)
		if err != nil || s.cfg.UDPOnly {
			return conn, nil, err
		}
		tcp, err := s.cfg.ListenStream("tcp", conn.LocalAddr().String())
		if err == nil {
			return conn, tcp, nil
		}
		conn.Close()
		// A port that the system chose may be in use over TCP.
		if _, port, _ := net.SplitHostPort(s.cfg.Listen); port != "0" || try == 20 {
			return nil, nil, err
		}
	}
}

// manyAtATime is an offloaded socket as pion/turn wants it.
type manyAtATime struct{ *offload.Conn }

func (m manyAtATime) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := m.ReadFromAddrPort(p)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
}

func (m manyAtATime) WriteTo(p []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errForeign
	}
	return m.WriteToAddrPort(p, udp.AddrPort())
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// turnConfig sets every handler that pion/turn would replace by a permissive
// default when it is nil.
func (s *Server) turnConfig(conn net.PacketConn, listeners ...net.Listener) turn.ServerConfig {
	var over []turn.ListenerConfig
	for _, l := range listeners {
		over = append(over, turn.ListenerConfig{
			Listener:              accepting{l, s.streams},
			RelayAddressGenerator: s.hub,
			PermissionHandler:     permit,
		})
	}
	return turn.ServerConfig{
		ListenerConfigs: over,
		Realm:           realm,
		AuthHandler:     s.authenticate,
		QuotaHandler: func(username, _ string, _ net.Addr) bool {
			n, err := cred.ParseName(username)
			return err == nil && s.hub.hasRoom(n)
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: s.hub,
			PermissionHandler:     permit,
		}},
		EventHandler: turn.EventHandler{
			OnAuth:           s.onAuth,
			OnChannelCreated: s.onChannel,
			OnAllocationCreated: func(from, _ net.Addr, _, username, _ string, _ net.Addr, _ int) {
				s.streams.admit(from)
				s.logName("allocation opened", username)
			},
			OnAllocationDeleted: func(from, _ net.Addr, _, username, _ string) {
				s.streams.end(from)
				s.logName("allocation closed", username)
			},
		},
		// IPv4 whatever the listener speaks: relayed addresses are reserved
		// ones, and one family of them is enough.
		StrictAddressFamily: true,
		InboundMTU:          inboundMTU,
		// pion/turn logs client addresses at every level.
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	}
}

// authenticate answers with the key that the request must be signed with.
// pion/turn calls it for every request and then compares.
func (s *Server) authenticate(req *turn.RequestAttributes) (userID string, key []byte, ok bool) {
	now := time.Now()
	name, password, err := s.secrets.Check(req.Username, now)
	if err == nil && name.Expiry.Sub(now) > s.cfg.MaxLifetime {
		err = errors.New("relay: credential lives too long")
	}
	if req.Realm != realm {
		err = errors.New("relay: foreign realm")
	}
	if err != nil {
		s.hub.metrics.refused.WithLabelValues(refusal(err)).Inc()
		return "", nil, false
	}
	return req.Username, turn.GenerateAuthKey(req.Username, realm, string(password)), true
}

func refusal(err error) string {
	switch {
	case errors.Is(err, cred.ErrExpired):
		return "expired"
	case errors.Is(err, cred.ErrMalformed):
		return "malformed"
	case errors.Is(err, cred.ErrSecret):
		return "secret"
	}
	return "other"
}

func (s *Server) onAuth(_, _ net.Addr, _, _, _, _ string, verdict bool) {
	if !verdict {
		s.hub.metrics.refused.WithLabelValues("forged").Inc()
	}
}

// onChannel ends an allocation that binds a channel to anything but the other
// side of its session: honest clients have no reason to, and each would cost
// memory. Nothing could be sent through it anyway.
func (s *Server) onChannel(_, _ net.Addr, _, username, _ string, _, peer net.Addr, _ uint16) {
	n, err := cred.ParseName(username)
	if err != nil || peer.String() != relayed(other(n.Side)).String() {
		s.hub.metrics.refused.WithLabelValues("foreign peer").Inc()
		s.hub.drop(n)
	}
}

func (s *Server) logName(event, username string) {
	if n, err := cred.ParseName(username); err == nil {
		s.cfg.Logger.Debug(event, "session", fmt.Sprintf("%x", n.Session), "side", n.Side.String())
	}
}

// permit is the permission handler (RFC 8656, section 9): the only peer IP is
// the reserved one. Which port, and so which side, a leg checks itself.
func permit(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	return ok && ip.Unmap() == reserved
}
