//go:build unix

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/agent/host/live"
	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// canary is a held command that leaves a trace if it runs.
func canary(t *testing.T) (argv []string, ran func() bool) {
	path := filepath.Join(t.TempDir(), "canary-of-the-held-command")
	return []string{"touch", path}, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
}

// The honest way: held, approved by bob, run once.
func TestApprovedRunsOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv, ran := canary(t)
	e := w.try(attempt{argv: argv})
	if e.answer.Effect != "hold" || e.answer.Rule != "commands.high" || e.answer.Line == 0 || !strings.Contains(e.answer.Reason, "role:approver") || ran() {
		t.Fatalf("not held: %+v", e)
	}
	w.idle() // its end is told before the next one's beginning
	approved := attempt{argv: argv, approve: w.approvedBy(w.bob)}
	if e = w.try(approved); e.exit.Code != 0 || e.err != nil || !e.answer.Allowed() || !ran() {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	for _, b := range w.evidence() {
		if len(b.Command.Sealed) == 0 {
			continue
		}
		plain, err := w.auditor.Open(b.Command.Sealed, token.MaxCommand)
		w.must(err)
		var c token.Command
		w.must(envelope.Unmarshal(plain, &c))
		if !slices.Equal(c.Argv, argv) || c.Commitment() != b.Command.Commitment {
			t.Errorf("the auditor reads %q", c.Argv)
		}
	}
	got := kinds(w.evidence())
	want := []string{"session-start/exec", "refusal/exec", "session-end/exec", "session-start/exec", "exec/start", "exec/exit", "session-end/exec"}
	if !slices.Equal(got, want) {
		t.Errorf("entries: %v", got)
	}
	if strings.Contains(w.logs.String(), "canary") {
		t.Error("the log holds the command")
	}
}

// A hold with steps: every step must be complete by people who are somebody else each,
// whatever the order of their signatures.
func TestStepsOfAHold(t *testing.T) {
	w := newWorld(t)
	steps := strings.Replace(fmt.Sprintf(testPolicy, w.user), `{approvers: ["role:approver"], quorum: 2, expires: 15m}`,
		`{steps: [{approvers: ["bob@*"]}, {all: [{approvers: ["beth@*"]}, {approvers: ["role:approver"]}]}]}`, 1)
	w.setPolicy(steps)
	w.start()
	argv, ran := canary(t)
	for _, tc := range []struct {
		by    []person
		waits string
	}{
		{[]person{w.bob}, "1 of 3"},
		{[]person{w.bob, w.beth}, "2 of 3"},
		{[]person{w.bob, w.bob2, w.beth}, "2 of 3"},
		{[]person{w.beth, w.alice}, "2 of 3"},
	} {
		e := w.try(attempt{by: &w.carl, argv: argv, approve: w.approvedBy(tc.by...)})
		if e.answer.Allowed() || ran() || !strings.Contains(e.answer.Reason, tc.waits) {
			t.Errorf("%d approvals: %+v, want %q", len(tc.by), e.answer, tc.waits)
		}
	}
	if e := w.try(attempt{by: &w.carl, argv: argv, approve: w.approvedBy(w.alice, w.beth, w.bob)}); !e.answer.Allowed() || !ran() {
		t.Errorf("all steps are complete: %+v\n%s", e, w.logs)
	}
	// Many enough, and not those who are asked for.
	w.setPolicy(strings.Replace(steps, `{approvers: ["beth@*"]}, {`, `{approvers: ["carol@*", "carl@*"]}, {`, 1))
	w.must(w.refreshAgent())
	argv, ran = canary(t)
	if e := w.try(attempt{by: &w.carl, argv: argv, approve: w.approvedBy(w.alice, w.beth, w.bob)}); e.answer.Allowed() || ran() ||
		!strings.Contains(e.answer.Reason, "waits for 1 of carol@*, carl@*") {
		t.Errorf("three of whom one is not asked for: %+v", e.answer)
	}
}

