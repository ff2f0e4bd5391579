package team

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/newcomer"
	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Others change the roster at the same time: the change is made anew on top of
// theirs.
func TestSignTriesAgain(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	change := func(*roster.Roster) ([]roster.Change, error) {
		return []roster.Change{{Kind: roster.KindThreshold, Body: roster.Threshold{K: 1}}}, nil
	}
	s.conflict = conflicts - 1
	if _, err := carol.Sign(t.Context(), change); err != nil {
		t.Errorf("%v", err)
	}
	s.conflict = conflicts
	if _, err := carol.Sign(t.Context(), change); !errors.Is(err, wire.ErrConflict) {
		t.Errorf("without an end: %v", err)
	}
	before := s.now().Head()
	if _, err := carol.Sign(t.Context(), func(*roster.Roster) ([]roster.Change, error) {
		return []roster.Change{{Kind: roster.KindThreshold, Body: roster.Threshold{K: 1}}, {Kind: roster.KindThreshold, Body: roster.Threshold{K: 9}}}, nil
	}); !errors.Is(err, roster.ErrRefused) || s.now().Head() != before {
		t.Errorf("half of a change: %v", err)
	}
}

// Only an agent's own signature over a head that has the change counts.
func TestConfirmations(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	ids := map[string]key.Identity{}
	var old *roster.Roster
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		id, err := key.GenerateIdentity()
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
		r, err := carol.Sign(t.Context(), func(*roster.Roster) ([]roster.Change, error) {
			return []roster.Change{{Kind: roster.KindAgentAdd, Body: roster.AgentAdd{
				Name: name, Public: id.Public(), Recipient: carol.Home().Unsealer.Recipient(), LoginUser: "deploy", Exp: time.Now().Add(time.Hour).Unix(),
			}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			old = r
		}
	}
	r := s.now()
	beat := func(id key.Identity, agent key.Kid, h roster.Head) []byte {
		b, err := token.SignHeartbeat(id, token.Heartbeat{Agent: agent, Registration: r.TeamFP(), Seq: 1, Time: 1, RosterHead: token.Head(h)})
		if err != nil {
			return nil
		}
		return b
	}
	s.receipts[ids["a"].Kid()] = beat(ids["a"], ids["a"].Kid(), r.Head())   // true
	s.receipts[ids["b"].Kid()] = beat(ids["b"], ids["b"].Kid(), old.Head()) // not yet
	s.receipts[ids["c"].Kid()] = s.receipts[ids["a"].Kid()]                 // another's
	s.receipts[ids["d"].Kid()] = beat(ids["d"], ids["d"].Kid(), roster.Head{Seq: r.Head().Seq + 5, Hash: r.TeamFP()})
	s.receipts[ids["e"].Kid()] = []byte("noise")
	registration, err := token.SignRegistration(ids["f"], token.Registration{
		TeamFP: r.TeamFP(), TeamID: "acme", Agent: ids["f"].Kid(), Audience: s.url, Time: 1, Nonce: token.NewID(), Version: "x", OS: "x", RosterHead: token.Head(r.Head()),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.receipts[ids["f"].Kid()] = registration // as good as a heartbeat
	count := carol.Confirmations(r)
	n, missing, err := count.Count(t.Context())
	if err != nil || n != 2 || len(missing) != 4 || missing[0] != "b" || missing[3] != "e" {
		t.Errorf("%d, missing %v, %v", n, missing, err)
	}
	// A later head, of a roster that has this one, confirms too; and who has
	// confirmed need not be online any more.
	later, err := carol.Sign(t.Context(), func(*roster.Roster) ([]roster.Change, error) {
		return []roster.Change{{Kind: roster.KindThreshold, Body: roster.Threshold{K: 1}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.receipts[ids["b"].Kid()] = beat(ids["b"], ids["b"].Kid(), later.Head())
	delete(s.receipts, ids["a"].Kid())
	if n, missing, err = count.Count(t.Context()); err != nil || n != 3 {
		t.Errorf("%d, missing %v, %v", n, missing, err)
	}
}

func TestRemove(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	for range 2 {
		j := joining(t, s)
		if _, _, err := carol.AddDevice(t.Context(), Member{Email: j.Email}, asked(t, j), 0); err != nil {
			t.Fatal(err)
		}
	}
	gone, r, err := carol.Remove(t.Context(), "alice@example.com", "left")
	if err != nil || len(gone) != 2 || len(r.Devices()) != 1 {
		t.Errorf("%v %v", gone, err)
	}
	if _, _, err := carol.Remove(t.Context(), "alice@example.com", "left"); !errors.Is(err, roster.ErrUnknown) {
		t.Errorf("again: %v", err)
	}
	if _, _, err := carol.Remove(t.Context(), carol.Home().Identity.Kid().String(), "oops"); !errors.Is(err, roster.ErrThreshold) {
		t.Errorf("the last admin: %v", err)
	}
}

func TestRotateServers(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	old := s.keys["grant"].Public()
	s.keys["grant"] = key.IdentityFromSeed([32]byte{201})
	if _, err := carol.RotateServers(t.Context(), false, func(wire.ServerInfo) (bool, error) { return false, nil }); !errors.Is(err, ErrNotConfirmed) {
		t.Errorf("not confirmed: %v", err)
	}
	r, err := carol.RotateServers(t.Context(), false, yes)
	if err != nil {
		t.Fatal(err)
	}
	if k := r.ServerKeys(roster.ServerGrant); len(k) != 2 || k[0] != s.keys["grant"].Public() || k[1] != old {
		t.Errorf("%v", k)
	}
	if r, err = carol.RotateServers(t.Context(), true, yes); err != nil || len(r.ServerKeys(roster.ServerGrant)) != 1 {
		t.Errorf("%v %v", r.ServerKeys(roster.ServerGrant), err)
	}
}

// enroller gives a member who may add n machines, and serves until the test ends.
func enroller(t *testing.T, s *server, n uint64) *Admin {
	t.Helper()
	carol := founded(t, s, "acme")
	j := joining(t, s)
	if _, _, err := carol.AddDevice(t.Context(), sre, asked(t, j), 0); err != nil {
		t.Fatal(err)
	}
	h, err := Join(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carol.Delegate(t.Context(), roster.Delegation{
		Kid: h.Identity.Kid(), Names: "ci-", Tags: map[string]string{"env": "ci"}, LoginUser: "build", Max: n, Exp: time.Now().Add(time.Hour).Unix(),
	}); err != nil {
		t.Fatal(err)
	}
	return admin(t, h)
}

// serving runs Serve, and gives what it has added.
func serving(t *testing.T, a *Admin) func() []roster.Agent {
	t.Helper()
	var mu sync.Mutex
	var added []roster.Agent
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Serve(ctx, func(m roster.Agent) {
			mu.Lock()
			defer mu.Unlock()
			added = append(added, m)
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []roster.Agent {
		mu.Lock()
		defer mu.Unlock()
		return added
	}
}

func machineOptions(t *testing.T, name string) newcomer.Options {
	return newcomer.Options{Dir: filepath.Join(t.TempDir(), name), Name: name, User: "x"}
}

func TestFleet(t *testing.T) {
	s := newServer(t)
	alice := enroller(t, s, 5)
	if err := alice.Serve(t.Context(), nil); !errors.Is(err, ErrNoTokens) {
		t.Errorf("without a token: %v", err)
	}
	tags := map[string]string{"env": "ci-1"}
	for name, f := range map[string]func() error{
		"more than delegated": func() error { _, err := alice.NewToken(t.Context(), "", tags, "", 6, time.Hour); return err },
		"another tag": func() error {
			_, err := alice.NewToken(t.Context(), "", map[string]string{"env": "prod"}, "", 1, time.Hour)
			return err
		},
		"another user": func() error { _, err := alice.NewToken(t.Context(), "", tags, "root", 1, time.Hour); return err },
		"other names":  func() error { _, err := alice.NewToken(t.Context(), "web-", tags, "", 1, time.Hour); return err },
		"too long":     func() error { _, err := alice.NewToken(t.Context(), "", tags, "", 1, 2*time.Hour); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: a token was made", name)
		}
	}
	tok, err := alice.NewToken(t.Context(), "", tags, "", 2, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	added := serving(t, alice)
	// Two come; the third is one too many.
	for _, name := range []string{"one", "two"} {
		a, err := newcomer.Enrol(t.Context(), machineOptions(t, name), tok)
		if err != nil || a.Name != "ci-"+name || a.Card.TeamFP != s.now().TeamFP() {
			t.Fatalf("%+v %v", a, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	third := machineOptions(t, "three")
	if _, err := newcomer.Enrol(short, third, tok); !errors.Is(err, newcomer.ErrNobody) {
		t.Errorf("the third of two: %v", err)
	}
	if _, err := newcomer.Team(third.Dir); !errors.Is(err, newcomer.ErrNoTeam) {
		t.Error("the third has a team")
	}
	list := added()
	if len(list) != 2 || list[0].Tags["env"] != "ci-1" || list[0].LoginUser != "build" {
		t.Errorf("%+v", list)
	}
	if e, err := s.now().Enroller(alice.Home().Identity.Kid(), time.Now()); err != nil || e.Left != 3 {
		t.Errorf("%+v %v", e, err)
	}
}

// A server that puts its own machine under the topic adds none: it has no secret.
// One that answers the machine itself gives it no team.
func TestFleetMallory(t *testing.T) {
	s := newServer(t)
	alice := enroller(t, s, 5)
	tok, err := alice.NewToken(t.Context(), "", map[string]string{"env": "ci"}, "", 2, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rogue := machineOptions(t, "rogue")
	id, u, err := newcomer.Keys(rogue.Dir)
	if err != nil {
		t.Fatal(err)
	}
	request, hash, err := contact.SignRequest(id, contact.Request{Recipient: u.Recipient(), Time: 1, Name: "ci-rogue"})
	if err != nil {
		t.Fatal(err)
	}
	guessed := contact.NewKey(hash).Meeting()
	post, err := guessed.Post(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.box.Put("", tok.Meeting().Topic(), post); err != nil {
		t.Fatal(err)
	}
	added := serving(t, alice)
	_, theirs := evil(t)
	r, err := guessed.Read(post)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := guessed.Answer(r, theirs)
	if err != nil {
		t.Fatal(err)
	}
	s.answers = func(list [][]byte) [][]byte { return append([][]byte{forged}, list...) }
	honest := machineOptions(t, "honest")
	a, err := newcomer.Enrol(t.Context(), honest, tok)
	if err != nil || a.Card.TeamFP != s.now().TeamFP() {
		t.Errorf("%+v %v", a, err)
	}
	for _, m := range added() {
		if m.Name != "ci-honest" {
			t.Errorf("%s was added", m.Name)
		}
	}
	if _, ok := s.now().EverAgent(id.Kid()); ok {
		t.Error("the server's own machine is in the roster")
	}
}

// Uses are counted on disk before anything is sent, so that a restart of the
// enroller gives none back.
func TestFleetUsesSurviveARestart(t *testing.T) {
	s := newServer(t)
	alice := enroller(t, s, 5)
	tok, err := alice.NewToken(t.Context(), "", map[string]string{"env": "ci"}, "", 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	list, err := alice.tokens()
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	come := func(name string) error {
		o := machineOptions(t, name)
		id, u, err := newcomer.Keys(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		request, _, err := contact.SignRequest(id, contact.Request{Recipient: u.Recipient(), Time: 1, Name: "ci-" + name})
		if err != nil {
			t.Fatal(err)
		}
		post, err := tok.Meeting().Post(request)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tok.Meeting().Read(post)
		if err != nil {
			t.Fatal(err)
		}
		again, err := alice.tokens()
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = alice.admit(t.Context(), again[0], r)
		return err
	}
	s.conflict = conflicts // the answer of apid is lost
	if err := come("one"); err == nil {
		t.Fatal("added without apid")
	}
	s.conflict = 0
	if err := come("two"); err == nil {
		t.Error("a second machine with a token for one")
	}
}
