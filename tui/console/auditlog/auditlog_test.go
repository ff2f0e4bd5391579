package auditlog

import (
	"context"
	"errors"
	"fmt"
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

// A log of entries that grows, and that says what it was told to.
type fake struct {
	entries []backend.LogEntry
	checks  []backend.Check
	err     error
	asked   int
}

func (f *fake) Log(_ context.Context, from uint64, n int) (backend.LogPage, error) {
	f.asked++
	size := uint64(len(f.entries))
	rest := f.entries[min(from, size):]
	return backend.LogPage{Size: size, Entries: rest[:min(n, len(rest))]}, f.err
}

func (f *fake) Prove(context.Context, uint64) ([]backend.Check, error) { return f.checks, f.err }

func (f *fake) Recording(context.Context, string) (backend.Recording, error) {
	return nil, fmt.Errorf("x: %w", backend.ErrNotFound)
}

func (f *fake) add(e ...backend.LogEntry) {
	for _, e := range e {
		e.Index = uint64(len(f.entries))
		f.entries = append(f.entries, e)
	}
}

// A stage shows a dialog and whatever it leads to.
type stage struct {
	t    *testing.T
	open []dialog.Dialog
	msgs chan tea.Msg
}

func (s *stage) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		switch msg := cmd().(type) {
		case tea.BatchMsg:
			for _, c := range msg {
				s.run(c)
			}
		case nil:
		default:
			s.msgs <- msg
		}
	}()
}

func (s *stage) push(d dialog.Dialog) {
	s.open = append(s.open, d)
	if l, ok := d.(dialog.Live); ok {
		s.run(l.Begin())
	}
	s.settle()
}

func (s *stage) settle() {
	for {
		synctest.Wait()
		select {
		case msg := <-s.msgs:
			for _, d := range s.open {
				if l, ok := d.(dialog.Live); ok {
					s.run(l.Receive(msg, time.Now()))
				}
			}
		default:
			return
		}
	}
}

func (s *stage) top() dialog.Dialog { return s.open[len(s.open)-1] }

func (s *stage) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		press, err := keymap.Press(k)
		if err != nil {
			s.t.Fatal(err)
		}
		s.key(press)
	}
}

func (s *stage) key(k tea.KeyPressMsg) {
	d := s.top()
	out := d.Key(k, time.Now())
	if out.Close {
		if l, ok := d.(dialog.Live); ok {
			l.End()
		}
		s.open = s.open[:len(s.open)-1]
	}
	switch do := out.Do.(type) {
	case dialog.DoCmd:
		s.run(do.Cmd)
	case dialog.DoDialog:
		s.push(do.Next)
	}
	s.settle()
}

func (s *stage) typing(text string) {
	for _, r := range text {
		s.key(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

func (s *stage) screen() string {
	buf := uv.NewScreenBuffer(100, 24)
	s.top().Draw(canvas.New(&buf, canvas.NewStyles(true)), uv.Rect(0, 0, 100, 24), time.Now())
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
		if !strings.Contains(got, w) {
			s.t.Errorf("%q is not shown:\n%s", w, got)
		}
	}
}

func (s *stage) hides(not ...string) {
	s.t.Helper()
	got := s.screen()
	for _, w := range not {
		if strings.Contains(got, w) {
			s.t.Errorf("%q is shown:\n%s", w, got)
		}
	}
}

// onStage shows the view of a log in a bubble of its own time.
func onStage(t *testing.T, f *fake, play func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, msgs: make(chan tea.Msg, 100)}
		ctx, cancel := context.WithCancel(t.Context())
		s.push(New(ctx, f, nil))
		play(s)
		cancel()
		time.Sleep(2 * followEvery)
		s.settle()
	})
}

func some(n int) *fake {
	f := &fake{}
	for i := range n {
		f.add(backend.LogEntry{Time: time.Unix(int64(1000+i), 0), Type: "exec", Actor: fmt.Sprintf("actor-%d", i), Action: "run", Target: []string{"web-1", "db-1"}[i%2]})
	}
	return f
}

func TestFollow(t *testing.T) {
	f := some(5)
	onStage(t, f, func(s *stage) {
		s.shows("5 of 5 entries", "following", "actor-4 exec run on web-1")
		f.add(backend.LogEntry{Type: "alarm", Actor: "web-9"})
		time.Sleep(2 * followEvery)
		s.settle()
		s.shows("6 of 6 entries", "▸", "web-9 alarm")
		s.press("up")
		s.hides("following")
		f.add(backend.LogEntry{Type: "exec", Actor: "late"})
		time.Sleep(2 * followEvery)
		s.settle()
		at, _ := s.top().(*View).current()
		if at.Actor != "actor-4" {
			t.Errorf("the cursor moved to %q", at.Actor)
		}
		s.press("f")
		if at, _ := s.top().(*View).current(); at.Actor != "late" {
			t.Errorf("following, and at %q", at.Actor)
		}
	})
}