// One approval is one use: in the same process, after a restart, and with the
// same nonce under another session.
func TestApprovalIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv, ran := canary(t)
	nonce := token.NewID()
	again := func() attempt {
		return attempt{argv: argv,
			approve: w.approvedWith(func(a *approval.Approval) { a.Nonce = nonce }, w.bob),
		}
	}
	if e := w.try(again()); !e.answer.Allowed() || !ran() {
		t.Fatalf("%+v", e)
	}
	w.must(os.Remove(argv[1]))
	if e := w.try(again()); e.answer.Allowed() || ran() || !slices.Contains(w.logs.codes(), codeUsed) {
		t.Fatalf("second use: %+v", e)
	}
	w.stop()
	w.start()
	if e := w.try(again()); e.answer.Allowed() || ran() || !slices.Contains(w.logs.codes(), codeUsed) {
		t.Fatalf("second use after a restart: %+v", e)
	}
}

// A recorded offer, played again: at the running agent, at a restarted one.
func TestReplayedBundle(t *testing.T) {
	w := newWorld(t)
	w.start()
	if e := w.try(attempt{argv: []string{"true"}}); e.err != nil || !e.answer.Allowed() {
		t.Fatalf("%+v", e)
	}
	old := *w.last
	replay := func(when string) {
		t.Helper()
		// The session may still be in the middle of its end.
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			w.logs.codes()
			_, err := w.handler.Offer(context.Background(), old.offer)
			if err == nil {
				t.Fatalf("%s: answered", when)
			}
			codes := w.logs.codes()
			if slices.Contains(codes, codeUsed) {
				return
			}
			if !slices.Contains(codes, codeBusy) || time.Now().After(until) {
				t.Fatalf("%s: %v %v", when, err, codes)
			}
		}
	}
	replay("at the running agent")
	w.stop()
	w.start()
	replay("after a restart")
	// The clock set back does not help.
	w.stop()
	w.offset.Store(int64(-20 * time.Second))
	w.start()
	replay("after a restart with the clock set back")
}

// A stranger hears nothing, whatever is sent.
func TestSilenceToStrangers(t *testing.T) {
	w := newWorld(t)
	w.start()
	stranger := newPerson(t, "mallory", "sre")
	for name, a := range map[string]attempt{
		"unknown key": {by: &stranger},
		"signed by another than it says": {bundle: func(b *token.Bundle) {
			p, err := token.ParseProof(b.Proof)
			w.must(err)
			var body token.Proof
			w.must(p.InsecureDecode(&body))
			// alice's body, mallory's signature
			forged, err := envelope.Sign(token.Proof{}.Context(), body, stranger.key)
			w.must(err)
			b.Proof = forged
		}},
		"proof is garbage": {bundle: func(b *token.Bundle) { b.Proof = []byte("garbage") }},
		"grant is garbage": {bundle: func(b *token.Bundle) { b.Grant = []byte("garbage") }},
	} {
		a.argv = []string{"true"}
		if e := w.try(a); !e.silent {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for name, sealed := range map[string][]byte{"empty": nil, "garbage": []byte("x"), "too long": make([]byte, token.MaxSealedBundle+1)} {
		if _, err := w.handler.Offer(context.Background(), wire.SignalOffer{SessionID: token.NewID(), Exp: time.Now().Unix() + 10, Sealed: sealed}); err == nil {
			t.Errorf("%s bundle was answered", name)
		}
	}
	if got := w.evidence(); len(got) != 0 {
		t.Errorf("strangers made entries: %v", kinds(got))
	}
}

// A device that was revoked or has expired is told so, and its try is evidence.
func TestRevokedAndExpired(t *testing.T) {
	w := newWorld(t)
	old := newPerson(t, "olga", "sre")
	w.state(roster.KindMemberAdd, roster.MemberAdd{MemberID: old.id, Email: old.email, Roles: old.roles, Device: old.device(time.Now().Add(time.Second))})
	w.start()
	w.state(roster.KindRevoke, roster.Revoke{Kid: w.beth.key.Kid(), Reason: "lost"}) // the agent has not heard of it
	for until := time.Now().Add(1100 * time.Millisecond); time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond) // until olga's device has expired
	}
	for name, p := range map[string]person{"revoked": w.beth, "expired": old} {
		w.logs.codes()
		e := w.try(attempt{by: &p, argv: []string{"true"}})
		if codes := w.logs.codes(); !strings.HasPrefix(e.refused, "device:") || !slices.Equal(codes, []string{codeDevice}) {
			t.Errorf("%s: %+v %v", name, e, codes)
		}
	}
	entries := w.evidence()
	if got := kinds(entries); !slices.Equal(got, []string{"refusal/exec", "refusal/exec"}) {
		t.Errorf("%v", got)
	}
}

