package team

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/words"
)

var (
	// ErrWaiting means that no admin has added this device yet.
	ErrWaiting = errors.New("team: no admin has added this device yet; run `tucdesk login` again when one has")
	// ErrOtherTeam means an answer of another team than the one that was named.
	ErrOtherTeam = errors.New("team: the answer is of another team than the one that was named: the server, or who answered, is not who you think")
)

// requestFile holds the request of a device until it is enrolled.
const requestFile = "request"

// Joining is what a person decides who joins a team with this device.
type Joining struct {
	Dir   string          // TUCDESK_HOME
	API   string          // empty: of the profile that was imported
	Pins  []envelope.Hash // of API
	Email string
	Team  words.Phrase // of the team, where they are known already
	Wait  time.Duration

	// Show tells the device's words.
	Show func(words.Phrase) error
	// Confirm shows a team's card to a person, who compares its words with
	// those that the admin sees.
	Confirm func(contact.Card) (bool, error)
	// Tell is told what goes on.
	Tell func(sanitize.Text)
}

// Join makes the device's keys, shows their words, waits until an admin has
// added them, and pins the team.
func Join(ctx context.Context, j Joining) (*profile.Home, error) {
	known, err := profile.Imported(j.Dir)
	switch {
	case err == nil && j.API != "" && !sameURL(j.API, known.API):
		return nil, fmt.Errorf("team: the profile in %s names another server (%s)", j.Dir, known.API)
	case err == nil:
		j.API, j.Pins = known.API, known.Pins
	case !errors.Is(err, profile.ErrNone):
		return nil, err
	case j.API == "":
		return nil, errors.New("team: give the URL of the team's API server, or import a profile first")
	}
	if home, err := profile.Open(j.Dir); err == nil {
		return home, fmt.Errorf("team: this device is in team %s already", home.Profile.TeamID)
	}
	nobody, err := key.GenerateIdentity()
	if err != nil {
		return nil, err
	}
	client, err := wire.NewClient(wire.Options{URL: j.API, Identity: nobody, HTTP: wire.Pinned(j.Pins)})
	if err != nil {
		return nil, err
	}
	// Nothing is made for a request that could not be.
	trial, err := key.GenerateUnsealer()
	if err != nil {
		return nil, err
	}
	if j.Email == "" {
		return nil, errors.New("team: give your e-mail address, as the admin knows it")
	}
	if _, _, err := contact.SignRequest(nobody, j.request(trial)); err != nil {
		return nil, err
	}
	home, err := profile.Create(j.Dir)
	if err != nil {
		return nil, err
	}
	request, err := home.Once(requestFile, func() ([]byte, error) {
		b, _, err := contact.SignRequest(home.Identity, j.request(home.Unsealer))
		return b, err
	})
	if err != nil {
		return nil, err
	}
	phrase := contact.DeviceWords(home.Identity.Public(), home.Unsealer.Recipient())
	m := contact.DeviceMeeting(phrase)
	post, err := m.Post(request)
	if err != nil {
		return nil, err
	}
	topic := m.Topic()
	id, err := client.PostNewcomer(ctx, "", wire.NewcomerRequest{Topic: topic, Request: post})
	if err != nil {
		return nil, err
	}
	if err := j.Show(phrase); err != nil {
		return nil, err
	}
	repost := func(ctx context.Context) error {
		_, err := client.PostNewcomer(ctx, "", wire.NewcomerRequest{Topic: topic, Request: post})
		return err
	}
	return j.await(ctx, client, id, repost, home, known.TeamFP)
}

func (j *Joining) request(u key.Unsealer) contact.Request {
	return contact.Request{Recipient: u.Recipient(), Time: time.Now().Unix(), Email: j.Email, OS: runtime.GOOS + "/" + runtime.GOARCH}
}

func sameURL(a, b string) bool {
	u, err := wire.ParseBase(a)
	v, err2 := wire.ParseBase(b)
	return err == nil && err2 == nil && u.String() == v.String()
}

// await looks at answers until one is taken or the time is over.
func (j *Joining) await(ctx context.Context, client *wire.Client, id token.ID, repost func(context.Context) error, home *profile.Home, known envelope.Hash) (*profile.Home, error) {
	end := time.Now().Add(j.Wait)
	last := time.Now()
	have := 0
	var refused error
	for {
		answers, err := client.NewcomerAnswers(ctx, "", id, have, time.Until(end))
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, wire.ErrUnavailable) && time.Now().Before(end):
			j.Tell(sanitize.Clean("the server does not answer; trying again: " + err.Error()))
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			continue
		case err != nil && !errors.Is(err, wire.ErrExpired):
			return nil, err
		}
		for _, b := range answers[min(have, len(answers)):] {
			err := j.take(ctx, home, known, b)
			if err == nil {
				return home, nil
			}
			if !errors.Is(err, ErrOtherTeam) && !errors.Is(err, contact.ErrMalformed) {
				return nil, err
			}
			refused = err
			j.Tell(sanitize.Clean("an answer was refused: " + err.Error()))
		}
		have = len(answers)
		if !time.Now().Before(end) {
			if refused != nil {
				return nil, refused
			}
			return nil, ErrWaiting
		}
		if errors.Is(err, wire.ErrExpired) || time.Since(last) > 5*time.Minute {
			last, have = time.Now(), 0
			if err := repost(ctx); err != nil && !errors.Is(err, wire.ErrUnavailable) {
				return nil, err
			}
		}
	}
}

// take judges one answer. Nobody vouches for it: the team is the one that was
// known, or a person compares its words.
func (j *Joining) take(ctx context.Context, home *profile.Home, known envelope.Hash, b []byte) error {
	a, r, err := contact.InsecureOpen(b)
	if err != nil {
		return errors.Join(contact.ErrMalformed, err)
	}
	switch {
	case !known.IsZero():
		if a.Card.TeamFP != known {
			return ErrOtherTeam
		}
	case !j.Team.IsZero():
		if a.Card.Words() != j.Team {
			return fmt.Errorf("%w (its words are: %s)", ErrOtherTeam, a.Card.Words())
		}
	default:
		yes, err := j.Confirm(a.Card)
		if err != nil || !yes {
			return errors.Join(ErrNotConfirmed, err)
		}
	}
	client, err := wire.NewClient(wire.Options{URL: a.Card.API, TeamID: a.Card.TeamID, Identity: home.Identity, HTTP: wire.Pinned(a.Card.Pins)})
	if err != nil {
		return err
	}
	if r, err = fetch(ctx, client, r); err != nil {
		return err
	}
	floor := a.Card.Head
	if p, err := profile.Imported(j.Dir); err == nil && p.Head.Seq > floor.Seq {
		floor = p.Head
	}
	if !r.Knows(floor) {
		return fmt.Errorf("%w (number %d; the answer was made with number %d)", profile.ErrOlder, r.Head().Seq, floor.Seq)
	}
	if _, err := r.Device(home.Identity.Kid(), time.Now()); err != nil {
		return fmt.Errorf("team: the roster does not have this device: %w", err)
	}
	return enrol(home, profile.Of(a.Card), r)
}

// newMemberID names a member for ever; people use the e-mail.
func newMemberID() string {
	id := token.NewID()
	return "m-" + id.String()[:16]
}
