package api

import (
	"context"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// postProof records an operator's proof without any effect: one whose first
// delivery was refused before it was recorded, or whose answer was lost. The
// device may not number another proof alike, so the log must get this one. How
// old it is and which roster it names does not matter: it does nothing. A proof
// that is recorded already is answered as the first time.
func (s *Server) postProof(ctx context.Context, r *door.Request, in wire.ProofRequest) (actor wire.Actor, err error) {
	err = s.effect(ctx, r.Caller, func(t *team) error {
		v, err := s.bygoneProof(t, r.Caller, in.Proof)
		if err != nil {
			return err
		}
		seq, last, err := t.tx.Audit.Chain(proofChain, r.Caller.Kid)
		if err != nil {
			return err
		}
		if last == v.Hash() {
			actor = wire.Actor{Seq: seq, Hash: last}
			return nil
		}
		if actor, err = s.useProof(t, v); err != nil {
			return err
		}
		p := v.Body()
		a, _ := t.roster.EverAgent(p.Target)
		a.Kid = p.Target
		j := judgement{proof: v, agent: a, verdict: policy.Verdict{Effect: policy.Deny}}
		entry := j.entry(audit.Verdict, r.Caller, t.roster)
		entry.Outcome.Reason = "interrupted"
		return s.record(t, entry)
	})
	return actor, err
}

// bygoneProof is operatorProof for a proof of any act and age.
func (s *Server) bygoneProof(t *team, c door.Caller, raw []byte) (token.VerifiedProof, error) {
	var p token.Proof
	u, err := token.ParseProof(raw)
	if err == nil {
		err = u.InsecureDecode(&p)
	}
	if err != nil {
		return token.VerifiedProof{}, door.Malformed("the operator's proof is not one", "update the client")
	}
	if p.IAT > s.now().Add(token.Skew).Unix() {
		return token.VerifiedProof{}, door.Malformed("the proof is dated in the future", "check the clock")
	}
	return verifyProof(t, c, u, p.Act, time.Unix(p.IAT, 0))
}
