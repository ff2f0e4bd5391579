package control

import (
	"context"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// OpenWarranted opens what a plea of this device asks for, on the word of a quorum
// whose warrants stand in for apid's grant. apid is not asked for anything: the
// proof of this device reaches its log when it is there again.
func (b *Backend) OpenWarranted(ctx context.Context, plea approval.Plea, v policy.Verdict, warrants [][]byte, req backend.OpenRequest) (backend.Terminal, error) {
	r := b.home.Roster()
	me, a, err := b.parties(r, req.Target)
	if err != nil {
		return nil, err
	}
	p := &plan{req: req, roster: r, me: me, agent: a, verdict: v, session: plea.SessionID, command: plea.Command}
	knock, err := wire.NewSigned(wire.SignedOptions{URL: b.home.Profile.Rendezvous, Identity: b.home.Identity, HTTP: wire.Pinned(b.home.Profile.Pins), Now: b.now})
	if err != nil {
		return nil, err
	}
	relay, err := knock.Relay(ctx, r.TeamID(), p.session)
	if err != nil {
		return nil, translate(err)
	}
	proof, err := b.home.ProveLater(b.proof(p, token.ActSession))
	if err != nil {
		return nil, err
	}
	return b.connect(ctx, p, token.Bundle{Proof: proof, Grant: []byte{}, Warrants: warrants}, relay, knock, r.TeamID())
}
