//go:build unix

package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/agent/host/uplink"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/direct"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	testRelay      = "127.0.0.1:3478"
	testRendezvous = "http://127.0.0.1:7001"
)

// testPolicy: low runs, medium is confirmed, high is held, critical denied.
const testPolicy = `version: 1
mode: allowlist
allowlist:
  - name: sre-staging
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [shell, exec]
    as: [%[1]s]
  - name: contractors
    members: ["role:contractor"]
    targets: {tags: {env: staging}}
    sessions: [exec]
    as: [%[1]s]
    hold: {approvers: ["role:approver"], quorum: 2, expires: 15m}
blocklist:
  - name: no-forward
    sessions: [forward]
commands:
  critical: ["mkfs* ..."]
  high: ["touch ...", "cp ...", "wc ..."]
  medium: ["printf ..."]
  default: low
  tiers: {critical: deny, high: hold, medium: confirm, low: allow}
approvers: {approvers: ["role:approver"], quorum: 1, expires: 15m}
gate: none
`

// A person has devices.
type person struct {
	id, email string
	roles     []string
	key       key.Identity
	unsealer  key.Unsealer
}

func (p person) device(exp time.Time) roster.DeviceBody {
	return roster.DeviceBody{Public: p.key.Public(), Recipient: p.unsealer.Recipient(), Exp: exp.Unix()}
}

// A world is a team, its servers faked in memory, and one agent.
type world struct {
	t      *testing.T
	dir    string
	offset atomic.Int64 // of the agent's clock, ns
	ahead  atomic.Int64 // of the clock of its team's roster, beyond that, ns
	logs   *logs

	admin, alice, bob, bob2, beth, carl person // bob2 is bob's second device; carl a contractor
	auditor                             key.Unsealer
	grantKey                            key.Identity
	agent                               key.Public
	agentTo                             key.Recipient
	user                                string

	mu        sync.Mutex
	genesis   []byte
	roster    *roster.Roster
	entries   [][]byte              // that the agent handed in
	manifests map[token.ID][][]byte // likewise
	segments  map[token.ID][][]byte
	maxSpool  int64
	gate      []string // arguments of the exec gate's shim
	errand    []string // arguments that lead to errand.Main
	apiErr    error    // what apid answers instead
	prove     func(older, newer int64) (tlog.TreeProof, error)
	ways      map[string]net.PacketConn
	nway      int
	handler   wire.AgentHandler
	net       *uplink.Uplink
	last      *signed
	forge     [][]byte // third messages that mallory sends before the true one
	onlyOffer bool     // stop after the second message

	floor  roster.Head // of the agent's first contact
	relay  string      // its address
	secret cred.Secret // shared with it

	stop func()
}

// signed is what an attempt sent, for replays.
type signed struct {
	offer  wire.SignalOffer
	hs3    []byte
	config session.InitiatorConfig
}

func newPerson(t *testing.T, id string, roles ...string) person {
	t.Helper()
	k, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	return person{id: id, email: id + "@example.com", roles: roles, key: k, unsealer: u}
}

func newWorld(t *testing.T) *world { return newWorldOn(t, testRelay, cred.NewSecret()) }

// newWorldOn makes a world with a relay at an address: testRelay is a fake one.
func newWorldOn(t *testing.T, relay string, secret cred.Secret) *world {
	t.Helper()
	w := &world{relay: relay, secret: secret, t: t, dir: filepath.Join(t.TempDir(), "agent"), logs: &logs{}, ways: map[string]net.PacketConn{}, manifests: map[token.ID][][]byte{}, segments: map[token.ID][][]byte{}}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	w.user = me.Username
	w.admin, w.alice = newPerson(t, "carol"), newPerson(t, "alice", "sre", "approver")
	w.bob, w.beth = newPerson(t, "bob", "approver"), newPerson(t, "beth", "approver")
	w.carl = newPerson(t, "carl", "contractor")
	w.bob2 = newPerson(t, "bob", "approver")
	w.grantKey = newPerson(t, "grant").key
	if w.auditor, err = key.GenerateUnsealer(); err != nil {
		t.Fatal(err)
	}
	if w.agent, w.agentTo, err = Keys(w.dir); err != nil {
		t.Fatal(err)
	}
	exp := time.Now().Add(90 * 24 * time.Hour)
	w.genesis, err = roster.Found(roster.Genesis{
		TeamID: "acme", Threshold: 1, Created: time.Now().Add(-time.Hour).Unix(),
		Admins: []roster.AdminDevice{{MemberID: w.admin.id, Email: w.admin.email, Device: w.admin.device(exp)}},
	}, w.admin.key)
	if err != nil {
		t.Fatal(err)
	}
	if w.roster, err = roster.Open(w.genesis); err != nil {
		t.Fatal(err)
	}
	for _, p := range []person{w.alice, w.bob, w.beth, w.carl} {
		w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: p.id, Email: p.email, Roles: p.roles, Device: p.device(exp)})
	}
	w.state(roster.KindDeviceAdd, roster.DeviceAdd{MemberID: "bob", Device: w.bob2.device(exp)})
	w.state(roster.KindAgentAdd, roster.AgentAdd{
		Name: "web-1", Public: w.agent, Recipient: w.agentTo, Tags: map[string]string{"env": "staging"},
		LoginUser: w.user, Exp: exp.Unix(),
	})
	w.state(roster.KindServerKeys, roster.ServerKeys{Grant: []key.Public{w.grantKey.Public()}, Relays: []string{w.relay}})
	w.state(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{w.auditor.Recipient()}})
	w.setPolicy(fmt.Sprintf(testPolicy, w.user))
	return w
}

