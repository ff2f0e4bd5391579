package team

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/words"
)

func joining(t *testing.T, s *server) Joining {
	t.Helper()
	return Joining{
		Dir: filepath.Join(t.TempDir(), "alice"), API: s.url, Email: "alice@example.com",
		Show:    func(words.Phrase) error { return nil },
		Confirm: func(contact.Card) (bool, error) { return true, nil },
		Tell:    func(s sanitize.Text) { t.Log(s) },
	}
}

// asked runs a first login and gives the words.
func asked(t *testing.T, j Joining) words.Phrase {
	t.Helper()
	var p words.Phrase
	j.Wait = 0
	j.Show = func(shown words.Phrase) error { p = shown; return nil }
	if _, err := Join(t.Context(), j); !errors.Is(err, ErrWaiting) {
		t.Fatalf("before anybody has answered: %v", err)
	}
	return p
}

var sre = Member{Email: "alice@example.com", Roles: []string{"sre"}}

// without checks that a home belongs to no team.
func without(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "profile.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a profile: %v", err)
	}
	if _, err := profile.Open(dir); !errors.Is(err, profile.ErrNone) {
		t.Errorf("the home opens: %v", err)
	}
}

func TestJoin(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	j := joining(t, s)
	p := asked(t, j)
	d, r, err := carol.AddDevice(t.Context(), sre, p, 0)
	if err != nil || d.Email != sre.Email || d.Roles[0] != "sre" {
		t.Fatalf("%+v %v", d, err)
	}
	var shown words.Phrase
	j.Confirm = func(c contact.Card) (bool, error) { shown = c.Words(); return true, nil }
	h, err := Join(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if shown != contact.TeamWords(r.TeamFP()) || h.Profile.TeamFP != r.TeamFP() || h.Profile.Head != r.Head() || h.Identity.Kid() != d.Kid {
		t.Errorf("%+v", h.Profile)
	}
	if _, err := profile.Open(j.Dir); err != nil {
		t.Error(err)
	}
	// Once more, after a lost answer, changes nothing.
	if _, _, err := carol.AddDevice(t.Context(), sre, p, 0); err != nil || s.now().Head() != r.Head() {
		t.Errorf("the same again: %v", err)
	}
	// A second device of hers is a device, not a member, and keeps her roles.
	second := joining(t, s)
	d2, _, err := carol.AddDevice(t.Context(), Member{Email: sre.Email}, asked(t, second), 0)
	if err != nil || d2.MemberID != d.MemberID {
		t.Errorf("%+v %v", d2, err)
	}
	third := joining(t, s)
	if _, _, err := carol.AddDevice(t.Context(), Member{Email: sre.Email, Roles: []string{"admin"}}, asked(t, third), 0); err == nil {
		t.Error("a device has widened its member's roles")
	}
}

// An auditor can open what is sealed from then on; an admin's signature counts.
func TestJoinAsAuditorAndAdmin(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	j := joining(t, s)
	d, r, err := carol.AddDevice(t.Context(), Member{Email: j.Email, Roles: []string{"auditor"}}, asked(t, j), 0)
	if err != nil || len(r.Auditors()) != 1 || r.Auditors()[0] != d.Recipient {
		t.Errorf("%v %v", r.Auditors(), err)
	}
	k := joining(t, s)
	k.Email = "dave@example.com"
	d, _, err = carol.AddDevice(t.Context(), Member{Email: k.Email, Admin: true}, asked(t, k), 0)
	if err != nil || !d.Admin {
		t.Errorf("%+v %v", d, err)
	}
}

// A server that shows the admin another device signs nothing in, whatever it
// shows.
func TestJoinServerSwapsKeys(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	phrase := asked(t, joining(t, s))
	rogue := newServer(t)
	founded(t, rogue, "acme")
	eve := joining(t, rogue)
	asked(t, eve)
	h, err := profile.Create(eve.Dir)
	if err != nil {
		t.Fatal(err)
	}
	request, _, err := contact.SignRequest(h.Identity, eve.request(h.Unsealer))
	if err != nil {
		t.Fatal(err)
	}
	post, err := contact.DeviceMeeting(phrase).Post(request)
	if err != nil {
		t.Fatal(err)
	}
	s.requests = func(list []wire.Newcomer) []wire.Newcomer {
		for i := range list {
			list[i].Request = post
		}
		return list
	}
	before := s.now().Head()
	if _, _, err := carol.AddDevice(t.Context(), sre, phrase, time.Second); !errors.Is(err, contact.ErrMismatch) {
		t.Errorf("%v", err)
	}
	if s.now().Head() != before {
		t.Error("another's device was signed in")
	}
}

// A server that answers the device itself, with a team of its own, is found by
// the words of the team: by a person, by a flag, or by an imported profile.
func TestJoinServerAnswersItself(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	_, theirs := evil(t)
	payload := func(m contact.Meeting, h *profile.Home, j Joining) []byte {
		request, _, err := contact.SignRequest(h.Identity, j.request(h.Unsealer))
		if err != nil {
			t.Fatal(err)
		}
		post, err := m.Post(request)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Read(post)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Answer(r, theirs)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		change func(*Joining)
		want   error
	}{
		"a person says no": {func(j *Joining) {
			j.Confirm = func(c contact.Card) (bool, error) { return c.Words() == contact.TeamWords(s.now().TeamFP()), nil }
		}, ErrNotConfirmed},
		"the words were given": {func(j *Joining) { j.Team = contact.TeamWords(s.now().TeamFP()) }, ErrOtherTeam},
		"a profile was imported": {func(j *Joining) {
			if err := profile.Import(j.Dir, carol.Home().Profile.Card(s.now())); err != nil {
				t.Fatal(err)
			}
		}, ErrOtherTeam},
	} {
		t.Run(name, func(t *testing.T) {
			j := joining(t, s)
			c.change(&j)
			phrase := asked(t, j)
			h, err := profile.Create(j.Dir)
			if err != nil {
				t.Fatal(err)
			}
			bad := payload(contact.DeviceMeeting(phrase), h, j)
			s.answers = func(list [][]byte) [][]byte { return append([][]byte{bad}, list...) }
			defer func() { s.answers = nil }()
			if _, err := Join(t.Context(), j); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, err := profile.Open(j.Dir); !errors.Is(err, profile.ErrNone) {
				t.Errorf("the home has joined: %v", err)
			}
		})
	}
}

// A server that shows an older roster than the one the answer, or the profile,
// was made with is not believed, and nothing is pinned.
func TestJoinOlderRoster(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	j := joining(t, s)
	phrase := asked(t, j)
	added := s.now().Head().Seq
	if _, _, err := carol.AddDevice(t.Context(), sre, phrase, 0); err != nil {
		t.Fatal(err)
	}
	cut := func(n uint64) func(*roster.Roster) *roster.Roster {
		return func(r *roster.Roster) *roster.Roster {
			old, err := roster.Load(r.Genesis(), r.Statements(0)[:n]...)
			if err != nil {
				t.Error(err)
			}
			return old
		}
	}
	s.oldest = cut(added)
	if _, err := Join(t.Context(), j); !errors.Is(err, profile.ErrOlder) {
		t.Errorf("%v", err)
	}
	without(t, j.Dir)
	// The roster with this device, but older than an imported profile.
	s.oldest = nil
	if _, err := carol.Sign(t.Context(), func(*roster.Roster) ([]roster.Change, error) {
		return []roster.Change{{Kind: roster.KindThreshold, Body: roster.Threshold{K: 1}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	card := carol.Home().Profile.Card(s.now())
	if err := profile.Import(j.Dir, card); err != nil {
		t.Fatal(err)
	}
	s.oldest = cut(added + 1)
	if _, err := Join(t.Context(), j); !errors.Is(err, profile.ErrOlder) {
		t.Errorf("older than the profile: %v", err)
	}
	s.oldest = nil
	h, err := Join(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if h.Profile.Head != card.Head || h.Behind() != nil {
		t.Errorf("%+v %v", h.Profile, h.Behind())
	}
	// An enrolled admin signs nothing on an older roster either.
	s.oldest = cut(1)
	fresh := founded(t, newServer(t), "other")
	fresh.Home().Profile.Head = card.Head
	if err := fresh.Home().Behind(); !errors.Is(err, profile.ErrOlder) {
		t.Errorf("%v", err)
	}
}

func TestJoinRefusesBadInput(t *testing.T) {
	s := newServer(t)
	founded(t, s, "acme")
	for name, change := range map[string]func(*Joining){
		"no server":             func(j *Joining) { j.API = "" },
		"no address":            func(j *Joining) { j.Email = "" },
		"an address with ESC":   func(j *Joining) { j.Email = "a\x1b[2J@example.com" },
		"http beyond loopback":  func(j *Joining) { j.API = "http://tucdesk.example.com" },
		"a server that is gone": func(j *Joining) { j.API = "http://127.0.0.1:1" },
	} {
		j := joining(t, s)
		change(&j)
		if _, err := Join(t.Context(), j); err == nil {
			t.Errorf("%s: joined", name)
		}
		without(t, j.Dir)
	}
}

func TestFound(t *testing.T) {
	s := newServer(t)
	for name, change := range map[string]func(*Founding){
		"team id":       func(f *Founding) { f.TeamID = "" },
		"address":       func(f *Founding) { f.Email = "Carol@Example.com" },
		"URL":           func(f *Founding) { f.API = "ftp://x" },
		"another name":  func(f *Founding) { f.API = fmt.Sprintf("http://localhost:%s", s.url[len("http://127.0.0.1:"):]) },
		"not confirmed": func(f *Founding) { f.Confirm = func(wire.ServerInfo) (bool, error) { return false, nil } },
	} {
		f := Founding{Dir: filepath.Join(t.TempDir(), "carol"), API: s.url, TeamID: "acme", Email: "carol@example.com", Confirm: yes}
		change(&f)
		if _, err := Found(t.Context(), f); err == nil {
			t.Errorf("%s: founded", name)
		}
		if _, err := os.Stat(f.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was made: %v", name, err)
		}
		if s.now() != nil {
			t.Fatalf("%s: the server has a team", name)
		}
	}
	// A crash after the team stands: the same founder goes on with the same team.
	f := Founding{Dir: filepath.Join(t.TempDir(), "carol"), API: s.url, TeamID: "acme", Email: "carol@example.com", Confirm: yes}
	s.conflict = 1
	if _, err := Found(t.Context(), f); err == nil {
		t.Fatal("founded without the servers' keys")
	}
	fp := s.now().TeamFP()
	h, err := Found(t.Context(), f)
	if err != nil || h.Profile.TeamFP != fp || len(h.Roster().ServerKeys(roster.ServerGrant)) != 1 {
		t.Fatalf("%v", err)
	}
	if _, err := Found(t.Context(), f); err == nil {
		t.Error("founded twice")
	}
}