// Before the handshake: each is refused for its reason, and nothing runs.
func TestOffersThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.setPolicy(strings.Replace(string(policyDoc(w)), "default: low", "default: low # newer", 1))
	if err := w.refreshAgent(); err != nil {
		t.Fatal(err)
	}
	old, err := roster.Load(w.genesis, w.roster.Statements(0)[:w.roster.Head().Seq-1]...)
	w.must(err)
	other := newPerson(t, "other").key
	argv, ran := canary(t)
	ok := w.approvedBy(w.bob)
	for _, tc := range []struct {
		name string
		code string
		a    attempt
	}{
		{"proof for another agent", codeProof, attempt{proof: func(p *token.Proof) { p.Target = other.Kid() }}},
		{"proof of another team", codeProof, attempt{proof: func(p *token.Proof) { p.TeamFP[0] ^= 1 }}},
		{"proof to ask, not to start", codeProof, attempt{proof: func(p *token.Proof) { p.Act = token.ActAsk }}},
		{"proof expired", codeProof, attempt{proof: func(p *token.Proof) { p.IAT -= 61; p.Exp -= 61 }, grant: func(g *token.Grant) { g.IAT += 61; g.StartBy += 61 }}},
		{"proof from the future", codeProof, attempt{proof: func(p *token.Proof) { p.IAT += 100; p.Exp += 100 }}},
		{"proof of another session", codeProof, attempt{proof: func(p *token.Proof) { p.SessionID = token.NewID() }}},
		{"older roster", codeRoster, attempt{proof: func(p *token.Proof) { p.RosterHead = head(old) }}},
		{"a roster nobody knows", codeRoster, attempt{proof: func(p *token.Proof) { p.RosterHead.Seq += 5 }}},
		{"a fork of the roster", codeRoster, attempt{proof: func(p *token.Proof) { p.RosterHead.Hash[3] ^= 1 }}},
		{"older policy", codePolicy, attempt{proof: func(p *token.Proof) { p.PolicyHash = old.PolicyHash() }}},
		{"a kind policy denies", codePolicy, attempt{kind: "forward", proof: func(p *token.Proof) {}}},
		{"as root's other name", codePolicy, attempt{as: "toor"}},
		{"an sre of another rule", codePolicy, attempt{by: &w.beth}},
		{"grant by nobody's key", codeGrant, attempt{signer: &other}},
		{"grant by the operator", codeGrant, attempt{signer: &w.alice.key}},
		{"grant expired", codeGrant, attempt{grant: func(g *token.Grant) { g.IAT -= 100; g.StartBy -= 100 }}},
		{"session over", codeGrant, attempt{grant: func(g *token.Grant) { g.EndsBy = g.StartBy; g.IAT -= 60; g.StartBy -= 60; g.EndsBy -= 60 }}},
		{"relay not in the roster", codeRelay, attempt{bundle: func(b *token.Bundle) { b.Relay.Addr = "203.0.113.9:3478" }}},
		{"no relay", codeRelay, attempt{bundle: func(b *token.Bundle) { b.Relay = token.RelayAccess{} }}},
		{"relay name of another session", codeRelay, attempt{bundle: func(b *token.Bundle) {
			b.Relay.Username = cred.Name{Expiry: time.Now().Add(time.Hour), Session: [16]byte{1}, Side: cred.Agent}.String()
		}}},
		{"the operator's relay name", codeRelay, attempt{bundle: func(b *token.Bundle) {
			n, err := cred.ParseName(b.Relay.Username)
			w.must(err)
			n.Side = cred.Operator
			b.Relay.Username = n.String()
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.logs.codes()
			tc.a.argv, tc.a.approve = argv, ok
			if tc.a.kind != "" {
				tc.a.argv, tc.a.approve = []string{"x"}, nil
			}
			e := w.try(tc.a)
			if codes := w.logs.codes(); !slices.Equal(codes, []string{tc.code}) {
				t.Errorf("codes %v, want %s", codes, tc.code)
			}
			if e.answer.Effect != "" || !e.silent && e.refused == "" || ran() {
				t.Errorf("%+v ran=%v", e, ran())
			}
			if strings.Contains(e.refused, "sre-") || strings.Contains(e.refused, "alice") {
				t.Errorf("rendezvous reads %q", e.refused)
			}
		})
	}
	if e := w.try(attempt{argv: argv, approve: ok}); !e.answer.Allowed() || !ran() {
		t.Fatalf("the honest one, after all that: %+v\n%s", e, w.logs)
	}
	refusals := 0
	for _, e := range w.evidence() {
		if e.Type == "refusal" {
			refusals++
			if e.Outcome.Reason == "" || e.Actor.Kid.IsZero() || e.Target.Name != "web-1" {
				t.Errorf("%+v", e)
			}
		}
	}
	if refusals == 0 {
		t.Error("no refusal became an entry")
	}
}