// state adds a statement to the roster that apid serves.
func (w *world) state(k roster.Kind, body any) []byte {
	w.t.Helper()
	b, err := w.roster.Next(time.Now(), k, body, w.admin.key)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.roster.Apply(b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.roster = r
	w.mu.Unlock()
	return b
}

func (w *world) setPolicy(doc string) {
	w.t.Helper()
	w.state(roster.KindPolicySet, roster.PolicySet{
		Version: w.roster.PolicyVersion() + 1, Hash: envelope.Sum([]byte(doc)), Document: []byte(doc),
	})
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

func (w *world) config() Config {
	return Config{
		Dir: w.dir, Name: "web-1", TeamID: "acme", TeamFP: w.roster.TeamFP(), APIURL: "http://127.0.0.1:7000",
		RendezvousURL: testRendezvous, Floor: w.floor, Poll: time.Hour, Logger: slog.New(w.logs), Now: w.now, MaxSpool: w.maxSpool,
		Gate: w.gate, Errand: w.errand,
	}
}

// start runs the agent until it is registered. stop waits for its end.
func (w *world) start() {
	w.t.Helper()
	h, err := New(w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	h.api = fakeAPI{w}
	h.clock = func() time.Time { return h.c.Now().Add(time.Duration(w.ahead.Load())) }
	h.dial = w.dial
	h.open = func(n *uplink.Uplink) outside { w.net = n; return fakeOutside{network{n}, w} }
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-ended:
		w.t.Fatalf("the agent ended: %v", err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the agent's end: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
}

// dial is the rendezvous: it checks the registration and hands out the handler.
func (w *world) dial(ctx context.Context, p wire.Presence, h wire.AgentHandler) error {
	b, err := p.Register()
	if err != nil {
		return err
	}
	u, err := token.ParseRegistration(b)
	if err != nil {
		return err
	}
	if _, err := u.Verify(envelope.One(w.agent), token.ExpectRegistration{
		Now: time.Now(), TeamID: "acme", TeamFP: w.roster.TeamFP(), Audience: testRendezvous,
	}); err != nil {
		return err
	}
	w.mu.Lock()
	w.handler = h
	w.mu.Unlock()
	h.Welcome(wire.SignalWelcome{Time: time.Now().Unix(), HeadSeq: 1, HeadHash: w.roster.TeamFP(), Heartbeat: 15})
	<-ctx.Done()
	return ctx.Err()
}

type fakeAPI struct{ *world }

func (f fakeAPI) Roster(_ context.Context, team string, after uint64) (wire.RosterPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apiErr != nil || team != "acme" {
		return wire.RosterPage{}, errors.Join(wire.ErrUnavailable, f.apiErr)
	}
	return wire.RosterPage{Genesis: f.genesis, Statements: f.roster.Statements(after), Head: wire.Head(f.roster.Head())}, nil
}

func (f fakeAPI) PostEntries(_ context.Context, _ string, entries ...[]byte) (wire.EntriesAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apiErr != nil {
		return wire.EntriesAnswer{}, f.apiErr
	}
	f.entries = append(f.entries, entries...)
	return wire.EntriesAnswer{}, nil
}

func (f fakeAPI) Consistency(_ context.Context, _ string, older, newer int64) (tlog.TreeProof, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.prove == nil {
		return nil, wire.ErrUnavailable
	}
	return f.prove(older, newer)
}

func (f fakeAPI) PostManifest(context.Context, string, token.ID, []byte) (wire.SegmentAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return wire.SegmentAnswer{}, f.apiErr
}

func (f fakeAPI) PutSegment(_ context.Context, _ string, id token.ID, manifest, segment []byte) (wire.SegmentAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apiErr != nil {
		return wire.SegmentAnswer{}, f.apiErr
	}
	f.manifests[id] = append(f.manifests[id], manifest)
	f.segments[id] = append(f.segments[id], segment)
	return wire.SegmentAnswer{Stored: true}, nil
}

func (f fakeAPI) Upload(context.Context, string, []byte) error { return errors.New("no object store") }

type fakeOutside struct {
	network
	w *world
}

// fakeWay is the agent's end of a pipe in memory.
type fakeWay struct {
	net.PacketConn
	addr *net.UDPAddr
}

func (f fakeWay) LocalRelayed() net.Addr               { return f.addr }
func (fakeWay) Permit(context.Context, net.Addr) error { return nil }
func (fakeWay) Gather(context.Context) (direct.Attempt, error) {
	return nil, path.ErrNoDirect
}

func (f fakeOutside) OpenWay(ctx context.Context, relay string, c cred.Credential) (way, error) {
	if _, password, err := (cred.Ring{f.w.secret}).Check(c.Username, time.Now()); err != nil || c.Password != password || relay != f.w.relay {
		return nil, errors.New("relay refuses")
	}
	if relay != testRelay {
		return f.network.OpenWay(ctx, relay, c)
	}
	theirs, ours := memnet.PacketPipe(memnet.Options{})
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.nway++
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000 + f.w.nway}
	f.w.ways[addr.String()] = theirs
	return fakeWay{ours, addr}, nil
}

// An attempt is what an operator, honest or not, tries.
type attempt struct {
	by        *person // nil: alice
	kind      string  // "": exec
	as        string
	argv      []string
	cwd       string
	env       [][2]string
	bound     []token.Bound
	runbook   *runbook.Instance // of whose step it says to be
	stdin     string            // what the command says; "": none
	input     string            // what is sent
	tty       *channel.TTY
	confirmed bool
	asker     *session.ID // nil: a fresh session id
	approve   func(approval.Approval) [][]byte
	patience  time.Duration // 0: 20 s
	grace     time.Duration // of the operator's side
	evidence  func(*session.Evidence)

	proof  func(*token.Proof)
	signer *key.Identity // of the grant
	grant  func(*token.Grant)
	bundle func(*token.Bundle)
	open   func(*channel.OpenMessage)
	drive  func(*channel.Mux, *channel.Channel) // instead of reading to the exit
}

// An end is how an attempt ended.
type end struct {
	silent         bool
	refused        string // by way of rendezvous
	answer         channel.Answer
	stdout, stderr string
	exit           channel.Exit
	err            error
}

// try does the whole of it, as a client would.
func (w *world) try(a attempt) end {
	w.t.Helper()
	mux, ch, e := w.connect(a)
	if ch == nil {
		return e
	}
	defer mux.Close()
	if !e.answer.Allowed() {
		return e
	}
	if a.drive != nil {
		a.drive(mux, ch)
		return e
	}
	if a.stdin != "" {
		go func() {
			io.Copy(ch, strings.NewReader(a.input))
			ch.CloseWrite()
		}()
	}
	for {
		f, err := ch.ReadFrame()
		if err != nil {
			e.err = err
			return e
		}
		switch f.Type {
		case channel.FrameStdout:
			e.stdout += string(f.Payload)
		case channel.FrameStderr:
			e.stderr += string(f.Payload)
		case channel.FrameExit:
			e.exit, e.err = f.Exit()
			return e
		}
	}
}

// connect goes up to the answer to the channel. ch is nil before that.
func (w *world) connect(a attempt) (*channel.Mux, *channel.Channel, end) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(a.patience, 20*time.Second))
	defer cancel()
	by := w.alice
	if a.by != nil {
		by = *a.by
	}
	if a.kind == "" {
		a.kind = "exec"
	}
	id := session.ID(token.NewID())
	if a.asker != nil {
		id = *a.asker
	}
	c := token.Command{V: token.Version, Argv: a.argv, Cwd: a.cwd, Env: a.env, Bound: a.bound, Runbook: a.runbook, Stdin: token.StdinNone, Salt: token.NewID()}
	if a.stdin != "" {
		c.Stdin = a.stdin
	}
	if a.tty != nil {
		c.Stdin = token.StdinTTY
	}
	sealed, hash := w.seal(a, by, id, c)
	r := w.roster
	now := time.Now()
	said := session.Evidence{RosterSeq: r.Head().Seq, RosterHash: r.Head().Hash, Time: now.Truncate(time.Second)}
	if a.evidence != nil {
		a.evidence(&said)
	}
	config := session.InitiatorConfig{
		ID: id, Self: by.key, Peer: w.agent, TeamFP: r.TeamFP(), BundleHash: hash,
		Evidence: said,
	}
	in, hs1, err := session.Initiate(config)
	w.must(err)
	offer := wire.SignalOffer{SessionID: token.ID(id), Exp: now.Unix() + 10, Sealed: sealed, HS1: hs1, Candidate: "127.0.0.1:50000"}
	var mine *path.Relayed
	if w.relay != testRelay {
		mine, err = path.OpenRelay(ctx, w.relay, w.secret.Mint([16]byte(id), cred.Operator, now.Add(time.Hour)))
		w.must(err)
		offer.Candidate = mine.LocalRelayed().String()
	}
	w.last = &signed{offer: offer, config: config}
	answer, err := w.handler.Offer(ctx, offer)
	var refused *wire.RefuseError
	if errors.As(err, &refused) {
		return nil, nil, end{refused: refused.Reason}
	}
	if err != nil {
		return nil, nil, end{silent: true}
	}
	hs3, est, err := in.Consume(answer.HS2)
	w.must(err)
	w.last.hs3 = hs3
	w.mu.Lock()
	conn := w.ways[answer.Candidate]
	w.mu.Unlock()
	peer := net.Addr(&net.UDPAddr{})
	if mine != nil {
		to, err := netip.ParseAddrPort(answer.Candidate)
		w.must(err)
		conn, peer = mine, net.UDPAddrFromAddrPort(to)
		w.must(mine.Permit(ctx, peer))
	}
	if w.onlyOffer {
		est.Close()
		return nil, nil, end{}
	}
	for _, forged := range w.forge {
		w.handler.Finish(wire.SignalFinish{SessionID: token.ID(id), HS3: forged})
	}
	w.handler.Finish(wire.SignalFinish{SessionID: token.ID(id), HS3: hs3})
	mux, err := channel.Dial(ctx, conn, peer, est, channel.Options{Grace: a.grace})
	if err != nil {
		return nil, nil, end{err: err}
	}
	m := channel.OpenMessage{Kind: a.kind, Argv: c.Argv, Cwd: c.Cwd, Env: c.Env, As: a.as, TTY: a.tty, Stdin: c.Stdin, Bound: c.Bound, Runbook: c.Runbook, Salt: c.Salt}
	if a.open != nil {
		a.open(&m)
	}
	ch, err := mux.Open(ctx, m)
	if err != nil {
		mux.Close()
		return nil, nil, end{err: err}
	}
	ans, err := ch.AwaitAnswer(ctx)
	if err != nil {
		mux.Close()
		return nil, nil, end{err: err}
	}
	return mux, ch, end{answer: ans}
}

// seal makes the bundle that opens a session of command c, as a client and apid would.
func (w *world) seal(a attempt, by person, id session.ID, c token.Command) (sealed []byte, hash envelope.Hash) {
	w.t.Helper()
	r := w.roster
	now := time.Now()
	p := token.Proof{
		JTI: token.NewID(), IAT: now.Unix(), Exp: now.Unix() + 60, TeamFP: r.TeamFP(), Operator: by.key.Kid(),
		Act: token.ActSession, Target: w.agent.Kid(), SessionID: token.ID(id), Kind: a.kind, As: a.as,
		Commitment: c.Commitment(), Confirmed: a.confirmed, PolicyHash: r.PolicyHash(), RosterHead: head(r), ActorSeq: 1,
	}
	var approvals [][]byte
	var ids []token.ID
	if a.approve != nil {
		ap := approval.Approval{
			ID: token.NewID(), TeamFP: p.TeamFP, SessionID: p.SessionID, Agent: p.Target, Operator: p.Operator,
			Kind: p.Kind, As: p.As, Command: c, PolicyHash: p.PolicyHash, RosterHead: head(r),
			AskHash: envelope.Sum([]byte("ask")), Decided: now.Unix(), UseUntil: now.Add(5 * time.Minute).Unix(), Nonce: token.NewID(),
		}
		ids = []token.ID{ap.ID}
		approvals = a.approve(ap)
	}
	if a.proof != nil {
		a.proof(&p)
	}
	proof, err := token.SignProof(by.key, p)
	w.must(err)
	u, err := token.ParseProof(proof)
	w.must(err)
	vp, err := token.VerifySigned[token.Proof](u.Unverified, envelope.One(by.key.Public()))
	w.must(err)
	g := token.Grant{
		TeamFP: p.TeamFP, SessionID: p.SessionID, Operator: p.Operator, Agent: p.Target, Kind: p.Kind, As: p.As,
		Commitment: p.Commitment, Confirmed: p.Confirmed, Effect: "allow", PolicyHash: p.PolicyHash, Approvals: ids,
		ProofHash: vp.Hash(), Nonce: token.NewID(), IAT: p.IAT, StartBy: p.IAT + 60, EndsBy: p.IAT + 3600,
	}
	if a.grant != nil {
		a.grant(&g)
	}
	signer := w.grantKey
	if a.signer != nil {
		signer = *a.signer
	}
	grant, err := token.SignGrant(signer, g)
	w.must(err)
	access := w.secret.Mint([16]byte(id), cred.Agent, now.Add(time.Hour))
	b := token.Bundle{Proof: proof, Grant: grant, Approvals: approvals, Relay: token.RelayAccess{
		Addr: w.relay, Username: access.Username, Password: string(access.Password),
	}}
	if a.bundle != nil {
		a.bundle(&b)
	}
	sealed, hash, err = token.SealBundle(b, w.agentTo)
	w.must(err)
	return sealed, hash
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// approvedBy makes each person sign the approval.
func (w *world) approvedBy(people ...person) func(approval.Approval) [][]byte {
	return w.approvedWith(nil, people...)
}

func (w *world) approvedWith(change func(*approval.Approval), people ...person) func(approval.Approval) [][]byte {
	return func(a approval.Approval) (out [][]byte) {
		for _, p := range people {
			a := a
			a.Approver = p.key.Kid()
			if change != nil {
				change(&a)
			}
			b, err := approval.SignApproval(p.key, a)
			w.must(err)
			out = append(out, b)
		}
		return out
	}
}

// evidence waits until the agent has handed in what it owes, and gives it
// verified and checked for gaps.
func (w *world) evidence() (out []audit.Entry) {
	w.t.Helper()
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	var prev envelope.Hash
	for i, b := range w.entries {
		u, err := audit.ParseEntry(b)
		w.must(err)
		v, err := u.Verify(envelope.One(w.agent))
		w.must(err)
		e := v.Entry()
		if e.Signer.Seq != uint64(i+1) || e.Signer.Prev != prev {
			w.t.Fatalf("entry %d is number %d", i, e.Signer.Seq)
		}
		prev = v.Hash()
		out = append(out, e)
	}
	return out
}

// logs keeps what was logged.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
	code []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&l.text, " %s=%v", a.Key, a.Value)
		if a.Key == "code" {
			l.code = append(l.code, a.Value.String())
		}
		return true
	})
	l.text.WriteByte('\n')
	return nil
}

