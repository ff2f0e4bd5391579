package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/storetest"
	"github.com/tucdesk/tucdesk/internal/token"
)

// start is when the team of these tests was founded.
var start = time.Unix(1_795_000_000, 0)

const teamID = "acme"

// identity gives the same key for the same number.
func identity(n byte) key.Identity { return key.IdentityFromSeed([32]byte{n}) }

// A world is a team with a founder, an operator, an approver, an agent and a
// log, as apid and the agent keep it.
type world struct {
	t      testing.TB
	store  store.Store
	roster *roster.Roster
	now    time.Time

	founder, alice, bob, web1, logKey key.Identity

	log     *audit.Log
	agent   *audit.Chain
	proofs  uint64
	last    envelope.Hash // of alice's last proof
	session token.ID
}

func newWorld(t testing.TB, s store.Store) *world {
	t.Helper()
	w := &world{
		t: t, store: s, now: start,
		founder: identity(1), alice: identity(2), bob: identity(3), web1: identity(4), logKey: identity(5),
	}
	w.agent = audit.NewChain(w.web1, audit.Link{})
	u, err := key.GenerateUnsealer()
	w.must(err)
	to, exp := u.Recipient(), start.Add(90*24*time.Hour).Unix()
	device := func(id key.Identity) roster.DeviceBody {
		return roster.DeviceBody{Public: id.Public(), Recipient: to, Exp: exp}
	}
	genesis, err := roster.Found(roster.Genesis{
		TeamID: teamID, Threshold: 1, Created: start.Unix(),
		Admins: []roster.AdminDevice{{MemberID: "m-carol", Email: "carol@example.com", Device: device(w.founder)}},
	}, w.founder)
	w.must(err)
	w.roster, err = roster.Open(genesis)
	w.must(err)
	w.log = audit.NewLog(w.logKey, w.roster.TeamFP(), teamID)
	w.tx(func(tx store.Tx) error {
		if err := tx.Roster.AppendStatement(store.Statement{Hash: w.roster.TeamFP(), Bytes: genesis}); err != nil {
			return err
		}
		return w.record(tx, audit.Entry{Type: audit.Roster, Action: "genesis", Actor: party(w.logKey, "apid")})
	})
	w.state(roster.KindServerKeys, roster.ServerKeys{Log: []key.Public{w.logKey.Public()}})
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: "m-alice", Email: "alice@example.com", Roles: []string{"sre"}, Device: device(w.alice)})
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: "m-bob", Email: "bob@example.com", Roles: []string{"approver"}, Device: device(w.bob)})
	w.state(roster.KindAgentAdd, roster.AgentAdd{Name: "web-1", Public: w.web1.Public(), Recipient: to, LoginUser: "deploy", Exp: exp})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func party(id key.Identity, name string) audit.Party { return audit.Party{Kid: id.Kid(), Name: name} }

// tx runs f and signs a checkpoint, as apid does.
func (w *world) tx(f func(store.Tx) error) {
	w.t.Helper()
	w.must(w.store.Tx(context.Background(), teamID, func(tx store.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		_, err := w.log.Sign(tx.Audit)
		return err
	}))
}

func (w *world) record(tx store.Tx, e audit.Entry) error {
	e.Timestamp, e.RosterHead = w.now.Unix(), w.roster.Head()
	_, _, err := w.log.Record(tx.Audit, e)
	return err
}

// says records an entry of apid's.
func (w *world) says(e audit.Entry) {
	w.t.Helper()
	w.tx(func(tx store.Tx) error { return w.record(tx, e) })
}

// state adds a statement to the roster and its entry to the log.
func (w *world) state(kind roster.Kind, body any) {
	w.t.Helper()
	st, err := w.roster.Next(w.now, kind, body, w.founder)
	w.must(err)
	w.roster, err = w.roster.Apply(st)
	w.must(err)
	head := w.roster.Head()
	w.tx(func(tx store.Tx) error {
		if err := tx.Roster.AppendStatement(store.Statement{Seq: head.Seq, Hash: head.Hash, Bytes: st}); err != nil {
			return err
		}
		return w.record(tx, audit.Entry{Type: audit.Roster, Action: string(kind), Actor: party(w.founder, "carol@example.com")})
	})
}

