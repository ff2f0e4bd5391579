package up

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/tucdesk/tucdesk/agent/host"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

//go:embed demo.yaml
var demoPolicy []byte

//go:embed demo-runbook.yaml
var demoRunbook []byte

// Demo is what `tucdesk demo` starts: the three servers, a few agents, and a
// team of personas, all on loopback and all on disk under Dir, so that a second
// start goes on where the first one stopped. Its genesis is flagged: real agents
// refuse it.
type Demo struct {
	Dir    string
	Policy []byte // a policy document instead of the demo's own
	// Database is a PostgreSQL database that its owner has migrated,
	// postgres://…; empty: a SQLite file under Dir.
	Database string
	Logger   *slog.Logger
	// Tap, for tests, sees everything that passes the rendezvous and the relay.
	Tap func([]byte)
	// Processes runs each part as a process of its own: this program again, by
	// its hidden command "part". There is no Tap then.
	Processes bool
	// Shim are the arguments with which this program is the exec gate's shim; nil:
	// agents of this process have no gate.
	Shim []string
	// Errand are those with which it does copies and forwards; nil: there are none.
	Errand []string
	// Furnish puts into each persona's home what it should have besides; nil: nothing.
	Furnish func(home string) error
	// Progress is told in words what is being done; nil: nobody.
	Progress func(string)
}

// A persona is a made-up member with a TUCDESK_HOME of its own under Dir.
type persona struct {
	name  string
	roles []string
}

// carol founds the team: she is its one admin.
const founder = "carol"

var personas = []persona{
	{"alice", []string{"sre"}},
	{"bob", []string{"approver", "sre"}},
	{founder, []string{}},
	{"dora", []string{"auditor"}},
}

type machine struct {
	name string
	tags map[string]string
}

var machines = []machine{
	{"web-1", map[string]string{"env": "staging", "role": "web"}},
	{"web-2", map[string]string{"env": "prod", "role": "web"}},
	{"db-1", map[string]string{"env": "prod", "role": "db-primary"}},
	{"build-1", map[string]string{"env": "ci", "role": "build"}},
}

// Ready is what D/ready.json says once everything serves. All of it is for
// scripts: none of it is secret.
type Ready struct {
	API        string            `json:"api"`
	Rendezvous string            `json:"rendezvous"`
	Relay      string            `json:"relay"`
	TeamFP     envelope.Hash     `json:"team_fp"`
	Data       string            `json:"data"`  // what the servers keep
	Pids       map[string]int    `json:"pids"`  // by part
	Homes      map[string]string `json:"homes"` // by persona: a TUCDESK_HOME each
	Agents     []string          `json:"agents"`
	Try        Try               `json:"try"`
}

// Try names commands that show each of policy's answers to alice.
type Try struct {
	Target  string   `json:"target"`
	Allowed []string `json:"allowed"`
	Held    []string `json:"held"`
	Denied  []string `json:"denied"`
}

// ErrRunning means that a demo, or an up, runs in this folder already.
var ErrRunning = errors.New("up: servers run in this folder already")

