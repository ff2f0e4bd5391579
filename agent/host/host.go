package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/tucdesk/tucdesk/agent/host/compare"
	"github.com/tucdesk/tucdesk/agent/host/dues"
	"github.com/tucdesk/tucdesk/agent/host/metrics"
	"github.com/tucdesk/tucdesk/agent/host/presence"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/team"
	"github.com/tucdesk/tucdesk/agent/host/testimony"
	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/agent/ledger"
	"github.com/tucdesk/tucdesk/agent/newcomer"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Config says which team the agent belongs to and where its servers are. Dir,
// TeamID, TeamFP, APIURL and RendezvousURL are required.
type Config struct {
	Dir           string        // keys, roster, ledger; mode 0700
	Name          string        // for logs and metrics; the roster's name counts
	TeamID        string        // the team's routing name
	TeamFP        envelope.Hash // SHA-256 of the genesis: the one thing that is pinned
	APIURL        string        // of apid; plain http only on loopback
	RendezvousURL string        // of rendezvousd; likewise
	Demo          bool          // part of a demo: its genesis is accepted, and all servers are on loopback

	Pins  []envelope.Hash // SHA-256 of the servers' public TLS keys; none: the system's authorities
	Floor roster.Head     // no older roster is acted on; zero: any

	MaxStale    time.Duration // no new session on a roster that apid has not confirmed for so long; 0: 24 h
	Poll        time.Duration // mean time between two questions for the roster; 0: 30 s
	MaxSessions int           // that run at a time; 0: 256
	UploadHosts []string      // of object stores that apid may have recordings uploaded to
	MaxSpool    int64         // bytes of sealed recordings that wait on disk; 0: 1 GiB

	// Apart has the network half and each session half be processes of their own,
	// which are this program with Args, and then what Command adds to them. Otherwise
	// all is part of this process.
	Apart       bool
	Args        []string
	NetworkUser string // whom the network half runs as when this process is root

	// Gate are the arguments with which this program is the exec gate's shim: see
	// gate/shim.Main. nil: shells run ungated, where policy lets them.
	Gate []string
	// Errand are the arguments that lead this program to errand.Main, which runs copies,
	// forwards and proxies as the account that they are for. nil: there are none.
	Errand []string

	Logger   *slog.Logger          // nil: none
	Registry prometheus.Registerer // nil: none
	Now      func() time.Time      // nil: time.Now
}

// The commands by which the program is its own other halves, after Config.Args.
const (
	NetworkHalf = "net"
	SessionHalf = "session"
)

// A Host is one agent. Run it once.
type Host struct {
	c       Config
	metrics *metrics.Metrics
	// Doors of tests to what the agent stands on. nil: the real network and disk.
	api  uplink.API
	dial func(context.Context, wire.Presence, wire.AgentHandler) error
	open func(*uplink.Uplink) outside
	// start starts a network half of a test's; nil: this program.
	start func(socket *os.File) (wait func() error, kill func(), err error)
	disk  ledger.Disk
	clock func() time.Time // of what the agent knows of its team
}

