package team

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/newcomer"
	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// An agent that pairs: its key, and what came of it.
type pairing struct {
	dir   string
	key   contact.Key
	ended chan error
	stop  context.CancelFunc

	mu   sync.Mutex
	told []string
}

func pair(t *testing.T, s *server) *pairing {
	t.Helper()
	p := &pairing{dir: filepath.Join(t.TempDir(), "agent"), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	t.Cleanup(cancel)
	shown := make(chan string, 1)
	go func() {
		_, err := newcomer.Pair(ctx, newcomer.Options{Dir: p.dir, Name: "host-7", User: "deploy", Tell: func(s sanitize.Text) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.told = append(p.told, s.String())
		}}, s.url, nil, func(text string) error { shown <- text; return nil })
		p.ended <- err
	}()
	select {
	case text := <-shown:
		k, err := contact.ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		p.key = k
	case err := <-p.ended:
		t.Fatal(err)
	}
	return p
}

// refused waits until the agent has refused an answer, and gives why.
func (p *pairing) refused(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		for _, s := range p.told {
			if strings.Contains(s, "an answer was refused") {
				p.mu.Unlock()
				return s
			}
		}
		p.mu.Unlock()
	}
	t.Fatal("no answer was refused")
	return ""
}

// nothing ends the agent, and checks that it has no team.
func (p *pairing) nothing(t *testing.T) {
	t.Helper()
	p.stop()
	if err := <-p.ended; !errors.Is(err, newcomer.ErrNobody) {
		t.Errorf("the agent ended with: %v", err)
	}
	if _, err := newcomer.Team(p.dir); !errors.Is(err, newcomer.ErrNoTeam) {
		t.Errorf("the agent has a team: %v", err)
	}
}

var web1 = Machine{Name: "web-1", Tags: map[string]string{"env": "prod"}}

func TestPair(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	p := pair(t, s)
	agent, err := carol.Pair(t.Context(), p.key, web1, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		t.Fatal(err)
	}
	card, err := newcomer.Team(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	if agent.Name != "web-1" || agent.LoginUser != "deploy" || card.TeamFP != s.now().TeamFP() || card.Head != s.now().Head() {
		t.Errorf("%+v %+v", agent, card)
	}
	// The folder keeps no secret of the pairing, and the team is never replaced.
	b, err := os.ReadFile(filepath.Join(p.dir, "team"))
	if err != nil || strings.Contains(string(b), p.key.Text()) {
		t.Errorf("%s %v", b, err)
	}
	_, err = newcomer.Pair(t.Context(), newcomer.Options{Dir: p.dir}, s.url, nil, func(string) error { t.Error("a key was shown"); return nil })
	if !errors.Is(err, newcomer.ErrTeam) {
		t.Errorf("a second pairing: %v", err)
	}
	// The key again adds nobody, and no other name for the same agent.
	before := s.now().Head()
	if _, err := carol.Pair(t.Context(), p.key, web1, 0); err != nil {
		t.Errorf("the same again, after a lost answer: %v", err)
	}
	if _, err := carol.Pair(t.Context(), p.key, Machine{Name: "web-2"}, 0); err == nil {
		t.Error("one agent got two names")
	}
	if s.now().Head() != before {
		t.Error("a used pairing key has changed the roster")
	}
}

// A server that shows the admin other keys than the agent's: with what it can
// make itself, with the true request of another agent, with the true one changed.
// The admin signs nothing, and the agent stays without a team.
func TestPairServerSwapsKeys(t *testing.T) {
	for name, swap := range map[string]func(t *testing.T, s *server, list []wire.Newcomer) []byte{
		"its own agent": func(t *testing.T, s *server, _ []wire.Newcomer) []byte {
			rogue := pair(t, newServer(t))
			id, u, err := newcomer.Keys(rogue.dir)
			if err != nil {
				t.Fatal(err)
			}
			request, hash, err := contact.SignRequest(id, contact.Request{Recipient: u.Recipient(), Time: 1, Name: "host-7", User: "deploy"})
			if err != nil {
				t.Fatal(err)
			}
			post, err := contact.NewKey(hash).Meeting().Post(request)
			if err != nil {
				t.Fatal(err)
			}
			return post
		},
		"one byte": func(_ *testing.T, _ *server, list []wire.Newcomer) []byte {
			b := append([]byte{}, list[0].Request...)
			b[len(b)/2] ^= 1
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			carol := founded(t, s, "acme")
			p := pair(t, s)
			before := s.now().Head()
			var once sync.Once
			var other []byte
			s.requests = func(list []wire.Newcomer) []wire.Newcomer {
				if len(list) == 0 {
					return list
				}
				once.Do(func() { other = swap(t, s, list) })
				list[0].Request = other
				return list
			}
			_, err := carol.Pair(t.Context(), p.key, web1, 20*time.Second)
			if !errors.Is(err, contact.ErrSecret) && !errors.Is(err, contact.ErrMismatch) && !errors.Is(err, contact.ErrMalformed) {
				t.Errorf("the admin was told: %v", err)
			}
			if s.now().Head() != before {
				t.Error("the admin has signed another's keys")
			}
			p.nothing(t)
		})
	}
}

