//go:build unix

package cell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/cell/starts"
	"github.com/tucdesk/tucdesk/agent/host/halves"
	"github.com/tucdesk/tucdesk/agent/host/link"
	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/agent/host/process"
	"github.com/tucdesk/tucdesk/agent/host/recorder"
	"github.com/tucdesk/tucdesk/agent/host/ruling"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/gating"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
)

var discard = slog.New(slog.DiscardHandler)

// keeper is one that keeps what it was asked.
type keeper struct {
	key.Identity
	mu    sync.Mutex
	asked []string
	no    error
	sink  *memory

	lends  bool
	policy string
	loans  int
}

// Sign signs what a keeper signs, and nothing else.
func (k *keeper) Sign(context string, parts ...[]byte) key.Signature {
	sig, _ := session.SignResponder(k.Identity, context, parts...)
	return sig
}

func (k *keeper) ask(what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, what)
	return k.no
}

func (k *keeper) refuse(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.no = err
}

func (k *keeper) seen() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

func (k *keeper) Create() (recorder.Sink, error)                        { return k.sink, k.ask("create") }
func (k *keeper) Start(context.Context, session.Evidence) error         { return k.ask("start") }
func (k *keeper) Commit(_ context.Context, t live.Task) error           { return k.ask("commit") }
func (k *keeper) Refuse(t live.Task, code, reason string)               { k.ask("refuse " + code + " " + reason) }
func (k *keeper) Outcome(live.Task, process.Exit, string, []byte) error { return k.ask("outcome") }
func (k *keeper) End(_ process.Exit, reason string, _ envelope.Hash)    { k.ask("end " + reason) }
func (k *keeper) Away(_ context.Context, away bool) error               { return k.ask(fmt.Sprint("away ", away)) }
func (k *keeper) Attach(_ context.Context, b envelope.Hash, _ session.Evidence, m channel.OpenMessage) (channel.Answer, error) {
	return channel.Answer{Effect: channel.Allow, Rule: "back"}, k.ask(fmt.Sprintf("attach %d %s", b[0], m.Kind))
}
func (k *keeper) Decide(_ context.Context, m channel.OpenMessage) (live.Task, error) {
	return live.Task{
		ID: 7, User: "nobody", Record: recorder.On, Label: "label", Facts: []byte("facts"), Output: 5, Answer: channel.Answer{Effect: channel.Allow, Rule: "r", Line: 3},
	}, k.ask("decide " + strings.Join(m.Argv, " "))
}
func (k *keeper) Judge(_ context.Context, _ live.Task, s live.Start) live.Ruling {
	k.ask("judge " + strings.Join(s.Argv, " "))
	return live.Ruling{Effect: "hold", Tier: "high", Line: 4, Argv: s.Argv, Wait: time.Minute}
}
func (k *keeper) Permit(context.Context, live.Task, live.Start, live.Ruling, gating.Answer) error {
	return k.ask("permit")
}
func (k *keeper) Report(_ live.Task, _ live.Start, _ live.Ruling, o gating.State, _ string) {
	k.ask("report " + string(o))
}

func (k *keeper) Lend(has []byte) ruling.Loan {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loans++
	if !k.lends {
		return ruling.Nothing()
	}
	return ruling.Loan{
		Lent: true, Member: "alice@example.com", MemberID: "m", Roles: []string{}, Target: "web-1", Tags: map[string]string{}, LoginUser: "app",
		Kind: "shell", Document: []byte(k.policy),
	}
}