// proof signs alice's next proof; change may alter it before it is signed.
func (w *world) proof(act string, change ...func(*token.Proof)) (token.Proof, []byte) {
	w.t.Helper()
	w.proofs++
	p := token.Proof{
		JTI: token.ID{byte(w.proofs), 1}, IAT: w.now.Unix(), Exp: w.now.Unix() + 60, TeamFP: w.roster.TeamFP(),
		Operator: w.alice.Kid(), Act: act, Target: w.web1.Kid(), SessionID: w.session, Kind: "exec",
		Commitment: token.Command{Argv: []string{"uname", "-a"}}.Commitment(),
		RosterHead: w.roster.Head(), Checkpoint: w.checkpoint(), ActorSeq: w.proofs, ActorPrev: w.last,
	}
	for _, f := range change {
		f(&p)
	}
	b, err := token.SignProof(w.alice, p)
	w.must(err)
	env, err := envelope.Parse(b)
	w.must(err)
	w.last = envelope.Sum(env.InsecurePayload())
	return p, b
}

// asks gives apid's entry about a proof.
func (w *world) asks(kind audit.Type, act, effect string, change ...func(*token.Proof)) audit.Entry {
	w.t.Helper()
	p, b := w.proof(act, change...)
	return audit.Entry{
		Type: kind, Action: p.Kind, Actor: party(w.alice, "alice@example.com"), Target: audit.Party{Kid: p.Target, Name: "web-1"},
		SessionID: p.SessionID, Policy: audit.PolicyResult{Effect: effect, Rule: "sre-prod"},
		Command: audit.CommandContext{Commitment: p.Commitment}, Proof: b,
	}
}

// decides gives apid's entry about bob's decision.
func (w *world) decides(approve bool) audit.Entry {
	w.t.Helper()
	d := approval.Decision{ID: token.ID{7}, AskHash: envelope.Sum([]byte("ask")), Approver: w.bob.Kid(), Approve: approve, Decided: w.now.Unix(), SealedHash: envelope.Sum([]byte("sealed"))}
	action := "deny"
	if approve {
		d.UseUntil, action = w.now.Unix()+300, "approve"
	}
	b, err := approval.SignDecision(w.bob, d)
	w.must(err)
	return audit.Entry{
		Type: audit.Approval, Action: action, Actor: party(w.bob, "bob@example.com"), Target: party(w.web1, "web-1"),
		SessionID: w.session, Approvals: [][]byte{b},
	}
}

// own fills in what every entry of the agent's has.
func (w *world) own(kind audit.Type, actor audit.Party) audit.Entry {
	return audit.Entry{
		TeamFP: w.roster.TeamFP(), TeamID: teamID, Type: kind, Timestamp: w.now.Unix(), Actor: actor, Action: "exec",
		Target: party(w.web1, "web-1"), SessionID: w.session, RosterHead: w.roster.Head(),
	}
}

// agentSays signs and uploads an entry of the agent's.
func (w *world) agentSays(e audit.Entry) []byte {
	w.t.Helper()
	b, err := w.agent.Next(e)
	w.must(err)
	w.accept(b)
	return b
}

func (w *world) accept(b []byte) {
	w.t.Helper()
	w.tx(func(tx store.Tx) error {
		added, err := w.log.Accept(tx.Audit, w.roster, b)
		if err == nil && !added {
			err = fmt.Errorf("the entry was passed over")
		}
		return err
	})
}

