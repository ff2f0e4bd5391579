package drills

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host"
	"github.com/tucdesk/tucdesk/apid/api"
	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

const teamID = "acme"

// worldPolicy lets operators run what is harmless, holds touch and refuses mkdir:
// the three kinds of canary.
const worldPolicy = `version: 1
mode: allowlist
allowlist:
  - name: sre-staging
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [shell, exec]
    as: [%q]
commands:
  critical: ["mkdir ..."]
  high: ["touch ..."]
  default: low
  tiers: {critical: deny, high: hold, medium: confirm, low: allow}
approvers: {approvers: ["role:approver"], quorum: 1, expires: 15m}
gate: none
max_session: 1h
`

// A world is a team with all its servers in the hands of one attacker, who has
// every key that servers have. They do their work until a drill has them do
// something else.
type world struct {
	t      testing.TB
	dir    string
	drill  *drill
	policy string

	grantKey, tokenKey, logKey, meetKey key.Identity
	relaySecret                         cred.Secret
	database                            string // the file
	store                               *sqlite.Store
	marks                               *marks.Book // what apid has signed, which it keeps elsewhere
	apid                                *apid
	apidLogs                            logs
	meet                                *meet
	relayAddr                           string
	fp                                  envelope.Hash

	homes    map[string]*profile.Home
	machines map[string]*machine

	mu        sync.Mutex
	seen      bytes.Buffer // all that has passed the servers
	datagrams func([]byte) [][]byte
	canaries  []canary
	alarms    []string // that honest clients have raised
}

// alarm waits for an alarm of a person's client, and gives it.
func (w *world) alarm(name string) (said string) {
	w.t.Helper()
	w.until(name+"'s client raises an alarm", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range w.alarms {
			if strings.HasPrefix(a, name+": ") {
				said = a
			}
		}
		return said != ""
	})
	return said
}

// A machine is one honest agent.
type machine struct {
	name string
	kid  key.Kid
	dir  string
	logs logs
	stop func()
}

// newWorld founds a team, enrols people and machines, and starts everything.
func newWorld(t testing.TB, d *drill) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), drill: d, homes: map[string]*profile.Home{}, machines: map[string]*machine{}}
	for _, id := range []*key.Identity{&w.grantKey, &w.tokenKey, &w.logKey, &w.meetKey} {
		*id = w.identity()
	}
	w.relaySecret = cred.NewSecret()
	w.startRelay()
	w.meet = newMeet(w)
	w.database = filepath.Join(w.dir, "tucdesk.db")
	w.forgetMarks()
	w.apid = &apid{w: w, tricks: map[string]trick{}}
	w.apid.url = w.serve(w.apid)
	w.openAPI()
	t.Cleanup(func() { w.store.Close() })
	w.found()
	for _, name := range []string{"web-1", "web-2"} {
		w.startAgent(name)
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) identity() key.Identity {
	id, err := key.GenerateIdentity()
	w.must(err)
	return id
}

// saw keeps what has passed a server.
func (w *world) saw(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(b)
}

// serve serves h on loopback until the test ends, and gives its URL.
func (w *world) serve(h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	ended := make(chan struct{})
	go func() { srv.Serve(l); close(ended) }()
	w.t.Cleanup(func() { srv.Close(); <-ended })
	return "http://" + l.Addr().String()
}

// openAPI opens the database and makes apid on it: at the start, and after
// somebody has written into the file.
func (w *world) openAPI() {
	w.t.Helper()
	var err error
	w.store, err = sqlite.Open(context.Background(), w.database)
	w.must(err)
	server, err := api.New(api.Config{
		URL: w.apid.url, Listen: strings.TrimPrefix(w.apid.url, "http://"),
		Keys:        keys.Set{Grant: keys.Ring{w.grantKey}, Token: keys.Ring{w.tokenKey}, Log: keys.Ring{w.logKey}, Rendezvous: []key.Public{w.meetKey.Public()}},
		RelaySecret: w.relaySecret, RelayAddrs: []string{w.relayAddr}, RendezvousURL: w.meet.url,
		Presence: everybodyOnline{}, Store: w.store, Marks: w.marks, Founding: api.FoundingFirst,
		Logger: slog.New(slog.NewTextHandler(&w.apidLogs, nil)),
	})
	w.must(err)
	w.apid.use(server.Handler())
}

