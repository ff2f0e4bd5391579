package team

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// An enroller keeps its tokens in its home, in a folder of their own: the token,
// in a file for its owner only, and which machines it was used for.
const (
	tokenFolder = "tokens"
	maxTokens   = 64
)

// kept is a token as it lies in the folder.
type kept struct {
	Token string    `json:"token"`
	Used  []key.Kid `json:"used"`
}

// NewToken makes a token for machines that this device may add by itself, and
// keeps it for Serve.
func (a *Admin) NewToken(ctx context.Context, names string, tags map[string]string, loginUser string, uses uint64, life time.Duration) (contact.Token, error) {
	if life > contact.TokenLife {
		return contact.Token{}, fmt.Errorf("team: a token is valid for at most %s; for later machines make another one", contact.TokenLife)
	}
	r, err := a.newest(ctx)
	if err != nil {
		return contact.Token{}, err
	}
	now := time.Now()
	if e, err := r.Enroller(a.Home().Identity.Kid(), now); err == nil {
		if names == "" {
			names = e.Names
		}
		if loginUser == "" {
			loginUser = e.LoginUser
		}
		if uses > e.Left {
			return contact.Token{}, fmt.Errorf("team: %d machines are left of this device's delegation, the token is for %d", e.Left, uses)
		}
	}
	token, err := contact.NewToken(contact.TokenTerms{
		Card: a.Home().Profile.Card(r), Names: names, Tags: tags, LoginUser: loginUser, MaxUses: uses,
		Created: now.Unix(), Exp: now.Add(life).Unix(),
	})
	if err != nil {
		return contact.Token{}, err
	}
	// A machine that never was shows now whether this device may add those to come.
	trial, err := key.GenerateIdentity()
	if err != nil {
		return contact.Token{}, err
	}
	st, err := r.Next(now, roster.KindAgentAdd, roster.AgentAdd{
		Name: token.Name("trial-" + strings.ToLower(trial.Kid().Short())), Public: trial.Public(), Recipient: a.Home().Unsealer.Recipient(), Tags: tags, LoginUser: loginUser,
		Exp: now.Add(KeyLife).Unix(),
	}, a.Home().Identity)
	if err != nil {
		return contact.Token{}, err
	}
	if _, err := r.Apply(st); err != nil {
		return contact.Token{}, fmt.Errorf("team: this device may not add such machines by itself: %w", err)
	}
	text, err := token.Text()
	if err != nil {
		return contact.Token{}, err
	}
	return token, a.store(fileOf(token), kept{Token: text, Used: []key.Kid{}})
}

func fileOf(t contact.Token) string {
	topic := t.Meeting().Topic()
	return topic.String()[:32] + ".json"
}

func (a *Admin) folder() string { return filepath.Join(a.Home().Dir, tokenFolder) }

func (a *Admin) store(name string, k kept) error {
	if err := os.MkdirAll(a.folder(), 0o700); err != nil {
		return fmt.Errorf("team: %w", err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return keyfile.Replace(filepath.Join(a.folder(), name), b)
}

// served is a token that Serve answers for.
type served struct {
	token contact.Token
	file  string
	used  []key.Kid
}

// tokens reads what NewToken has kept, and removes what is over.
func (a *Admin) tokens() ([]*served, error) {
	entries, err := os.ReadDir(a.folder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("team: %w", err)
	}
	var list []*served
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(a.folder(), e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("team: %w", err)
		}
		var k kept
		if err := json.Unmarshal(b, &k); err != nil {
			return nil, fmt.Errorf("team: %s: %w", path, err)
		}
		t, err := contact.ParseToken(k.Token)
		if err != nil {
			return nil, fmt.Errorf("team: %s: %w", path, err)
		}
		if t.Valid(time.Now()) != nil {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("team: %w", err)
			}
			continue
		}
		if len(list) == maxTokens {
			return nil, fmt.Errorf("team: more than %d tokens are valid; wait until some are over", maxTokens)
		}
		list = append(list, &served{token: t, file: e.Name(), used: k.Used})
	}
	return list, nil
}

// ErrNoTokens means that no token of this device is valid now.
var ErrNoTokens = errors.New("team: no token of this device is valid now; make one with `tucdesk enroll-token`")

