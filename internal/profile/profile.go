// Package profile is an operator's local state: what TUCDESK_HOME holds. Two
// private keys, where the team's servers are, the roster pinned to its
// fingerprint, and the chain of the proofs that this device has signed.
//
//	profile.json     addresses, pins, team_fp, team_id, and the roster head of its making
//	device.key       Ed25519 identity, 0600
//	unsealer.key     age identity, 0600
//	roster           genesis and statements, append-only (internal/rosterfile)
//	founding, request  what was sent before the device was enrolled; gone after
//	checkpoints      of the audit log, the newest seen, and evidence (internal/checkpointfile)
//	confirmed.json   which machines have confirmed the newest removal
//	synced           its time is when apid last showed the same roster
//	chain.json       number and hash of the last proof, and one whose fate is open
//
// Several processes may share one home: whatever changes a file holds its lock.
package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/rosterfile"
)

// ErrNone means that the folder holds no profile.
var ErrNone = errors.New("profile: this TUCDESK_HOME belongs to no team yet")

// ErrOlder means that servers have given an older roster than the one that the
// profile was made with.
var ErrOlder = errors.New("profile: the servers show an older roster than the profile knows; they may be restored from a backup, or withhold something: tell an admin of your team")

// A Profile says which team, and where its servers are. It is not secret.
type Profile struct {
	API        string        `json:"api"`
	Rendezvous string        `json:"rendezvous"`
	TeamFP     envelope.Hash `json:"team_fp"`
	TeamID     string        `json:"team_id"`
	// Pins are the SHA-256 of the servers' public TLS keys, where the site's
	// authority is its own; none: the system's authorities.
	Pins []envelope.Hash `json:"pins,omitempty"`
	// Head is the roster at the profile's making: no older one is acted on.
	Head roster.Head `json:"head"`
}

// A Home is an opened TUCDESK_HOME. It is safe for concurrent use.
type Home struct {
	Dir      string
	Profile  Profile
	Identity key.Identity
	Unsealer key.Unsealer

	mu     sync.Mutex
	roster *rosterfile.File
}

// DefaultDir gives TUCDESK_HOME, or the place that the system has for it.
func DefaultDir() (string, error) {
	if d := os.Getenv("TUCDESK_HOME"); d != "" {
		return filepath.Abs(d)
	}
	d, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("profile: set TUCDESK_HOME to the folder of your profile: %w", err)
	}
	return filepath.Join(d, "tucdesk"), nil
}

// Create makes a home of new keys, or opens its keys if they are there, before
// any team is known. Enrol completes it.
func Create(dir string) (*Home, error) {
	id, err := keyfile.Identity(filepath.Join(dir, "device.key"), "device identity")
	if err != nil {
		return nil, err
	}
	un, err := keyfile.Unsealer(filepath.Join(dir, "unsealer.key"), "opens what is sealed to this device")
	if err != nil {
		return nil, err
	}
	return &Home{Dir: dir, Identity: id, Unsealer: un}, nil
}

// Of gives the profile that a card describes.
func Of(c contact.Card) Profile {
	return Profile{API: c.API, Rendezvous: c.Rendezvous, TeamFP: c.TeamFP, TeamID: c.TeamID, Pins: c.Pins, Head: c.Head}
}

// Card describes the profile's team to others, at a roster that they are not to
// fall behind.
func (p Profile) Card(r *roster.Roster) contact.Card {
	return contact.Card{
		V: contact.Version, API: p.API, Rendezvous: p.Rendezvous, Pins: p.Pins, TeamID: p.TeamID, TeamFP: p.TeamFP, Head: r.Head(),
	}
}

// Import stores the profile of a card in a home that has none: it names the team
// that this device will join. It makes no key and connects to nothing.
func Import(dir string, c contact.Card) error {
	if err := c.Check(); err != nil {
		return err
	}
	b, err := jsonBytes(Of(c))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	path := filepath.Join(dir, "profile.json")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("profile: %s has a profile already, which is never overwritten; use another TUCDESK_HOME", dir)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// Imported gives the profile of a home, whether or not its device is enrolled.
// None is ErrNone.
func Imported(dir string) (Profile, error) {
	p, err := readProfile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("%w (looked in %s)", ErrNone, dir)
	}
	return p, err
}