// forgetMarks takes away what apid remembers outside its database.
func (w *world) forgetMarks() {
	var err error
	w.marks, err = marks.Open("")
	w.must(err)
}

// everybodyOnline spares the drills the registry.
type everybodyOnline struct{}

func (everybodyOnline) States(_ context.Context, _ string, kids []key.Kid) ([]wire.AgentState, error) {
	states := make([]wire.AgentState, len(kids))
	for i, k := range kids {
		states[i] = wire.AgentState{Kid: k, State: wire.Online}
	}
	return states, nil
}

// startRelay runs the true relay behind a socket of the attacker's.
func (w *world) startRelay() {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	w.must(err)
	w.relayAddr = c.LocalAddr().String()
	server, err := relay.New(relay.Config{Listen: w.relayAddr, UDPOnly: true, Secret: w.relaySecret, ListenPacket: func(string, string) (net.PacketConn, error) {
		return &badSocket{c, w}, nil
	}})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() {}) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the relay ended with: %v", err)
		}
	})
}

// A badSocket shows all datagrams to the attacker, who may send others instead.
type badSocket struct {
	net.PacketConn
	w *world
}

func (s *badSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.PacketConn.ReadFrom(p)
	s.w.saw(p[:n])
	return n, from, err
}

func (s *badSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	s.w.saw(p)
	s.w.mu.Lock()
	instead := s.w.datagrams
	s.w.mu.Unlock()
	if instead == nil {
		return s.PacketConn.WriteTo(p, to)
	}
	for _, b := range instead(bytes.Clone(p)) {
		if _, err := s.PacketConn.WriteTo(b, to); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// found makes the team: carol is its founder and only admin.
func (w *world) found() {
	w.t.Helper()
	me, err := user.Current()
	w.must(err)
	for _, name := range []string{"alice", "beth", "bob", "carol", "dora"} {
		w.homes[name], err = profile.Create(filepath.Join(w.dir, name))
		w.must(err)
	}
	carol := w.homes["carol"]
	genesis, err := roster.Found(roster.Genesis{
		TeamID: teamID, Threshold: 1, Created: time.Now().Add(-time.Hour).Unix(), Demo: true,
		Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com", Roles: []string{}, Device: w.device("carol")}},
	}, carol.Identity)
	w.must(err)
	r, err := roster.Open(genesis)
	w.must(err)
	w.fp = r.TeamFP()
	for _, h := range w.homes {
		w.must(h.Enrol(profile.Profile{API: w.apid.url, Rendezvous: w.meet.url, TeamFP: w.fp, TeamID: teamID}, genesis))
	}
	_, err = w.client("carol").Found(context.Background(), genesis)
	w.must(err)
	w.publish(roster.KindServerKeys, roster.ServerKeys{
		Grant: []key.Public{w.grantKey.Public()}, Token: []key.Public{w.tokenKey.Public()}, Log: []key.Public{w.logKey.Public()},
		Rendezvous: []key.Public{w.meetKey.Public()}, Relays: []string{w.relayAddr},
	})
	for name, role := range map[string]string{"alice": "sre", "beth": "sre", "bob": "approver", "dora": "auditor"} {
		w.publish(roster.KindMemberAdd, roster.MemberAdd{MemberID: name, Email: name + "@example.com", Roles: []string{role}, Device: w.device(name)})
	}
	w.publish(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{w.homes["dora"].Unsealer.Recipient()}})
	for _, name := range []string{"web-1", "web-2"} {
		m := &machine{name: name, dir: filepath.Join(w.dir, name)}
		public, recipient, err := host.Keys(m.dir)
		w.must(err)
		m.kid = public.Kid()
		w.machines[name] = m
		w.publish(roster.KindAgentAdd, roster.AgentAdd{
			Name: name, Public: public, Recipient: recipient, Tags: map[string]string{"env": "staging"},
			LoginUser: me.Username, Exp: time.Now().Add(24 * time.Hour).Unix(),
		})
	}
	w.policy = fmt.Sprintf(worldPolicy, me.Username)
	w.setPolicy(w.policy)
	for _, h := range w.homes {
		_, err := h.Learn(carol.Roster().Statements(0))
		w.must(err)
	}
}

func (w *world) device(name string) roster.DeviceBody {
	h := w.homes[name]
	return roster.DeviceBody{Public: h.Identity.Public(), Recipient: h.Unsealer.Recipient(), Exp: time.Now().Add(24 * time.Hour).Unix()}
}

func (w *world) client(name string) *wire.Client {
	c, err := wire.NewClient(wire.Options{URL: w.apid.url, TeamID: teamID, Identity: w.homes[name].Identity})
	w.must(err)
	w.t.Cleanup(c.CloseIdle)
	return c
}

// sign has carol sign a statement on top of what she knows.
func (w *world) sign(k roster.Kind, body any) []byte {
	w.t.Helper()
	carol := w.homes["carol"]
	b, err := carol.Roster().Next(time.Now(), k, body, carol.Identity)
	w.must(err)
	return b
}

// publish has carol sign a statement and give it to apid. Nobody is told.
func (w *world) publish(k roster.Kind, body any) []byte {
	w.t.Helper()
	b := w.sign(k, body)
	_, err := w.client("carol").AppendStatements(context.Background(), b)
	w.must(err)
	_, err = w.homes["carol"].Learn([][]byte{b})
	w.must(err)
	return b
}

func (w *world) setPolicy(doc string) []byte {
	return w.publish(roster.KindPolicySet, w.policySet(doc))
}

func (w *world) policySet(doc string) roster.PolicySet {
	return roster.PolicySet{
		Version: w.homes["carol"].Roster().PolicyVersion() + 1, Hash: envelope.Sum([]byte(doc)), Document: []byte(doc),
	}
}

// startAgent runs a machine's agent until it is registered.
func (w *world) startAgent(name string) {
	w.t.Helper()
	m := w.machines[name]
	h, err := host.New(host.Config{
		Dir: m.dir, Name: name, TeamID: teamID, TeamFP: w.fp, APIURL: w.apid.url, RendezvousURL: w.meet.url,
		Demo: true, Poll: time.Hour, Logger: slog.New(slog.NewTextHandler(&m.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.Run(ctx, sync.OnceFunc(func() { close(up) })) }()
	select {
	case <-up:
	case err := <-ended:
		w.t.Fatalf("the agent of %s ended: %v\n%s", name, err, m.logs.String())
	case <-time.After(time.Minute):
		w.t.Fatalf("the agent of %s is not registered after a minute\n%s", name, m.logs.String())
	}
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the agent of %s ended with: %v", name, err)
		}
	})
	w.t.Cleanup(m.stop)
}

// logs keeps what a machine logs: what its owner would read.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the machine has logged a text.
func (m *machine) await(w *world, text string) string {
	w.t.Helper()
	w.until(m.name+" logs "+text, func() bool { return strings.Contains(m.logs.String(), text) })
	return lineWith(m.logs.String(), text)
}

// lineWith gives the first line that holds a text; empty if none does.
func lineWith(lines, text string) string {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// until waits for something that must come.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("did not happen in 20 s: %s", what)
		}
	}
}

