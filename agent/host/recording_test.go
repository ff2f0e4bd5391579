//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/recording"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// uploaded is a recording as apid has it.
type uploaded [][]byte

func (u uploaded) Segment(_ context.Context, n uint64) ([]byte, error) { return u[n-1], nil }

// played gives the one recording that the agent has uploaded, and what the log
// says of its session's end. It stops the agent.
func (w *world) played() (*recording.Chain, []recording.Event, audit.Entry) {
	w.t.Helper()
	entries := w.evidence()
	end := entries[len(entries)-1]
	if end.Type != audit.SessionEnd {
		w.t.Fatalf("entries: %v", kinds(entries))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.manifests) != 1 {
		w.t.Fatalf("%d recordings were uploaded\n%s", len(w.manifests), w.logs)
	}
	c, err := recording.VerifyChain(w.roster.TeamFP(), end.SessionID, envelope.One(w.agent), w.manifests[end.SessionID])
	w.must(err)
	var events []recording.Event
	for e, err := range c.Events(context.Background(), uploaded(w.segments[end.SessionID]), w.auditor, 1) {
		w.must(err)
		events = append(events, e)
	}
	return c, events, end
}

func shown(events []recording.Event) string {
	var b strings.Builder
	for _, e := range events {
		if e.Code == recording.Output {
			b.WriteString(e.Data)
		}
	}
	return b.String()
}

func (w *world) setRecord(mode string) {
	w.t.Helper()
	doc := strings.Replace(string(policyDoc(w)), "    sessions: [shell, exec]\n", "    sessions: [shell, exec]\n    record: "+mode+"\n", 1)
	w.setPolicy(doc)
}

func TestExecIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.start()
	e := w.try(attempt{argv: []string{"sh", "-c", "echo canary-output; echo err >&2; cat; exit 7"}, stdin: token.StdinStream, input: "canary-input"})
	if e.answer.Recording != "on" || e.exit.Code != 7 {
		t.Fatalf("%+v\n%s", e, w.logs)
	}
	w.idle()
	// Nothing that waits in the spool, or ever was there, is plaintext.
	w.must(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("%s holds what the session showed", path)
		}
		return err
	}))
	c, events, end := w.played()
	if !c.Complete() || c.Head() != end.Outcome.Recording {
		t.Errorf("complete %v, head %v, the log says %v", c.Complete(), c.Head(), end.Outcome.Recording)
	}
	out := shown(events)
	for _, want := range []string{"canary-output\r\n", "err\r\n", "canary-input"} { // cat shows its input
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
	if first := events[0]; first.Code != recording.Marker || !strings.Contains(first.Data, "sre-staging") {
		t.Errorf("first event %+v", first)
	}
	if last := events[len(events)-1]; last.Code != recording.Exit || last.Data != "7" {
		t.Errorf("last event %+v", last)
	}
	h, err := c.Header(t.Context(), uploaded(w.segments[end.SessionID]), w.auditor)
	if err != nil || h.Title != "alice@example.com on web-1" || !strings.Contains(h.Command, "canary-output") {
		t.Errorf("header %+v, %v", h, err)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "spool")); err != nil || len(left) != 0 {
		t.Errorf("%d folders are left in the spool, %v", len(left), err)
	}
	if strings.Contains(w.logs.String(), "canary") {
		t.Error("the log holds what the session showed")
	}
}

func TestTerminalIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.try(attempt{
		// What is typed without an echo is not recorded.
		argv: []string{"sh", "-c", "stty -echo; echo ready; read secret; read go; stty size; echo got it"},
		tty:  &channel.TTY{Cols: 80, Rows: 24, Term: "xterm"},
		drive: func(_ *channel.Mux, ch *channel.Channel) {
			var seen strings.Builder
			typed := false
			for {
				f, err := ch.ReadFrame()
				if err != nil {
					t.Fatalf("%v after %q", err, seen.String())
				}
				if f.Type == channel.FrameExit {
					return
				}
				seen.Write(f.Payload)
				if !typed && strings.Contains(seen.String(), "ready") {
					typed = true
					w.must(ch.Resize(132, 43))
					_, err := ch.Write([]byte("canary-password\ngo\n"))
					w.must(err)
				}
			}
		},
	})
	w.idle()
	c, events, end := w.played()
	out := shown(events)
	if !c.Complete() || !strings.Contains(out, "43 132\r\ngot it\r\n") || strings.Contains(out, "canary-password") {
		t.Errorf("complete %v: %q", c.Complete(), out)
	}
	resized := false
	for _, e := range events {
		resized = resized || e.Code == recording.Resize && e.Data == "132x43"
		if e.Code == recording.Input {
			t.Errorf("input was recorded: %+v", e)
		}
	}
	if !resized {
		t.Error("the new size is not recorded")
	}
	h, err := c.Header(t.Context(), uploaded(w.segments[end.SessionID]), w.auditor)
	if err != nil || h.Cols != 80 || h.Rows != 24 || h.Term != "xterm" {
		t.Errorf("header %+v, %v", h, err)
	}
}

