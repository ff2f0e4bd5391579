package player

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/tui/console/canvas"
	"github.com/tucdesk/tucdesk/tui/console/dialog"
	"github.com/tucdesk/tucdesk/tui/console/keymap"
)

// A tape is a recording, and the log that has it.
type tape struct {
	backend.Auditor
	info   backend.RecordingInfo
	events []backend.RecordingEvent
	err    error // instead of it
	ends   error // after its events
	closed int
}

func (f *tape) Recording(context.Context, string) (backend.Recording, error) { return f, f.err }
func (f *tape) Info() backend.RecordingInfo                                  { return f.info }
func (f *tape) Close() error                                                 { f.closed++; return nil }

func (f *tape) Events(context.Context) iter.Seq2[backend.RecordingEvent, error] {
	return func(yield func(backend.RecordingEvent, error) bool) {
		for _, e := range f.events {
			if !yield(e, nil) {
				return
			}
		}
		if f.ends != nil {
			yield(backend.RecordingEvent{}, f.ends)
		}
	}
}

func sec(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// work is three minutes of somebody's work.
func work() *tape {
	return &tape{
		info: backend.RecordingInfo{Title: "alice on web-1", Cols: 40, Rows: 8, Length: 3 * time.Minute, Checks: []backend.Check{{Holds: true, What: "3 segments"}}},
		events: []backend.RecordingEvent{
			{At: 0, Marker: "rule staging"},
			{At: sec(1), Output: "$ ls\r\n"},
			{At: sec(2), Output: "one two\r\n$ "},
			{At: sec(100), Output: "rm -r /var\r\n"},
			{At: sec(100), Marker: "rm: confirmed"},
			{At: sec(101), Output: "\x1b[2J\x1b[Hcleared\r\n"},
			{At: sec(102), Cols: 60, Rows: 10},
			{At: sec(180), Output: "the end"},
		},
	}
}

type stage struct {
	t    *testing.T
	p    *Player
	msgs chan tea.Msg
	next dialog.Dialog
	shut bool
}

func (s *stage) run(cmd tea.Cmd) {
	if cmd != nil {
		go func() { s.msgs <- cmd() }()
	}
}

// wait lets time pass.
func (s *stage) wait(d time.Duration) {
	until := time.Now().Add(d)
	for {
		synctest.Wait()
		select {
		case msg := <-s.msgs:
			s.run(s.p.Receive(msg, time.Now()))
			continue
		default:
		}
		left := time.Until(until)
		if left <= 0 {
			return
		}
		select {
		case msg := <-s.msgs:
			s.run(s.p.Receive(msg, time.Now()))
		case <-time.After(left):
		}
	}
}

func (s *stage) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		press, err := keymap.Press(k)
		if err != nil {
			s.t.Fatal(err)
		}
		out := s.p.Key(press, time.Now())
		s.shut = s.shut || out.Close
		switch do := out.Do.(type) {
		case dialog.DoCmd:
			s.run(do.Cmd)
		case dialog.DoDialog:
			s.next = do.Next
		}
		s.wait(0)
	}
}

func (s *stage) screen() string {
	buf := uv.NewScreenBuffer(80, 24)
	s.p.Draw(canvas.New(&buf, canvas.NewStyles(true)), uv.Rect(0, 0, 80, 24), time.Now())
	var b strings.Builder
	for y := range 24 {
		b.WriteString(buf.Line(y).String() + "\n")
	}
	return b.String()
}

func (s *stage) shows(want ...string) {
	s.t.Helper()
	got := s.screen()
	for _, w := range want {
		not := strings.HasPrefix(w, "not:")
		if w = strings.TrimPrefix(w, "not:"); strings.Contains(got, w) == not {
			s.t.Errorf("%q (not: %v):\n%s", w, not, got)
		}
	}
}

func (s *stage) at(want time.Duration) {
	s.t.Helper()
	if s.p.at < want || s.p.at > want+slowest {
		s.t.Errorf("at %v, want %v", s.p.at, want)
	}
}

func onStage(t *testing.T, f *tape, play func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, p: New(t.Context(), f, "1"), msgs: make(chan tea.Msg, 10)}
		s.run(s.p.Begin())
		s.wait(0)
		play(s)
		s.p.End()
		s.wait(time.Second)
	})
}

func TestPlay(t *testing.T) {
	f := work()
	onStage(t, f, func(s *stage) {
		if f.closed != 1 {
			t.Error("what was fetched is not removed")
		}
		s.shows("▶ 0:00", "3:00", "1x", "pauses skipped", "rule staging", "◆")
		s.wait(sec(1.5))
		s.shows("$ ls", "not:one two")
		s.wait(sec(1))
		s.shows("one two", "not:rm -r")
		s.wait(sec(1)) // 98 seconds of a pause are skipped
		s.shows("rm -r /var", "rm: confirmed")
		s.wait(sec(4))
		s.shows("cleared", "not:rm -r", "the end", "■ 3:00")
		s.press("space") // from the beginning again
		s.wait(0)
		s.shows("▶ 0:00", "not:cleared")
	})
}

func TestPausesKeptAndSpeed(t *testing.T) {
	onStage(t, work(), func(s *stage) {
		s.press("i")
		s.wait(sec(50))
		s.shows("pauses kept", "not:rm -r")
		s.at(sec(50))
		s.press("+", "+")
		s.shows("4x")
		s.wait(sec(10))
		s.at(sec(90))
		s.press("-", "-", "-", "-", "-", "-", "-")
		s.shows("0.25x")
		s.wait(sec(4))
		s.at(sec(91))
		s.press("space")
		s.wait(sec(60))
		s.at(sec(91))
		s.shows("‖ 1:31")
	})
}