// codes gives the refusals since the last call.
func (l *logs) codes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.code
	l.code = nil
	return c
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func digest(s string) string {
	return token.StdinHash + envelope.Hash(sha256.Sum256([]byte(s))).String()
}

func kinds(entries []audit.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, string(e.Type)+"/"+e.Action)
	}
	return out
}

// policyDoc gives the policy document.
func policyDoc(w *world) []byte { return fmt.Appendf(nil, testPolicy, w.user) }

// refreshAgent makes the agent ask apid, as a poll would.
func (w *world) refreshAgent() error {
	return w.net.Refresh(context.Background())
}

// setAPI makes apid fail, or work again.
func (w *world) setAPI(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apiErr = err
}

// removeRoster loses the agent's roster, and keeps its ledger.
func removeRoster(dir string) error { return os.RemoveAll(filepath.Join(dir, "roster")) }

// confirmedBefore makes the agent's roster look confirmed that long ago.
func (w *world) confirmedBefore(d time.Duration) {
	w.ahead.Store(int64(d))
}

// idle waits until no session runs.
func (w *world) idle() {
	w.t.Helper()
	s := w.net.Inside.(*inside).sessions
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.live) + len(s.half)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(until) {
			w.t.Fatalf("%d sessions still run", n)
		}
	}
}