// Serve adds the machines that come with the tokens of this home, each at most as
// often as it says, until ctx ends or every token is over. It is what must run,
// on the enroller's device, while machines enrol: the key that adds them is here
// and nowhere else. Only one may run in a home. added is told of each machine.
func (a *Admin) Serve(ctx context.Context, added func(roster.Agent)) error {
	if err := os.MkdirAll(a.folder(), 0o700); err != nil {
		return fmt.Errorf("team: %w", err)
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(a.folder(), "lock")).Lock()
	if err != nil {
		return fmt.Errorf("team: %w", err)
	}
	defer unlock()
	list, err := a.tokens()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return ErrNoTokens
	}
	var all sync.WaitGroup
	var signing sync.Mutex // one statement at a time
	for _, s := range list {
		all.Go(func() { a.serve(ctx, s, &signing, added) })
	}
	all.Wait()
	return nil
}

// serve answers for one token until it is over.
func (a *Admin) serve(ctx context.Context, s *served, signing *sync.Mutex, added func(roster.Agent)) {
	ctx, cancel := context.WithDeadline(ctx, time.Unix(s.token.Exp, 0))
	defer cancel()
	m, server := s.token.Meeting(), a.Home().Profile.Rendezvous
	done := map[string]bool{}
	for ctx.Err() == nil {
		list, err := a.Client().Newcomers(ctx, server, m.Topic(), len(done), wire.MaxWait*time.Second)
		if err != nil {
			if ctx.Err() == nil {
				a.Tell(sanitize.Clean("the rendezvous does not answer; trying again: " + err.Error()))
			}
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			continue
		}
		present := map[string]bool{}
		for _, n := range list {
			id := n.ID.String()
			present[id] = true
			if done[id] {
				continue
			}
			done[id] = true
			r, err := m.Read(n.Request)
			if err == nil {
				signing.Lock()
				var agent roster.Agent
				var on *roster.Roster
				if agent, on, err = a.admit(ctx, s, r); err == nil {
					err = a.answer(ctx, server, m, r, n.ID, agent.Name, on)
				}
				signing.Unlock()
				if err == nil {
					added(agent)
				}
			}
			if err != nil {
				a.Tell(sanitize.Clean("a machine was not added: " + err.Error()))
				if errors.Is(err, wire.ErrUnavailable) {
					delete(done, id)
				}
			}
		}
		for id := range done { // the mailbox forgets, and so do we
			if !present[id] {
				delete(done, id)
			}
		}
	}
}

// admit signs one machine of a token into the roster. The use is on disk before
// the statement is sent.
func (a *Admin) admit(ctx context.Context, s *served, r contact.VerifiedRequest) (roster.Agent, *roster.Roster, error) {
	b := r.Body()
	kid := b.Public.Kid()
	if err := s.token.Valid(time.Now()); err != nil {
		return roster.Agent{}, nil, err
	}
	if !slices.Contains(s.used, kid) {
		if uint64(len(s.used)) >= s.token.MaxUses {
			return roster.Agent{}, nil, fmt.Errorf("team: the token was for %d machines, and all have come", s.token.MaxUses)
		}
		text, err := s.token.Text()
		if err != nil {
			return roster.Agent{}, nil, err
		}
		used := append(slices.Clip(s.used), kid)
		if err := a.store(s.file, kept{Token: text, Used: used}); err != nil {
			return roster.Agent{}, nil, err
		}
		s.used = used
	}
	on, err := a.Sign(ctx, func(on *roster.Roster) ([]roster.Change, error) {
		if _, known := on.EverAgent(kid); known {
			_, err := on.Agent(kid, time.Now())
			return nil, err // answered again
		}
		name := b.Name
		if _, err := on.AgentNamed(name, time.Now()); !errors.Is(err, roster.ErrUnknown) {
			name += "-" + strings.ToLower(strings.NewReplacer("-", "0", "_", "0").Replace(kid.Short()))
		}
		return []roster.Change{{Kind: roster.KindAgentAdd, Body: agentAdd(b, Machine{Name: name, Tags: s.token.Tags, LoginUser: s.token.LoginUser})}}, nil
	})
	if err != nil {
		return roster.Agent{}, nil, err
	}
	agent, _ := on.EverAgent(kid)
	return agent, on, nil
}