// A canary is a path on the machine that commands touch.
type canary struct {
	path  string
	times int // that it may be touched
}

// canary makes one that may be touched so many times. What has touched it more
// often when the drill is over is the drill's failure.
func (w *world) canary(times int) canary {
	c := canary{filepath.Join(w.t.TempDir(), "canary-"+fmt.Sprint(len(w.canaries))), times}
	w.canaries = append(w.canaries, c)
	return c
}

func (c canary) low() []string    { return []string{"sh", "-c", "echo ran >> " + c.path} }
func (c canary) held() []string   { return []string{"touch", c.path} }
func (c canary) denied() []string { return []string{"mkdir", c.path} }

func (c canary) touched() int {
	b, err := os.ReadFile(c.path)
	if err != nil {
		if _, err := os.Stat(c.path); err == nil {
			return 1 // a folder
		}
		return 0
	}
	return max(1, bytes.Count(b, []byte("\n")))
}

// verdict looks at the canaries.
func (w *world) verdict() {
	w.t.Helper()
	for _, c := range w.canaries {
		if n := c.touched(); n > c.times {
			w.t.Errorf("MUST NOT HAPPEN: a canary was touched %d times, allowed are %d", n, c.times)
		}
	}
}

// An operator is the honest client of one person.
type operator struct {
	*control.Backend
	w *world
}

