package approval

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/runbook"
	"github.com/tucdesk/tucdesk/internal/token"
)

var now = time.Unix(1_795_000_000, 0)

func identity(n byte) key.Identity { return key.IdentityFromSeed([32]byte{n, 2}) }

// The devices of these tests. bob has two; alice asks.
var (
	alice, alice2 = identity(1), identity(2)
	bob, bob2     = identity(3), identity(4)
	carol, dave   = identity(5), identity(6)
	eve           = identity(7) // a member who may not decide
	agent         = identity(8)
)

var members = map[key.Kid]string{
	alice.Kid(): "alice", alice2.Kid(): "alice", bob.Kid(): "bob", bob2.Kid(): "bob",
	carol.Kid(): "carol", dave.Kid(): "dave", eve.Kid(): "eve",
}

func eligible(k key.Kid) (string, bool) {
	m, ok := members[k]
	return m, ok && m != "eve"
}

func keys(k key.Kid) (key.Public, bool) {
	for _, id := range []key.Identity{alice, alice2, bob, bob2, carol, dave, eve} {
		if id.Kid() == k {
			return id.Public(), true
		}
	}
	return key.Public{}, false
}

var head = token.Head{Seq: 7, Hash: envelope.Sum([]byte("head"))}

func goodAsk() Ask {
	return Ask{
		V: token.Version, ID: token.ID{1}, TeamFP: envelope.Sum([]byte("team")), SessionID: token.ID{2}, Agent: agent.Kid(),
		AgentName: "web-1", Operator: alice.Kid(), Kind: "exec", As: "deploy",
		Command: token.Command{V: token.Version, Argv: []string{"systemctl", "restart", "nginx"}, Stdin: token.StdinNone, Salt: token.ID{3}},
		Tier:    "high", Rule: "sre-prod", PolicyHash: envelope.Sum([]byte("policy")), RosterHead: head, Reason: "it hangs",
		Created: now.Unix(), AskUntil: now.Add(15 * time.Minute).Unix(), Nonce: token.ID{4},
	}
}