func TestRecordingByPolicy(t *testing.T) {
	for _, tt := range []struct {
		mode, state string
		spool       int64
		auditors    bool
		refused     string // in the answer; empty: it runs
	}{
		{"off", "off", 0, true, ""},
		{"on", "on", 0, true, ""},
		{"on", "off", 1, true, ""},
		{"on", "off", 0, false, ""},
		{"required", "required", 0, true, ""},
		{"required", "", 1, true, "must be recorded"},
	} {
		w := newWorld(t)
		w.maxSpool = tt.spool
		w.setRecord(tt.mode)
		if !tt.auditors {
			w.state(roster.KindRecipients, roster.Recipients{})
		}
		w.start()
		argv, ran := []string{"echo", "x"}, false
		e := w.try(attempt{argv: argv})
		ran = e.stdout == "x\n"
		if ran != (tt.refused == "") || !strings.Contains(e.answer.Reason, tt.refused) || e.answer.Recording != tt.state {
			t.Errorf("%s, spool %d, auditors %v: ran %v, %+v\n%s", tt.mode, tt.spool, tt.auditors, ran, e.answer, w.logs)
		}
		w.stop()
	}
	// No auditor at all: the session itself is refused.
	w := newWorld(t)
	w.setRecord("required")
	w.state(roster.KindRecipients, roster.Recipients{})
	w.start()
	if e := w.try(attempt{argv: []string{"echo", "x"}}); e.answer.Allowed() || e.stdout != "" {
		t.Errorf("%+v", e)
	}
}

// A session that must be recorded ends when the spool is full, and nothing that
// was not recorded went out before.
func TestRequiredEndsWithItsRecording(t *testing.T) {
	w := newWorld(t)
	w.maxSpool = recording.MaxSegment + 300<<10
	w.setRecord("required")
	w.start()
	w.setAPI(errors.Join(wire.ErrUnavailable)) // nothing is uploaded, so nothing makes room
	e := w.try(attempt{argv: []string{"sh", "-c", "yes 0123456789abcdef | head -c 30000000"}})
	if !strings.Contains(e.exit.Reason, "must be recorded") || len(e.stdout) > 10<<20 || len(e.stdout) < 1<<20 {
		t.Fatalf("%d bytes, exit %+v, %v", len(e.stdout), e.exit, e.err)
	}
	w.idle()
	w.setAPI(nil)
	c, events, end := w.played()
	if c.Complete() || !strings.Contains(end.Outcome.Reason, "recording") {
		t.Errorf("complete %v, reason %q", c.Complete(), end.Outcome.Reason)
	}
	if got := strings.ReplaceAll(shown(events), "\r\n", "\n"); !strings.HasPrefix("0123456789abcdef\n"+e.stdout, got[:17]) || len(got) > len(e.stdout)+1<<20 {
		t.Errorf("%d bytes recorded, %d shown", len(got), len(e.stdout))
	}
}

// What a crash leaves in the spool is uploaded by the next start.
func TestRecordingAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.setAPI(errors.Join(wire.ErrUnavailable))
	if e := w.try(attempt{argv: []string{"echo", "before"}}); e.stdout != "before\n" {
		t.Fatalf("%+v", e)
	}
	w.idle()
	w.stop()
	w.setAPI(nil)
	w.start()
	c, events, end := w.played()
	if !c.Complete() || c.Head() != end.Outcome.Recording || shown(events) != "before\r\n" {
		t.Errorf("complete %v: %q", c.Complete(), shown(events))
	}
}