// live is an ordinary day: a sign-in, an allowed command, a held one with its
// approval, a refusal.
func (w *world) live() *world {
	w.t.Helper()
	alice := party(w.alice, "alice@example.com")
	w.says(audit.Entry{Type: audit.SignIn, Action: "sign-in", Actor: alice})
	w.session = token.ID{1}
	w.says(w.asks(audit.Verdict, token.ActSession, "allow"))
	w.agentSays(w.own(audit.SessionStart, alice))
	w.agentSays(w.own(audit.Exec, alice))
	w.now = w.now.Add(time.Minute)
	end := w.own(audit.SessionEnd, party(w.web1, "web-1"))
	end.Outcome = audit.Outcome{Exit: 3}
	w.agentSays(end)
	w.session = token.ID{2}
	w.says(w.asks(audit.Ask, token.ActAsk, "hold"))
	w.says(w.decides(true))
	held := w.asks(audit.Verdict, token.ActSession, "allow")
	held.Approvals = w.decides(true).Approvals
	w.says(held)
	w.agentSays(w.own(audit.SessionStart, alice))
	w.says(audit.Entry{Type: audit.Refusal, Action: "request", Actor: alice, Outcome: audit.Outcome{Reason: "denied"}})
	return w
}

func (w *world) checkpoint() (note []byte) {
	w.t.Helper()
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) (err error) {
		_, note, err = tx.Audit.Checkpoint()
		return err
	}))
	return note
}

// export gives the export file.
func (w *world) export() []byte {
	w.t.Helper()
	var b bytes.Buffer
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) error {
		g, err := tx.Roster.Genesis()
		w.must(err)
		_, note, err := tx.Audit.Checkpoint()
		w.must(err)
		return audit.WriteExport(&b, audit.Export{
			Genesis: g.Bytes, Checkpoint: note,
			Statements: pages(func(after int) (out [][]byte, err error) {
				all, err := tx.Roster.Statements(uint64(after), 100)
				for _, s := range all {
					out = append(out, s.Bytes)
				}
				return out, err
			}),
			Entries: pages(func(from int) ([][]byte, error) { return tx.Audit.Entries(int64(from), 100) }),
		})
	}))
	return b.Bytes()
}

func pages(read func(from int) ([][]byte, error)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from := 0; ; {
			page, err := read(from)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, b := range page {
				if !yield(b, nil) {
					return
				}
			}
			from += len(page)
		}
	}
}

// A record is one record of an export.
type record struct {
	kind byte
	body []byte
}

const header = "tucdesk audit export v1\n"

// split takes an export apart, without its end record.
func split(t testing.TB, export []byte) (all []record) {
	t.Helper()
	b, ok := bytes.CutPrefix(export, []byte(header))
	if !ok {
		t.Fatal("no header")
	}
	for len(b) > 0 {
		n := 5 + int(binary.BigEndian.Uint32(b[1:5]))
		all = append(all, record{b[0], b[5:n]})
		b = b[n:]
	}
	return all[:len(all)-1]
}

// join puts an export together, with an end record that fits: what somebody
// does who alters a file on purpose.
func join(all []record) []byte {
	b := []byte(header)
	for _, r := range all {
		b = append(binary.BigEndian.AppendUint32(append(b, r.kind), uint32(len(r.body))), r.body...)
	}
	sum := sha256.Sum256(b)
	return append(binary.BigEndian.AppendUint32(append(b, 'Z'), sha256.Size), sum[:]...)
}

// verify verifies an export.
func verify(t testing.TB, export []byte, fp envelope.Hash, opts audit.Options) audit.Report {
	t.Helper()
	r, err := audit.Verify(bytes.NewReader(export), fp, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func model() store.Store { return new(storetest.Model) }

// smuggle signs an entry with any key and puts it into the log past all checks.
func (w *world) smuggle(id key.Identity, e audit.Entry) {
	w.t.Helper()
	var last audit.Link
	w.must(w.store.View(context.Background(), teamID, func(tx store.Tx) (err error) {
		last.Seq, last.Hash, err = tx.Audit.Chain("entry", id.Kid())
		return err
	}))
	b, err := audit.NewChain(id, last).Next(e)
	w.must(err)
	w.smuggleBytes(b)
}

func (w *world) smuggleBytes(b []byte) {
	w.t.Helper()
	w.tx(func(tx store.Tx) error {
		n, err := tx.Audit.Size()
		w.must(err)
		hashes, err := tlog.StoredHashes(n, b, tx.Audit)
		w.must(err)
		return tx.Audit.Append(n, b, hashes)
	})
}
