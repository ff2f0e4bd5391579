package host

import (
	"runtime"
	"time"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
)

// presence signs that this agent is reachable, and nothing else: it is all that
// the network half can have signed.
type presence struct {
	identity key.Identity
	team     *team
	audience string // the rendezvous' URL
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
