package lookout

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/checkpointfile"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/session"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A world is a device that has a roster, and an apid that shows checkpoints.
type world struct {
	log    key.Identity
	roster *roster.Roster
	note   []byte
	err    error
	asked  int
	out    bytes.Buffer
	alarms []error
	look   *Lookout
}

func (w *world) Roster() *roster.Roster { return w.roster }

func (w *world) Checkpoint(ctx context.Context) ([]byte, error) {
	w.asked++
	if w.err != nil && w.note == nil {
		<-ctx.Done()
	}
	return w.note, w.err
}

func (w *world) Consistency(context.Context, int64, int64) (tlog.TreeProof, error) {
	return nil, errors.New("not asked in these tests")
}

// checkpoint is one of a log of 4 entries, signed by the log, of whatever content.
func (w *world) checkpoint(content string) []byte {
	return must(audit.SignCheckpoint(audit.Checkpoint{Origin: audit.Origin(w.roster.TeamFP()), Size: 4, Root: tlog.Hash(envelope.Sum([]byte(content)))}, w.log))
}

func newWorld(t *testing.T) *world {
	now := time.Now()
	w := &world{log: must(key.GenerateIdentity())}
	carol := must(key.GenerateIdentity())
	admin := roster.AdminDevice{MemberID: "carol", Email: "carol@example.com", Device: roster.DeviceBody{
		Public: carol.Public(), Recipient: must(key.GenerateUnsealer()).Recipient(), Exp: now.Add(240 * time.Hour).Unix(),
	}}
	r := must(roster.Open(must(roster.Found(roster.Genesis{TeamID: "acme", Threshold: 1, Created: now.Unix(), Admins: []roster.AdminDevice{admin}}, carol))))
	w.roster = must(r.Apply(must(r.Next(now, roster.KindServerKeys, roster.ServerKeys{
		Log: []key.Public{w.log.Public()}, Grant: []key.Public{must(key.GenerateIdentity()).Public()},
	}, carol))))
	w.look = &Lookout{
		API: w, Home: w, Seen: must(checkpointfile.Open(t.TempDir())), Now: time.Now,
		Newest: func(context.Context) (*roster.Roster, error) { return w.roster, errors.New("apid is away") },
		Alarm:  func(err error) { w.alarms = append(w.alarms, err) },
		Logger: slog.New(slog.NewTextHandler(&w.out, nil)),
	}
	return w
}

// said is what an agent shows in a handshake.
func (w *world) said(note []byte) session.Evidence {
	h := w.roster.Head()
	return session.Evidence{RosterSeq: h.Seq, RosterHash: h.Hash, Checkpoint: note}
}

// An agent and apid that show two stories are told of, once, and the evidence is kept.
func TestTwoStories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if note := w.look.Checkpoint(w.roster); note != nil {
			t.Errorf("a checkpoint from nowhere: %q", note)
		}
		w.note = w.checkpoint("one")
		w.look.Look()
		synctest.Wait()
		if got := w.look.Checkpoint(w.roster); !bytes.Equal(got, w.note) || len(w.alarms) > 0 {
			t.Fatalf("kept %q, alarms %v; log %s", got, w.alarms, &w.out)
		}
		w.look.Meet("web-1", w.said(nil))
		w.look.Meet("web-1", w.said(w.note))
		synctest.Wait()
		if len(w.alarms) > 0 || len(w.look.Forks()) > 0 {
			t.Fatalf("the same story: %v", w.alarms)
		}
		for range 3 {
			w.look.Meet("web-1", w.said(w.checkpoint("another")))
			synctest.Wait()
		}
		var fork *checkpointfile.ForkError
		if len(w.alarms) != 1 || !errors.As(w.alarms[0], &fork) || len(w.look.Forks()) == 0 {
			t.Errorf("alarms %v, evidence %q; log %s", w.alarms, w.look.Forks(), &w.out)
		}
		w.look.Close()
	})
}

// apid is asked once a minute at most, however often the roster is looked at.
func TestLooksNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.note = w.checkpoint("one")
		for range 120 {
			w.look.Look()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if w.asked != 2 {
			t.Errorf("asked %d times in two minutes", w.asked)
		}
		w.look.Close()
		time.Sleep(2 * fresh)
		w.look.Look()
		synctest.Wait()
		if w.asked != 2 {
			t.Error("asked after Close")
		}
	})
}

// What can't be compared now is no alarm, and nobody waits for it but Close, for a moment.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.err = errors.New("no answer") // and it takes its time
		began := time.Now()
		w.look.Look()
		newer := w.said(w.checkpoint("one"))
		newer.RosterSeq++
		w.look.Meet("web-1", newer)
		if time.Since(began) > 0 {
			t.Error("who looks waits")
		}
		w.look.Close()
		if took := time.Since(began); took != lastLook {
			t.Errorf("Close took %v", took)
		}
		if len(w.alarms) > 0 || !strings.Contains(w.out.String(), "web-1 has a newer roster") {
			t.Errorf("alarms %v; log %s", w.alarms, &w.out)
		}
	})
}
