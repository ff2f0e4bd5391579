package channel

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/tucdesk/tucdesk/internal/session"
)

// Options of a Mux. The zero value has sensible ones.
type Options struct {
	MaxChannels int           // open at a time, from the operator; 0: 64
	KeepAlive   time.Duration // 0: 15 s; must be well below Idle
	Idle        time.Duration // the peer's silence after which the Mux is lost; 0: 45 s
	// Grace is for how long the Mux outlives its path, see Resume. It replaces Idle,
	// the operator's side then keeps alive by itself, and the shorter of both sides'
	// counts. 0: the Mux ends with its path.
	Grace time.Duration
}

const (
	// establishTimeout bounds Dial and Accept when the context does not.
	establishTimeout = 10 * time.Second
	// openTimeout bounds how long a channel may exist without its Open frame.
	openTimeout = 10 * time.Second
	// packetSize is what QUIC may put into one record: its minimum (RFC 9000,
	// section 14). Sealed it is 1237 bytes, which passes TURN on any path of
	// 1280 bytes and IPv4, and on every path of 1300.
	packetSize = 1200

	codeClosed quic.ApplicationErrorCode = 0 // on purpose: the session is over
	codeLeft   quic.ApplicationErrorCode = 1 // on purpose: this connection of it is over

	alpn = "tucdesk-channel-v1"
)

// A Mux carries the channels of one session over one path. It is safe for
// concurrent use.
type Mux struct {
	conn      *quic.Conn
	transport *quic.Transport
	path      *path
	chain     *session.Chain
	operator  bool

	link link

	incoming chan *Channel
	workers  sync.WaitGroup
	done     chan struct{}
	err      error // set before done is closed
}

// Dial makes the operator's Mux: it waits for the agent's ACCEPT on conn, then
// opens. It sends nothing before. The Mux owns conn and the session from the
// call on: both are closed when it ends, and when Dial fails.
func Dial(ctx context.Context, conn net.PacketConn, peer net.Addr, est *session.Established, o Options) (*Mux, error) {
	return establish(ctx, conn, peer, est, o, true)
}

// Accept makes the agent's Mux: it sends ACCEPT until the operator is heard. It
// owns conn and the session as Dial does.
func Accept(ctx context.Context, conn net.PacketConn, peer net.Addr, est *session.Established, o Options) (*Mux, error) {
	return establish(ctx, conn, peer, est, o, false)
}

func establish(ctx context.Context, conn net.PacketConn, peer net.Addr, est *session.Established, o Options, operator bool) (_ *Mux, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, establishTimeout, ErrLost)
	defer cancel()
	m := &Mux{
		chain: session.NewChain(est), operator: operator, link: link{turn: make(chan struct{}, 1), hurry: make(chan struct{}, 1)},
		incoming: make(chan *Channel), done: make(chan struct{}),
	}
	m.path = newPath(conn, peer, m.chain)
	m.transport = &quic.Transport{Conn: m.path, DisableVersionNegotiationPackets: true}
	defer func() {
		if err != nil {
			m.release()
			err = fmt.Errorf("channel: establish: %w", muxError(err))
		}
	}()
	if est.Records().Responder() == operator {
		return nil, errors.New("the session has the other role")
	}
	config, err := tlsConfig(est, operator)
	if err != nil {
		return nil, err
	}
	if operator {
		if err := m.path.awaitAccept(ctx); err != nil {
			return nil, err
		}
		m.conn, err = m.transport.Dial(ctx, peerAddr(0), config, o.quic(operator))
	} else {
		m.conn, err = m.listen(ctx, config, o.quic(operator))
	}
	if err != nil {
		return nil, err
	}
	m.path.keep.Store(o.Grace > 0)
	if !operator {
		m.workers.Go(m.acceptStreams)
	} else if o.Grace > 0 {
		m.workers.Go(m.tend)
	}
	go m.watch()
	return m, nil
}

// listen takes the one connection that the operator makes.
func (m *Mux) listen(ctx context.Context, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
	ln, err := m.transport.Listen(config, qc)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		if err := m.path.sendAccept(ctx, m.path.first); err != nil {
			cancel(err)
		}
	})
	conn, err := ln.Accept(ctx)
	cancel(nil)
	return conn, err
}

func (o Options) quic(operator bool) *quic.Config {
	c := &quic.Config{
		HandshakeIdleTimeout:    establishTimeout,
		MaxIdleTimeout:          cmp.Or(o.Idle, 45*time.Second),
		KeepAlivePeriod:         cmp.Or(o.KeepAlive, 15*time.Second),
		InitialPacketSize:       packetSize,
		DisablePathMTUDiscovery: true, // the path may be a relay: no DF bit, no probes
		MaxIncomingStreams:      int64(cmp.Or(o.MaxChannels, 64)),
		MaxIncomingUniStreams:   -1,
		// A session may hold this much that nobody has read yet.
		InitialStreamReceiveWindow:     256 << 10,
		MaxStreamReceiveWindow:         4 << 20,
		InitialConnectionReceiveWindow: 512 << 10,
		MaxConnectionReceiveWindow:     8 << 20,
	}
	if operator {
		c.MaxIncomingStreams = -1 // the agent opens nothing
	}
	if o.Grace > 0 {
		c.MaxIdleTimeout, c.KeepAlivePeriod = o.Grace, 0
		if operator {
			c.KeepAlivePeriod = keepAlive
		}
	}
	return c
}

