package rendezvous

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/replay"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// ErrNoTeam means that there is no team of that name. Any other error of Rosters
// means that it can't be known now.
var ErrNoTeam = errors.New("rendezvous: no such team")

// Rosters gives teams' rosters. Implementations are safe for concurrent use.
type Rosters interface {
	// Roster gives a roster that is recent enough to judge by. It is called
	// for every request and every heartbeat.
	Roster(ctx context.Context, teamID string) (*roster.Roster, error)
	// Refresh is Roster for somebody who is not on the roster that Roster
	// gave: it may ask for a newer one first.
	Refresh(ctx context.Context, teamID string) (*roster.Roster, error)
	// Learn takes statements that somebody has handed in, by their signatures.
	Learn(ctx context.Context, teamID string, statements [][]byte) (*roster.Roster, error)
	// Watch tells who is to be called, without delay, with every roster that is
	// newer than the one before. It is called once, before any other method.
	Watch(news func(*roster.Roster))
}

// Config is what a Server needs. Zero limits take the defaults.
type Config struct {
	// Listen is the TCP address. Without TLS it must be on loopback.
	Listen string
	// TLS, when set, is what is listened with.
	TLS *tls.Config
	// URL is how agents and clients know this server: scheme and host. It is
	// the audience of registrations and the base of every signed URL.
	URL string
	// APIURL is the issuer and the audience of access tokens.
	APIURL string
	// Rosters is mandatory.
	Rosters Rosters
	// RelaySecret is shared with the relay, for sessions by break-glass. Zero:
	// they get no relay.
	RelaySecret cred.Secret
	// Offline is how long an agent may be silent. Default 45 s; heartbeats are
	// asked for every third of it.
	Offline time.Duration
	// MaxAgents bounds registered agents. Default 100,000.
	MaxAgents int
	// MaxOffers bounds offers that wait, of all teams together. Default 8,192.
	MaxOffers int
	// Now is the clock that signatures are judged by. Nil: time.Now.
	Now func() time.Time
	// Logger gets no payload, no name and no address. Nil discards.
	Logger *slog.Logger
	// Registry takes the metrics. Nil means a private one.
	Registry prometheus.Registerer
	// Tap, for tests, sees all bytes that pass: bodies, answers and messages.
	Tap func([]byte)
}

const (
	maxOffersOfAgent  = 16        // waiting for one agent
	maxOffersOfPair   = 8         // of one device for one agent: no member shuts the others out
	maxOffersOfDevice = 128       // of one operator's device: a fan-out
	offersPerSecond   = 10        // for one agent, beyond a burst
	maxHellos         = 1024      // connections that have not registered yet
	maxHellosOfAddr   = 128       // of one address
	maxRequests       = 4096      // connections beside those of agents
	maxStreams        = 64        // requests of one HTTP/2 connection at a time
	maxBody           = 256 << 10 // bytes of a request
	maxNonces         = 1 << 17   // remembered proofs, and as many registrations
	// newcomersPerSecond bounds what strangers put into the mailbox or read there.
	newcomersPerSecond = 100
	helloTime          = 10 * time.Second
	offerTime          = 10 * time.Second // that an agent has to answer, and an operator to finish
	writeTime          = 10 * time.Second
)

// A Server is one rendezvous. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	now     func() time.Time
	logger  *slog.Logger
	metrics *metrics

	nonces        *token.ServerNonces
	proofs        *replay.Nonces // DPoP proofs and signed requests
	registrations *replay.Nonces
	hellos        *hellos

	agents    *directory
	offers    *board
	mailbox   *mailbox.Box
	strangers *rate.Limiter // of newcomers

	stop    chan struct{} // closed when Run ends
	running sync.WaitGroup

	mu   sync.Mutex
	addr net.Addr
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Server, error) {
	for key, base := range map[string]*string{"url": &cfg.URL, "api_url": &cfg.APIURL} {
		u, err := wire.ParseBase(*base)
		if err != nil {
			return nil, fmt.Errorf("rendezvous: %w", refuse(key, err))
		}
		*base = u.String()
	}
	if cfg.Rosters == nil {
		return nil, errors.New("rendezvous: no rosters: nobody could be admitted")
	}
	if cfg.TLS == nil && !loopback(cfg.Listen) {
		return nil, fmt.Errorf("rendezvous: %w", refuse("listen", fmt.Errorf("%s without TLS: plain http is for loopback only; give a certificate", cfg.Listen)))
	}
	if cfg.Offline == 0 {
		cfg.Offline = 45 * time.Second
	}
	if cfg.MaxAgents == 0 {
		cfg.MaxAgents = 100_000
	}
	if cfg.MaxOffers == 0 {
		cfg.MaxOffers = 8192
	}
	if cfg.Offline < 3*time.Second || cfg.Offline > time.Hour || cfg.MaxAgents < 0 || cfg.MaxOffers < 0 {
		return nil, errors.New("rendezvous: offline is 3 s to 1 h, and limits are more than zero")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	if cfg.Tap == nil {
		cfg.Tap = func([]byte) {}
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, now: cfg.Now, logger: cfg.Logger, metrics: m,
		nonces:        token.NewServerNonces(),
		proofs:        replay.NewNonces(maxNonces, token.DPoPWindow+time.Second, token.DPoPWindow+time.Second),
		registrations: replay.NewNonces(maxNonces, token.PresenceWindow+time.Second, token.PresenceWindow+time.Second),
		hellos:        &hellos{ofAddr: make(map[string]int)},
		agents:        newDirectory(cfg.MaxAgents, m),
		offers:        newBoard(cfg.MaxOffers, m),
		mailbox:       mailbox.New(cfg.Now),
		strangers:     rate.NewLimiter(newcomersPerSecond, 4*newcomersPerSecond),
		stop:          make(chan struct{}),
	}
	cfg.Rosters.Watch(s.spread)
	return s, nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ipErr == nil && ip.IsLoopback())
}

