// Package profile is an operator's local state: what TUCDESK_HOME holds. Two
// private keys, where the team's servers are, the roster pinned to its
// fingerprint, and the chain of the proofs that this device has signed.
//
//	profile.json     addresses, team_fp, team_id
//	device.key       Ed25519 identity, 0600
//	unsealer.key     age identity, 0600
//	roster           genesis and statements, append-only (internal/rosterfile)
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

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/rosterfile"
)

// ErrNone means that the folder holds no profile.
var ErrNone = errors.New("profile: this TUCDESK_HOME belongs to no team yet")

// A Profile says which team, and where its servers are. It is not secret.
type Profile struct {
	API        string        `json:"api"`
	Rendezvous string        `json:"rendezvous"`
	TeamFP     envelope.Hash `json:"team_fp"`
	TeamID     string        `json:"team_id"`
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

// Enrol pins the team: it stores the profile and the genesis, whose hash must be
// the profile's fingerprint. A home never changes its team.
func (h *Home) Enrol(p Profile, genesis []byte) error {
	if old, err := readProfile(h.Dir); err == nil && old.TeamFP != p.TeamFP {
		return fmt.Errorf("profile: %s belongs to team %s already; use another TUCDESK_HOME for another team", h.Dir, old.TeamFP)
	}
	f, err := rosterfile.Create(h.rosterPath(), p.TeamFP, genesis)
	if err != nil {
		return err
	}
	b, err := jsonBytes(p)
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(h.Dir, "profile.json"), b); err != nil {
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
		return nil, fmt.Errorf("%w (looked in %s): set TUCDESK_HOME to a folder that has one, or try `tucdesk demo`", ErrNone, dir)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{Dir: dir, Profile: p}
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

func (h *Home) rosterPath() string { return filepath.Join(h.Dir, "roster") }

// Roster gives the newest roster that this process knows.
func (h *Home) Roster() *roster.Roster {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.roster.Roster()
}

// Learn adds roster statements that came from anywhere: a server, a file, a
// peer. They stand by their signatures. What is known already is passed over;
// a fork is kept as evidence and returned.
func (h *Home) Learn(statements [][]byte) (*roster.Roster, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.roster.Learn(statements)
}

func readProfile(dir string) (Profile, error) {
	var p Profile
	err := readJSON(filepath.Join(dir, "profile.json"), &p)
	if err == nil && (p.TeamFP.IsZero() || p.TeamID == "" || p.API == "") {
		err = fmt.Errorf("profile: %s lacks api, team_id or team_fp", filepath.Join(dir, "profile.json"))
	}
	return p, err
}

// readJSON reads a small file of ours strictly.
func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
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

// replaceFile writes a whole new file in place of path, durably.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
