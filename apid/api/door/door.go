// Package door is the one way through which every request comes to apid: it
// bounds the request, finds out who makes it, decodes its body strictly, and
// writes the answer or the problem.
//
// Invariants:
//   - a route that does not say whom it serves refuses everybody;
//   - who proves nobody gets one and the same 401, whatever is wrong;
//   - the team of a caller is what a verified token, or the roster that the
//     signing key stands on, says;
//   - every body, rate and memory has a bound.
//
// The package must not import internal/store: it asks for rosters only.
package door

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/replay"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// ErrNotNow means that a roster could not be had. It is nobody's fault but ours,
// and never a 401.
var ErrNotNow = errors.New("door: the roster can't be read now")

// ErrDamaged means stored rows that do not verify: somebody has changed them, or a disk
// has. It is told, since no later attempt helps, and what is damaged stays in the log.
var ErrDamaged = errors.New("door: stored rows do not verify")

// StreamTime bounds how long a Stream may take.
const StreamTime = 30 * time.Minute

// maxSeen is how many request proofs are remembered within their time. A flood
// beyond it refuses late requests, never accepts a replayed one.
const maxSeen = 1 << 18

// Config is what a door needs. All of it is required but Relays.
type Config struct {
	URL       string       // the public base URL: issuer and audience of tokens, and what requests are signed for
	TokenKeys []key.Public // of access tokens: the one in use, and those of a rotation
	// Roster gives a team's roster as it stands. ErrNotNow, wrapped, means that
	// it could not be read; any other error that there is no such team.
	Roster   func(ctx context.Context, team string) (*roster.Roster, error)
	Relays   cred.Ring // secrets of relays; none: they are not heard
	Now      func() time.Time
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// A Door is safe for concurrent use.
type Door struct {
	cfg                Config
	nonces             *token.ServerNonces
	seen               *replay.Nonces // request proofs, also those without an effect
	strangers, devices *Limiter
	uploads            chan struct{} // a place for each that is read
	metrics            metrics
}

// New makes a door.
func New(cfg Config) (*Door, error) {
	if cfg.URL == "" || len(cfg.TokenKeys) == 0 || cfg.Roster == nil || cfg.Now == nil || cfg.Logger == nil || cfg.Registry == nil {
		return nil, errors.New("door: a field of Config is missing")
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	return &Door{
		cfg:       cfg,
		nonces:    token.NewServerNonces(),
		seen:      replay.NewNonces(maxSeen, token.DPoPWindow, token.DPoPWindow),
		strangers: NewLimiter(strangerRate, strangerBurst),
		devices:   NewLimiter(deviceRate, deviceBurst),
		uploads:   make(chan struct{}, maxUploads),
		metrics:   m,
	}, nil
}
