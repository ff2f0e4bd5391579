// Package newcomer is how an agent comes to its team: it makes the agent's keys,
// meets an admin (pairing) or an enroller (a fleet's token) at a rendezvous that
// neither trusts, and keeps what they say: a card with the team's fingerprint,
// its servers and a roster head.
//
// Invariants:
//   - a team is taken only under the MAC of the pairing key's or the token's
//     secret, and only once: an agent never changes its team;
//   - a secret is in memory and where it is shown, never in the folder;
//   - a demo's team is refused, unless the agent is part of a demo;
//   - what is refused changes nothing, but for keys that were missing.
//
// It must not import agent/host: host asks it for keys and team.
package newcomer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/wire"
)

var (
	// ErrNoTeam means that the folder belongs to no team yet.
	ErrNoTeam = errors.New("newcomer: this agent belongs to no team yet; run tucdesk-agent pair, or tucdesk-agent enroll")
	// ErrTeam means that it belongs to one already.
	ErrTeam = errors.New("newcomer: this agent belongs to a team already; use another folder for another team")
	// ErrDemo means a demo's team.
	ErrDemo = errors.New("newcomer: this is the team of a demo; a real agent does not join it")
	// ErrOlder means an answer with an older roster than the token's.
	ErrOlder = errors.New("newcomer: the answer names an older roster than the token; tell whoever made the token")
	// ErrNobody means that nobody has answered in time.
	ErrNobody = errors.New("newcomer: nobody has answered in time")
)

// teamFile holds the card of the agent's team, in one line of text.
const teamFile = "team"

// Keys gives the agent's private keys. It makes those that dir lacks.
func Keys(dir string) (key.Identity, key.Unsealer, error) {
	id, err := keyfile.Identity(filepath.Join(dir, "agent.key"), "identity of this agent")
	if err != nil {
		return key.Identity{}, key.Unsealer{}, err
	}
	u, err := keyfile.Unsealer(filepath.Join(dir, "unsealer.key"), "opens what is sealed to this agent")
	return id, u, err
}

// Team gives the card of the agent's team, or ErrNoTeam.
func Team(dir string) (contact.Card, error) {
	f, err := os.Open(filepath.Join(dir, teamFile))
	if errors.Is(err, fs.ErrNotExist) {
		return contact.Card{}, ErrNoTeam
	}
	if err != nil {
		return contact.Card{}, fmt.Errorf("newcomer: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return contact.Card{}, fmt.Errorf("newcomer: %w", err)
	}
	card, err := contact.ParseCard(string(b))
	if err != nil {
		return contact.Card{}, fmt.Errorf("newcomer: %s: %w", f.Name(), err)
	}
	return card, nil
}

// keep stores the card, whole, durably, and once.
func keep(dir string, card contact.Card) error {
	text, err := card.Text()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".team-*") // mode 0600
	if err != nil {
		return fmt.Errorf("newcomer: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		if err = os.Link(f.Name(), filepath.Join(dir, teamFile)); errors.Is(err, fs.ErrExist) {
			return ErrTeam
		}
	}
	if err != nil {
		return fmt.Errorf("newcomer: %w", err)
	}
	return nil
}

