package playback

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/recording"
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

// apid is a server that tells what it likes.
type apid struct {
	session             token.ID
	segments, manifests [][]byte
	end                 *uint64
	proof               []byte
	pageSize            int
	signer              key.Identity
}

func (a *apid) Append(n uint64, b []byte) error {
	if int(n) > len(a.segments) {
		a.segments = append(a.segments, nil)
	}
	a.segments[n-1] = append(a.segments[n-1], b...)
	return nil
}

func (a *apid) Sign(m recording.Manifest) (envelope.Hash, error) {
	manifest, hash, err := recording.SignManifest(a.signer, m)
	a.manifests = append(a.manifests, manifest)
	return hash, err
}

func (a *apid) Recording(_ context.Context, _ token.ID, after uint64) (wire.RecordingPage, error) {
	rest := a.manifests[min(int(after), len(a.manifests)):]
	return wire.RecordingPage{
		Recording: wire.Recording{Segments: uint64(len(a.manifests))}, EndEntry: a.end, Manifests: rest[:min(len(rest), a.pageSize)],
	}, nil
}

func (a *apid) Segment(_ context.Context, _ token.ID, n uint64) ([]byte, error) {
	if int(n) > len(a.segments) {
		return nil, errors.New("gone")
	}
	return a.segments[n-1], nil
}

func (a *apid) LogProof(context.Context, uint64) ([]byte, error) { return a.proof, nil }

// world is a team with one machine and one recording of three segments.
type world struct {
	*apid
	roster       *roster.Roster
	agent, other key.Identity
	log          key.Identity
	auditor      key.Unsealer
}

func newWorld() *world {
	w := &world{
		apid: &apid{session: token.NewID(), pageSize: 2}, agent: must(key.GenerateIdentity()), other: must(key.GenerateIdentity()),
		log: must(key.GenerateIdentity()), auditor: must(key.GenerateUnsealer()),
	}
	carol := must(key.GenerateIdentity())
	now := time.Now()
	exp := now.Add(24 * time.Hour).Unix()
	genesis := must(roster.Found(roster.Genesis{
		TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{{MemberID: "carol", Email: "carol@example.com",
			Device: roster.DeviceBody{Public: carol.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: exp}}},
	}, carol))
	w.roster = must(roster.Open(genesis))
	state := func(kind roster.Kind, body any) {
		w.roster = must(w.roster.Apply(must(w.roster.Next(now, kind, body, carol))))
	}
	extra := must(key.GenerateIdentity())
	state(roster.KindServerKeys, roster.ServerKeys{Log: []key.Public{w.log.Public()}, Grant: []key.Public{extra.Public()}})
	for name, id := range map[string]key.Identity{"web-1": w.agent, "web-2": w.other} {
		state(roster.KindAgentAdd, roster.AgentAdd{Name: name, Public: id.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), LoginUser: "deploy", Exp: exp})
	}
	w.signer = w.agent
	rec := must(recording.NewWriter(recording.Config{
		TeamFP: w.roster.TeamFP(), SessionID: w.session, Auditors: []key.Recipient{w.auditor.Recipient()},
		Header: recording.Header{Cols: 80, Rows: 24, Title: "alice on web-1"},
	}, w.apid))
	out := rec.Stream(true)
	for _, text := range []string{"one \x1b]0;title\x07", "two ", "three"} {
		if text != "one \x1b]0;title\x07" {
			time.Sleep(2 * time.Minute)
		}
		must(out.Write([]byte(text)))
		time.Sleep(time.Second)
	}
	w.ends(w.agent, audit.SessionEnd, w.session, must(rec.Close()))
	return w
}

// ends makes the log say how the session ended.
func (w *world) ends(by key.Identity, typ audit.Type, session token.ID, head envelope.Hash) {
	entry := must(audit.NewChain(by, audit.Link{}).Next(audit.Entry{
		TeamFP: w.roster.TeamFP(), TeamID: "acme", Type: typ, Timestamp: time.Now().Unix(), Action: "exec", SessionID: session,
		Actor: audit.Party{Kid: by.Kid()}, Target: audit.Party{Kid: by.Kid()}, RosterHead: w.roster.Head(), Outcome: audit.Outcome{Recording: head},
	}))
	var tree []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (got []tlog.Hash, _ error) {
		for _, i := range at {
			got = append(got, tree[i])
		}
		return got, nil
	})
	tree = append(tree, must(tlog.StoredHashes(0, entry, read))...)
	note := must(audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(w.roster.TeamFP()), Size: 1, Root: must(tlog.TreeHash(1, read))}, w.log))
	w.proof = must(audit.Prove(read, 0, entry, note)).Marshal()
	zero := uint64(0)
	w.end = &zero
}