// What rules allow starts without a word to the keeper, while they are lent, and no
// longer; whatever else there is to say of a start says the keeper.
func TestLease(t *testing.T) {
	k := newKeeper(t)
	i, half, cut := joined(t, k)
	close(i.begun)
	asked := func(argv ...string) bool {
		t.Helper()
		before := len(k.seen())
		r := i.Judge(t.Context(), live.Task{ID: 7}, live.Start{Argv: argv, Cwd: "/", Files: []live.StartFile{{Path: "/bin/" + argv[0]}}})
		if now := len(k.seen()); (now > before) != (r.Effect == "hold") || now == before && r.Effect != "allow" {
			t.Fatalf("%q: %+v, asked %d times", argv, r, now-before)
		}
		return len(k.seen()) > before
	}
	lend := func(policy string) {
		k.mu.Lock()
		k.lends, k.policy, k.loans = policy != "", "version: 1\nmode: allowlist\nallowlist: [{name: r, members: ['*'], targets: {names: ['*']}, sessions: [shell, exec], as: [app]}]\n"+policy, 0
		k.mu.Unlock()
		half.Withdraw()
	}
	// until: the note goes its own way.
	until := func(asks bool, argv ...string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); asked(argv...) != asks; {
			if time.Now().After(end) {
				t.Fatalf("%q: asks is still %v", argv, !asks)
			}
		}
	}
	if !asked("ls") {
		t.Error("nothing is lent, and it starts")
	}
	lend("commands: {low: [ls, rm]}\n")
	until(false, "ls")
	for range 100 {
		i.Judge(t.Context(), live.Task{}, live.Start{Argv: []string{"ls"}, Cwd: "/", Files: []live.StartFile{{Path: "/bin/ls"}}})
	}
	k.mu.Lock()
	if k.loans > 10 {
		t.Errorf("asked for the rules %d times", k.loans)
	}
	k.mu.Unlock()
	if asked("rm") {
		t.Error("rm is low, and was asked about")
	}
	lend("commands: {high: [rm]}\n")
	until(true, "rm")
	cut()
	if r := i.Judge(t.Context(), live.Task{}, live.Start{Argv: []string{"ls"}, Cwd: "/", Files: []live.StartFile{{Path: "/bin/ls"}}}); r.Effect == "allow" {
		t.Error("there is no keeper, and it starts")
	}
}

// memory is a recording that knows offsets.
type memory struct {
	mu   sync.Mutex
	b    []byte
	done int
}

func (m *memory) Append(uint64, []byte) error { return errors.New("without an offset") }
func (m *memory) AppendAt(_ uint64, at int64, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at > int64(len(m.b)) {
		return errors.New("a gap")
	}
	m.b = append(m.b[:at], b...)
	return nil
}
func (m *memory) Sign(recording.Manifest) (envelope.Hash, error) {
	return envelope.Sum([]byte(m.text())), nil
}
func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	return nil
}
func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.b)
}
func (m *memory) closed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

func newKeeper(t testing.TB) *keeper {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{Identity: id, sink: &memory{}}
}

func newHalf(k live.Keeper, c *Config) *Half {
	return c.Adopted(k, live.Facts{ID: token.ID{1}}, secretHash(bytes.Repeat([]byte{7}, secretSize)), nil, func() {})
}

// joined gives a half's own side, and the keeper's, of one connection.
func joined(t testing.TB, k *keeper) (*inmate, *Half, func()) {
	t.Helper()
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := link.Unix(theirs)
	if err != nil {
		t.Fatal(err)
	}
	h := newHalf(k, &Config{Logger: discard})
	kc, ic := link.New(ours, options(true)), link.New(conn, options(false))
	i := newInmate(discard, func(*os.File) {})
	i.setup.Agent = k.Public()
	i.attach(ic)
	h.enter(kc, func() {}, version)
	var both sync.WaitGroup
	both.Go(func() { kc.Serve(&guest{h: h}) })
	both.Go(func() { ic.Serve(i); i.detach() })
	cut := func() { kc.End(link.ErrAway); both.Wait() }
	t.Cleanup(cut)
	return i, h, cut
}