// Run starts everything, calls ready when it serves, and stops it all when ctx
// is done. ready.json exists exactly while the demo serves.
func (d *Demo) Run(ctx context.Context, ready func(Ready)) error {
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return err
	}
	d.Dir = dir
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Progress == nil {
		d.Progress = func(string) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	unlock, err := lock(d.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	readyFile := filepath.Join(dir, "ready.json")
	if err := os.Remove(readyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("up: %w", err)
	}
	defer os.Remove(readyFile)

	var apart *processes
	if d.Processes {
		if d.Tap != nil {
			return errors.New("up: what passes other processes can't be tapped")
		}
		apart = newProcesses(dir, d.Logger)
	}
	s, err := openServers(ctx, filepath.Join(dir, "servers"), d.Database, d.Logger, d.Tap, apart)
	if err != nil {
		return err
	}
	defer s.close()
	d.Progress("starting apid, rendezvous and relay on loopback")
	return s.serve(ctx, func(ctx context.Context) error {
		d.Progress("enrolling the team and its machines")
		team, err := d.enrol(ctx, s)
		if err != nil {
			return err
		}
		d.Progress("starting the agents")
		return d.runAgents(ctx, s, team, apart, func() error {
			r, err := d.describe(s, team), error(nil)
			if apart != nil {
				r, err = apart.publish(r)
			} else {
				err = writeReady(readyFile, r)
			}
			if err == nil {
				ready(r)
			}
			return err
		})
	})
}

// lock keeps a folder to one demo or one up. The lock is the system's: it is free again
// however this process ends.
func lock(dir string) (func(), error) {
	got := make(chan func(), 1)
	fail := make(chan error, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(filepath.Join(dir, "lock")).Lock()
		if err != nil {
			fail <- err
			return
		}
		got <- unlock
	}()
	select {
	case unlock := <-got:
		return unlock, nil
	case err := <-fail:
		return nil, fmt.Errorf("up: %w", err)
	case <-time.After(time.Second):
		go func() { (<-got)() }()
		return nil, fmt.Errorf("%w: %s; end it with Ctrl-C, or give another --dir", ErrRunning, dir)
	}
}

// enrolled is the demo's team as it stands on disk.
type enrolled struct {
	homes map[string]*profile.Home
	fp    envelope.Hash
}

// enrol makes what is missing: the team, its members, its machines, the servers'
// keys and addresses, the policy. Each is a statement signed by carol's device.
func (d *Demo) enrol(ctx context.Context, s *servers) (*enrolled, error) {
	t := &enrolled{homes: map[string]*profile.Home{}}
	for _, p := range personas {
		h, err := profile.Create(filepath.Join(d.Dir, p.name))
		if err == nil && d.Furnish != nil {
			err = d.Furnish(h.Dir)
		}
		if err != nil {
			return nil, err
		}
		t.homes[p.name] = h
	}
	carol := t.homes[founder]
	genesis, err := d.genesis(carol)
	if err != nil {
		return nil, err
	}
	r, err := roster.Open(genesis)
	if err != nil {
		return nil, err
	}
	t.fp = r.TeamFP()
	client, err := wire.NewClient(wire.Options{URL: s.apiURL, TeamID: r.TeamID(), Identity: carol.Identity})
	if err != nil {
		return nil, err
	}
	if _, err := client.Found(ctx, genesis); err != nil {
		return nil, fmt.Errorf("up: found the team: %w", err)
	}
	for _, p := range personas {
		err := t.homes[p.name].Enrol(profile.Profile{API: s.apiURL, Rendezvous: s.rendezvousURL, TeamFP: t.fp, TeamID: r.TeamID()}, genesis)
		if err != nil {
			return nil, err
		}
	}
	page := wire.RosterPage{More: true}
	r = carol.Roster()
	for page.More {
		if page, err = client.Roster(ctx, r.Head().Seq); err != nil {
			return nil, err
		}
		if r, err = carol.Learn(page.Statements); err != nil {
			return nil, err
		}
	}
	if err := d.state(ctx, client, carol, r, s, t); err != nil {
		return nil, err
	}
	for _, p := range personas {
		if _, err := t.homes[p.name].Learn(carol.Roster().Statements(0)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// genesis gives the demo's genesis: made once, and kept, since its hash is the
// team's identity.
func (d *Demo) genesis(carol *profile.Home) ([]byte, error) {
	path := filepath.Join(d.Dir, "genesis")
	b, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	b, err = roster.Found(roster.Genesis{
		TeamID: "demo", Threshold: 1, Created: time.Now().Unix(), Demo: true,
		Admins: []roster.AdminDevice{{MemberID: founder, Email: founder + "@example.com", Roles: []string{}, Device: deviceBody(carol)}},
	}, carol.Identity)
	if err != nil {
		return nil, err
	}
	return b, writeFile(path, b)
}

func deviceBody(h *profile.Home) roster.DeviceBody {
	return roster.DeviceBody{Public: h.Identity.Public(), Recipient: h.Unsealer.Recipient(), Exp: time.Now().Add(deviceLife).Unix()}
}

// deviceLife is the default life of a key in a roster.
const deviceLife = 90 * 24 * time.Hour

// state signs what the roster lacks of the demo's intended state.
func (d *Demo) state(ctx context.Context, client *wire.Client, carol *profile.Home, r *roster.Roster, s *servers, t *enrolled) error {
	var made [][]byte
	add := func(kind roster.Kind, body any) error {
		st, err := r.Next(time.Now(), kind, body, carol.Identity)
		if err != nil {
			return err
		}
		if r, err = r.Apply(st); err != nil {
			return err
		}
		made = append(made, st)
		return nil
	}
	if want := s.keys(); !sameServers(r, want) {
		if err := add(roster.KindServerKeys, want); err != nil {
			return err
		}
	}
	for _, p := range personas {
		h := t.homes[p.name]
		if _, known := r.EverDevice(h.Identity.Kid()); known {
			continue
		}
		if err := add(roster.KindMemberAdd, roster.MemberAdd{MemberID: p.name, Email: p.name + "@example.com", Roles: p.roles, Device: deviceBody(h)}); err != nil {
			return err
		}
	}
	dora := t.homes["dora"].Unsealer.Recipient()
	if !slices.Contains(r.Auditors(), dora) {
		if err := add(roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{dora}}); err != nil {
			return err
		}
	}
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("up: who runs this? %w", err)
	}
	for _, m := range machines {
		pub, recipient, err := host.Keys(d.agentDir(m.name))
		if err != nil {
			return err
		}
		if _, known := r.EverAgent(pub.Kid()); known {
			continue
		}
		err = add(roster.KindAgentAdd, roster.AgentAdd{
			Name: m.name, Public: pub, Recipient: recipient, Tags: m.tags, LoginUser: me.Username,
			Exp: time.Now().Add(deviceLife).Unix(),
		})
		if err != nil {
			return err
		}
	}
	doc := bytes.ReplaceAll(demoPolicy, []byte("LOGIN"), []byte(strconv.Quote(me.Username)))
	if d.Policy != nil {
		doc = d.Policy
	}
	if d.Policy != nil || r.PolicyVersion() == 0 {
		if r.PolicyHash() != envelope.Sum(doc) {
			if err := r.CheckPolicy(doc); err != nil {
				return err
			}
			if err := add(roster.KindPolicySet, roster.PolicySet{Version: r.PolicyVersion() + 1, Hash: envelope.Sum(doc), Document: doc}); err != nil {
				return err
			}
		}
	}
	if len(r.RunbookVersions()) == 0 {
		if err := add(roster.KindRunbookSet, r.NextRunbook("check-web", demoRunbook)); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		return nil
	}
	if _, err := client.AppendStatements(ctx, made...); err != nil {
		return err
	}
	_, err = carol.Learn(made)
	return err
}

func sameServers(r *roster.Roster, want roster.ServerKeys) bool {
	return slices.Equal(r.ServerKeys(roster.ServerGrant), want.Grant) &&
		slices.Equal(r.ServerKeys(roster.ServerToken), want.Token) &&
		slices.Equal(r.ServerKeys(roster.ServerLog), want.Log) &&
		slices.Equal(r.ServerKeys(roster.ServerRendezvous), want.Rendezvous) &&
		slices.Equal(r.Relays(), want.Relays)
}

func (d *Demo) agentDir(name string) string { return filepath.Join(d.Dir, "agents", name) }

// runAgents runs all agents until ctx is done, and calls up once all are online.
func (d *Demo) runAgents(ctx context.Context, s *servers, t *enrolled, apart *processes, up func() error) error {
	var all daemon.Group
	for _, m := range machines {
		if apart != nil {
			member, err := apart.agent(d, s, t, m.name)
			if err != nil {
				return err
			}
			all = append(all, member)
			continue
		}
		h, err := host.New(host.Config{
			Dir: d.agentDir(m.name), Name: m.name, APIURL: s.apiURL, RendezvousURL: s.rendezvousURL, TeamID: t.homes[founder].Profile.TeamID,
			TeamFP: t.fp, Demo: true, Gate: d.Shim, Errand: d.Errand, Logger: d.Logger.With("agent", m.name),
		})
		if err != nil {
			return err
		}
		all = append(all, daemon.Member{Name: m.name, Service: h})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := all.Run(ctx, func() {
		if err := up(); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (d *Demo) describe(s *servers, t *enrolled) Ready {
	r := Ready{
		API: s.apiURL, Rendezvous: s.rendezvousURL, Relay: s.relayAddr, TeamFP: t.fp, Data: s.dir,
		Homes: map[string]string{}, Pids: map[string]int{}, Try: try(d.Dir),
	}
	for name, h := range t.homes {
		r.Homes[name] = h.Dir
	}
	for _, part := range []string{"apid", "rendezvousd", "relayd"} {
		r.Pids[part] = os.Getpid()
	}
	for _, m := range machines {
		r.Agents = append(r.Agents, m.name)
		r.Pids["agent "+m.name] = os.Getpid()
	}
	return r
}

// try names commands that run on any Linux or macOS and harm nothing: the held
// one removes a folder inside the demo's own, and the denied one never runs.
func try(dir string) Try {
	return Try{
		Target:  "web-1",
		Allowed: []string{"uname", "-a"},
		Held:    []string{"rm", "-rf", filepath.Join(dir, "scratch")},
		Denied:  []string{"mkfs", "/dev/null"},
	}
}

// writeReady writes ready.json whole or not at all.
func writeReady(path string, r any) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'))
}

func writeFile(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	return nil
}