func (w *world) open(t *testing.T) (*Recording, error) {
	t.Helper()
	r, err := Open(t.Context(), w.apid, w.roster, w.auditor, w.session)
	if err == nil {
		t.Cleanup(func() { r.Close() })
	}
	return r, err
}

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		rec, err := w.open(t)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Agent.Name != "web-1" || rec.LogEntry == nil || !rec.Complete() || rec.Segments() != 3 {
			t.Errorf("%+v", rec)
		}
		const end = "\x1b[0m\x1b7\x1b[r\x1b8\r\n"
		for _, tt := range []struct {
			o    Options
			want string
			took time.Duration
		}{
			{Options{}, "one two three", 0},
			{Options{Speed: 1}, "one two three", 4*time.Minute + 2*time.Second},
			{Options{Speed: 2}, "one two three", 2*time.Minute + time.Second},
			{Options{Speed: 1, IdleLimit: 2 * time.Second}, "one two three", 4 * time.Second},
			{Options{Speed: 1, From: 2 * time.Minute}, "two three", 2*time.Minute + 2*time.Second},
			{Options{Speed: 1, From: time.Hour}, "three", 0},
		} {
			var b bytes.Buffer
			began := time.Now()
			if err := rec.Play(t.Context(), &b, tt.o); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != tt.want+end || time.Since(began) != tt.took {
				t.Errorf("%+v: %q in %v, want %q in %v", tt.o, got, time.Since(began), tt.want, tt.took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := rec.Play(ctx, new(bytes.Buffer), Options{Speed: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Play = %v", err)
		}
		var b bytes.Buffer
		if err := rec.Export(t.Context(), &b, false); err != nil || !strings.Contains(b.String(), `"one \u001b]0;title\u0007"`) {
			t.Errorf("%v\n%s", err, b.String())
		}
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(rec.dir); !errors.Is(err, os.ErrNotExist) {
			t.Error("segments are left behind")
		}
	})
}

// What apid withholds, exchanges or invents shows.
func TestLyingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		some := envelope.Sum([]byte("another"))
		for _, tt := range []struct {
			name   string
			change func(*world)
			want   string // of the error; empty: opens
		}{
			{"honest", func(*world) {}, ""},
			{"the log's word withheld", func(w *world) { w.end = nil }, ""},
			{"the end withheld", func(w *world) { w.manifests, w.segments = w.manifests[:2], w.segments[:2] }, "cut off after segment 2"},
			{"the end and the log's word withheld", func(w *world) { w.manifests, w.end = w.manifests[:2], nil }, ""},
			{"the log names another", func(w *world) { w.ends(w.agent, audit.SessionEnd, w.session, some) }, "names another recording"},
			{"the log names none", func(w *world) { w.ends(w.agent, audit.SessionEnd, w.session, envelope.Hash{}) }, "names another recording"},
			{"the entry is of another session", func(w *world) { w.ends(w.agent, audit.SessionEnd, token.NewID(), some) }, "not about the end of this session"},
			{"the entry is about a beginning", func(w *world) { w.ends(w.agent, audit.SessionStart, w.session, some) }, "not about the end of this session"},
			{"the entry is another agent's", func(w *world) { w.ends(w.other, audit.SessionEnd, w.session, some) }, "not about the end of this session"},
			{"the log is signed by another key", func(w *world) {
				w.log = w.other
				w.ends(w.agent, audit.SessionEnd, w.session, some)
			}, "does not prove"},
			{"a segment is gone", func(w *world) { w.segments = w.segments[:2] }, "gone"},
			{"segments swapped", func(w *world) { w.segments[0], w.segments[1] = w.segments[1], w.segments[0] }, "segment 1"},
			{"a manifest is gone", func(w *world) { w.manifests = slices.Delete(w.manifests, 1, 2) }, "segment 2: missing"},
			{"no manifest", func(w *world) { w.manifests = nil }, "manifests"},
			{"another session's", func(w *world) { w.session = token.NewID() }, "another recording"},
			{"sealed to others", func(w *world) { w.auditor = must(key.GenerateUnsealer()) }, "sealed to others"},
			{"a page that never ends", func(w *world) { w.pageSize = 0 }, "manifests"},
		} {
			w := newWorld()
			tt.change(w)
			rec, err := w.open(t)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			if err == nil && rec.Complete() != !strings.HasPrefix(tt.name, "the end and") {
				t.Errorf("%s: complete %v", tt.name, rec.Complete())
			}
		}
	})
}