// All that a half may ask comes through as it is, a no stays a no, and without a keeper
// everything is one.
func TestKeeper(t *testing.T) {
	k := newKeeper(t)
	i, _, cut := joined(t, k)
	sig := i.Sign("hs-agent", make([]byte, 32), make([]byte, 32))
	if !k.Public().Verify("hs-agent", sig, make([]byte, 32), make([]byte, 32)) {
		t.Error("the signature is another one")
	}
	task, err := i.Decide(t.Context(), channel.OpenMessage{Kind: "exec", Argv: []string{"ls", "-l"}})
	if err != nil || task.ID != 7 || task.User != "nobody" || task.Answer.Line != 3 || string(task.Facts) != "facts" {
		t.Errorf("%+v, %v", task, err)
	}
	if err := errors.Join(i.Start(t.Context(), session.Evidence{RosterSeq: 3, Time: time.Unix(5, 0)}), i.Commit(t.Context(), task), i.Outcome(task, process.Exit{Code: 3}, "", nil)); err != nil {
		t.Error(err)
	}
	i.Refuse(task, live.CodeHost, "no such user")
	odd := live.Start{Argv: []string{"\xff\x00odd"}, Cwd: "/", Env: [][2]string{{"A", "\xfe"}}, Files: []live.StartFile{{Path: "/bin/\xff", Owner: 1000, New: true}}}
	if r := i.Judge(t.Context(), task, odd); r.Effect != "hold" || r.Line != 4 || r.Wait != time.Minute || !reflect.DeepEqual(r.Argv, odd.Argv) {
		t.Errorf("%+v", r)
	}
	odd.Bound = []token.Bound{{Path: "/bin/x", Hash: envelope.Sum([]byte("x"))}}
	if got, err := starts.StartOf(odd).Live(); err != nil || !reflect.DeepEqual(got, odd) {
		t.Errorf("%+v became %+v, %v", odd, got, err)
	}
	if r := i.Judge(t.Context(), task, live.Start{Argv: []string{strings.Repeat("x", maxStart)}}); r.Effect != "" {
		t.Errorf("an endless start: %+v", r)
	}
	if err := i.Permit(t.Context(), task, odd, live.Ruling{}, gating.Answer{Bundle: []byte{}}); err != nil {
		t.Error(err)
	}
	i.Report(task, odd, live.Ruling{}, gating.Refused, "")
	if a, err := i.Attach(t.Context(), envelope.Hash{9}, session.Evidence{Time: time.Unix(5, 0)}, channel.OpenMessage{Kind: "shell"}); err != nil || a.Rule != "back" {
		t.Errorf("%+v, %v", a, err)
	}
	if err := i.Away(t.Context(), true); err != nil {
		t.Error(err)
	}
	shell, err := i.Guide(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	echo := make([]byte, 4)
	if _, err := shell.Write([]byte("keys")); err != nil {
		t.Error(err)
	}
	if _, err := shell.Read(echo); err != nil || string(echo) != "keys" {
		t.Errorf("the shell says %q, %v", echo, err)
	}
	shell.Close()
	sink, err := i.Create()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sink.Append(1, []byte("one ")), sink.Append(1, []byte("two"))); err != nil || k.sink.text() != "one two" {
		t.Errorf("%q, %v", k.sink.text(), err)
	}
	if hash, err := sink.Sign(recording.Manifest{N: 1}); err != nil || hash != envelope.Sum([]byte("one two")) {
		t.Error(hash, err)
	}
	if err := errors.Join(sink.Close(), sink.Close()); err != nil || k.sink.closed() != 1 {
		t.Errorf("closed %d times, %v", k.sink.closed(), err)
	}
	i.End(process.Exit{}, "over", envelope.Hash{})
	want := []string{"decide ls -l", "start", "commit", "outcome", "refuse host no such user", "judge \xff\x00odd", "permit", "report refused", "attach 9 shell", "away true", "guide 7", "create", "end over"}
	if got := k.seen(); !reflect.DeepEqual(got, want) {
		t.Errorf("asked\n%q, want\n%q", got, want)
	}
	k.refuse(&live.Refusal{Answer: channel.Answer{Effect: "deny", Rule: "rule", Reason: "no"}})
	for name, err := range map[string]error{
		"start": i.Start(t.Context(), session.Evidence{Time: time.Unix(5, 0)}), "commit": i.Commit(t.Context(), task), "decide": second(i.Decide(t.Context(), channel.OpenMessage{Kind: "exec"})),
		"attach": second(i.Attach(t.Context(), envelope.Hash{}, session.Evidence{Time: time.Unix(5, 0)}, channel.OpenMessage{Kind: "shell"})),
		"guide":  second(i.Guide(t.Context(), task)),
	} {
		var no *live.Refusal
		if !errors.As(err, &no) || no.Answer.Rule != "rule" || no.Answer.Allowed() {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.refuse(errors.New("a disk's error, with a path"))
	if err := i.Outcome(task, process.Exit{}, "", nil); !errors.Is(err, errNoDisk) {
		t.Errorf("%v", err)
	}
	cut()
	before := len(k.seen())
	for name, err := range map[string]error{
		"start": i.Start(t.Context(), session.Evidence{}), "commit": i.Commit(t.Context(), task), "decide": second(i.Decide(t.Context(), channel.OpenMessage{Kind: "exec"})),
		"attach": second(i.Attach(t.Context(), envelope.Hash{}, session.Evidence{Time: time.Unix(5, 0)}, channel.OpenMessage{Kind: "shell"})),
		"guide":  second(i.Guide(t.Context(), task)),
		"permit": i.Permit(canceled(t), task, odd, live.Ruling{}, gating.Answer{}), "create": second(i.Create()),
	} {
		if err == nil {
			t.Errorf("%s: allowed by nobody", name)
		}
	}
	if r := i.Judge(t.Context(), task, odd); r.Effect != "" {
		t.Errorf("judged by nobody: %+v", r)
	}
	if i.Sign("hs-agent", make([]byte, 32), make([]byte, 32)) != (key.Signature{}) || len(k.seen()) != before {
		t.Error("signed by nobody")
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func second[T any](_ T, err error) error { return err }

// What must be written waits for the next keeper, and is written once.
func TestInsists(t *testing.T) {
	first := newKeeper(t)
	i, _, cut := joined(t, first)
	sink, err := i.Create()
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Append(1, []byte("one ")); err != nil {
		t.Fatal(err)
	}
	cut()
	done := make(chan error, 3)
	// The answer to a start that is held, which came while the agent was started again.
	go func() {
		done <- i.Permit(t.Context(), live.Task{}, live.Start{}, live.Ruling{}, gating.Answer{Bundle: []byte{}})
	}()
	go func() { done <- sink.Append(1, []byte("two")) }()
	go func() { done <- i.Outcome(live.Task{ID: 9, Facts: []byte("f")}, process.Exit{Code: 1}, "", nil) }()
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := link.Unix(theirs)
	if err != nil {
		t.Fatal(err)
	}
	next := newKeeper(t)
	next.sink.b = []byte("one two") // the last answer was lost
	h := newHalf(next, &Config{Logger: discard})
	h.sink = next.sink
	kc, ic := link.New(ours, options(true)), link.New(conn, options(false))
	h.enter(kc, func() {}, version)
	go kc.Serve(&guest{h: h})
	go ic.Serve(i)
	t.Cleanup(func() { kc.End(link.ErrAway) })
	i.attach(ic)
	if err := errors.Join(<-done, <-done, <-done); err != nil {
		t.Fatal(err)
	}
	if next.sink.text() != "one two" || !slices.Contains(next.seen(), "outcome") || !slices.Contains(next.seen(), "permit") {
		t.Errorf("%q, asked %q", next.sink.text(), next.seen())
	}
}

// The door lets in who knows the secret of a session that is there, once, and nobody
// else; no path is too long for it.
func TestDoor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // as a half is started
	c := &Config{Door: filepath.Join(dir, "keeper"), Logger: discard, Program: Program{Logger: discard}}
	k := newKeeper(t)
	id, secret := token.ID{1}, bytes.Repeat([]byte{7}, secretSize)
	h := newHalf(k, c)
	d, err := c.Open(func(of token.ID) *Half {
		if of == id {
			return h
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if st, err := os.Stat(c.Door); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	knock := func(m helloCall) (*link.Conn, error) {
		t.Helper()
		conn, err := link.DialLocal(c.Door)
		if err != nil {
			t.Fatal(err)
		}
		l := link.New(conn, options(false))
		go l.Serve(newInmate(discard, func(*os.File) {}))
		t.Cleanup(func() { l.End(link.ErrAway) })
		files, err := l.Call(t.Context(), opHello, m, nil)
		link.CloseFiles(files)
		return l, err
	}
	for name, m := range map[string]struct {
		hello helloCall
		want  error
	}{
		"another session":   {helloCall{version, token.ID{2}, secret}, errOver},
		"a wrong secret":    {helloCall{version, id, bytes.Repeat([]byte{8}, secretSize)}, errOver},
		"no secret":         {helloCall{version, id, []byte{}}, errOver},
		"a later version":   {helloCall{version + 1, id, secret}, errVersion},
		"too old a version": {helloCall{oldVersion - 1, id, secret}, errVersion},
	} {
		l, err := knock(m.hello)
		if !errors.Is(err, m.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Call(t.Context(), opCommit, taskCall{1}, nil); err == nil {
			t.Errorf("%s: asks on", name)
		}
	}
	if h.now() != nil || len(k.seen()) != 0 {
		t.Fatal("somebody is in")
	}
	l, err := knock(helloCall{version, id, secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := knock(helloCall{version, id, secret}); !errors.Is(err, link.ErrBusy) {
		t.Errorf("twice: %v", err)
	}
	var v verdict
	if _, err := l.Call(t.Context(), opCommit, taskCall{1}, &v); err != nil || !v.Answer.Allowed() {
		t.Error(v, err)
	}
}

// FuzzKeeper holds that no call and no note of a half does more than SPEC.md says,
// whatever is in it, and that nobody asks anything before it has said who it is.
func FuzzKeeper(f *testing.F) {
	seed := func(note bool, o link.Op, v any) {
		b, err := link.Encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(note, byte(o), b)
	}
	start := starts.StartOf(live.Start{Argv: []string{"ls"}, Cwd: "/", Files: []live.StartFile{{Path: "/bin/ls", Names: []string{"ls"}}}})
	for o, v := range map[link.Op]any{
		opHello: helloCall{1, token.ID{1}, make([]byte, secretSize)}, opKeep: keepCall{1, "r", "u", "p", netip.MustParseAddrPort("192.0.0.8:1"), netip.MustParseAddrPort("192.0.0.8:2")},
		opSign: signCall{"hs-agent", [][]byte{{1}, {2}}}, opStart: evidenceMessage{Checkpoint: []byte{}}, opDecide: channel.OpenMessage{Kind: "exec", Argv: []string{"ls"}},
		opCommit: taskCall{1}, opRefuse: refuseCall{1, "host", "why"}, opOutcome: outcomeCall{1, []byte{}, 0, "", "", []byte{}}, opEnd: endCall{},
		opCreate: nil, opAppend: appendCall{1, 0, []byte("x")}, opSegment: segmentCall{}, opClosed: nil, opGather: attemptCall{1, 1},
		opConnect: connectCall{Way: 1, Attempt: 1}, opJudge: judgeCall{1, start}, opPermit: permitCall{1, start, starts.RulingOf(live.Ruling{}), gating.Answer{Bundle: []byte{}}},
		opReport: reportCall{1, start, starts.RulingOf(live.Ruling{}), "refused", ""}, opRules: rulesCall{make([]byte, 32)},
		opAttach: attachCall{Said: evidenceMessage{Checkpoint: []byte{}}, Open: channel.OpenMessage{Kind: "shell"}}, opAway: awayCall{true}, opGuide: taskCall{1},
	} {
		seed(false, o, v)
	}
	seed(true, opLeave, attemptCall{1, 2})
	seed(true, opClose, attemptCall{1, 0})
	f.Fuzz(func(t *testing.T, note bool, o byte, body []byte) {
		k := newKeeper(t)
		for _, g := range []*guest{{h: newHalf(k, &Config{Logger: discard})}, {}} {
			r := link.Request{Op: link.Op(o), Body: body}
			if note {
				if err := g.Note(r); err == nil && (g.h == nil || r.Op != opLeave && r.Op != opClose) {
					t.Fatalf("note %d was taken", o)
				}
				continue
			}
			a, err := g.Call(t.Context(), r)
			link.CloseFiles(a.Files)
			switch {
			case err == nil && (g.h == nil || r.Op < opSign || r.Op > opGuide):
				t.Fatalf("call %d was taken", o)
			case err == nil:
				if _, err := link.Encode(a.Body); err != nil {
					t.Fatalf("call %d: %v", o, err)
				}
			case errors.Is(err, link.ErrProtocol) && len(k.seen()) > 0:
				t.Fatalf("call %d was refused, and asked %q", o, k.seen())
			}
			if g.h == nil && len(k.seen()) > 0 {
				t.Fatalf("a stranger asked %q", k.seen())
			}
			k.mu.Lock()
			k.asked = nil
			k.mu.Unlock()
		}
	})
}

var _ net.PacketConn = (*way)(nil)
var _ Way = (*halves.Way)(nil)

func (k *keeper) Guide(_ context.Context, t live.Task) (net.Conn, error) {
	if err := k.ask(fmt.Sprint("guide ", t.ID)); err != nil {
		return nil, err
	}
	ours, theirs, err := link.Pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	shell, err := link.Unix(theirs)
	if err != nil {
		return nil, err
	}
	go func() { // a shell that says all it hears
		defer shell.Close()
		b := make([]byte, 64)
		for n, err := shell.Read(b); err == nil; n, err = shell.Read(b) {
			shell.Write(b[:n])
		}
	}()
	return ours, nil
}

// A path that was handed over, as far as its keeper needs it.
type handed struct {
	Way
	kept halves.Kept
}

func (h handed) Kept() halves.Kept     { return h.kept }
func (h handed) Done() <-chan struct{} { return nil }

// A keeper that has taken a session over knows of its half by which relay a resume goes.
func TestRelayOfAHalf(t *testing.T) {
	h := newHalf(newKeeper(t), &Config{Logger: discard})
	if r := h.Relay(); r != (token.RelayAccess{}) {
		t.Errorf("before there is a path: %v", r)
	}
	k := halves.Kept{Relay: "relay.example.com:3478", Cred: cred.Credential{Username: "name", Password: "word"}}
	h.setWay(1, handed{kept: k})
	if r := h.Relay(); r != (token.RelayAccess{Addr: k.Relay, Username: "name", Password: "word"}) {
		t.Errorf("%v", r)
	}
}