func TestFilter(t *testing.T) {
	f := some(4)
	f.add(
		backend.LogEntry{Type: "session-end", Actor: "web-1", Target: "web-1", Recorded: true, Session: "77"},
		backend.LogEntry{Type: "refusal", Actor: "mallory", Target: "vault", Effect: "deny", Rule: "closed", Tier: "high", Argv: []string{"rm", "-R"}},
	)
	for _, tc := range []struct {
		query string
		want  int
	}{
		{"", 6}, {"actor:mallory", 1}, {"target:db", 2}, {"kind:exec", 4}, {"kind:run target:web", 2}, {"effect:deny", 1}, {"tier:high", 1},
		{"rule:closed", 1}, {"!kind:exec", 2}, {"session:77", 1}, {"RM", 1}, {"-r", 1}, {"nobody", 0}, {"host:web", 0}, {"actor:", 6}, {"!", 6}, {"web-1 !actor:web-1", 2},
	} {
		q := parse(tc.query)
		n := 0
		for i, text := range texts(f.entries) {
			if q.matches(&f.entries[i], text) {
				n++
			}
		}
		if n != tc.want {
			t.Errorf("%q: %d entries, want %d", tc.query, n, tc.want)
		}
	}
	onStage(t, f, func(s *stage) {
		s.press("/")
		s.typing("actor:mallory")
		s.shows("mallory refusal", "✗ deny", `rm -R`)
		s.hides("actor-1")
		s.press("enter")
		s.shows("1 of 6 entries", "actor:mallory")
		s.press("esc")
		s.shows("6 of 6 entries")
		s.press("/")
		s.typing("nothing")
		s.shows("None of the 6 entries")
		s.press("esc", "esc")
		if len(s.open) != 0 {
			t.Error("it is not closed")
		}
	})
}

// TestFurtherBack: a long log is fetched by pages, as far as one looks.
func TestFurtherBack(t *testing.T) {
	f := some(1000)
	onStage(t, f, func(s *stage) {
		v := s.top().(*View)
		if len(v.entries) != pageSize || v.from != 800 {
			t.Fatalf("%d entries from %d", len(v.entries), v.from)
		}
		s.press("g")
		if v.from != 600 || v.entries[0].Actor != "actor-600" {
			t.Errorf("from %d", v.from)
		}
		if at, _ := v.current(); at.Actor != "actor-800" {
			t.Errorf("the cursor moved to %q", at.Actor)
		}
		s.press("/")
		s.typing("actor-3") // looks back until the screen is full
		s.press("enter")
		if v.from > 400 {
			t.Errorf("looked back to %d only", v.from)
		}
		for i, e := range v.entries {
			if e.Index != v.from+uint64(i) {
				t.Fatalf("entry %d is number %d", i, e.Index)
			}
		}
	})
	// What is kept is bounded, and what comes still comes.
	synctest.Test(t, func(t *testing.T) {
		v := New(t.Context(), some(0), nil)
		v.first = false
		for range maxKept/pageSize + 3 {
			n := v.from + uint64(len(v.entries))
			page := make([]backend.LogEntry, pageSize)
			for i := range page {
				page[i].Index = n + uint64(i)
			}
			v.take(pageMsg{v, n, backend.LogPage{Size: n + pageSize, Entries: page}, nil})
		}
		if len(v.entries) != maxKept || v.entries[0].Index != v.from || v.from != 3*pageSize {
			t.Errorf("%d entries from %d", len(v.entries), v.from)
		}
		v.end()
	})
}

func TestDetails(t *testing.T) {
	f := &fake{checks: []backend.Check{{Holds: true, What: "signed by web-1"}, {What: "NOT proved: \x1b]52;c;AAAA\x07"}}}
	f.add(backend.LogEntry{Type: "exec", Actor: "alice\x1b[2J", Target: "web-1", Argv: []string{"rm", "\u202e"}, Tier: "high", Session: "12"})
	onStage(t, f, func(s *stage) {
		s.press("enter")
		s.shows("Entry 0", "⟨ESC⟩[2J", `\u202e`, "✓ signed by web-1", "✗ NOT proved: ⟨ESC⟩]52")
		s.press("p")
		s.shows("There is nothing to play", "not recorded")
		s.press("esc", "esc")
		f.entries[0].Session, f.err = "", errors.New("apid is away")
		s.open = s.open[:0]
		s.push(newDetails(s.t.Context(), f, f.entries[0]))
		s.shows("not checked: apid is away")
		s.press("p")
		s.shows("about no session")
	})
}

// TestWhatDoesNotVerify is shown whatever is filtered, and as nothing else.
func TestWhatDoesNotVerify(t *testing.T) {
	f := some(3)
	f.entries[1] = backend.LogEntry{Index: 1, Problem: "another key signed it", Actor: "alice", Type: "approval"}
	onStage(t, f, func(s *stage) {
		s.press("/")
		s.typing("actor-2")
		s.shows("✗ entry 1 does not verify: another key", "actor-2")
		s.hides("alice", "approval")
		s.press("enter", "up", "enter")
		s.shows("Nothing it says is to be believed")
		s.hides("alice")
	})
}

func TestRefused(t *testing.T) {
	f := &fake{err: backend.Verdict{Reason: "the log is for auditors"}.Err()}
	onStage(t, f, func(s *stage) {
		s.shows("can't be shown", "the log is for auditors", "An admin can give you that role")
		asked := f.asked
		time.Sleep(time.Hour)
		s.settle()
		if f.asked-asked > int(time.Hour/followEvery)+1 {
			t.Errorf("asked %d times in an hour", f.asked-asked)
		}
	})
	onStage(t, &fake{}, func(s *stage) { s.shows("Nothing has happened yet") })
}