// Every field of the grant that is not as the proof has it refuses. Reflection
// finds fields that are added later.
func TestEditedGrant(t *testing.T) {
	w := newWorld(t)
	w.start()
	free := map[string]bool{ // apid's own, with bounds of their own
		"V": true, "Effect": true, "Rule": true, "Approvals": true, "Nonce": true, "IAT": true, "StartBy": true, "EndsBy": true,
	}
	typ := reflect.TypeFor[token.Grant]()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		if free[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w.logs.codes()
			argv, ran := canary(t)
			e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob), grant: func(g *token.Grant) {
				f := reflect.ValueOf(g).Elem().Field(i)
				switch f.Kind() {
				case reflect.Array:
					f.Index(5).SetUint(f.Index(5).Uint() ^ 1)
				case reflect.Bool:
					f.SetBool(!f.Bool())
				case reflect.String:
					f.SetString("shell")
				default:
					t.Fatalf("a field of kind %v", f.Kind())
				}
			}})
			if codes := w.logs.codes(); !slices.Equal(codes, []string{codeGrant}) || ran() || e.refused == "" {
				t.Errorf("%v %+v", codes, e)
			}
		})
	}
}

// At the channel, and with the approvals: each is refused for its reason, and
// nothing runs.
func TestChannelsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv, ran := canary(t)
	by := func(change func(*approval.Approval), people ...person) func(approval.Approval) [][]byte {
		return w.approvedWith(change, people...)
	}
	other := newPerson(t, "other").key.Kid()
	for _, tc := range []struct {
		name string
		code string
		a    attempt
	}{
		{"another command than committed", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Argv = append(m.Argv, "/tmp/x") }}},
		{"another directory", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Cwd = "/" }}},
		{"another salt", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Salt[0] ^= 1 }}},
		{"another variable", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Env = [][2]string{{"A", "b"}} }}},
		{"another kind", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Kind = "shell" }}},
		{"a kind unknown", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Kind = "forward" }}},
		{"another user", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.As = "nobody" }}},
		{"a terminal nobody asked for", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.TTY = &channel.TTY{Cols: 80, Rows: 24} }}},
		{"an input nobody approved", codeRequest, attempt{approve: by(nil, w.bob), open: func(m *channel.OpenMessage) { m.Stdin = token.StdinStream }}},

		{"no approval", codePolicy, attempt{}},
		{"approval for another agent", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Agent = other }, w.bob)}},
		{"approval for another session", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.SessionID = token.NewID() }, w.bob)}},
		{"approval for another operator", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Operator = other }, w.bob)}},
		{"approval for another user", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.As = "root2" }, w.bob)}},
		{"approval for another kind", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Kind = "shell" }, w.bob)}},
		{"approval for another argv", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Command.Argv = []string{"touch", "/x"} }, w.bob)}},
		{"approval for another cwd", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Command.Cwd = "/" }, w.bob)}},
		{"approval for another env", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Command.Env = [][2]string{{"A", "b"}} }, w.bob)}},
		{"approval under another policy", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.PolicyHash[0] ^= 1 }, w.bob)}},
		{"approval of another team", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.TeamFP[0] ^= 1 }, w.bob)}},
		{"approval not in the grant", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.ID = token.NewID() }, w.bob)}},
		{"approval expired", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.Decided -= 900; a.UseUntil = a.Decided + 300 }, w.bob)}},
		{"approval on a roster unknown here", codeApproval, attempt{approve: by(func(a *approval.Approval) { a.RosterHead.Seq += 3 }, w.bob)}},
		{"approved by the requester", codeApproval, attempt{by: &w.alice, approve: func(a approval.Approval) [][]byte {
			a.Approver = w.alice.key.Kid()
			b, err := envelope.Sign(approval.Approval{}.Context(), a, w.alice.key)
			w.must(err)
			return [][]byte{b}
		}}},
		{"approved by nobody of the team", codeApproval, attempt{approve: by(nil, newPerson(t, "mallory", "approver"))}},
		{"approved by one who may not", codeApproval, attempt{approve: by(nil, w.carl)}},
		{"one good, one bad", codeApproval, attempt{approve: by(nil, w.bob, w.carl)}},
		{"two needed, one came", codeApproval, attempt{by: &w.carl, approve: by(nil, w.bob)}},
		{"two needed, one human twice", codeApproval, attempt{by: &w.carl, approve: by(nil, w.bob, w.bob2)}},
		{"garbage", codeApproval, attempt{approve: func(approval.Approval) [][]byte { return [][]byte{{1, 2, 3}} }}},

		{"critical", codePolicy, attempt{argv: []string{"mkfs.ext4", "/dev/null"}}},
		{"medium without a confirmation", codePolicy, attempt{argv: []string{"printf", "x"}}},
		{"a variable that changes programs", codeRequest, attempt{argv: []string{"id"}, env: [][2]string{{"LD_PRELOAD", "/tmp/x.so"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.logs.codes()
			if tc.a.argv == nil {
				tc.a.argv = argv
			}
			e := w.try(tc.a)
			if codes := w.logs.codes(); !slices.Equal(codes, []string{tc.code}) {
				t.Errorf("codes %v, want %s\n%s", codes, tc.code, w.logs)
			}
			if e.answer.Effect == "" || e.answer.Allowed() || e.answer.Reason == "" || ran() {
				t.Errorf("%+v ran=%v", e, ran())
			}
		})
	}
	// And what is in order runs.
	if e := w.try(attempt{argv: argv, by: &w.carl, approve: by(nil, w.bob, w.beth)}); !e.answer.Allowed() || !ran() {
		t.Errorf("two people: %+v\n%s", e, w.logs)
	}
	if e := w.try(attempt{argv: []string{"printf", "x"}, confirmed: true}); e.stdout != "x" {
		t.Errorf("confirmed: %+v", e)
	}
}