// as opens the honest client of a person, as a fresh process would.
func (w *world) as(name string) operator {
	w.t.Helper()
	home, err := profile.Open(filepath.Join(w.dir, name))
	w.must(err)
	b, err := control.New(home, nil)
	w.must(err)
	b.UsePath(control.RelayOnly) // what passes is to pass the attacker
	b.OnAlarm(func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.alarms = append(w.alarms, name+": "+err.Error())
	})
	w.t.Cleanup(func() { b.Close() })
	return operator{b, w}
}

func (w *world) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 45*time.Second)
}

// open opens a terminal that runs a command.
func (o operator) open(target string, argv []string, id backend.ApprovalID) (backend.Terminal, error) {
	ctx, cancel := o.w.context()
	defer cancel()
	return o.Open(ctx, backend.OpenRequest{Target: backend.TargetID(target), Kind: backend.KindExec, Argv: argv, Approval: id})
}

// run runs a command to its end and gives what it printed.
func (o operator) run(target string, argv []string) (string, error) {
	return o.use(target, argv, "")
}

func (o operator) use(target string, argv []string, id backend.ApprovalID) (string, error) {
	t, err := o.open(target, argv, id)
	if err != nil {
		return "", err
	}
	defer t.Close()
	if c, ok := backend.TerminalAs[backend.HalfCloser](t); ok {
		c.CloseWrite()
	}
	out, err := io.ReadAll(t)
	if err != nil {
		return string(out), err
	}
	exit, err := t.Wait()
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("exit code %d %s", exit.Code, exit.Reason)
	}
	return string(out), err
}

// ask files a held command.
func (o operator) ask(target string, argv []string) backend.ApprovalID {
	o.w.t.Helper()
	ctx, cancel := o.w.context()
	defer cancel()
	id, err := o.Ask(ctx, backend.OpenRequest{Target: backend.TargetID(target), Kind: backend.KindExec, Argv: argv, Reason: "a drill"})
	o.w.must(err)
	return id
}

func (o operator) await(id backend.ApprovalID) error {
	ctx, cancel := o.w.context()
	defer cancel()
	return o.Await(ctx, id)
}

func (o operator) decide(id backend.ApprovalID) error {
	ctx, cancel := o.w.context()
	defer cancel()
	for _, err := range o.Pending(ctx) { // nobody decides what they have not seen
		if err != nil {
			return err
		}
	}
	return o.Decide(ctx, id, backend.Decision{Approve: true})
}

// fine runs a harmless command: the world works.
func (o operator) fine(target string) {
	o.w.t.Helper()
	if out, err := o.run(target, []string{"echo", "fine"}); err != nil || out != "fine\n" {
		o.w.t.Fatalf("the honest way to %s: %q %v\n%s", target, out, err, o.w.machines[target].logs.String())
	}
}

// said gives an error's text; none is a failure.
func (w *world) said(err error) string {
	w.t.Helper()
	if err == nil {
		w.t.Error("MUST NOT HAPPEN: the attack went through, and nobody said anything")
		return ""
	}
	return err.Error()
}
