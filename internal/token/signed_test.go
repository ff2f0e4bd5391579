package token

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/runbook"
)

var (
	operator = identity(2)
	agent    = identity(3)
	granter  = identity(4)
	teamFP   = envelope.Sum([]byte("genesis"))
)

func goodProof() Proof {
	return Proof{
		V: Version, JTI: ID{1}, IAT: now.Unix(), Exp: now.Unix() + 60, Aud: Audience(agent.Kid()), TeamFP: teamFP,
		Operator: operator.Kid(), Act: ActSession, Target: agent.Kid(), SessionID: ID{2}, Kind: "exec", As: "deploy",
		Commitment: envelope.Sum([]byte("command")), PolicyHash: envelope.Sum([]byte("policy")),
		RosterHead: Head{Seq: 7, Hash: envelope.Sum([]byte("head"))}, Checkpoint: []byte("note"),
		ActorSeq: 5, ActorPrev: envelope.Sum([]byte("previous")),
	}
}

func goodGrant(proof envelope.Hash) Grant {
	p := goodProof()
	return Grant{
		V: Version, TeamFP: p.TeamFP, SessionID: p.SessionID, Operator: p.Operator, Agent: p.Target, Kind: p.Kind, As: p.As,
		Commitment: p.Commitment, Effect: "allow", Rule: "sre-prod", PolicyHash: p.PolicyHash, Approvals: []ID{{8}},
		ProofHash: proof, Nonce: ID{9}, IAT: now.Unix(), StartBy: now.Unix() + 60, EndsBy: now.Unix() + 3600,
	}
}

func goodRegistration() Registration {
	return Registration{
		V: Version, TeamFP: teamFP, TeamID: "acme", Agent: agent.Kid(), Audience: "https://rv.example.com", Time: now.Unix(),
		Nonce: ID{4}, Version: "1.0", OS: "linux/amd64", RosterHead: Head{Seq: 7, Hash: envelope.Sum([]byte("head"))},
	}
}

func goodHeartbeat() Heartbeat {
	return Heartbeat{
		V: Version, Agent: agent.Kid(), Registration: envelope.Sum([]byte("registration")), Seq: 3, Time: now.Unix(),
		RosterHead: Head{Seq: 7, Hash: envelope.Sum([]byte("head"))},
	}
}

func goodRequest() Request {
	return Request{
		V: Version, Kid: agent.Kid(), Method: "POST", URL: "https://api.example.com/v1/entries?team=acme",
		BodySHA256: envelope.Sum([]byte("body")), Time: now.Unix(), JTI: ID{5},
	}
}

var (
	expectProof        = ExpectProof{Now: now, TeamFP: teamFP, Audience: agent.Kid().String(), Act: ActSession}
	expectGrant        = ExpectGrant{Now: now, TeamFP: teamFP, Agent: agent.Kid()}
	expectRegistration = ExpectRegistration{Now: now, TeamID: "acme", TeamFP: teamFP, Audience: "https://rv.example.com"}
	expectHeartbeat    = ExpectHeartbeat{Now: now, Agent: agent.Kid(), Registration: envelope.Sum([]byte("registration")), AfterSeq: 2}
	expectRequest      = ExpectRequest{Now: now, Method: "POST", URL: "https://api.example.com/v1/entries?team=acme", BodySHA256: envelope.Sum([]byte("body"))}
)

// verifiers verify the bytes of each format with the good expectations.
var verifiers = map[string]func([]byte) error{
	"proof": func(b []byte) error {
		u, err := ParseProof(b)
		if err == nil {
			_, err = u.Verify(keysOf(operator), expectProof)
		}
		return err
	},
	"grant": func(b []byte) error {
		u, err := ParseGrant(b)
		if err == nil {
			_, err = u.Verify(keysOf(granter), expectGrant)
		}
		return err
	},
	"registration": func(b []byte) error {
		u, err := ParseRegistration(b)
		if err == nil {
			_, err = u.Verify(keysOf(agent), expectRegistration)
		}
		return err
	},
	"heartbeat": func(b []byte) error {
		u, err := ParseHeartbeat(b)
		if err == nil {
			_, err = u.Verify(keysOf(agent), expectHeartbeat)
		}
		return err
	},
	"request": func(b []byte) error {
		u, err := ParseRequest(b64.EncodeToString(b))
		if err == nil {
			_, err = u.Verify(keysOf(agent), expectRequest)
		}
		return err
	},
}

