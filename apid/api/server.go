package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/apid/api/attention"
	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/apid/api/events"
	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/apid/api/presence"
	"github.com/tucdesk/tucdesk/apid/api/proposals"
	"github.com/tucdesk/tucdesk/apid/api/recordings"
	"github.com/tucdesk/tucdesk/apid/api/rosters"
	"github.com/tucdesk/tucdesk/apid/api/sessions"
	"github.com/tucdesk/tucdesk/apid/api/usage"
	"github.com/tucdesk/tucdesk/apid/api/waiters"
	"github.com/tucdesk/tucdesk/apid/api/webhook"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording/blob"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Founding says who may found a team at this server. The zero value lets nobody.
type Founding string

// The values of Config.Founding.
const (
	FoundingClosed Founding = "closed"
	FoundingFirst  Founding = "first" // the first genesis that comes, and no further one
	FoundingOpen   Founding = "open"
)

// Config is what a server is made of.
type Config struct {
	URL    string      // the public base URL: issuer and audience of tokens, and what requests are signed for
	Listen string      // host:port; port 0 takes a free one
	TLS    *tls.Config // nil: plain http, for which Listen must be loopback

	Keys keys.Set

	RelaySecret    cred.Secret // shared with the relay; zero: sessions get no relay
	RelayAddrs     []string    // host:port; a session gets the first that the team's roster names too
	RendezvousURL  string
	RendezvousPins []envelope.Hash // of its TLS keys; empty: the system's authorities
	Presence       presence.Source // nil: asks RendezvousURL

	Store      store.Store   // its owner closes it
	Recordings blob.Store    // for the sealed segments of recordings; nil: none are taken
	Marks      *marks.Book   // what was signed, beside the store; its owner has opened it. nil: in memory only
	Webhook    *webhook.Hook // is told of what waits for approval; nil: nobody is
	Founding   Founding
	Now        func() time.Time // nil: time.Now
	Logger     *slog.Logger     // nil: discards
	Registry   *prometheus.Registry
}

// A Server is apid. New makes it, Run serves.
type Server struct {
	cfg        Config
	loopback   bool // the public URL leads to this machine only
	store      store.Store
	presence   *presence.Cache
	marks      *marks.Book
	logger     *slog.Logger
	now        func() time.Time
	rosters    rosters.Cache
	proposals  proposals.Box
	recordings *recordings.Service
	usage      usage.Service
	waiters    *waiters.List
	attention  attention.Book
	events     *events.Hub
	mailbox    *mailbox.Box
	refusals   *door.Limiter // those that leave an entry
	handler    http.Handler
	openapi    []byte
	addr       atomic.Value // string
}

// maxStreams bounds the requests of one HTTP/2 connection at a time.
const maxStreams = 64

// Refusals of one device that leave an entry in the log.
const (
	refusalRate  = 1 // a second
	refusalBurst = 50
)

// check completes a configuration with defaults and refuses what can't work. It
// does not look at the store.
func (cfg *Config) check() error {
	base, err := wire.ParseBase(cfg.URL)
	if err != nil {
		return fmt.Errorf("api: %w", refuse("url", err))
	}
	cfg.URL = base.String()
	if cfg.RendezvousURL != "" {
		if base, err = wire.ParseBase(cfg.RendezvousURL); err != nil {
			return fmt.Errorf("api: %w", refuse("rendezvous_url", err))
		}
		cfg.RendezvousURL = base.String()
	}
	if err := cfg.Keys.Check(); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	switch cfg.Founding {
	case "":
		cfg.Founding = FoundingClosed
	case FoundingClosed, FoundingFirst, FoundingOpen:
	default:
		return fmt.Errorf("api: %w", refuse("founding", fmt.Errorf("it is closed, first or open, not %q", string(cfg.Founding))))
	}
	if cfg.TLS == nil && !isLoopback(cfg.Listen) {
		return fmt.Errorf("api: %w", refuse("listen", fmt.Errorf("%s without TLS: plain http is for loopback only; give a certificate", cfg.Listen)))
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
	if cfg.Marks == nil {
		if cfg.Marks, err = marks.Open(""); err != nil {
			return err
		}
	}
	if cfg.Presence == nil {
		cfg.Presence, err = presence.Rendezvous(cfg.RendezvousURL, cfg.RendezvousPins, cfg.Keys.Grant[0], cfg.Now)
	}
	return err
}

// New checks a configuration. It opens nothing on the network.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		return nil, errors.New("api: a store is needed")
	}
	public, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("api: url: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		loopback: isLoopback(public.Host),
		store:    cfg.Store,
		presence: presence.NewCache(cfg.Presence, cfg.Now),
		marks:    cfg.Marks,
		logger:   cfg.Logger,
		now:      cfg.Now,
		waiters:  waiters.New(),
		mailbox:  mailbox.New(cfg.Now),
		refusals: door.NewLimiter(refusalRate, refusalBurst),
	}
	s.usage.Store = cfg.Store
	s.events = events.New(s.again, cfg.Now)
	s.attention = attention.Book{View: cfg.Store.View, Online: s.events.Members, Tell: s.events.Publish, Now: cfg.Now}
	s.recordings = recordings.New(recordings.Config{
		Store: cfg.Store, Blobs: cfg.Recordings, Now: cfg.Now, Logger: cfg.Logger, EndEntry: sessions.EndEntry,
	})
	way, err := door.New(door.Config{
		URL: cfg.URL, Relays: cred.Ring{cfg.RelaySecret}, TokenKeys: cfg.Keys.Token.Publics(), Roster: s.roster, Now: cfg.Now, Logger: cfg.Logger, Registry: cfg.Registry,
	})
	if err != nil {
		return nil, err
	}
	if s.handler, s.openapi, err = way.Handler(s.routes()); err != nil {
		return nil, err
	}
	return s, nil
}

// isLoopback reports whether host, with or without a port, is this machine.
func isLoopback(host string) bool {
	u := url.URL{Host: host}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// Handler serves the routes, for tests and for other listeners.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr is the address that Run listens on; empty before it is ready.
func (s *Server) Addr() string {
	a, _ := s.addr.Load().(string)
	return a
}

// OpenAPI is the description of the routes, as JSON (OpenAPI 3.1).
func (s *Server) OpenAPI() []byte { return s.openapi }

// Run serves until ctx is done. It implements daemon.Service.
func (s *Server) Run(ctx context.Context, ready func()) error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	s.addr.Store(l.Addr().String())
	work, stopWork := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.sweep(work) })
	background.Go(func() { s.cfg.Webhook.Run(work) })
	watch := presence.Watch{Teams: s.events.Teams, Page: s.agentStates, Changed: s.events.PublishAgents}
	background.Go(func() { watch.Run(work) })
	srv := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.cfg.TLS,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      time.Minute, // an export lifts it for itself
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return work },
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(s.events.Close) // they would not end by themselves
	served := make(chan error, 1)
	go func() {
		if s.cfg.TLS != nil {
			served <- srv.ServeTLS(l, "", "") // HTTP/2 too
		} else {
			served <- srv.Serve(l)
		}
	}()
	s.logger.Info("apid serves", "addr", l.Addr().String(), "url", s.cfg.URL)
	ready()
	select {
	case err = <-served:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
		cancel()
		<-served
	}
	stopWork()
	background.Wait()
	return errors.Join(err, s.marks.Save())
}
