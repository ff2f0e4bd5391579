package insight

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var errAway = errors.New("away")

// servers say what a test has them say.
type servers struct {
	sessions wire.SessionsPage
	words    [][]byte
	err      error
}

func (s *servers) Sessions(context.Context) (wire.SessionsPage, error) { return s.sessions, s.err }

func (s *servers) Receipts(context.Context, string, []key.Kid) ([][]byte, error) {
	return s.words, s.err
}

// A world is a team of one member with one machine.
type world struct {
	now     time.Time
	roster  *roster.Roster
	carol   key.Identity
	machine key.Identity
	servers servers
	teller  Teller
}

func newWorld() *world {
	w := &world{now: time.Unix(1_790_000_000, 0), carol: must(key.GenerateIdentity()), machine: must(key.GenerateIdentity())}
	exp := w.now.Add(24 * time.Hour).Unix()
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: roster.DeviceBody{
		Public: w.carol.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: exp,
	}}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: w.now.Unix(), Admins: []roster.AdminDevice{admin}}, w.carol))))
	w.roster = must(r.Apply(must(r.Next(w.now, roster.KindAgentAdd, roster.AgentAdd{
		Name: "web-1", Public: w.machine.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), LoginUser: "deploy", Exp: exp,
	}, w.carol))))
	w.teller = Teller{
		API: &w.servers, Self: w.carol.Kid(), Now: func() time.Time { return w.now },
		Sync:      func(context.Context) (*roster.Roster, error) { return w.roster, nil },
		Translate: func(err error) error { return errors.Join(backend.ErrUnavailable, err) },
	}
	return w
}

func (w *world) beat(by key.Identity, p token.Posture) []byte {
	return must(token.SignHeartbeat(by, token.Heartbeat{Agent: by.Kid(), Registration: w.roster.Head().Hash, Seq: 1, Time: w.now.Unix(), RosterHead: w.roster.Head(), Posture: &p}))
}

func (w *world) inform(target string) (backend.Info, error) {
	return w.teller.Inform(context.Background(), backend.OpenRequest{Target: backend.TargetID(target), Kind: backend.KindShell})
}

// What a machine says of itself counts with its own signature, and with no other.
func TestPosture(t *testing.T) {
	w := newWorld()
	says := token.Posture{OS: "linux/amd64", Gate: "enforced"}
	w.servers.words = [][]byte{w.beat(w.machine, says)}
	got, err := w.inform("web-1")
	if want := map[string]string{"os": "linux/amd64", "gate": "enforced"}; err != nil || !maps.Equal(got.Posture, want) {
		t.Errorf("%v, %v; want %v", got.Posture, err, want)
	}
	for name, words := range map[string][][]byte{
		"another machine's": {w.beat(w.carol, says)},
		"no heartbeat":      {[]byte("linux/amd64")},
	} {
		w.servers.words = words
		if got, err := w.inform("web-1"); err == nil || got.Posture != nil || !strings.Contains(err.Error(), "not signed by web-1") {
			t.Errorf("%s: %v, %v", name, got.Posture, err)
		}
	}
	for _, words := range [][][]byte{nil, {nil}} {
		w.servers.words = words
		if got, err := w.inform("web-1"); err != nil || got.Posture != nil {
			t.Errorf("offline: %v, %v", got.Posture, err)
		}
	}
}

// The latest sessions are of this machine, have names that the roster knows, and are few.
func TestVisits(t *testing.T) {
	w := newWorld()
	stranger := must(key.GenerateIdentity()).Kid()
	s := wire.Session{Operator: w.carol.Kid(), Target: w.machine.Kid(), Kind: "shell", As: "deploy", State: "started", Started: 5}
	elsewhere, unknown, odd := s, s, s
	elsewhere.Target, unknown.Operator, odd.State = w.carol.Kid(), stranger, "\x1b[2J"
	w.servers.sessions.Sessions = []wire.Session{elsewhere, s, unknown, odd}
	got, err := w.inform("web-1")
	want := []backend.Visit{
		{By: "carol@example.com", Kind: "shell", As: "deploy", State: "runs", Began: time.Unix(5, 0)},
		{By: stranger.Short(), Kind: "shell", As: "deploy", State: "runs", Began: time.Unix(5, 0)},
		{By: "carol@example.com", Kind: "shell", As: "deploy", State: "", Began: time.Unix(5, 0)},
	}
	if err != nil || !slices.Equal(got.Visits, want) {
		t.Errorf("%+v, %v", got.Visits, err)
	}
	w.servers.sessions.Sessions = slices.Repeat([]wire.Session{s}, 50)
	if got, err := w.inform("web-1"); err != nil || len(got.Visits) != backend.MaxVisits {
		t.Errorf("%d visits, %v", len(got.Visits), err)
	}
}

// What can't be found out leaves what can: the policy's word needs no server.
func TestServersAway(t *testing.T) {
	w := newWorld()
	w.servers.err = errAway
	got, err := w.inform("web-1")
	if !errors.Is(err, backend.ErrUnavailable) || !errors.Is(err, errAway) || got.Posture != nil || got.Visits != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.inform("web-2"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("a machine that there is not: %v", err)
	}
	w.teller.Self = must(key.GenerateIdentity()).Kid()
	if _, err := w.inform("web-1"); !errors.Is(err, backend.ErrDenied) {
		t.Errorf("a device that is not the team's: %v", err)
	}
}