// New checks the configuration. It touches neither disk nor network.
func New(c Config) (*Host, error) {
	switch {
	case c.Dir == "":
		return nil, errors.New("host: dir is missing: where the agent keeps keys, roster and ledger")
	case c.TeamFP.IsZero():
		return nil, fmt.Errorf("host: team_fp is missing: the agent must know its team: %w", newcomer.ErrNoTeam)
	case c.TeamID == "":
		return nil, errors.New("host: team_id is missing")
	case c.MaxStale < 0 || c.Poll < 0 || c.MaxSessions < 0 || c.MaxSpool < 0:
		return nil, errors.New("host: max_stale, poll, max_sessions and max_spool are not negative")
	}
	for name, u := range map[string]string{"api_url": c.APIURL, "rendezvous_url": c.RendezvousURL} {
		base, err := wire.ParseBase(u)
		if err != nil {
			return nil, fmt.Errorf("host: %w", &daemon.SettingError{Key: name, Err: err})
		}
		if c.Demo && !isLoopback(base) {
			return nil, fmt.Errorf("host: %w", &daemon.SettingError{Key: name, Err: errors.New("a demo never leaves loopback")})
		}
	}
	if err := checkApart(c); err != nil {
		return nil, fmt.Errorf("host: %w", &daemon.SettingError{Key: "network_user", Err: err})
	}
	if c.MaxStale == 0 {
		c.MaxStale = 24 * time.Hour
	}
	if c.Poll == 0 {
		c.Poll = 30 * time.Second
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 256
	}
	if c.MaxSpool == 0 {
		c.MaxSpool = DefaultSpool
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	m, err := metrics.New(c.Registry, c.Name)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	return &Host{c: c, metrics: m, clock: c.Now}, nil
}

// DefaultSpool is some days of busy shells while apid is down.
const DefaultSpool = 1 << 30

// isLoopback: wire takes plain http for loopback hosts only, so it is asked
// whether it would.
func isLoopback(u *url.URL) bool {
	plain := *u
	plain.Scheme = "http"
	_, err := wire.ParseBase(plain.String())
	return err == nil
}

// Keys gives the agent's public side, for an admin to sign into the roster. It
// makes the keys where dir has none.
func Keys(dir string) (key.Public, key.Recipient, error) {
	id, u, err := newcomer.Keys(dir)
	if err != nil {
		return key.Public{}, key.Recipient{}, err
	}
	return id.Public(), u.Recipient(), nil
}

// Run serves until ctx ends. Then sessions end that are in this process; those in
// processes of their own go on, and the next Run takes them over. It calls ready when
// the agent is registered for the first time. Its error is nil only after ctx ended.
func (h *Host) Run(ctx context.Context, ready func()) error {
	if _, err := process.Self(); errors.Is(err, process.ErrUnsupported) {
		return fmt.Errorf("host: the agent does not run on this system yet: %w", err)
	}
	identity, unsealer, err := newcomer.Keys(h.c.Dir)
	if err != nil {
		return err
	}
	led, err := ledger.Open(filepath.Join(h.c.Dir, "ledger"), ledger.Options{Disk: h.disk, Now: h.c.Now})
	if err != nil {
		return err
	}
	defer led.Close()
	if led.Used.Damaged() {
		h.c.Logger.Error("the ledger of used approvals was damaged: whatever was approved before now must be approved again")
	}
	whole := ctx
	ctx, fail := context.WithCancelCause(whole)
	defer fail(nil)
	s, n, err := h.build(identity, unsealer, led, ready, fail)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := n.Join(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	go s.watch(h.c.Poll)
	n.Run(ctx)
	s.Close()
	n.Last()
	if cause := context.Cause(ctx); cause != context.Cause(whole) {
		return cause
	}
	return nil
}

// A networkHalf is an uplink.Uplink, or one in another process.
type networkHalf interface {
	Join(context.Context) error // until there is a roster
	Run(context.Context)
	Last() // hands in what is owed
}

// A diskError ends the agent: it can't promise any more what it must not forget.
type diskError struct{ err error }

func (e *diskError) Error() string {
	return fmt.Sprintf("host: the ledger can't be written: %v; the agent stops, and starts again once the disk is well", e.err)
}

func (e *diskError) Unwrap() error { return e.err }

// build makes both halves and joins them. end ends the agent.
func (h *Host) build(identity key.Identity, unsealer key.Unsealer, led *ledger.Ledger, ready func(), end context.CancelCauseFunc) (*sessions, networkHalf, error) {
	c := h.c
	logger := c.Logger
	fail := func(err error) { end(&diskError{err}) }
	s := &sessions{
		errand: c.Errand, identity: identity, logger: logger, metrics: h.metrics, max: c.MaxSessions, self: c.Demo, fail: fail,
		remembered: led.Running,
		offers:     rate.NewLimiter(offersPerSecond, offersAtOnce),
		opening:    map[token.ID]bool{}, half: map[token.ID]*ward{}, live: map[token.ID]*ward{},
		evidence: evidence{&testimony.Book{
			Identity: identity, Outbox: led.Outbox, Now: c.Now, Logger: logger, Refusals: rate.NewLimiter(1, 60), Fail: fail,
		}},
	}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.gate, s.levels = h.startGate()
	var err error
	if s.spool, err = recording.OpenSpool(filepath.Join(c.Dir, "spool"), c.MaxSpool, c.TeamFP, identity, ids(led.Running)...); err != nil {
		return nil, nil, err
	}
	if err := s.spool.Damage(); err != nil {
		logger.Error("recordings of an earlier run can't be read and are left where they are", "error", err)
	}
	seen, err := checkpointfile.Open(filepath.Join(c.Dir, "checkpoints"))
	if err != nil {
		return nil, nil, err
	}
	t, err := team.Open(team.Config{
		FP: c.TeamFP, Dir: c.Dir, Demo: c.Demo, Floor: c.Floor, MaxStale: c.MaxStale, Now: h.clock, Head: led.Head, Logger: logger,
		Changed: s.recheck, Fail: fail,
	})
	if err != nil {
		return nil, nil, err
	}
	api, err := wire.ParseBase(c.APIURL)
	if err != nil {
		return nil, nil, err
	}
	in := &inside{sessions: s, Team: t, Dues: &dues.Dues{Outbox: led.Outbox, Spool: s.spool, Logger: logger, Fail: fail}, Signer: &presence.Signer{
		Identity: identity, Roster: t.Newest, TeamID: c.TeamID, Audience: c.RendezvousURL, API: api, Now: led.Used.Now, Gate: s.levels.String(),
	}}
	n, err := h.network(in, ready, end)
	if err != nil {
		return nil, nil, err
	}
	s.checker = &checker{
		kid: identity.Kid(), unsealer: unsealer, team: t, used: led.Used, now: c.Now, levels: s.levels,
		refresh: s.outside.Refresh,
	}
	s.compare = &compare.Comparer{
		Self: identity.Kid(), Seen: seen, Now: c.Now, Logger: logger, Roster: t.Newest,
		Refresh: s.outside.Refresh, Consistency: s.outside.Consistency,
		Record: func(e audit.Entry) { _ = s.evidence.Keep(false, e) }, // logged there
	}
	if err := s.takeOver(); err != nil {
		return nil, nil, err
	}
	return s, n, nil
}

// network makes the network half, in this process or in one of its own, and lets the
// sessions reach it.
func (h *Host) network(in *inside, ready func(), end context.CancelCauseFunc) (networkHalf, error) {
	c := h.c
	ready = sync.OnceFunc(ready)
	if c.Apart || h.start != nil {
		return h.apart(in, ready, end)
	}
	if h.api == nil {
		signed, err := wire.NewSigned(wire.SignedOptions{URL: c.APIURL, Signer: in, HTTP: wire.Pinned(c.Pins)})
		if err != nil {
			return nil, err
		}
		h.api = signed
	}
	if h.dial == nil {
		h.dial = func(ctx context.Context, p wire.Presence, a wire.AgentHandler) error {
			return wire.DialAgent(ctx, wire.AgentOptions{URL: c.RendezvousURL, Presence: p, HTTP: wire.Pinned(c.Pins)}, a)
		}
	}
	n := uplink.New(uplink.Config{
		Team: c.TeamID, API: h.api, Inside: in, Logger: c.Logger, Metrics: h.metrics.Uplink, Poll: c.Poll,
		Paths:  path.Options{Loopback: c.Demo},
		TLS:    wire.PinnedTLS(c.Pins),
		Stores: c.UploadHosts,
		Online: ready,
		Dial:   func(ctx context.Context, a wire.AgentHandler) error { return h.dial(ctx, in, a) },
	})
	in.outside = network{n}
	if h.open != nil {
		in.outside = h.open(n)
	}
	return n, nil
}

// inside is the privileged side as the network half sees it.
type inside struct {
	*presence.Signer
	*sessions
	*dues.Dues
	*team.Team
}

// network is the network half as the session half sees it.
type network struct{ *uplink.Uplink }

// OpenWay implements outside.
func (n network) OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error) {
	_, s, err := n.OpenPath(ctx, relay, c, nil)
	if err != nil {
		return nil, err
	}
	return switched{s}, nil
}

// switched is a path of this process as a way.
type switched struct{ *path.Switch }

// Gather implements way.
func (s switched) Gather(ctx context.Context) (direct.Attempt, error) {
	return direct.On(s.Switch).Gather(ctx)
}