func goodBodies() map[string]struct {
	by   key.Identity
	body Body
} {
	type signed = struct {
		by   key.Identity
		body Body
	}
	return map[string]signed{
		"proof":        {operator, goodProof()},
		"grant":        {granter, goodGrant(envelope.Sum([]byte("proof")))},
		"registration": {agent, goodRegistration()},
		"heartbeat":    {agent, goodHeartbeat()},
		"request":      {agent, goodRequest()},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, g := range goodBodies() {
		b, err := Sign(g.by, g.body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := verifiers[name](b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Not one byte of a signed object can change, be cut or be added.
func TestTampering(t *testing.T) {
	for name, g := range goodBodies() {
		b, err := Sign(g.by, g.body)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for _, mask := range []byte{1 << (i % 8), 0x80 >> (i % 8), 0xff} {
				c := bytes.Clone(b)
				c[i] ^= mask
				if verifiers[name](c) == nil {
					t.Fatalf("%s: byte %d changed by %#x, and accepted", name, i, mask)
				}
			}
		}
		if verifiers[name](b[:len(b)-1]) == nil || verifiers[name](append(bytes.Clone(b), 0)) == nil {
			t.Errorf("%s: cut or lengthened, and accepted", name)
		}
	}
}

// A signature of one format is worth nothing as another, and a second signature
// is no better than none.
func TestContexts(t *testing.T) {
	all := goodBodies()
	for name, g := range all {
		payload, err := envelope.Marshal(g.body)
		if err != nil {
			t.Fatal(err)
		}
		for other, o := range all {
			b, err := envelope.SignBytes(o.body.Context(), payload, g.by)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifiers[name](b); (err == nil) != (name == other) {
				t.Errorf("%s signed in the context of %s: %v", name, other, err)
			}
		}
		b, err := envelope.SignBytes(g.body.Context(), payload, g.by, identity(9))
		if err != nil {
			t.Fatal(err)
		}
		if err := verifiers[name](b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with two signatures: %v", name, err)
		}
		b, err = envelope.SignBytes(g.body.Context(), payload, identity(9))
		if err != nil {
			t.Fatal(err)
		}
		if err := verifiers[name](b); !errors.Is(err, envelope.ErrUnknownSigner) {
			t.Errorf("%s by an unknown key: %v", name, err)
		}
	}
}

// change gives v with one field (by index) set to something else. It fails for a
// type of field it does not know, so that no field escapes these tests.
func change(t *testing.T, v any, field int) any {
	t.Helper()
	c := reflect.New(reflect.TypeOf(v)).Elem()
	c.Set(reflect.ValueOf(v))
	changeValue(t, c.Field(field))
	return c.Interface()
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
		a := reflect.New(f.Type()).Elem()
		reflect.Copy(a, f)
		a.Index(0).SetUint(a.Index(0).Uint() ^ 0x80)
		f.Set(a)
	case reflect.Slice:
		s := reflect.MakeSlice(f.Type(), f.Len(), f.Len()+1)
		reflect.Copy(s, f)
		f.Set(reflect.Append(s, reflect.New(f.Type().Elem()).Elem()))
	case reflect.Struct:
		changeValue(t, f.Field(0))
	case reflect.Pointer:
		to := reflect.New(f.Type().Elem())
		if !f.IsNil() {
			to.Elem().Set(f.Elem())
		}
		changeValue(t, to.Elem())
		f.Set(to)
	default:
		t.Fatalf("a field of kind %v: teach this test to change it", f.Kind())
	}
}

// Each field is under the signature: editing it without the key is refused.
func TestEveryFieldIsSigned(t *testing.T) {
	for name, g := range goodBodies() {
		good, err := envelope.Sign(g.body.Context(), g.body, g.by)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := envelope.Marshal(g.body)
		for i := range reflect.TypeOf(g.body).NumField() {
			field := reflect.TypeOf(g.body).Field(i).Name
			edited, err := envelope.Marshal(change(t, g.body, i))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(edited, old) {
				t.Fatalf("%s.%s is not encoded", name, field)
			}
			// Sign with a throw-away key to get the shape, then put the good
			// signature and key id in.
			forged, err := envelope.SignBytes(g.body.Context(), edited, identity(9))
			if err != nil {
				t.Fatal(err)
			}
			forged = append(forged[:len(forged)-98-2], good[len(good)-98-2:]...)
			if err := verifiers[name](forged); !errors.Is(err, envelope.ErrSignature) {
				t.Errorf("%s.%s edited under the old signature: %v", name, field, err)
			}
		}
	}
}

// A grant and a proof that belong together differ in no field that both have:
// whichever field of the proof changes, with everything signed anew by the right
// keys, the grant for the first proof is refused.
func TestGrantMatchesProof(t *testing.T) {
	verify := func(p Proof, g Grant) (VerifiedProof, VerifiedGrant, error) {
		pb, err := envelope.Sign(p.Context(), p, operator)
		if err != nil {
			t.Fatal(err)
		}
		up, err := ParseProof(pb)
		if err != nil {
			t.Fatal(err)
		}
		vp, err := up.Verify(keysOf(operator), ExpectProof{Now: now, TeamFP: p.TeamFP, Audience: AudienceAPI, Act: p.Act})
		if err != nil {
			return vp, VerifiedGrant{}, err
		}
		gb, err := envelope.Sign(g.Context(), g, granter)
		if err != nil {
			t.Fatal(err)
		}
		ug, err := ParseGrant(gb)
		if err != nil {
			t.Fatal(err)
		}
		vg, err := ug.Verify(keysOf(granter), expectGrant)
		return vp, vg, err
	}
	vp, _, err := verify(goodProof(), goodGrant(envelope.Sum(nil)))
	if err != nil {
		t.Fatal(err)
	}
	grant := goodGrant(vp.Hash())
	vp, vg, err := verify(goodProof(), grant)
	if err != nil {
		t.Fatal(err)
	}
	if err := GrantMatchesProof(vg, vp); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[Proof]().NumField() {
		name := reflect.TypeFor[Proof]().Field(i).Name
		p, g, err := verify(change(t, goodProof(), i).(Proof), grant)
		if err == nil {
			err = GrantMatchesProof(g, p)
		}
		if err == nil {
			t.Errorf("proof with another %s goes with the grant", name)
		}
	}
	// What apid chooses alone may change under its key; all else may not.
	free := map[string]bool{"Effect": true, "Rule": true, "Approvals": true, "Nonce": true, "StartBy": true, "EndsBy": true, "IAT": true}
	for i := range reflect.TypeFor[Grant]().NumField() {
		name := reflect.TypeFor[Grant]().Field(i).Name
		p, g, err := verify(goodProof(), change(t, grant, i).(Grant))
		if err == nil {
			err = GrantMatchesProof(g, p)
		}
		if err == nil && !free[name] {
			t.Errorf("grant with another %s goes with the proof", name)
		}
	}
	for _, act := range []string{ActAsk, ActCancel} {
		p := goodProof()
		p.Act = act
		vp, _, err := verify(p, grant)
		if err != nil {
			t.Fatal(err)
		}
		g := grant
		g.ProofHash = vp.Hash()
		vp, vg, err := verify(p, g)
		if err != nil {
			t.Fatal(err)
		}
		if err := GrantMatchesProof(vg, vp); !errors.Is(err, ErrMismatch) {
			t.Errorf("a grant for act %s: %v", act, err)
		}
	}
	if err := GrantMatchesProof(VerifiedGrant{}, VerifiedProof{}); err == nil {
		t.Error("nothing matches nothing")
	}
	for name, g := range map[string]Grant{
		"another session": func() Grant { g := grant; g.SessionID = ID{77}; return g }(),
		"another as":      func() Grant { g := grant; g.As = "root"; return g }(),
		"the default as":  func() Grant { g := grant; g.As = ""; return g }(),
	} {
		p, vg, err := verify(goodProof(), g)
		if err != nil {
			t.Fatal(err)
		}
		var m *MismatchError
		if err := GrantMatchesProof(vg, p); !errors.As(err, &m) {
			t.Errorf("grant of %s: %v", name, err)
		}
	}
}

func TestExpectations(t *testing.T) {
	proof, err := SignProof(operator, goodProof())
	if err != nil {
		t.Fatal(err)
	}
	up, err := ParseProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*ExpectProof)
		want   error
	}{
		{"as it is", func(*ExpectProof) {}, nil},
		{"at apid", func(w *ExpectProof) { w.Audience = AudienceAPI }, nil},
		{"at another agent", func(w *ExpectProof) { w.Audience = identity(9).Kid().String() }, ErrMismatch},
		{"no audience", func(w *ExpectProof) { w.Audience = "" }, ErrMismatch},
		{"another team", func(w *ExpectProof) { w.TeamFP = envelope.Sum(nil) }, ErrMismatch},
		{"no team", func(w *ExpectProof) { w.TeamFP = envelope.Hash{} }, ErrMismatch},
		{"another act", func(w *ExpectProof) { w.Act = ActAsk }, ErrMismatch},
		{"no act", func(w *ExpectProof) { w.Act = "" }, ErrMismatch},
		{"last second", func(w *ExpectProof) { w.Now = now.Add(60 * time.Second) }, nil},
		{"too late", func(w *ExpectProof) { w.Now = now.Add(61 * time.Second) }, ErrExpired},
		{"slow clock", func(w *ExpectProof) { w.Now = now.Add(-Skew) }, nil},
		{"too early", func(w *ExpectProof) { w.Now = now.Add(-Skew - time.Second) }, ErrNotYet},
		{"no clock", func(w *ExpectProof) { w.Now = time.Time{} }, ErrNotYet},
	} {
		want := expectProof
		c.change(&want)
		if _, err := up.Verify(keysOf(operator), want); !errors.Is(err, c.want) {
			t.Errorf("proof %s: %v, want %v", c.name, err, c.want)
		}
	}

	grant, err := SignGrant(granter, goodGrant(envelope.Sum([]byte("proof"))))
	if err != nil {
		t.Fatal(err)
	}
	ug, err := ParseGrant(grant)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want ExpectGrant
		err  error
	}{
		{"another agent", ExpectGrant{now, teamFP, identity(9).Kid()}, ErrMismatch},
		{"another team", ExpectGrant{now, envelope.Sum(nil), agent.Kid()}, ErrMismatch},
		{"too late", ExpectGrant{now.Add(61 * time.Second), teamFP, agent.Kid()}, ErrExpired},
		{"too early", ExpectGrant{now.Add(-31 * time.Second), teamFP, agent.Kid()}, ErrNotYet},
	} {
		if _, err := ug.Verify(keysOf(granter), c.want); !errors.Is(err, c.err) {
			t.Errorf("grant for %s: %v", c.name, err)
		}
	}
	if _, err := ug.Verify(keysOf(operator), expectGrant); !errors.Is(err, envelope.ErrUnknownSigner) {
		t.Error("a grant by a key that is no grant key was accepted")
	}

	registration, err := SignRegistration(agent, goodRegistration())
	if err != nil {
		t.Fatal(err)
	}
	ur, err := ParseRegistration(registration)
	if err != nil {
		t.Fatal(err)
	}
	if team, err := ur.InsecureTeamID(); team != "acme" || err != nil {
		t.Fatal(team, err)
	}
	for _, c := range []struct {
		name   string
		change func(*ExpectRegistration)
		err    error
	}{
		{"oldest", func(w *ExpectRegistration) { w.Now = now.Add(PresenceWindow) }, nil},
		{"too old", func(w *ExpectRegistration) { w.Now = now.Add(PresenceWindow + time.Second) }, ErrExpired},
		{"from the future", func(w *ExpectRegistration) { w.Now = now.Add(-PresenceWindow - time.Second) }, ErrNotYet},
		{"another rendezvous", func(w *ExpectRegistration) { w.Audience = "https://evil.example" }, ErrMismatch},
		{"another team's name", func(w *ExpectRegistration) { w.TeamID = "other" }, ErrMismatch},
		{"another team", func(w *ExpectRegistration) { w.TeamFP = envelope.Sum(nil) }, ErrMismatch},
	} {
		want := expectRegistration
		c.change(&want)
		if _, err := ur.Verify(keysOf(agent), want); !errors.Is(err, c.err) {
			t.Errorf("registration %s: %v", c.name, err)
		}
	}

	heartbeat, err := SignHeartbeat(agent, goodHeartbeat())
	if err != nil {
		t.Fatal(err)
	}
	uh, err := ParseHeartbeat(heartbeat)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*ExpectHeartbeat)
		err    error
	}{
		{"again", func(w *ExpectHeartbeat) { w.AfterSeq = 3 }, ErrMismatch},
		{"with a gap", func(w *ExpectHeartbeat) { w.AfterSeq = 1 }, ErrMismatch},
		{"of another registration", func(w *ExpectHeartbeat) { w.Registration = envelope.Sum(nil) }, ErrMismatch},
		{"of another agent", func(w *ExpectHeartbeat) { w.Agent = operator.Kid() }, ErrMismatch},
		{"too old", func(w *ExpectHeartbeat) { w.Now = now.Add(PresenceWindow + time.Second) }, ErrExpired},
	} {
		want := expectHeartbeat
		c.change(&want)
		if _, err := uh.Verify(keysOf(agent), want); !errors.Is(err, c.err) {
			t.Errorf("heartbeat %s: %v", c.name, err)
		}
	}

	header, err := SignRequest(agent, goodRequest())
	if err != nil {
		t.Fatal(err)
	}
	uq, err := ParseRequest(header)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*ExpectRequest)
		err    error
	}{
		{"as it is", func(*ExpectRequest) {}, nil},
		{"another team", func(w *ExpectRequest) { w.URL = strings.Replace(w.URL, "acme", "other", 1) }, ErrMismatch},
		{"another method", func(w *ExpectRequest) { w.Method = "GET" }, ErrMismatch},
		{"another body", func(w *ExpectRequest) { w.BodySHA256 = envelope.Sum(nil) }, ErrMismatch},
		{"too old", func(w *ExpectRequest) { w.Now = now.Add(PresenceWindow + time.Second) }, ErrExpired},
	} {
		want := expectRequest
		c.change(&want)
		if _, err := uq.Verify(keysOf(agent), want); !errors.Is(err, c.err) {
			t.Errorf("request for %s: %v", c.name, err)
		}
	}
	for _, bad := range []string{header + "=", header[:9] + "\n" + header[9:], strings.Repeat("A", maxHeader+1), ""} {
		if _, err := ParseRequest(bad); err == nil {
			t.Errorf("header of %d characters accepted", len(bad))
		}
	}
}

