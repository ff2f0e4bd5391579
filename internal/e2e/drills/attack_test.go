package drills

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// serverKeys are all that the attacker has to sign with.
func (w *world) serverKeys() []key.Identity {
	return []key.Identity{w.grantKey, w.tokenKey, w.logKey, w.meetKey}
}

// statement has the fields of a roster statement: a forger does not ask the
// package that makes true ones.
type statement struct {
	V      uint64        `cbor:"v"`
	TeamFP envelope.Hash `cbor:"team_fp"`
	Seq    uint64        `cbor:"seq"`
	Prev   envelope.Hash `cbor:"prev"`
	Time   int64         `cbor:"time"`
	Kind   roster.Kind   `cbor:"kind"`
	Body   []byte        `cbor:"body"`
}

// forgeStatement makes a statement that follows a head, signed by every server.
func (w *world) forgeStatement(on roster.Head, k roster.Kind, body any) ([]byte, roster.Head) {
	w.t.Helper()
	b, err := envelope.Marshal(body)
	w.must(err)
	st, err := envelope.Sign("tucdesk statement v1", statement{
		V: roster.Version, TeamFP: w.fp, Seq: on.Seq + 1, Prev: on.Hash, Time: time.Now().Unix(), Kind: k, Body: b,
	}, w.serverKeys()...)
	w.must(err)
	u, err := envelope.Parse(st)
	w.must(err)
	return st, roster.Head{Seq: on.Seq + 1, Hash: envelope.Sum(u.InsecurePayload())}
}

// serveForged has apid tell everybody of statements that follow the true ones.
func (w *world) serveForged(head roster.Head, forged ...[]byte) {
	w.serveRoster(func(p *wire.RosterPage) {
		p.Statements = append(p.Statements, forged...)
		p.Head = wire.Head(head)
	})
}

func (w *world) head() roster.Head { return w.homes["carol"].Roster().Head() }

// granted answers a request for a session with a grant for whatever it asks, as
// apid's key can sign it, and with a change to that.
func (w *world) granted(change func(*token.Grant)) trick {
	return func(_ *http.Request, body []byte, _ func([]byte) answer) answer {
		var in wire.SessionRequest
		if err := json.Unmarshal(body, &in); err != nil {
			w.t.Error(err)
		}
		g, hash := w.grantFor(in.Proof)
		g.Approvals = in.Approvals
		if change != nil {
			change(&g)
		}
		signed, err := token.SignGrant(w.grantKey, g)
		if err != nil {
			w.t.Errorf("the forged grant: %v", err)
		}
		var p token.Proof
		u, _ := token.ParseProof(in.Proof)
		u.InsecureDecode(&p)
		return invent(wire.SessionAnswer{
			Grant: signed, Rendezvous: w.meet.url, Actor: wire.Actor{Seq: p.ActorSeq, Hash: hash}, Relay: w.relayFor(p.SessionID),
		})(nil, nil, nil)
	}
}

func (w *world) relayFor(id token.ID) wire.Relay {
	until := time.Now().Add(time.Hour)
	r := wire.Relay{Addr: w.relayAddr}
	for side, into := range map[cred.Side]*wire.Credential{cred.Operator: &r.Operator, cred.Agent: &r.Agent} {
		c := w.relaySecret.Mint(id, side, until)
		*into = wire.Credential{Username: c.Username, Password: string(c.Password)}
	}
	return r
}

// grantFor is the grant that a proof asks for.
func (w *world) grantFor(proof []byte) (token.Grant, envelope.Hash) {
	w.t.Helper()
	u, err := token.ParseProof(proof)
	w.must(err)
	var p token.Proof
	w.must(u.InsecureDecode(&p))
	e, err := envelope.Parse(proof)
	w.must(err)
	hash := envelope.Sum(e.InsecurePayload())
	now := time.Now().Unix()
	return token.Grant{
		TeamFP: p.TeamFP, SessionID: p.SessionID, Operator: p.Operator, Agent: p.Target, Kind: p.Kind, As: p.As,
		Commitment: p.Commitment, Confirmed: p.Confirmed, Effect: "allow", PolicyHash: p.PolicyHash, ProofHash: hash,
		Nonce: token.NewID(), IAT: now, StartBy: now + 60, EndsBy: now + 3600,
	}, hash
}

// An attempt is what the attacker, or an operator in league with the servers, has
// a machine asked for, past every check of the honest client.
type attempt struct {
	by         key.Identity
	argv       []string
	on         roster.Head // the roster that it claims; zero: the true one
	policy     envelope.Hash
	statements [][]byte
	approvals  [][]byte
	ids        []token.ID
	proof      []byte // instead of one of its own
	seal       func(*token.Bundle)
	signer     *key.Identity // of the grant
	command    *token.Command
	session    token.ID
	id         func(*wire.SignalOffer)
}