// Addr is the address that is listened on, with the port that the system chose
// where the configuration said 0. Nil before ready.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Run serves until ctx is done. See daemon.Service.
func (s *Server) Run(ctx context.Context, ready func()) error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("rendezvous: %w", err)
	}
	return s.Serve(ctx, l, ready)
}

// Serve is Run on a listener, which it closes. It is called at most once.
func (s *Server) Serve(ctx context.Context, l net.Listener, ready func()) error {
	s.mu.Lock()
	s.addr = l.Addr()
	s.mu.Unlock()
	l = netutil.LimitListener(l, s.cfg.MaxAgents+maxHellos+maxRequests)
	srv := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.cfg.TLS,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      40 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		Protocols:         new(http.Protocols),
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	srv.Protocols.SetHTTP1(true) // WebSockets need it: agents offer nothing else
	srv.Protocols.SetHTTP2(true)
	failed := make(chan error, 1)
	go func() {
		if s.cfg.TLS != nil {
			failed <- srv.ServeTLS(l, "", "")
		} else {
			failed <- srv.Serve(l)
		}
	}()
	ready()
	select {
	case err := <-failed:
		s.end(srv)
		return fmt.Errorf("rendezvous: %w", err)
	case <-ctx.Done():
	}
	s.end(srv)
	<-failed
	return nil
}

// end says bye to the agents and waits for what is under way, up to a limit.
func (s *Server) end(srv *http.Server) {
	close(s.stop)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
	s.running.Wait()
}

// Handler serves the routes, for Serve and for tests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.SignalPath, s.serveAgent)
	mux.Handle("POST /v1/offers", s.route(s.postOffer))
	mux.Handle("POST /v1/offers/{session_id}/finish", s.route(s.postFinish))
	mux.Handle("POST /v1/break-glass/relay", s.route(s.postRelay))
	mux.Handle("POST /v1/newcomers", s.route(s.postNewcomer))
	mux.Handle("GET /v1/newcomers", s.route(s.getNewcomers))
	mux.Handle("GET /v1/newcomers/{id}", s.route(s.getAnswers))
	mux.Handle("POST /v1/newcomers/{id}/answer", s.route(s.postAnswer))
	mux.Handle("POST /v1/roster/statements", s.route(s.postStatements))
	mux.Handle("POST /v1/receipts", s.route(s.postReceipts))
	mux.Handle("POST /v1/registry", s.route(s.postRegistry))
	mux.Handle("GET /v1/registry/{kid}", s.route(s.getRegistry))
	mux.Handle("/", s.route(func(*http.Request, []byte) (any, error) { return nil, notFound() }))
	return mux
}

// notFound is one and the same for what is foreign and what does not exist.
func notFound() error {
	return wire.NewProblem(wire.KindNotFound, "there is nothing here for this team", "check the name, and that the agent is on your team's roster")
}

// route reads a bounded body and writes the answer, or the problem.
func (s *Server) route(h func(*http.Request, []byte) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set(wire.HeaderDPoPNonce, s.nonces.Nonce(s.now()))
		out, err := s.answer(w, r, h)
		var p *wire.ProblemError
		switch {
		case errors.As(err, &p):
			s.write(w, p.Status, wire.ContentTypeProblem, p)
		case err != nil:
			s.logger.Error("request failed", "route", r.Pattern, "err", err)
			p := wire.NewProblem(wire.KindInternal, "", "try again")
			s.write(w, p.Status, wire.ContentTypeProblem, p)
		case out == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			s.write(w, http.StatusOK, "application/json", out)
		}
	})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, h func(*http.Request, []byte) (any, error)) (any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, wire.NewProblem(wire.KindTooLarge, fmt.Sprintf("the request has more than %d bytes", maxBody), "send less")
	case err != nil:
		return nil, wire.NewProblem(wire.KindMalformed, "the request did not arrive whole", "send it again")
	}
	s.cfg.Tap(body)
	return h(r, body)
}

// signedURL is the URL that the caller of r has signed.
func (s *Server) signedURL(r *http.Request, withQuery bool) string {
	u := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath}
	if withQuery {
		u.RawQuery = r.URL.RawQuery
	}
	return s.cfg.URL + u.String()
}