// An exec session runs its command once, however many channels it opens.
func TestOneCommandPerSession(t *testing.T) {
	w := newWorld(t)
	w.start()
	id, err := session.NewID()
	w.must(err)
	var first channel.OpenMessage
	w.try(attempt{argv: []string{"true"}, asker: &id, open: func(m *channel.OpenMessage) { first = *m }, drive: func(mux *channel.Mux, _ *channel.Channel) {
		ch, err := mux.Open(context.Background(), first)
		w.must(err)
		a, err := ch.AwaitAnswer(context.Background())
		if err != nil || a.Allowed() {
			t.Errorf("a second time: %+v %v", a, err)
		}
	}})
}

// An input whose hash was approved is the only one that reaches the command.
func TestBoundInput(t *testing.T) {
	w := newWorld(t)
	w.start()
	for _, tc := range []struct {
		input string
		ok    bool
	}{{"right", true}, {"wrong", false}, {strings.Repeat("x", live.MaxHashed+1), false}} {
		a := attempt{argv: []string{"wc", "-c"}, stdin: digest("right"), input: tc.input, approve: w.approvedBy(w.bob)}
		e := w.try(a)
		if got := strings.TrimSpace(e.stdout) == "5"; got != tc.ok || !tc.ok && (e.exit.Code != 126 || e.exit.Reason == "") {
			t.Errorf("%.9q: %+v", tc.input, e)
		}
	}
}

