// Package presence signs, with the agent's key, that the agent is there and that a
// request to apid is its own, each under a context of its own. It is all that the
// network half can have signed: there is no way to have bytes of the caller's choice
// signed, and whatever it does not know it refuses.
//
// It must not import agent/host.
package presence

import (
	"errors"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A Signer signs for one agent. It implements wire.Presence and wire.RequestSigner.
type Signer struct {
	Identity key.Identity
	Roster   func() *roster.Roster // the newest; nil before the genesis is there
	TeamID   string
	Audience string   // the rendezvous' URL
	API      *url.URL // of apid: scheme and host
	Now      func() time.Time
	Gate     string // the levels that shells here can have, in words
}

// ErrNoRoster means that there is no roster yet to name in what is signed.
var ErrNoRoster = errors.New("presence: the team's roster has not been received yet; try again in a moment")

// Register implements wire.Presence.
func (p *Signer) Register() ([]byte, error) {
	r := p.Roster()
	if r == nil {
		return nil, ErrNoRoster
	}
	return token.SignRegistration(p.Identity, token.Registration{
		TeamFP: r.TeamFP(), TeamID: r.TeamID(), Agent: p.Identity.Kid(), Audience: p.Audience,
		Time: p.Now().Unix(), Nonce: token.NewID(), Version: version(),
		OS: system(), RosterHead: token.Head(r.Head()),
	})
}

// Heartbeat implements wire.Presence.
func (p *Signer) Heartbeat(registration envelope.Hash, seq uint64) ([]byte, error) {
	r := p.Roster()
	if r == nil {
		return nil, ErrNoRoster
	}
	return token.SignHeartbeat(p.Identity, token.Heartbeat{
		Agent: p.Identity.Kid(), Registration: registration, Seq: seq, Time: p.Now().Unix(), RosterHead: token.Head(r.Head()),
		Posture: &token.Posture{OS: system(), Version: version(), Gate: short(p.Gate), Booted: booted()},
	})
}

// ErrNotOurs means a request that no agent makes.
var ErrNotOurs = errors.New("presence: an agent makes no such request")

// SignRequest implements wire.RequestSigner: for apid, in the name of this agent's
// team, and for the few routes that an agent calls.
func (p *Signer) SignRequest(method, to string, body [32]byte) (string, error) {
	u, err := url.Parse(to)
	if err != nil || u.String() != to || u.Scheme != p.API.Scheme || u.Host != p.API.Host || u.User != nil || u.Fragment != "" || u.RawPath != "" {
		return "", ErrNotOurs
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || !slices.Equal(query[wire.QueryTeam], []string{p.TeamID}) {
		return "", ErrNotOurs
	}
	delete(query, wire.QueryTeam)
	route := method + " " + u.Path
	if id, ok := strings.CutPrefix(u.Path, "/v1/recordings/"); ok {
		id, ok = strings.CutSuffix(id, "/segments")
		if _, err := token.ParseID(id); !ok || err != nil {
			return "", ErrNotOurs
		}
		route = method + " /v1/recordings/{id}/segments"
	}
	switch route {
	case "GET /v1/roster":
		delete(query, "after")
	case "GET /v1/audit/consistency":
		delete(query, "from")
		delete(query, "to")
	case "POST /v1/entries", "POST /v1/recordings/{id}/segments", "PUT /v1/recordings/{id}/segments":
	default:
		return "", ErrNotOurs
	}
	if len(query) > 0 {
		return "", ErrNotOurs
	}
	return token.SignRequest(p.Identity, token.Request{Method: method, URL: to, BodySHA256: body, Time: p.Now().Unix()})
}

func system() string { return runtime.GOOS + "/" + runtime.GOARCH }

func version() string { return short(daemon.Version().Version) }

// maxText bounds each text that an agent says of its machine, in bytes.
const maxText = 64

func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

// booted is when this machine started, where its system says so: Linux does.
func booted() int64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if at, ok := strings.CutPrefix(line, "btime "); ok {
			s, _ := strconv.ParseInt(strings.TrimSpace(at), 10, 64)
			return max(0, s)
		}
	}
	return 0
}