// A server that answers the agent itself, with a team of its own, or with what it
// kept of another pairing. The agent says so and still takes the true answer.
func TestPairServerAnswersItself(t *testing.T) {
	old := newServer(t)
	carolThen := founded(t, old, "acme")
	var kept [][]byte
	old.answers = func(list [][]byte) [][]byte {
		kept = append(kept, list...)
		return list
	}
	then := pair(t, old)
	if _, err := carolThen.Pair(t.Context(), then.key, web1, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := <-then.ended; err != nil {
		t.Fatal(err)
	}

	_, theirs := evil(t)
	rogue := pair(t, newServer(t))
	forged, err := func() ([]byte, error) {
		id, u, err := newcomer.Keys(rogue.dir)
		if err != nil {
			return nil, err
		}
		request, hash, err := contact.SignRequest(id, contact.Request{Recipient: u.Recipient(), Time: 1})
		if err != nil {
			return nil, err
		}
		m := contact.NewKey(hash).Meeting()
		post, err := m.Post(request)
		if err != nil {
			return nil, err
		}
		r, err := m.Read(post)
		if err != nil {
			return nil, err
		}
		return m.Answer(r, theirs)
	}()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"its own team": forged, "an old answer": kept[0], "noise": []byte("noise")} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			carol := founded(t, s, "acme")
			s.answers = func(list [][]byte) [][]byte { return append([][]byte{bad}, list...) }
			p := pair(t, s)
			t.Log(p.refused(t))
			if _, err := newcomer.Team(p.dir); !errors.Is(err, newcomer.ErrNoTeam) {
				t.Fatalf("the agent has a team: %v", err)
			}
			if _, err := carol.Pair(t.Context(), p.key, web1, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			if err := <-p.ended; err != nil {
				t.Fatal(err)
			}
			if card, err := newcomer.Team(p.dir); err != nil || card.TeamFP != s.now().TeamFP() {
				t.Errorf("%+v %v", card, err)
			}
		})
	}
	t.Run("and withholds the true one", func(t *testing.T) {
		s := newServer(t)
		founded(t, s, "acme")
		s.answers = func([][]byte) [][]byte { return [][]byte{forged} }
		p := pair(t, s)
		p.refused(t)
		p.nothing(t)
	})
}

func TestPairNobodyThere(t *testing.T) {
	s := newServer(t)
	carol := founded(t, s, "acme")
	lost := contact.NewKey([32]byte{1})
	if _, err := carol.Pair(t.Context(), lost, web1, 0); !errors.Is(err, ErrNobody) {
		t.Errorf("%v", err)
	}
	p := pair(t, s)
	before := s.now().Head()
	for name, m := range map[string]Machine{
		"a name with a newline": {Name: "a\nb"},
		"a bad tag":             {Name: "web-1", Tags: map[string]string{"env": "\x1b[2J"}},
	} {
		if _, err := carol.Pair(t.Context(), p.key, m, 20*time.Second); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
	if s.now().Head() != before {
		t.Error("what was refused has changed the roster")
	}
	p.nothing(t)
}
