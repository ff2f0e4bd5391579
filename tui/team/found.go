package team

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// KeyLife is how long a key that is added here is valid: of a device or of a
// machine. An admin adds another one before it ends.
const KeyLife = 90 * 24 * time.Hour

// ErrNotConfirmed means that a person has compared something and said no, or was
// not asked.
var ErrNotConfirmed = errors.New("team: not confirmed; nothing was changed")

// genesisFile is in the home of a founder until the team stands.
const genesisFile = "founding"

// Founding is what a founder decides.
type Founding struct {
	Dir    string // TUCDESK_HOME
	API    string
	Pins   []envelope.Hash
	TeamID string
	Email  string // of the founder
	// Confirm shows the servers' keys to a person, who says whether they are
	// those of the servers that were set up.
	Confirm func(wire.ServerInfo) (bool, error)
}

// Found makes a team whose only admin is this device, and signs which servers
// serve it.
func Found(ctx context.Context, f Founding) (*profile.Home, error) {
	base, err := wire.ParseBase(f.API)
	if err != nil {
		return nil, err
	}
	if err := free(f.Dir); err != nil {
		return nil, err
	}
	// Names and addresses that can't be are told before anything is made: keys
	// that are thrown away try them.
	nobody, err := key.GenerateIdentity()
	if err != nil {
		return nil, err
	}
	nothing, err := key.GenerateUnsealer()
	if err != nil {
		return nil, err
	}
	if _, err := f.genesis(nobody, nothing); err != nil {
		return nil, err
	}
	client, err := wire.NewClient(wire.Options{URL: f.API, Identity: nobody, HTTP: wire.Pinned(f.Pins)})
	if err != nil {
		return nil, err
	}
	info, err := client.Server(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := serverKeys(info)
	if err != nil {
		return nil, err
	}
	if info.URL != base.String() {
		return nil, fmt.Errorf("team: the server at %s calls itself %s: use that URL, or correct `url` in its configuration", base, info.URL)
	}
	if yes, err := f.Confirm(info); err != nil || !yes {
		return nil, errors.Join(ErrNotConfirmed, err)
	}
	home, err := profile.Create(f.Dir)
	if err != nil {
		return nil, err
	}
	first, err := home.Once(genesisFile, func() ([]byte, error) { return f.genesis(home.Identity, home.Unsealer) })
	if err != nil {
		return nil, err
	}
	r, err := roster.Open(first)
	if err != nil {
		return nil, err
	}
	if r.TeamID() != f.TeamID {
		return nil, fmt.Errorf("team: this home has begun to found team %q; go on with it, or remove %s from the home", r.TeamID(), genesisFile)
	}
	if client, err = wire.NewClient(wire.Options{URL: f.API, TeamID: f.TeamID, Identity: home.Identity, HTTP: wire.Pinned(f.Pins)}); err != nil {
		return nil, err
	}
	if _, err := client.Found(ctx, first); err != nil {
		return nil, err
	}
	if r, err = fetch(ctx, client, r); err != nil {
		return nil, err
	}
	if len(r.ServerKeys(roster.ServerGrant)) == 0 {
		st, err := r.Next(time.Now(), roster.KindServerKeys, keys, home.Identity)
		if err != nil {
			return nil, err
		}
		if r, err = r.Apply(st); err != nil {
			return nil, err
		}
		if _, err := client.AppendStatements(ctx, st); err != nil {
			return nil, err
		}
	}
	return home, enrol(home, profile.Profile{
		API: info.URL, Rendezvous: info.Rendezvous, Pins: f.Pins, TeamFP: r.TeamFP(), TeamID: r.TeamID(), Head: r.Head(),
	}, r)
}

// free refuses a home that belongs to a team, or is meant for one.
func free(dir string) error {
	p, err := profile.Imported(dir)
	switch {
	case errors.Is(err, profile.ErrNone):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("team: %s has the profile of team %s; set TUCDESK_HOME to another folder", dir, p.TeamID)
}

// genesis makes and signs the first statement.
func (f *Founding) genesis(id key.Identity, u key.Unsealer) ([]byte, error) {
	now := time.Now()
	return roster.Found(roster.Genesis{
		TeamID: f.TeamID, Threshold: 1, Created: now.Unix(),
		Admins: []roster.AdminDevice{{MemberID: newMemberID(), Email: f.Email, Roles: []string{}, Device: roster.DeviceBody{
			Public: id.Public(), Recipient: u.Recipient(), Exp: now.Add(KeyLife).Unix(),
		}}},
	}, id)
}

// serverKeys gives the statement that names the servers as they describe
// themselves.
func serverKeys(info wire.ServerInfo) (roster.ServerKeys, error) {
	k := roster.ServerKeys{Relays: slices.Clone(info.Relays)}
	for _, s := range info.Keys {
		switch roster.Purpose(s.Purpose) {
		case roster.ServerGrant:
			k.Grant = append(k.Grant, s.Key)
		case roster.ServerToken:
			k.Token = append(k.Token, s.Key)
		case roster.ServerLog:
			k.Log = append(k.Log, s.Key)
		case roster.ServerRendezvous:
			k.Rendezvous = append(k.Rendezvous, s.Key)
		default:
			return k, fmt.Errorf("team: the server has a key for %q, which is not known here; update TucDesk", s.Purpose)
		}
	}
	for name, n := range map[string]int{"grant": len(k.Grant), "token": len(k.Token), "log": len(k.Log), "rendezvous": len(k.Rendezvous)} {
		if n < 1 || n > 2 {
			return k, fmt.Errorf("team: the server shows %d keys for %s, want one, or two while it changes; look at its configuration (rendezvous_key, keys_dir)", n, name)
		}
	}
	if _, err := wire.ParseBase(info.Rendezvous); err != nil {
		return k, fmt.Errorf("team: the server's rendezvous: %w", err)
	}
	return k, nil
}

// fetch gives the newest roster that apid has.
func fetch(ctx context.Context, client *wire.Client, r *roster.Roster) (*roster.Roster, error) {
	for {
		page, err := client.Roster(ctx, r.Head().Seq)
		if err != nil {
			return nil, err
		}
		before := r.Head().Seq
		if r, err = r.Apply(page.Statements...); err != nil {
			return nil, fmt.Errorf("team: apid answers roster statements that do not hold: %w", err)
		}
		if !page.More || r.Head().Seq == before {
			return r, nil
		}
	}
}

// enrol completes a home.
func enrol(home *profile.Home, p profile.Profile, r *roster.Roster) error {
	if err := home.Enrol(p, r.Genesis()); err != nil {
		return err
	}
	if _, err := home.Learn(r.Statements(0)); err != nil {
		return err
	}
	return errors.Join(home.Forget(genesisFile), home.Forget(requestFile))
}