// tlsConfig pins QUIC's TLS to the session: the agent's certificate has a key
// that only the two ends of this session can know. It adds no security to the
// sealed records below; it makes sure that the two layers are never mixed up.
func tlsConfig(est *session.Established, operator bool) (*tls.Config, error) {
	seed, err := est.Exporter("quic tls", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	clear(seed)
	public := private.Public().(ed25519.PublicKey)
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		ServerName:             alpn,
		CurvePreferences:       []tls.CurveID{tls.X25519}, // the hybrid is below, in the session
		SessionTicketsDisabled: true,
	}
	if operator {
		c.InsecureSkipVerify = true // no names and no dates here: the pin is exact
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 1 {
				if k, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey); ok && public.Equal(k) {
					return nil
				}
			}
			return errors.New("channel: the inner TLS is not of this session")
		}
		return c, nil
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, fmt.Errorf("channel: inner certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
	return c, nil
}

// Open opens a channel and asks what it is for. The answer comes with
// Channel.AwaitAnswer. Only the operator opens. It waits while MaxChannels of
// the agent are open.
func (m *Mux) Open(ctx context.Context, msg OpenMessage) (*Channel, error) {
	if !m.operator {
		return nil, fmt.Errorf("%w: only the operator opens channels", ErrNotAllowed)
	}
	if err := msg.check(); err != nil {
		return nil, err
	}
	b, err := encode(msg)
	if err != nil {
		return nil, err
	}
	s, err := m.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, muxError(err)
	}
	c := newChannel(s, true)
	c.setRequest(msg)
	if err := c.write(FrameOpen, b); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Accept gives the next channel that the operator has asked for. The caller
// must Answer and Close it. The error is that of ctx, or Err when the Mux is
// over.
func (m *Mux) Accept(ctx context.Context) (*Channel, error) {
	select {
	case c := <-m.incoming:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.done:
		return nil, m.err
	}
}

// Done is closed when the Mux is over and everything of it is released.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err is nil until Done; then ErrClosed or ErrLeft if a side ended it on purpose, ErrLost
// or another error if not.
func (m *Mux) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// RTT is how long it lately took to the peer and back, smoothed (RFC 9002, section
// 5.3).
func (m *Mux) RTT() time.Duration { return m.conn.ConnectionStats().SmoothedRTT }

// Close ends all channels, tells the peer, closes the path and erases the
// session's keys. What was written but has not arrived is dropped: first read
// to the end. It waits until the peer has heard it, but for half a second at most.
// It may be called more than once.
func (m *Mux) Close() {
	m.conn.CloseWithError(codeClosed, "")
	<-m.done
}

// Leave is Close for a connection of a session that goes on without it: the operator
// detaches, or the agent has let another connection take its place. The peer's Err is
// ErrLeft. If that does not arrive the peer takes the connection as lost.
func (m *Mux) Leave() {
	m.conn.CloseWithError(codeLeft, "")
	<-m.done
}

// watch releases everything when the connection ends, for whatever reason.
func (m *Mux) watch() {
	<-m.conn.Context().Done()
	cause := context.Cause(m.conn.Context())
	m.err = muxError(cause)
	var app *quic.ApplicationError
	if errors.As(cause, &app) {
		if app.Remote {
			m.path.parting()
		} else {
			m.path.part()
		}
	}
	m.release()
	m.workers.Wait()
	close(m.done)
}

func (m *Mux) release() {
	m.path.Close() // first: its readers end, whatever it does with deadlines
	m.transport.Close()
	m.chain.Close()
}

// acceptStreams hands each new channel to Accept once its Open frame is there.
// One that is slow holds up no other.
func (m *Mux) acceptStreams() {
	for {
		s, err := m.conn.AcceptStream(m.conn.Context())
		if err != nil {
			return
		}
		m.workers.Go(func() { m.welcome(newChannel(s, false)) })
	}
}

func (m *Mux) welcome(c *Channel) {
	c.stream.SetReadDeadline(time.Now().Add(openTimeout))
	f, err := c.ReadFrame()
	var msg OpenMessage
	if err != nil || decode(f.Payload, &msg) != nil {
		c.Close()
		return
	}
	c.stream.SetReadDeadline(time.Time{})
	c.setRequest(msg)
	select {
	case m.incoming <- c:
	case <-m.conn.Context().Done():
	}
}

// muxError turns an error of QUIC into ours, without text of the peer.
func muxError(err error) error {
	var app *quic.ApplicationError
	var idle *quic.IdleTimeoutError
	var shake *quic.HandshakeTimeoutError
	var transport *quic.TransportError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app) && app.ErrorCode == codeClosed:
		return ErrClosed
	case errors.As(err, &app) && app.ErrorCode == codeLeft:
		return ErrLeft
	case errors.As(err, &app):
		return fmt.Errorf("%w: error %d", ErrLost, app.ErrorCode)
	case errors.As(err, &idle), errors.As(err, &shake):
		return fmt.Errorf("%w: no answer from the peer", ErrLost)
	case errors.As(err, &transport):
		return fmt.Errorf("%w: transport error %#x", ErrLost, uint64(transport.ErrorCode))
	case errors.Is(err, session.ErrOrder), errors.Is(err, session.ErrExhausted):
		return fmt.Errorf("%w: %w", ErrLost, err)
	case errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w: the path was closed", ErrLost)
	}
	return err
}