// refusal is how an attempt ended: with silence, a refusal of the offer, or one
// at the channel. The empty one is a success of the attacker.
func (w *world) attack(m *machine, a attempt) (said string) {
	w.t.Helper()
	ctx, cancel := w.context()
	defer cancel()
	r := w.homes["carol"].Roster()
	if a.on == (roster.Head{}) {
		a.on = r.Head()
	}
	if a.policy.IsZero() {
		a.policy = r.PolicyHash()
	}
	if a.session.IsZero() {
		a.session = token.NewID()
	}
	c := token.Command{V: token.Version, Argv: a.argv, Env: [][2]string{}, Stdin: token.StdinNone, Salt: token.NewID()}
	if a.command != nil {
		c = *a.command
	}
	now := time.Now().Unix()
	proof := a.proof
	if proof == nil {
		var err error
		proof, err = token.SignProof(a.by, token.Proof{
			JTI: token.NewID(), IAT: now, Exp: now + 60, TeamFP: w.fp, Operator: a.by.Kid(), Act: token.ActSession,
			Target: m.kid, SessionID: a.session, Kind: "exec", Commitment: c.Commitment(), Confirmed: true,
			PolicyHash: a.policy, RosterHead: token.Head(a.on), ActorSeq: 1,
		})
		w.must(err)
	}
	g, _ := w.grantFor(proof)
	a.session = g.SessionID
	if a.ids != nil {
		g.Approvals, g.Effect = a.ids, "hold"
	}
	signer := w.grantKey
	if a.signer != nil {
		signer = *a.signer
	}
	grant, err := token.SignGrant(signer, g)
	w.must(err)
	access := w.relayFor(a.session)
	b := token.Bundle{
		Proof: proof, Grant: grant, Approvals: a.approvals, Statements: a.statements,
		Relay: token.RelayAccess{Addr: access.Addr, Username: access.Agent.Username, Password: access.Agent.Password},
	}
	if a.seal != nil {
		a.seal(&b)
	}
	agent, err := r.Agent(m.kid, time.Now())
	w.must(err)
	sealed, hash, err := token.SealBundle(b, agent.Recipient)
	w.must(err)
	initiator, hs1, err := session.Initiate(session.InitiatorConfig{
		ID: session.ID(a.session), Self: a.by, Peer: agent.Public, TeamFP: w.fp, BundleHash: hash,
		Evidence: session.Evidence{RosterSeq: a.on.Seq, RosterHash: a.on.Hash, Time: time.Now().Truncate(time.Second)},
	})
	w.must(err)
	mine, err := path.OpenRelay(ctx, access.Addr, cred.Credential{Username: access.Operator.Username, Password: cred.Password(access.Operator.Password)})
	w.must(err)
	defer mine.Close()
	offer := wire.SignalOffer{SessionID: a.session, Exp: now + 10, Sealed: sealed, HS1: hs1, Candidate: mine.LocalRelayed().String()}
	if a.id != nil {
		a.id(&offer)
	}
	reply, err := w.meet.offer(m, offer)
	if errors.Is(err, errSilent) {
		return "silence"
	}
	if err != nil {
		return err.Error()
	}
	hs3, est, err := initiator.Consume(reply.HS2)
	if err != nil {
		return err.Error()
	}
	to, err := netip.ParseAddrPort(reply.Candidate)
	w.must(err)
	peer := net.UDPAddrFromAddrPort(to)
	w.must(mine.Permit(ctx, peer))
	w.meet.finish(m, finish{a.session, hs3})
	mux, err := channel.Dial(ctx, mine, peer, est, channel.Options{})
	if err != nil {
		return err.Error()
	}
	defer mux.Close()
	ch, err := mux.Open(ctx, channel.OpenMessage{Kind: "exec", Argv: c.Argv, Cwd: c.Cwd, Env: c.Env, Stdin: c.Stdin, Salt: c.Salt, Bound: c.Bound})
	if err != nil {
		return err.Error()
	}
	said, err = heard(ch)
	if err != nil {
		return err.Error()
	}
	return said
}

// heard reads a channel to its end. The empty text means that the command ran.
func heard(ch *channel.Channel) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	ans, err := ch.AwaitAnswer(ctx)
	if err != nil {
		return "", err
	}
	if !ans.Allowed() {
		return ans.Effect + ": " + ans.Rule + ": " + ans.Reason, nil
	}
	for {
		f, err := ch.ReadFrame()
		if err != nil || f.Type == channel.FrameExit {
			return "", err
		}
	}
}

// refused wants an attack to be refused, and gives what was said.
func (w *world) refused(said string) string {
	w.t.Helper()
	if said == "" {
		w.t.Error("MUST NOT HAPPEN: the machine did as the attacker asked")
	}
	return said
}

// inLeague is the key of an operator who helps the attacker.
func (w *world) inLeague(name string) key.Identity { return w.homes[name].Identity }

// decisions gives what apid has of an approval.
func (w *world) approvalOf(name string, id token.ID) wire.Approval {
	w.t.Helper()
	ctx, cancel := w.context()
	defer cancel()
	ap, err := w.client(name).Approval(ctx, id, 0)
	w.must(err)
	return ap
}

// opened gives the signed approvals of one, as the operator who asked can open
// them.
func (w *world) opened(name string, id token.ID) (out [][]byte, command token.Command, session token.ID) {
	w.t.Helper()
	for _, d := range w.approvalOf(name, id).Decisions {
		plain, err := w.homes[name].Unsealer.Open(d.Sealed, 64<<10)
		w.must(err)
		u, err := approval.ParseApproval(plain)
		w.must(err)
		var a approval.Approval
		w.must(u.InsecureDecode(&a))
		out, command, session = append(out, plain), a.Command, a.SessionID
	}
	return out, command, session
}

// renamed gives an envelope with one signer's key id in another's place: the
// signature stays the first one's.
func renamed(env []byte, from, to key.Kid) []byte { return bytes.Replace(env, from[:], to[:], 1) }
