package host

import (
	"errors"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// presence signs that this agent is reachable and that a request to apid is this
// agent's, each under a context of its own, and nothing else: it is all that the
// network half can have signed.
type presence struct {
	identity key.Identity
	team     *team
	teamID   string
	audience string   // the rendezvous' URL
	api      *url.URL // of apid
	now      func() time.Time
}

// Register implements wire.Presence.
func (p *presence) Register() ([]byte, error) {
	r := p.team.newest()
	if r == nil {
		return nil, errNoRoster
	}
	return token.SignRegistration(p.identity, token.Registration{
		TeamFP: r.TeamFP(), TeamID: r.TeamID(), Agent: p.identity.Kid(), Audience: p.audience,
		Time: p.now().Unix(), Nonce: token.NewID(), Version: cut(daemon.Version().Version, 64),
		OS: runtime.GOOS + "/" + runtime.GOARCH, RosterHead: head(r),
	})
}

// Heartbeat implements wire.Presence.
func (p *presence) Heartbeat(registration envelope.Hash, seq uint64) ([]byte, error) {
	r := p.team.newest()
	if r == nil {
		return nil, errNoRoster
	}
	return token.SignHeartbeat(p.identity, token.Heartbeat{
		Agent: p.identity.Kid(), Registration: registration, Seq: seq, Time: p.now().Unix(), RosterHead: head(r),
	})
}

// head gives a roster's head as signed objects name it.
func head(r *roster.Roster) token.Head { return token.Head(r.Head()) }

// errNotOurs: the network half wants a request signed that no agent makes.
var errNotOurs = errors.New("host: an agent makes no such request")

// SignRequest implements wire.RequestSigner: for apid, in the name of this agent's
// team, and for the few routes that an agent calls.
func (p *presence) SignRequest(method, to string, body [32]byte) (string, error) {
	u, err := url.Parse(to)
	if err != nil || u.String() != to || u.Scheme != p.api.Scheme || u.Host != p.api.Host || u.User != nil || u.Fragment != "" || u.RawPath != "" {
		return "", errNotOurs
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || !slices.Equal(query[wire.QueryTeam], []string{p.teamID}) {
		return "", errNotOurs
	}
	delete(query, wire.QueryTeam)
	route := method + " " + u.Path
	if id, ok := strings.CutPrefix(u.Path, "/v1/recordings/"); ok {
		id, ok = strings.CutSuffix(id, "/segments")
		if _, err := token.ParseID(id); !ok || err != nil {
			return "", errNotOurs
		}
		route = method + " /v1/recordings/{id}/segments"
	}
	switch route {
	case "GET /v1/roster":
		delete(query, "after")
	case "POST /v1/entries", "POST /v1/recordings/{id}/segments", "PUT /v1/recordings/{id}/segments":
	default:
		return "", errNotOurs
	}
	if len(query) > 0 {
		return "", errNotOurs
	}
	return token.SignRequest(p.identity, token.Request{Method: method, URL: to, BodySHA256: body, Time: p.now().Unix()})
}