// Once gives the content of a file of the home, which is made at the first call
// and never changes: what was sent under this device's name before a crash is
// what is sent after it. Forget removes it.
func (h *Home) Once(name string, create func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(h.Dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := create()
		if err != nil {
			return nil, err
		}
		return b, keyfile.Replace(path, b)
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return b, nil
}

// Forget removes a file that Once has made.
func (h *Home) Forget(name string) error {
	err := os.Remove(filepath.Join(h.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Behind answers ErrOlder while the roster of this home lacks what its profile
// has been made with: then nothing may rest on it.
func (h *Home) Behind() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.roster.Roster(); !h.Profile.Head.Hash.IsZero() && !r.Knows(h.Profile.Head) {
		return fmt.Errorf("%w (number %d; the profile was made with number %d)", ErrOlder, r.Head().Seq, h.Profile.Head.Seq)
	}
	return nil
}

// Enrol pins the team: it stores the profile and the genesis, whose hash must be
// the profile's fingerprint. A home never changes its team.
func (h *Home) Enrol(p Profile, genesis []byte) error {
	if old, err := readProfile(h.Dir); err == nil {
		if old.TeamFP != p.TeamFP {
			return fmt.Errorf("profile: %s belongs to team %s already; use another TUCDESK_HOME for another team", h.Dir, old.TeamFP)
		}
		if old.Head.Seq > p.Head.Seq {
			p.Head = old.Head
		}
	}
	f, err := rosterfile.Create(h.rosterPath(), p.TeamFP, genesis)
	if err != nil {
		return err
	}
	b, err := jsonBytes(p)
	if err != nil {
		return err
	}
	if err := keyfile.Replace(filepath.Join(h.Dir, "profile.json"), b); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Profile, h.roster = p, f
	return nil
}

// Open reads a home that belongs to a team.
func Open(dir string) (*Home, error) {
	p, err := readProfile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (looked in %s): set TUCDESK_HOME to a folder that has one, try `tucdesk login`, or `tucdesk demo`", ErrNone, dir)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{Dir: dir, Profile: p}
	if _, err := os.Stat(h.rosterPath()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s holds the profile of team %s, and this device is not in it yet; run `tucdesk login`", ErrNone, dir, p.TeamID)
	}
	if h.Identity, err = keyfile.LoadIdentity(filepath.Join(dir, "device.key")); err != nil {
		return nil, err
	}
	if h.Unsealer, err = keyfile.LoadUnsealer(filepath.Join(dir, "unsealer.key")); err != nil {
		return nil, err
	}
	if h.roster, err = rosterfile.Open(h.rosterPath(), p.TeamFP); err != nil {
		return nil, err
	}
	return h, nil
}

// Checkpoints gives what this home has seen of the team's audit log.
func (h *Home) Checkpoints() (*checkpointfile.File, error) {
	return checkpointfile.Open(filepath.Join(h.Dir, "checkpoints"))
}

func (h *Home) rosterPath() string { return filepath.Join(h.Dir, "roster") }

// Roster gives the newest roster that this process knows.
func (h *Home) Roster() *roster.Roster {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.roster.Roster()
}

// Synced notes that apid has just shown no other roster than this home's.
func (h *Home) Synced() error {
	path := filepath.Join(h.Dir, "synced")
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// LastSync says when Synced was last called, by this or another process; false if
// that is not known. It is for people: nothing rests on it.
func (h *Home) LastSync() (time.Time, bool) {
	st, err := os.Stat(filepath.Join(h.Dir, "synced"))
	if err != nil {
		return time.Time{}, false
	}
	return st.ModTime(), true
}

// Learn adds roster statements that came from anywhere: a server, a file, a
// peer. They stand by their signatures. What is known already is passed over;
// a fork is kept as evidence and returned.
func (h *Home) Learn(statements [][]byte) (*roster.Roster, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.roster.Learn(time.Now(), statements)
}

func readProfile(dir string) (Profile, error) {
	var p Profile
	err := readJSON(filepath.Join(dir, "profile.json"), &p)
	if err == nil && (p.TeamFP.IsZero() || p.TeamID == "" || p.API == "") {
		err = fmt.Errorf("profile: %s lacks api, team_id or team_fp", filepath.Join(dir, "profile.json"))
	}
	return p, err
}

// maxFile bounds a file of ours, in bytes: the key ids of a hundred thousand machines.
const maxFile = 8 << 20

// readJSON reads a file of ours strictly.
func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("profile: %s: %w", path, err)
	}
	return nil
}

func jsonBytes(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}