// The ledger, not memory, knows what was used: a fresh process on the same
// folder, with a nonce that was written and nothing else.
func TestUseSurvivesKill(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv, ran := canary(t)
	var nonce token.ID
	e := w.try(attempt{argv: argv, approve: func(a approval.Approval) [][]byte { nonce = a.Nonce; return w.approvedBy(w.bob)(a) }})
	if !e.answer.Allowed() || !ran() {
		t.Fatalf("%+v", e)
	}
	w.stop()
	w.must(os.Remove(argv[1]))
	w.must(removeRoster(w.dir)) // also with a lost roster
	w.start()
	w.logs.codes()
	e = w.try(attempt{argv: argv, approve: w.approvedWith(func(a *approval.Approval) { a.Nonce = nonce }, w.bob)})
	if e.answer.Allowed() || ran() || !slices.Contains(w.logs.codes(), codeUsed) {
		t.Fatalf("%+v", e)
	}
}

// Operator and agent compare rosters under their signatures: a server that
// shows each another one is found by the first session.
func TestSplitView(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv, ran := canary(t)
	e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob), evidence: func(e *session.Evidence) { e.RosterHash[0] ^= 1 }})
	if e.answer.Effect != "deny" || !strings.Contains(e.answer.Reason, "different rosters") || ran() {
		t.Errorf("%+v", e)
	}
	// A newer one than ours is no alarm, but a reason to look.
	if e := w.try(attempt{argv: argv, approve: w.approvedBy(w.bob), evidence: func(e *session.Evidence) { e.RosterSeq++ }}); !e.answer.Allowed() || !ran() {
		t.Errorf("%+v", e)
	}
}

// Whatever an operator asks on a channel, only the one message that proof and
// grant are about is taken; and any message that is taken is that one.
func TestDecideTakesOneMessage(t *testing.T) {
	w := newWorld(t)
	w.start()
	argv := []string{"echo", "one"}
	w.try(attempt{argv: argv, drive: func(*channel.Mux, *channel.Channel) {
		s := w.net.Inside.(*inside).sessions
		s.mu.Lock()
		var a *admission
		for _, l := range s.live {
			a = l.a
		}
		s.mu.Unlock()
		words := rapid.SampledFrom([]string{"echo", "one", "", "-e", "two", "\x00", "\xff", "echo one"})
		rapid.Check(t, func(rt *rapid.T) {
			m := channel.OpenMessage{
				Kind:  rapid.SampledFrom([]string{"exec", "shell", "copy", "EXEC", ""}).Draw(rt, "kind"),
				Argv:  rapid.SliceOfN(words, 0, 3).Draw(rt, "argv"),
				Cwd:   rapid.SampledFrom([]string{"", "/", "relative"}).Draw(rt, "cwd"),
				As:    rapid.SampledFrom([]string{"", w.user, "root", "\u202e"}).Draw(rt, "as"),
				Stdin: rapid.SampledFrom([]string{"", "none", "tty", "stream", "sha256:00"}).Draw(rt, "stdin"),
			}
			if rapid.Bool().Draw(rt, "env") {
				m.Env = [][2]string{{words.Draw(rt, "name"), "x"}}
			}
			if rapid.Bool().Draw(rt, "tty") {
				m.TTY = &channel.TTY{Cols: 80, Rows: 24}
			}
			// Without the salt nobody has the commitment.
			if _, no := s.checker.decide(context.Background(), a, m); no == nil {
				rt.Fatalf("taken: %+v", m)
			}
		})
	}})
}