// Nobody can sign what no verifier would take.
func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*Proof){
		"another operator":     func(p *Proof) { p.Operator = agent.Kid() },
		"long life":            func(p *Proof) { p.Exp = p.IAT + 61 },
		"no life":              func(p *Proof) { p.Exp = p.IAT },
		"no jti":               func(p *Proof) { p.JTI = ID{} },
		"no session":           func(p *Proof) { p.SessionID = ID{} },
		"no team":              func(p *Proof) { p.TeamFP = envelope.Hash{} },
		"no target":            func(p *Proof) { p.Target = key.Kid{} },
		"no head":              func(p *Proof) { p.RosterHead = Head{} },
		"unknown act":          func(p *Proof) { p.Act = "admin" },
		"unknown kind of text": func(p *Proof) { p.Kind = "Exec!" },
		"bidi in as":           func(p *Proof) { p.As = "de\u202eploy" },
		"no commitment":        func(p *Proof) { p.Commitment = envelope.Hash{} },
		"huge checkpoint":      func(p *Proof) { p.Checkpoint = make([]byte, maxCheckpoint+1) },
		"number 0":             func(p *Proof) { p.ActorSeq = 0 },
		"first with a past":    func(p *Proof) { p.ActorSeq = 1 },
		"later without a past": func(p *Proof) { p.ActorPrev = envelope.Hash{} },
		"before 1970":          func(p *Proof) { p.IAT, p.Exp = -10, 10 },
	} {
		p := goodProof()
		change(&p)
		if _, err := SignProof(operator, p); !errors.Is(err, ErrMalformed) {
			t.Errorf("proof with %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Grant){
		"deny":                 func(g *Grant) { g.Effect = "deny" },
		"no effect":            func(g *Grant) { g.Effect = "" },
		"confirm, unconfirmed": func(g *Grant) { g.Effect = "confirm" },
		"hold, unapproved":     func(g *Grant) { g.Effect, g.Approvals = "hold", nil },
		"one approval twice":   func(g *Grant) { g.Approvals = []ID{{1}, {1}} },
		"empty approval":       func(g *Grant) { g.Approvals = []ID{{}} },
		"17 approvals":         func(g *Grant) { g.Approvals = make([]ID, 17) },
		"late start":           func(g *Grant) { g.StartBy = g.IAT + 61 },
		"no start":             func(g *Grant) { g.StartBy = g.IAT },
		"end before start":     func(g *Grant) { g.EndsBy = g.StartBy - 1 },
		"no end":               func(g *Grant) { g.EndsBy = 1 << 60 },
		"no nonce":             func(g *Grant) { g.Nonce = ID{} },
		"no proof":             func(g *Grant) { g.ProofHash = envelope.Hash{} },
		"no policy":            func(g *Grant) { g.PolicyHash = envelope.Hash{} },
		"huge rule":            func(g *Grant) { g.Rule = strings.Repeat("r", maxRule+1) },
	} {
		g := goodGrant(envelope.Sum(nil))
		change(&g)
		if _, err := SignGrant(granter, g); !errors.Is(err, ErrMalformed) {
			t.Errorf("grant with %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Registration){
		"another agent": func(r *Registration) { r.Agent = operator.Kid() },
		"no nonce":      func(r *Registration) { r.Nonce = ID{} },
		"no audience":   func(r *Registration) { r.Audience = "" },
		"bad team name": func(r *Registration) { r.TeamID = "a\nb" },
		"huge os":       func(r *Registration) { r.OS = strings.Repeat("x", 65) },
	} {
		r := goodRegistration()
		change(&r)
		if _, err := SignRegistration(agent, r); !errors.Is(err, ErrMalformed) {
			t.Errorf("registration with %s: %v", name, err)
		}
	}
	if _, err := Sign(key.Identity{}, goodProof()); err == nil {
		t.Error("the zero identity signed")
	}
}

func TestCommand(t *testing.T) {
	good := func() Command {
		return Command{V: Version, Argv: []string{"systemctl", "restart", "nginx"}, Cwd: "/srv", Env: [][2]string{{"LANG", "C"}}, Stdin: StdinNone, Salt: ID{1}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	if err := (Command{V: Version, Stdin: StdinTTY, Salt: ID{1}}).Check(); err != nil {
		t.Fatalf("a login shell: %v", err)
	}
	// Whatever changes, the commitment changes.
	seen := map[envelope.Hash]string{good().Commitment(): "good"}
	for i := range reflect.TypeFor[Command]().NumField() {
		name := reflect.TypeFor[Command]().Field(i).Name
		h := change(t, good(), i).(Command).Commitment()
		if other := seen[h]; other != "" {
			t.Errorf("%s has the commitment of %s", name, other)
		}
		seen[h] = name
	}
	for _, argv := range [][]string{{"systemctl restart", "nginx"}, {"systemctl", "restart nginx"}, {"systemctlrestart", "nginx"}, {}} {
		c := good()
		c.Argv = argv
		if seen[c.Commitment()] != "" {
			t.Errorf("%q has another's commitment", argv)
		}
	}
	for name, change := range map[string]func(*Command){
		"no salt":         func(c *Command) { c.Salt = ID{} },
		"bound, no hash":  func(c *Command) { c.Bound = []Bound{{Path: "/bin/x"}} },
		"bound, no path":  func(c *Command) { c.Bound = []Bound{{Hash: envelope.Sum(nil)}} },
		"bound, relative": func(c *Command) { c.Bound = []Bound{{Path: "bin/x", Hash: envelope.Sum(nil)}} },
		"bound, unclean":  func(c *Command) { c.Bound = []Bound{{Path: "/bin/../x", Hash: envelope.Sum(nil)}} },
		"bound, NUL":      func(c *Command) { c.Bound = []Bound{{Path: "/bin/x\x00", Hash: envelope.Sum(nil)}} },
		"bound, no word":  func(c *Command) { c.Bound = []Bound{{Word: 3, Path: "/x", Hash: envelope.Sum(nil)}} },
		"bound twice": func(c *Command) {
			c.Bound = []Bound{{Path: "/x", Hash: envelope.Sum(nil)}, {Path: "/x", Hash: envelope.Sum(nil)}}
		},
		"empty program":    func(c *Command) { c.Argv = []string{"", "x"} },
		"NUL":              func(c *Command) { c.Argv = []string{"a\x00b"} },
		"not UTF-8":        func(c *Command) { c.Argv = []string{"a\xff"} },
		"relative cwd":     func(c *Command) { c.Cwd = "srv" },
		"long cwd":         func(c *Command) { c.Cwd = "/" + strings.Repeat("a", maxPath) },
		"nameless":         func(c *Command) { c.Env = [][2]string{{"", "x"}} },
		"name with =":      func(c *Command) { c.Env = [][2]string{{"A=B", "x"}} },
		"twice":            func(c *Command) { c.Env = [][2]string{{"A", "x"}, {"A", "y"}} },
		"too many":         func(c *Command) { c.Env = make([][2]string, maxEnv+1) },
		"no stdin":         func(c *Command) { c.Stdin = "" },
		"short hash":       func(c *Command) { c.Stdin = "sha256:abcd" },
		"hash in capitals": func(c *Command) { c.Stdin = StdinHash + strings.Repeat("A", 64) },
		"too long":         func(c *Command) { c.Argv = []string{strings.Repeat("a", MaxCommand)} },
		"other version":    func(c *Command) { c.V = 2 },

		"a runbook, no name":     func(c *Command) { c.Env, c.Runbook = nil, &runbook.Instance{Version: 1, Step: 1} },
		"a runbook, no version":  func(c *Command) { c.Env, c.Runbook = nil, &runbook.Instance{Name: "restart", Step: 1} },
		"a runbook, no step":     func(c *Command) { c.Env, c.Runbook = nil, &runbook.Instance{Name: "restart", Version: 1} },
		"a runbook, bad value":   func(c *Command) { c.Env, c.Runbook = nil, restart("a\nb") },
		"a runbook, a variable":  func(c *Command) { c.Runbook = restart("nginx") },
		"a runbook, with input":  func(c *Command) { c.Env, c.Runbook, c.Stdin = nil, restart("nginx"), StdinStream },
		"a runbook, no command":  func(c *Command) { c.Env, c.Runbook, c.Argv = nil, restart("nginx"), nil },
		"a runbook, for a shell": func(c *Command) { c.Env, c.Runbook, c.Stdin = nil, restart("nginx"), StdinTTY },
	} {
		c := good()
		change(&c)
		if err := c.Check(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := good()
	c.Stdin = StdinHash + envelope.Sum([]byte("input")).String()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if h, ok := c.StdinDigest(); !ok || h != envelope.Sum([]byte("input")) {
		t.Fatal("stdin's hash is lost")
	}
	if _, ok := good().StdinDigest(); ok {
		t.Fatal("a hash where there is none")
	}
	c = good()
	c.Env, c.Runbook = nil, restart("nginx")
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	other := c
	other.Runbook = restart("haproxy")
	if c.Commitment() == other.Commitment() {
		t.Error("two values, one commitment")
	}
}

// restart is a step of a runbook with one parameter.
func restart(service string) *runbook.Instance {
	return &runbook.Instance{Name: "restart", Version: 1, Step: 1, Args: [][2]string{{"service", service}}}
}

func TestBundle(t *testing.T) {
	u, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	b := Bundle{Proof: []byte("p"), Grant: []byte("g"), Approvals: [][]byte{[]byte("a")}, Statements: [][]byte{[]byte("s")},
		Relay: RelayAccess{Addr: "127.0.0.1:3478", Username: "1.2.a", Password: "hunter2"}}
	sealed, hash, err := SealBundle(b, u.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	got, gotHash, err := OpenBundle(u, sealed)
	if err != nil {
		t.Fatal(err)
	}
	b.V = Version
	if !reflect.DeepEqual(got, b) || gotHash != hash {
		t.Fatalf("%v became %v", b, got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, b); strings.Contains(s, "hunter2") {
			t.Errorf("%s prints the password: %s", verb, s)
		}
	}
	other, err := key.GenerateUnsealer()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenBundle(other, sealed); !errors.Is(err, ErrBundle) {
		t.Errorf("someone else's bundle: %v", err)
	}
	if _, _, err := OpenBundle(u, make([]byte, MaxSealedBundle+1)); !errors.Is(err, ErrBundle) {
		t.Errorf("a huge bundle: %v", err)
	}
	for i := 0; i < len(sealed); i += 7 {
		c := bytes.Clone(sealed)
		c[i] ^= 0x10
		if _, _, err := OpenBundle(u, c); !errors.Is(err, ErrBundle) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for name, change := range map[string]func(*Bundle){
		"no proof":            func(b *Bundle) { b.Proof = nil },
		"no grant":            func(b *Bundle) { b.Grant = nil },
		"too many approvals":  func(b *Bundle) { b.Approvals = make([][]byte, maxApprovals+1) },
		"too many statements": func(b *Bundle) { b.Statements = make([][]byte, maxStatements+1) },
		"too long":            func(b *Bundle) { b.Statements = [][]byte{make([]byte, MaxBundle)} },
		"huge password":       func(b *Bundle) { b.Relay.Password = strings.Repeat("x", 129) },
	} {
		c := b
		change(&c)
		if _, _, err := SealBundle(c, u.Recipient()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := SealBundle(b, key.Recipient{}); err == nil {
		t.Error("sealed to nobody")
	}
	// The largest bundle fits into what an agent accepts.
	b.Statements = [][]byte{make([]byte, MaxBundle-300)}
	sealed, _, err = SealBundle(b, u.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenBundle(u, sealed); err != nil {
		t.Fatal(err)
	}
}

func TestID(t *testing.T) {
	id := NewID()
	if id.IsZero() || id == NewID() {
		t.Fatal("not random")
	}
	back, err := ParseID(id.String())
	if err != nil || back != id {
		t.Fatal(err)
	}
	for _, s := range []string{"", "00", strings.Repeat("A", 32), strings.Repeat("g", 32), id.String() + "0"} {
		if _, err := ParseID(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzEnvelopes(f *testing.F) {
	for _, g := range goodBodies() {
		b, err := Sign(g.by, g.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, g := range goodBodies() {
			if verifiers[name](b) != nil {
				continue
			}
			if good, _ := Sign(g.by, g.body); !bytes.Equal(b, good) {
				t.Fatalf("a forged %s was accepted", name)
			}
		}
		if u, err := ParseRegistration(b); err == nil {
			u.InsecureTeamID()
			if !bytes.Equal(u.Bytes(), b) {
				t.Fatal("parse and marshal differ")
			}
		}
	})
}

func FuzzBundle(f *testing.F) {
	b, err := envelope.Marshal(Bundle{V: Version, Proof: []byte("p"), Grant: []byte("g"), Approvals: [][]byte{[]byte("a")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseBundle(b)
		if err != nil {
			return
		}
		if again, err := envelope.Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Fatal("parse and marshal differ")
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, bound := range [][]Bound{nil, {{Path: "/bin/ls", Hash: envelope.Sum(nil)}}} {
		b, err := envelope.Marshal(Command{V: 1, Argv: []string{"ls"}, Stdin: StdinNone, Salt: ID{1}, Bound: bound})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Command
		if envelope.Unmarshal(b, &c) != nil || c.Check() != nil {
			return
		}
		if len(b) > MaxCommand || c.Commitment().IsZero() {
			t.Fatal("out of bounds")
		}
	})
}