// Options are what both ways have in common.
type Options struct {
	Dir  string
	Name string // that the agent proposes; empty: the host's
	User string // that it proposes as login user; empty: who runs this, unless it is root
	Demo bool   // the agent is part of a demo

	Tell func(sanitize.Text) // progress, in words; nil: nobody
	Now  func() time.Time    // nil: time.Now
}

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("newcomer: dir is missing: where the agent keeps its keys")
	}
	if _, err := Team(o.Dir); !errors.Is(err, ErrNoTeam) {
		if err == nil {
			err = fmt.Errorf("%w (%s)", ErrTeam, o.Dir)
		}
		return err
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("newcomer: give a name: %w", err)
		}
		o.Name = host
	}
	if o.User == "" {
		if me, err := user.Current(); err == nil && me.Uid != "0" {
			o.User = me.Username
		}
	}
	if o.Tell == nil {
		o.Tell = func(sanitize.Text) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// A meeting is one newcomer's, from its request to the answer.
type meeting struct {
	*Options
	contact.Meeting
	client     *wire.Client
	rendezvous string
	post       []byte
	hash       envelope.Hash
}

// request signs what this agent says of itself, with its keys.
func (o *Options) request() ([]byte, envelope.Hash, error) {
	id, u, err := Keys(o.Dir)
	if err != nil {
		return nil, envelope.Hash{}, err
	}
	return contact.SignRequest(id, contact.Request{
		Recipient: u.Recipient(), Time: o.Now().Unix(), Name: o.Name, User: o.User, OS: runtime.GOOS + "/" + runtime.GOARCH,
	})
}

// stranger makes a client of nobody: the agent's own key signs nothing for
// servers before it knows its team.
func stranger(api string, pins []envelope.Hash) (*wire.Client, error) {
	nobody, err := key.GenerateIdentity()
	if err != nil {
		return nil, err
	}
	return wire.NewClient(wire.Options{URL: api, Identity: nobody, HTTP: wire.Pinned(pins)})
}

// Bounds of a meeting.
const (
	maxRefused = 16 // answers that are not from who has the secret; beyond, something is wrong
	retry      = 2 * time.Second
)

// wait asks for answers until one holds, or ctx ends. A server that answers
// itself is told about at once, and the true answer is still waited for.
func (m *meeting) wait(ctx context.Context) (contact.Answer, error) {
	id, err := m.client.PostNewcomer(ctx, m.rendezvous, wire.NewcomerRequest{Topic: m.Topic(), Request: m.post})
	if ctx.Err() != nil {
		return contact.Answer{}, fmt.Errorf("%w: %w", ErrNobody, ctx.Err())
	}
	if err != nil {
		return contact.Answer{}, err
	}
	refused := map[string]bool{}
	var last error
	for {
		answers, err := m.client.NewcomerAnswers(ctx, m.rendezvous, id, len(refused), wire.MaxWait*time.Second)
		if ctx.Err() != nil {
			return contact.Answer{}, errors.Join(fmt.Errorf("%w: %w", ErrNobody, ctx.Err()), last)
		}
		switch {
		case errors.Is(err, wire.ErrExpired): // the server has forgotten it, or was started again
			_, err = m.client.PostNewcomer(ctx, m.rendezvous, wire.NewcomerRequest{Topic: m.Topic(), Request: m.post})
		case err == nil:
			for _, b := range answers {
				a, no := m.open(b)
				if no == nil {
					return a, nil
				}
				if last = no; !refused[string(b)] {
					refused[string(b)] = true
					m.Tell(sanitize.Clean("an answer was refused: " + no.Error()))
				}
			}
			if len(refused) > maxRefused {
				return contact.Answer{}, fmt.Errorf("newcomer: too many answers that do not hold; the last one: %w", last)
			}
		}
		if err != nil {
			last = err
			m.Tell(sanitize.Clean("the rendezvous does not answer; trying again: " + err.Error()))
		}
		if err != nil || len(answers) > 0 {
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
}

// open checks one answer.
func (m *meeting) open(b []byte) (contact.Answer, error) {
	a, r, err := m.Open(m.hash, b)
	if err != nil {
		return contact.Answer{}, err
	}
	if err := m.judge(r); err != nil {
		return contact.Answer{}, err
	}
	for _, u := range []string{a.Card.API, a.Card.Rendezvous} {
		if _, err := wire.ParseBase(u); err != nil {
			return contact.Answer{}, err
		}
	}
	return a, nil
}

func (m *meeting) judge(r *roster.Roster) error {
	if r.Demo() && !m.Demo {
		return ErrDemo
	}
	return nil
}

// Pair makes a pairing key, shows it, and waits for the admin who types it. api
// is the URL of the team's API server, which names its rendezvous.
func Pair(ctx context.Context, o Options, api string, pins []envelope.Hash, show func(key string) error) (contact.Answer, error) {
	if err := o.complete(); err != nil {
		return contact.Answer{}, err
	}
	client, err := stranger(api, pins)
	if err != nil {
		return contact.Answer{}, err
	}
	info, err := client.Server(ctx)
	if err != nil {
		return contact.Answer{}, err
	}
	m := meeting{Options: &o, client: client, rendezvous: info.Rendezvous}
	request, hash, err := o.request()
	if err != nil {
		return contact.Answer{}, err
	}
	pairing := contact.NewKey(hash)
	m.Meeting, m.hash = pairing.Meeting(), hash
	if m.post, err = m.Post(request); err != nil {
		return contact.Answer{}, err
	}
	if err := show(pairing.Text()); err != nil {
		return contact.Answer{}, err
	}
	a, err := m.wait(ctx)
	if err != nil {
		return contact.Answer{}, err
	}
	return a, keep(o.Dir, a.Card)
}

// Enrol asks the enroller who made a token.
func Enrol(ctx context.Context, o Options, t contact.Token) (contact.Answer, error) {
	if err := o.complete(); err != nil {
		return contact.Answer{}, err
	}
	if err := t.Valid(o.Now()); err != nil {
		return contact.Answer{}, err
	}
	o.Name = t.Name(strings.ToLower(o.Name))
	client, err := stranger(t.Card.API, t.Card.Pins)
	if err != nil {
		return contact.Answer{}, err
	}
	request, hash, err := o.request()
	if err != nil {
		return contact.Answer{}, err
	}
	m := meeting{Options: &o, Meeting: t.Meeting(), client: client, rendezvous: t.Card.Rendezvous, hash: hash}
	if m.post, err = m.Post(request); err != nil {
		return contact.Answer{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(time.Unix(t.Exp, 0).Sub(o.Now())))
	defer cancel()
	a, err := m.wait(ctx)
	switch {
	case err != nil:
		return contact.Answer{}, err
	case a.Card.TeamFP != t.Card.TeamFP:
		return contact.Answer{}, fmt.Errorf("%w: the answer is of another team than the token", contact.ErrMismatch)
	case a.Card.Head.Seq < t.Card.Head.Seq:
		return contact.Answer{}, ErrOlder
	}
	return a, keep(o.Dir, a.Card)
}