func TestSeek(t *testing.T) {
	onStage(t, work(), func(s *stage) {
		s.press("space")
		for _, step := range []struct {
			key  string
			want time.Duration
			sees string
		}{
			{"right", sec(5), "one two"}, {"pgdown", sec(65), "one two"}, {"pgdown", sec(125), "cleared"}, {"left", sec(120), "cleared"},
			{"pgup", sec(60), "one two"}, {"end", sec(180), "the end"}, {"right", sec(180), "the end"}, {"home", 0, ""}, {"left", 0, ""},
			{"m", sec(100), "rm: confirmed"}, {"m", sec(100), "no further"}, {"M", 0, "1 of 2"},
		} {
			s.press(step.key)
			if s.p.at != step.want {
				t.Errorf("%s: at %v, want %v", step.key, s.p.at, step.want)
			}
			s.shows(step.sees)
		}
		// Wherever one comes from, the screen is the same.
		s.p.seek(sec(101))
		want := s.screen()
		s.p.seek(sec(180))
		s.p.seek(sec(101))
		if got := s.screen(); got != want {
			t.Errorf("from behind:\n%s\nwant:\n%s", got, want)
		}
	})
}

func TestSearch(t *testing.T) {
	f := work()
	f.events = append(f.events[:3:3], append([]backend.RecordingEvent{
		{At: sec(50), Output: strings.Repeat("scrolls by\r\n", 200) + "NEEDLE\r\n" + strings.Repeat("and by\r\n", 200)},
		{At: sec(60), Output: "\x1b[2J\x1b[1;36Hne"}, {At: sec(61), Output: "edle wraps"},
	}, f.events[3:]...)...)
	onStage(t, f, func(s *stage) {
		s.press("space", "/")
		for _, r := range "needle" {
			s.p.Key(tea.KeyPressMsg{Code: r, Text: string(r)}, time.Now())
		}
		s.shows("Search what was shown: needle")
		s.press("enter")
		s.wait(0)
		if want := []time.Duration{sec(50), sec(61)}; !slices.Equal(s.p.found, want) {
			t.Fatalf("found %v, want %v", s.p.found, want)
		}
		s.at(sec(50))
		s.shows("1 of 2")
		s.press("n")
		s.at(sec(61))
		s.press("n")
		s.shows("no further")
		s.press("N")
		s.at(sec(50))
		s.press("/")
		s.press("ctrl+u")
		s.p.Paste("nowhere")
		s.press("enter")
		s.wait(0)
		s.shows("nothing that was shown fits")
	})
}

// TestWhatCannotBePlayed says why.
func TestWhatCannotBePlayed(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{backend.Verdict{Reason: "recordings are for auditors"}.Err(), "Recordings are for auditors"},
		{fmt.Errorf("x: %w", backend.ErrNotFound), "was not recorded"},
		{fmt.Errorf("segment 2 was tampered with\x1b[2J"), "segment 2 was tampered with⟨ESC⟩"},
	} {
		f := work()
		f.err = tc.err
		onStage(t, f, func(s *stage) {
			s.shows("There is nothing to play", tc.want)
			s.press("space", "right", "n", "esc")
			if !s.shut {
				t.Error("it is not closed")
			}
		})
	}
	f := work()
	f.ends = fmt.Errorf("segment 3 was tampered with")
	onStage(t, f, func(s *stage) { s.shows("There is nothing to play", "segment 3", "not:$ ls") })
}

func TestIncompleteSaysSo(t *testing.T) {
	f := work()
	f.info.Checks = append(f.info.Checks, backend.Check{What: "incomplete: the end was withheld"})
	f.info.Cols, f.info.Rows = 0, -3 // a header can say anything
	f.events[3].At = 0               // and time can run backwards
	onStage(t, f, func(s *stage) {
		s.shows("NOT PROVED: incomplete")
		s.press("c", "end")
		if s.next == nil {
			t.Error("no details")
		}
	})
}

// TestBounded: a recording of any length is cut, and says so.
func TestBounded(t *testing.T) {
	f := &tape{info: backend.RecordingInfo{Title: "long", Cols: 80, Rows: 24, Length: time.Hour}}
	big := strings.Repeat("x", 1<<20)
	for i := range 40 {
		f.events = append(f.events, backend.RecordingEvent{At: time.Duration(i) * time.Minute, Output: big})
	}
	got, err := load(t.Context(), f, "1")
	if err != nil || !got.cut || len(got.events) != maxBytes>>20 || got.info.Length != 31*time.Minute {
		t.Errorf("%v, cut %v, %d events, %v", err, got.cut, len(got.events), got.info.Length)
	}
}

// TestConcealed: what a program hid from who looked on then is shown to who looks now.
func TestConcealed(t *testing.T) {
	f := work()
	f.events = []backend.RecordingEvent{{Output: "\x1b[8mhidden\x1b[0m"}}
	onStage(t, f, func(s *stage) {
		buf := uv.NewScreenBuffer(80, 24)
		s.p.Draw(canvas.New(&buf, canvas.NewStyles(true)), uv.Rect(0, 0, 80, 24), time.Now())
		if c := buf.CellAt(0, 0); c.Content != "h" || c.Style.Attrs&uv.AttrConceal != 0 {
			t.Errorf("%q, %v", c.Content, c.Style)
		}
	})
}