func verifiedAsk(t testing.TB) VerifiedAsk {
	t.Helper()
	b, err := SignAsk(alice, goodAsk())
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseAsk(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Verify(keys, goodAsk().TeamFP, now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func approve(t testing.TB, by key.Identity, change func(*Approval)) VerifiedApproval {
	t.Helper()
	a := verifiedAsk(t).Approve(by.Kid(), head, now, now.Add(5*time.Minute))
	if change != nil {
		change(&a)
	}
	b, err := SignApproval(by, a)
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseApproval(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Verify(keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func goodWant() Want {
	a := goodAsk()
	return Want{
		TeamFP: a.TeamFP, SessionID: a.SessionID, Agent: a.Agent, Operator: a.Operator, Requester: "alice", Kind: a.Kind, As: a.As,
		Command: a.Command, PolicyHash: a.PolicyHash, Granted: []token.ID{a.ID}, Quorum: 1, Enough: func([]string) error { return nil }, Eligible: eligible,
		HeadKnown: func(h token.Head) bool { return h == head }, Now: now.Add(time.Minute),
	}
}

// missing wants dave among those who have approved.
func missing(members []string) error {
	if !slices.Contains(members, "dave") {
		return errors.New("waits for dave")
	}
	return nil
}

func TestCheck(t *testing.T) {
	one := []VerifiedApproval{approve(t, bob, nil)}
	two := append(one, approve(t, carol, nil))
	same := func(*Want) {}
	for _, c := range []struct {
		name      string
		approvals []VerifiedApproval
		change    func(*Want)
		want      error
	}{
		{"one of one", one, same, nil},
		{"two of one", two, same, nil},
		{"two of two", two, func(w *Want) { w.Quorum = 2 }, nil},
		{"last second", one, func(w *Want) { w.Now = now.Add(5 * time.Minute) }, nil},
		{"none", nil, same, ErrQuorum},
		{"one of two", one, func(w *Want) { w.Quorum = 2 }, ErrQuorum},
		{"one human, two devices", []VerifiedApproval{approve(t, bob, nil), approve(t, bob2, nil)}, func(w *Want) { w.Quorum = 2 }, ErrQuorum},
		{"one approval twice", append(one, one[0]), func(w *Want) { w.Quorum = 2 }, ErrQuorum},
		{"the requester's other device", []VerifiedApproval{approve(t, alice2, nil)}, same, ErrSelf},
		{"the requester among others", append(two, approve(t, alice2, nil)), same, ErrSelf},
		{"a member who may not", []VerifiedApproval{approve(t, eve, nil)}, same, ErrNotEligible},
		{"one who may not among others", append(two, approve(t, eve, nil)), same, ErrNotEligible},
		{"eligible without a name", one, func(w *Want) { w.Eligible = func(key.Kid) (string, bool) { return "", true } }, ErrNotEligible},
		{"another team", one, func(w *Want) { w.TeamFP = envelope.Sum(nil) }, ErrMismatch},
		{"another session", one, func(w *Want) { w.SessionID = token.ID{99} }, ErrMismatch},
		{"another agent", one, func(w *Want) { w.Agent = bob.Kid() }, ErrMismatch},
		{"another operator", one, func(w *Want) { w.Operator = dave.Kid() }, ErrMismatch},
		{"another device of the operator", one, func(w *Want) { w.Operator = alice2.Kid() }, ErrMismatch},
		{"another kind", one, func(w *Want) { w.Kind = "shell" }, ErrMismatch},
		{"another as", one, func(w *Want) { w.As = "root" }, ErrMismatch},
		{"the default as", one, func(w *Want) { w.As = "" }, ErrMismatch},
		{"another policy", one, func(w *Want) { w.PolicyHash = envelope.Sum(nil) }, ErrMismatch},
		{"another argv", one, func(w *Want) { w.Command.Argv = []string{"systemctl", "stop", "nginx"} }, ErrMismatch},
		{"argv cut elsewhere", one, func(w *Want) { w.Command.Argv = []string{"systemctl restart", "nginx"} }, ErrMismatch},
		{"another cwd", one, func(w *Want) { w.Command.Cwd = "/tmp" }, ErrMismatch},
		{"a variable more", one, func(w *Want) { w.Command.Env = [][2]string{{"LD_PRELOAD", "/tmp/x.so"}} }, ErrMismatch},
		{"another stdin", one, func(w *Want) { w.Command.Stdin = token.StdinHash + envelope.Sum(nil).String() }, ErrMismatch},
		{"a bound file", one, func(w *Want) { w.Command.Bound = []token.Bound{{Path: "/usr/bin/systemctl", Hash: envelope.Sum(nil)}} }, ErrMismatch},
		{"a runbook's step", one, func(w *Want) { w.Command.Runbook = &runbook.Instance{Name: "restart", Version: 1, Step: 1} }, ErrMismatch},
		{"another salt", one, func(w *Want) { w.Command.Salt = token.ID{98} }, ErrMismatch},
		{"not in the grant", one, func(w *Want) { w.Granted = nil }, ErrMismatch},
		{"another in the grant", one, func(w *Want) { w.Granted = []token.ID{{97}} }, ErrMismatch},
		{"used too late", one, func(w *Want) { w.Now = now.Add(5*time.Minute + time.Second) }, ErrExpired},
		{"approved in the future", one, func(w *Want) { w.Now = now.Add(-time.Minute) }, ErrMalformed},
		{"newer roster", one, func(w *Want) { w.HeadKnown = func(token.Head) bool { return false } }, ErrOlderRoster},
		{"two asks", []VerifiedApproval{one[0], approve(t, carol, func(a *Approval) { a.Nonce = token.ID{96} })}, same, ErrMismatch},
		{"two texts of one ask", []VerifiedApproval{one[0], approve(t, carol, func(a *Approval) { a.AskHash = envelope.Sum(nil) })}, same, ErrMismatch},
		{"nothing verified", []VerifiedApproval{{}}, same, ErrMismatch},
		{"the wrong people", two, func(w *Want) { w.Quorum, w.Enough = 2, missing }, ErrQuorum},
		{"nobody says who is enough", one, func(w *Want) { w.Enough = nil }, ErrMalformed},
		{"no quorum", one, func(w *Want) { w.Quorum = 0 }, ErrMalformed},
		{"nobody eligible", one, func(w *Want) { w.Eligible = nil }, ErrMalformed},
		{"no roster", one, func(w *Want) { w.HeadKnown = nil }, ErrMalformed},
		{"no requester", one, func(w *Want) { w.Requester = "" }, ErrMalformed},
		{"no command", one, func(w *Want) { w.Command = token.Command{} }, token.ErrMalformed},
		{"nothing wanted", one, func(w *Want) { *w = Want{} }, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := goodWant()
			c.change(&w)
			if err := Check(c.approvals, w); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// Whatever field of an approval is another, signed by a real approver, Check
// refuses it, except what only dates or orders it.
func TestCheckEveryField(t *testing.T) {
	free := map[string]string{
		"AskHash":  "all approvals of one ask agree on it; the agent never sees the ask",
		"Nonce":    "all approvals of one ask agree on it; the ledger keeps it",
		"UseUntil": "within its bounds the approver's choice",
		"Decided":  "within its bounds the approver's clock",
	}
	for i := range reflect.TypeFor[Approval]().NumField() {
		name := reflect.TypeFor[Approval]().Field(i).Name
		a := verifiedAsk(t).Approve(bob.Kid(), head, now, now.Add(5*time.Minute))
		changeValue(t, reflect.ValueOf(&a).Elem().Field(i))
		b, err := envelope.Sign(a.Context(), a, bob)
		if err != nil {
			t.Fatal(err)
		}
		u, err := ParseApproval(b)
		if err != nil {
			t.Fatal(err)
		}
		v, err := u.Verify(keys)
		if err == nil {
			err = Check([]VerifiedApproval{v}, goodWant())
		}
		if (err == nil) != (free[name] != "") {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func changeValue(t *testing.T, f reflect.Value) {
	t.Helper()
	switch f.Kind() {
	case reflect.Uint64:
		f.SetUint(f.Uint() + 1)
	case reflect.Int64:
		f.SetInt(f.Int() - 1)
	case reflect.Bool:
		f.SetBool(!f.Bool())
	case reflect.String:
		f.SetString("x" + f.String())
	case reflect.Array:
		f.Index(0).SetUint(f.Index(0).Uint() ^ 0x80)
	case reflect.Struct:
		changeValue(t, f.Field(f.NumField()-1))
	default:
		t.Fatalf("a field of kind %v: teach this test to change it", f.Kind())
	}
}

func TestTampering(t *testing.T) {
	ask, err := SignAsk(alice, goodAsk())
	if err != nil {
		t.Fatal(err)
	}
	a := approve(t, bob, nil).Bytes()
	d := decision(t, bob, true, now).Bytes()
	for name, c := range map[string]struct {
		good   []byte
		verify func([]byte) error
	}{
		"ask": {ask, func(b []byte) error {
			u, err := ParseAsk(b)
			if err == nil {
				_, err = u.Verify(keys, goodAsk().TeamFP, now)
			}
			return err
		}},
		"approval": {a, func(b []byte) error {
			u, err := ParseApproval(b)
			if err == nil {
				_, err = u.Verify(keys)
			}
			return err
		}},
		"decision": {d, func(b []byte) error {
			u, err := ParseDecision(b)
			if err == nil {
				_, err = u.Verify(keys)
			}
			return err
		}},
	} {
		if err := c.verify(c.good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range c.good {
			b := bytes.Clone(c.good)
			b[i] ^= 1 << (i % 8)
			if c.verify(b) == nil {
				t.Fatalf("%s: byte %d changed, and accepted", name, i)
			}
		}
		for other, o := range map[string][]byte{"ask": ask, "approval": a, "decision": d} {
			if (c.verify(o) == nil) != (name == other) {
				t.Errorf("%s read as %s", other, name)
			}
		}
	}
}

func TestAskRefusals(t *testing.T) {
	for name, change := range map[string]func(*Ask){
		"another operator": func(a *Ask) { a.Operator = bob.Kid() },
		"no id":            func(a *Ask) { a.ID = token.ID{} },
		"no nonce":         func(a *Ask) { a.Nonce = token.ID{} },
		"no policy":        func(a *Ask) { a.PolicyHash = envelope.Hash{} },
		"hostile name":     func(a *Ask) { a.AgentName = "web\x1b[2J" },
		"long reason":      func(a *Ask) { a.Reason = strings.Repeat("a", MaxReason+1) },
		"reason not UTF-8": func(a *Ask) { a.Reason = "\xff" },
		"long wait":        func(a *Ask) { a.AskUntil = a.Created + int64(MaxAskFor/time.Second) + 1 },
		"no wait":          func(a *Ask) { a.AskUntil = a.Created },
		"unseen stdin":     func(a *Ask) { a.Command.Stdin = token.StdinStream },
		"plan of one":      func(a *Ask) { a.Plan = Plan{Hash: envelope.Sum(nil), Size: 1} },
		"plan of nothing":  func(a *Ask) { a.Plan = Plan{Size: 2} },
		"huge plan":        func(a *Ask) { a.Plan = Plan{Hash: envelope.Sum(nil), Size: MaxPlan + 1} },
		"no salt":          func(a *Ask) { a.Command.Salt = token.ID{} },
	} {
		a := goodAsk()
		change(&a)
		if _, err := SignAsk(alice, a); !errors.Is(err, ErrMalformed) && !errors.Is(err, token.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := SignAsk(alice, goodAsk())
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseAsk(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Verify(keys, envelope.Sum(nil), now); !errors.Is(err, ErrMismatch) {
		t.Errorf("another team's ask: %v", err)
	}
	if _, err := u.Verify(keys, goodAsk().TeamFP, now.Add(15*time.Minute+time.Second)); !errors.Is(err, ErrExpired) {
		t.Errorf("too late: %v", err)
	}
	if _, err := u.Verify(keys, goodAsk().TeamFP, now.Add(-time.Minute)); !errors.Is(err, ErrMalformed) {
		t.Errorf("from the future: %v", err)
	}
	self := verifiedAsk(t).Approve(alice.Kid(), head, now, now.Add(time.Minute))
	if _, err := SignApproval(alice, self); !errors.Is(err, ErrMalformed) {
		t.Errorf("an own request approved: %v", err)
	}
	for _, s := range []string{"", " ", strings.Repeat("a", MaxReason+1), "\xff"} {
		if Reason(s) == nil {
			t.Errorf("a deny for the reason %.10q", s)
		}
	}
	if err := Reason("not during the sale"); err != nil {
		t.Error(err)
	}
}

func decision(t testing.TB, by key.Identity, yes bool, at time.Time) VerifiedDecision {
	t.Helper()
	d := Decision{ID: goodAsk().ID, AskHash: askHash, Approver: by.Kid(), Approve: yes, Decided: at.Unix(), SealedHash: envelope.Sum([]byte("sealed"))}
	if yes {
		d.UseUntil = at.Add(20 * time.Minute).Unix()
	}
	b, err := SignDecision(by, d)
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseDecision(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Verify(keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var anybody = Say{Eligible: true, Enough: func([]string) error { return nil }}

var askHash = envelope.Sum([]byte("ask"))

func record(t testing.TB, quorum int) Record {
	t.Helper()
	r, err := NewRecord(goodAsk().ID, askHash, alice.Kid(), "alice", quorum, now.Add(15*time.Minute).Unix(), now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A step of a record's life: who does what, minutes after the start.
type step struct {
	minute int
	who    key.Identity
	what   string // approve, deny, cancel, use
	want   error
	state  State
}

func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name   string
		quorum int
		steps  []step
	}{
		{"approved and used once", 1, []step{
			{1, bob, "approve", nil, Approved}, {2, alice, "use", nil, Used}, {2, alice, "use", ErrUsed, Used}, {3, carol, "deny", ErrUsed, Used}}},
		{"quorum of two people", 2, []step{
			{1, bob, "approve", nil, Pending}, {1, alice, "use", ErrPending, Pending}, {2, bob2, "approve", ErrTwice, Pending},
			{3, carol, "approve", nil, Approved}, {4, alice, "use", nil, Used}}},
		{"one deny wins", 2, []step{
			{1, bob, "approve", nil, Pending}, {2, carol, "deny", nil, Denied}, {3, dave, "approve", ErrClosed, Denied}, {3, alice, "use", ErrClosed, Denied}}},
		{"deny after the quorum, before the use", 1, []step{
			{1, bob, "approve", nil, Approved}, {2, carol, "deny", nil, Denied}, {3, alice, "use", ErrClosed, Denied}}},
		{"nobody changes their mind", 1, []step{{1, bob, "deny", nil, Denied}, {2, bob2, "approve", ErrTwice, Denied}}},
		{"never by the requester", 1, []step{
			{1, alice, "approve", ErrSelf, Pending}, {1, alice2, "approve", ErrSelf, Pending}, {1, alice2, "deny", ErrSelf, Pending}}},
		{"never by who may not", 1, []step{{1, eve, "approve", ErrNotEligible, Pending}, {1, eve, "deny", ErrNotEligible, Pending}}},
		{"decided too late", 1, []step{{16, bob, "approve", ErrExpired, Expired}, {16, alice, "use", ErrExpired, Expired}, {16, alice, "cancel", ErrExpired, Expired}}},
		{"used too late", 1, []step{{1, bob, "approve", nil, Approved}, {22, alice, "use", ErrExpired, Expired}}},
		{"used in the last minute", 1, []step{{1, bob, "approve", nil, Approved}, {21, alice, "use", nil, Used}}},
		{"cancelled", 1, []step{
			{1, bob, "cancel", ErrNotAsker, Pending}, {1, alice, "cancel", nil, Cancelled}, {2, bob, "approve", ErrClosed, Cancelled}, {2, alice, "use", ErrClosed, Cancelled}}},
		{"cancelled after the approval", 1, []step{{1, bob, "approve", nil, Approved}, {2, alice2, "cancel", nil, Cancelled}}},
		{"used by another device", 1, []step{{1, bob, "approve", nil, Approved}, {2, alice2, "use", ErrMismatch, Approved}, {2, bob, "use", ErrMismatch, Approved}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, c.quorum)
			for i, s := range c.steps {
				before := fmt.Sprint(r)
				next, err := do(t, r, s)
				if !errors.Is(err, s.want) || next.State != s.state {
					t.Fatalf("step %d: %v, %v; want %v, %v", i, next.State, err, s.state, s.want)
				}
				if fmt.Sprint(r) != before {
					t.Fatalf("step %d changed the record it was called on", i)
				}
				r = next
			}
		})
	}
}

func do(t testing.TB, r Record, s step) (Record, error) {
	at := now.Add(time.Duration(s.minute) * time.Minute)
	member, ok := eligible(s.who.Kid())
	switch s.what {
	case "approve", "deny":
		return r.Decide(decision(t, s.who, s.what == "approve", at), member, Say{Eligible: ok, Enough: anybody.Enough}, at)
	case "cancel":
		return r.Cancel(member, at)
	}
	return r.Use(s.who.Kid(), at)
}

func TestRecordRefusesOtherDecisions(t *testing.T) {
	r := record(t, 1)
	other := r
	other.ID = token.ID{99}
	if _, err := other.Decide(decision(t, bob, true, now), "bob", anybody, now); !errors.Is(err, ErrMismatch) {
		t.Errorf("decision of another ask: %v", err)
	}
	other = r
	other.AskHash = envelope.Sum(nil)
	if _, err := other.Decide(decision(t, bob, true, now), "bob", anybody, now); !errors.Is(err, ErrMismatch) {
		t.Errorf("decision of another text: %v", err)
	}
	if _, err := (Record{}).Decide(VerifiedDecision{}, "bob", anybody, now); err == nil {
		t.Error("the zero record was decided")
	}
	if got, err := (Record{ID: r.ID, AskHash: askHash, Operator: r.Operator, Requester: "alice", Quorum: 1, AskUntil: r.AskUntil}).Decide(decision(t, bob, true, now), "bob", anybody, now); err == nil || got.State != "" {
		t.Errorf("a record in no state became %q, %v", got.State, err)
	}
	if _, err := r.Decide(decision(t, bob, true, now.Add(time.Minute)), "bob", anybody, now); !errors.Is(err, ErrMalformed) {
		t.Errorf("decided in the future: %v", err)
	}
	if _, err := r.Decide(decision(t, bob, true, now), "", anybody, now); !errors.Is(err, ErrNotEligible) {
		t.Errorf("a device of nobody: %v", err)
	}
}

func TestNewRecord(t *testing.T) {
	until := now.Add(time.Minute).Unix()
	for name, make := range map[string]func() (Record, error){
		"no quorum": func() (Record, error) { return NewRecord(token.ID{1}, askHash, alice.Kid(), "alice", 0, until, now) },
		"huge quorum": func() (Record, error) {
			return NewRecord(token.ID{1}, askHash, alice.Kid(), "alice", MaxQuorum+1, until, now)
		},
		"no id": func() (Record, error) { return NewRecord(token.ID{}, askHash, alice.Kid(), "alice", 1, until, now) },
		"no hash": func() (Record, error) {
			return NewRecord(token.ID{1}, envelope.Hash{}, alice.Kid(), "alice", 1, until, now)
		},
		"no member": func() (Record, error) { return NewRecord(token.ID{1}, askHash, alice.Kid(), "", 1, until, now) },
		"no device": func() (Record, error) { return NewRecord(token.ID{1}, askHash, key.Kid{}, "alice", 1, until, now) },
		"too long": func() (Record, error) {
			return NewRecord(token.ID{1}, askHash, alice.Kid(), "alice", 1, now.Unix()+90000, now)
		},
		"over": func() (Record, error) {
			return NewRecord(token.ID{1}, askHash, alice.Kid(), "alice", 1, now.Unix()-1, now)
		},
	} {
		if r, err := make(); err == nil || r.State.Open() {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever anybody does in whatever order: approved only by quorum distinct
// eligible people other than the requester, denied once one of them denied,
// used once and in time.
func TestRecordModel(t *testing.T) {
	everybody := []key.Identity{alice, alice2, bob, bob2, carol, dave, eve}
	rapid.Check(t, func(rt *rapid.T) {
		quorum := rapid.IntRange(1, 3).Draw(rt, "quorum")
		r := record(t, quorum)
		yes, no := map[string]bool{}, map[string]bool{}
		uses, minute := 0, 0
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			minute += rapid.IntRange(0, 4).Draw(rt, "minutes")
			s := step{
				minute: minute, who: rapid.SampledFrom(everybody).Draw(rt, "who"),
				what: rapid.SampledFrom([]string{"approve", "approve", "approve", "deny", "cancel", "use"}).Draw(rt, "what"),
			}
			before := r.State
			next, err := do(t, r, s)
			member, ok := eligible(s.who.Kid())
			if err == nil {
				switch s.what {
				case "approve", "deny":
					if !ok || member == "alice" || yes[member] || no[member] || !before.Open() {
						rt.Fatalf("%s by %s in state %s", s.what, member, before)
					}
					yes[member], no[member] = s.what == "approve", s.what == "deny"
				case "use":
					uses++
					if len(yes) < quorum || minute > 21+15 {
						rt.Fatalf("used with %d of %d after %d minutes", len(yes), quorum, minute)
					}
				}
			} else if next.State != before && next.State != Expired {
				rt.Fatalf("a refused %s led from %s to %s", s.what, before, next.State)
			}
			approvals, denied := 0, false
			for m := range yes {
				if yes[m] {
					approvals++
				}
				denied = denied || no[m]
			}
			switch {
			case uses > 1:
				rt.Fatal("used twice")
			case next.State == Approved && (approvals < quorum || denied):
				rt.Fatalf("approved by %d of %d, denied: %v", approvals, quorum, denied)
			case denied && next.State.Open():
				rt.Fatalf("denied, and %s", next.State)
			case !before.Open() && next.State != before:
				rt.Fatalf("led out of %s to %s", before, next.State)
			}
			r = next
		}
	})
}

// Check against a count by hand: distinct eligible people who are not the
// requester, and nobody else at all.
func TestCheckModel(t *testing.T) {
	pool := map[string]VerifiedApproval{}
	names := []string{"alice2", "bob", "bob2", "carol", "dave", "eve"}
	for i, id := range []key.Identity{alice2, bob, bob2, carol, dave, eve} {
		pool[names[i]] = approve(t, id, nil)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var brought []VerifiedApproval
		people, bad := map[string]bool{}, false
		for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 6).Draw(rt, "approvals") {
			brought = append(brought, pool[n])
			member := members[pool[n].Signer()]
			people[member] = true
			bad = bad || member == "alice" || member == "eve"
		}
		w := goodWant()
		w.Quorum = rapid.IntRange(1, 4).Draw(rt, "quorum")
		want := !bad && len(people) >= w.Quorum
		if err := Check(brought, w); (err == nil) != want {
			rt.Fatalf("%v, want ok = %v", err, want)
		}
	})
}

// Where a hold has steps, a yes before its turn is refused and may come later, a no
// may come at any time, and people who are many enough are not yet the right ones.
func TestRecordSteps(t *testing.T) {
	r, order := record(t, 2), []string{"bob", "carol"}
	say := func(of Record, who string) Say {
		s := Say{Eligible: true, Enough: func(yes []string) error {
			if !slices.Equal(yes, order) {
				return errors.New("not those")
			}
			return nil
		}}
		if n := len(of.Approved()); n < len(order) && order[n] != who {
			s.Turn = "waits for " + order[n]
		}
		return s
	}
	if _, err := r.Decide(decision(t, carol, true, now), "carol", say(r, "carol"), now); !errors.Is(err, ErrTurn) || !strings.Contains(err.Error(), "bob") {
		t.Fatalf("a yes before its turn: %v", err)
	}
	if no, err := r.Decide(decision(t, carol, false, now), "carol", say(r, "carol"), now); err != nil || no.State != Denied {
		t.Fatalf("a no before its turn: %v %v", no.State, err)
	}
	if _, err := r.Decide(decision(t, bob, true, now), "bob", Say{Eligible: true}, now); !errors.Is(err, ErrNotEligible) {
		t.Errorf("nobody says who is enough: %v", err)
	}
	wrong, err := r.Decide(decision(t, dave, true, now), "dave", anybody, now)
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err = wrong.Decide(decision(t, bob, true, now), "bob", Say{Eligible: true, Enough: say(r, "").Enough}, now); err != nil || wrong.State != Pending {
		t.Errorf("two of whom one is not asked for: %v %v", wrong.State, err)
	}
	for i, id := range []key.Identity{bob, carol} {
		if r, err = r.Decide(decision(t, id, true, now), order[i], say(r, order[i]), now); err != nil {
			t.Fatal(err)
		}
	}
	if r.State != Approved || !slices.Equal(r.Approved(), order) {
		t.Errorf("%v by %v", r.State, r.Approved())
	}
}

func FuzzFormats(f *testing.F) {
	ask, err := SignAsk(alice, goodAsk())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ask)
	f.Add(approve(f, bob, nil).Bytes())
	f.Add(decision(f, bob, true, now).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := ParseAsk(b); err == nil {
			if !bytes.Equal(u.Bytes(), b) {
				t.Fatal("parse and marshal differ")
			}
			if v, err := u.Verify(keys, goodAsk().TeamFP, now); err == nil && v.Body().Check(alice.Kid()) != nil {
				t.Fatal("verified without its checks")
			}
		}
		if u, err := ParseApproval(b); err == nil {
			u.Verify(keys)
		}
		if u, err := ParseDecision(b); err == nil {
			u.Verify(keys)
		}
	})
}
